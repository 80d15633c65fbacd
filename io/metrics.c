/* metrics.c - see metrics.h. */
#include "io/metrics.h"
#include "src/memory.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES = 16384, PATH_BYTES = 4096 };

struct Metrics {
    FILE *file;
    char path[PATH_BYTES];
    char line[LINE_BYTES]; /* the record being built */
    size_t used;
};

/* Whether an old line stays: whole, and not beyond the step. What was said of the finished model
 * goes: the resumed run will say it again. */
static int is_kept(const char *line, int64_t keep_step) {
    size_t length = strlen(line);
    if (length < 3 || line[0] != '{' || line[length - 1] != '\n' || line[length - 2] != '}')
        return 0;
    if (strstr(line, "\"type\": \"test\"") != NULL) return 0;
    const char *step = strstr(line, "\"step\": ");
    return step == NULL || strtoll(step + strlen("\"step\": "), NULL, 10) <= keep_step;
}

static Status copy_kept_lines(FILE *from, FILE *to, int64_t keep_step, const char *path) {
    char *line = NULL;
    size_t capacity = 0;
    int failed = 0;
    while (getline(&line, &capacity, from) >= 0 && !failed)
        if (is_kept(line, keep_step)) failed = fputs(line, to) < 0;
    free(line);
    if (failed || ferror(from) || fflush(to) != 0 || fsync(fileno(to)) != 0)
        return FAIL(STATUS_IO, "%s: cannot rewrite: %s", path, strerror(errno));
    return STATUS_OK;
}

/* Replace the file by its records up to keep_step. */
static Status keep_records(const char *path, int64_t keep_step) {
    char temporary[PATH_BYTES + 8];
    snprintf(temporary, sizeof temporary, "%s.new", path);
    FILE *from = fopen(path, "r");
    if (from == NULL && errno == ENOENT) return STATUS_OK;
    if (from == NULL) return FAIL(STATUS_IO, "%s: cannot read: %s", path, strerror(errno));
    FILE *to = fopen(temporary, "w");
    Status status = to == NULL
                        ? FAIL(STATUS_CREATE, "%s: cannot create: %s", temporary, strerror(errno))
                        : copy_kept_lines(from, to, keep_step, path);
    fclose(from);
    if (to != NULL && fclose(to) != 0 && status == STATUS_OK)
        status = FAIL(STATUS_IO, "%s: cannot write: %s", temporary, strerror(errno));
    if (status == STATUS_OK && rename(temporary, path) != 0)
        status = FAIL(STATUS_IO, "%s: cannot replace: %s", path, strerror(errno));
    if (status != STATUS_OK) unlink(temporary);
    return status;
}

Status metrics_open(Metrics **metrics_out, const char *folder, int64_t keep_step) {
    Metrics *metrics = NULL;
    *metrics_out = NULL;
    TRY(MEMORY_ALLOCATE(&metrics, 1, "metrics"));
    *metrics_out = metrics;
    snprintf(metrics->path, sizeof metrics->path, "%s/metrics.jsonl", folder);
    if (keep_step >= 0) TRY(keep_records(metrics->path, keep_step));
    metrics->file = fopen(metrics->path, keep_step >= 0 ? "a" : "w");
    if (metrics->file == NULL)
        return FAIL(STATUS_CREATE, "%s: cannot create: %s", metrics->path, strerror(errno));
    return STATUS_OK;
}

void metrics_close(Metrics *metrics) {
    if (metrics == NULL) return;
    if (metrics->file != NULL) fclose(metrics->file);
    memory_free(metrics);
}

static void append(Metrics *metrics, const char *text) {
    size_t length = strlen(text);
    REQUIRE(metrics->used + length + 3 < LINE_BYTES);
    memcpy(metrics->line + metrics->used, text, length + 1);
    metrics->used += length;
}

static void append_text(Metrics *metrics, const char *text) {
    append(metrics, "\"");
    for (const char *c = text; *c != '\0'; c++) {
        char escaped[8] = {*c, '\0'};
        if (*c == '"' || *c == '\\')
            snprintf(escaped, sizeof escaped, "\\%c", *c);
        else if ((unsigned char)*c < 0x20)
            snprintf(escaped, sizeof escaped, "\\u%04x", (unsigned)*c);
        append(metrics, escaped);
    }
    append(metrics, "\"");
}

static void append_name(Metrics *metrics, const char *name) {
    append(metrics, metrics->used > 1 ? ", " : "");
    append_text(metrics, name);
    append(metrics, ": ");
}

void metrics_begin(Metrics *metrics, const char *type) {
    metrics->used = 0;
    append(metrics, "{");
    metrics_text(metrics, "type", type);
}

void metrics_number(Metrics *metrics, const char *name, double value) {
    char text[32] = "null";
    if (isfinite(value)) snprintf(text, sizeof text, "%.10g", value);
    append_name(metrics, name);
    append(metrics, text);
}

void metrics_text(Metrics *metrics, const char *name, const char *value) {
    append_name(metrics, name);
    append_text(metrics, value);
}

Status metrics_end(Metrics *metrics) {
    append(metrics, "}\n");
    if (fputs(metrics->line, metrics->file) < 0 || fflush(metrics->file) != 0)
        return FAIL(STATUS_IO, "%s: cannot write: %s", metrics->path, strerror(errno));
    return STATUS_OK;
}
