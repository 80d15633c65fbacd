/* job_problems.c - see job_problems.h. */
#include "io/job_problems.h"
#include "io/utf8.h"
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    LINE_CODES = 96,   /* of a source line that are shown */
    CODES_BEFORE = 64, /* of them before the caret, when the line is longer */
    NAME_BYTES = 256,  /* of a file name that are shown: its end */
    SHOWN_BYTES = NAME_BYTES + 8,
    POSITION_BYTES = 64, /* ":LINE:COLUMN" */
    EXCERPT_BYTES = 640, /* source line and caret */
    WHOLE_BYTES = NAME_BYTES + JOB_PROBLEM_BYTES + EXCERPT_BYTES + 128
};

_Static_assert(SHOWN_BYTES + POSITION_BYTES <= JOB_ORIGIN_BYTES, "a place is never cut");

static int is_before(const JobPlace *a, const JobPlace *b) {
    if (a->source->order != b->source->order) return a->source->order < b->source->order;
    if (a->line != b->line) return a->line < b->line;
    return a->column < b->column;
}

void job_problems_add(
    JobProblems *problems, JobPlace place, const char *path, const char *format, ...) {
    int kept = problems->count < JOB_PROBLEMS_SHOWN ? problems->count : JOB_PROBLEMS_SHOWN;
    problems->count++;
    int at = kept;
    while (at > 0 && is_before(&place, &problems->shown[at - 1].place)) at--;
    if (at == JOB_PROBLEMS_SHOWN) return;
    int moved = (kept < JOB_PROBLEMS_SHOWN ? kept : JOB_PROBLEMS_SHOWN - 1) - at;
    JobProblem *problem = &problems->shown[at];
    memmove(problem + 1, problem, (size_t)moved * sizeof *problem);

    problem->place = place;
    int used = snprintf(problem->text, JOB_PROBLEM_BYTES, "%s%s", path, *path == '\0' ? "" : ": ");
    if (used >= JOB_PROBLEM_BYTES) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(problem->text + used, (size_t)(JOB_PROBLEM_BYTES - used), format, arguments);
    va_end(arguments);
}

/* Bytes of the line break at `text`, 0 if there is none: as many kinds as YAML 1.1 has. */
static size_t line_break_bytes(const char *text, size_t bytes) {
    static const char *const breaks[] = {
        "\r\n", "\n", "\r", "\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};
    for (size_t i = 0; i < sizeof breaks / sizeof *breaks; i++) {
        size_t length = strlen(breaks[i]);
        if (bytes >= length && memcmp(text, breaks[i], length) == 0) return length;
    }
    return 0;
}

/* Code point or single wrong byte at `text`; `bytes` > 0. */
static size_t step_bytes(const char *text, size_t bytes) {
    uint32_t code = 0;
    size_t step = utf8_decode(text, bytes, &code);
    return step == 0 ? 1 : step;
}

JobPlace job_problems_place(const JobSource *source, size_t offset) {
    JobPlace place = {source, 1, 1};
    const char *text = source->text;
    size_t left = offset < source->bytes ? offset : source->bytes;
    while (left > 0) {
        size_t step = line_break_bytes(text, left);
        place.line += step > 0;
        place.column = step > 0 ? 1 : place.column + 1;
        if (step == 0) step = step_bytes(text, left);
        text += step;
        left -= step;
    }
    return place;
}

/* The bytes from the start of `line` to the end of the source; *text is NULL if there is no such
 * line. */
static size_t find_line(const JobSource *source, size_t line, const char **text) {
    const char *end = source->text + source->bytes;
    *text = source->text;
    while (line > 1 && *text < end) {
        size_t step = line_break_bytes(*text, (size_t)(end - *text));
        line -= step > 0;
        *text += step > 0 ? step : 1;
    }
    if (line > 1) *text = NULL;
    return *text == NULL ? 0 : (size_t)(end - *text);
}

/* Copy the code points [first, first + LINE_CODES) of a line; returns whether there are more. */
static int copy_window(const char *text, size_t left, size_t first, char *out) {
    size_t used = 0, code_index = 1;
    while (left > 0 && line_break_bytes(text, left) == 0) {
        if (code_index == first + LINE_CODES) break;
        uint32_t code = 0;
        size_t step = utf8_decode(text, left, &code);
        int is_shown = step > 0 && code >= 0x20 && (code < 0x7f || code >= 0xa0);
        if (code_index >= first) {
            if (is_shown) memcpy(out + used, text, step);
            if (!is_shown) out[used] = code == '\t' ? ' ' : '?';
            used += is_shown ? step : 1;
        }
        step = step == 0 ? 1 : step;
        text += step;
        left -= step;
        code_index++;
    }
    out[used] = '\0';
    return left > 0 && line_break_bytes(text, left) == 0;
}

/* "\n  the source line\n  ^", or "" where there is no line to show. */
static void print_excerpt(const JobPlace *place, char out[EXCERPT_BYTES]) {
    const char *text = NULL;
    size_t left = find_line(place->source, place->line, &text);
    out[0] = '\0';
    if (text == NULL || left == 0 || line_break_bytes(text, left) > 0) return;
    size_t first = place->column > LINE_CODES - 10 ? place->column - CODES_BEFORE : 1;
    char window[4 * LINE_CODES + 1];
    int is_cut = copy_window(text, left, first, window);
    if (window[0] == '\0') return;
    const char *before = first > 1 ? "..." : "", *after = is_cut ? "..." : "";
    int indent = (int)(strlen(before) + place->column - first);
    snprintf(out, EXCERPT_BYTES, "\n  %s%s%s\n  %*s^", before, window, after, indent, "");
}

void job_problems_print_place(const JobPlace *place, char out[JOB_ORIGIN_BYTES]) {
    const JobSource *source = place->source;
    size_t name_bytes = strlen(source->name);
    const char *name = source->name + (name_bytes > NAME_BYTES ? name_bytes - NAME_BYTES : 0);
    char shown_name[SHOWN_BYTES], position[POSITION_BYTES] = "";
    utf8_shorten(name, shown_name, sizeof shown_name);
    if (!source->is_argument)
        snprintf(position, sizeof position, ":%zu:%zu", place->line, place->column);
    snprintf(out, JOB_ORIGIN_BYTES, "%s%s", shown_name, position);
}

static void print_problem(const JobProblem *problem, char out[WHOLE_BYTES]) {
    char place[JOB_ORIGIN_BYTES], excerpt[EXCERPT_BYTES];
    job_problems_print_place(&problem->place, place);
    print_excerpt(&problem->place, excerpt);
    snprintf(out, WHOLE_BYTES, "%s: %s%s", place, problem->text, excerpt);
}

Status job_problems_report(const JobProblems *problems) {
    enum { ROOM = STATUS_MESSAGE_BYTES - 64 }; /* for "and N more" */
    if (problems->count == 0) return STATUS_OK;
    char message[STATUS_MESSAGE_BYTES] = "", one[WHOLE_BYTES];
    size_t used = 0;
    int told = 0;
    for (; told < problems->count && told < JOB_PROBLEMS_SHOWN; told++) {
        print_problem(&problems->shown[told], one);
        if (used + strlen(one) + 1 > ROOM) break;
        used += (size_t)sprintf(message + used, "%s%s", told == 0 ? "" : "\n", one);
    }
    if (told < problems->count) sprintf(message + used, "\nand %d more", problems->count - told);
    return FAIL(STATUS_CONFIG, "%s", message);
}
