/* status.c - see status.h. */
#include "src/status.h"
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local char message[STATUS_MESSAGE_BYTES];
static void (*end_job_of_all)(int exit_code);
static int own_rank = -1;

static long fault_at;
static int fault_repeats;
static int fault_rank = -1;
static int fault_environment_read;
static atomic_long fault_points;

Status status_fail(Status status, const char *format, ...) {
    va_list arguments;
    char text[STATUS_MESSAGE_BYTES]; /* the arguments may point into the message itself */
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(message, text, sizeof message);
    return status;
}

const char *status_message(void) {
    return message;
}

void status_set_message(const char *text) {
    snprintf(message, sizeof message, "%s", text);
}

#define STATUS_SENTENCE(name, sentence, code) [name] = sentence,
#define STATUS_EXIT_CODE(name, sentence, code) [name] = code,

const char *status_sentence(Status status) {
    static const char *const sentences[] = {STATUS_LIST(STATUS_SENTENCE)};
    return status >= 0 && status < STATUS_COUNT ? sentences[status] : "unknown status";
}

int status_exit_code(Status status) {
    static const int codes[] = {STATUS_LIST(STATUS_EXIT_CODE)};
    return status >= 0 && status < STATUS_COUNT ? codes[status] : codes[STATUS_BUG];
}

void status_set_abort(void (*end_job)(int exit_code), int rank) {
    end_job_of_all = end_job;
    own_rank = rank;
}

void status_abort(const char *condition, const char *file, int line) {
    fprintf(stderr, "lockstep: rank %d: %s:%d: this must hold and does not: %s\n",
        own_rank < 0 ? 0 : own_rank, file, line, condition);
    fflush(stderr);
    if (end_job_of_all != NULL) end_job_of_all(status_exit_code(STATUS_BUG));
    _Exit(status_exit_code(STATUS_BUG));
}

static void read_fault_environment(void) {
    const char *text = getenv("LOCKSTEP_FAULT");
    fault_environment_read = 1;
    if (text == NULL) return;
    char *end = NULL;
    fault_at = strtol(text, &end, 10);
    if (*end == '@') fault_rank = (int)strtol(end + 1, &end, 10);
    fault_repeats = *end == '+';
}

int status_fault_is_due(void) {
    if (!fault_environment_read) read_fault_environment();
    long point = atomic_fetch_add(&fault_points, 1) + 1;
    if (fault_at <= 0 || (fault_rank >= 0 && fault_rank != own_rank)) return 0;
    if (fault_repeats ? point < fault_at : point != fault_at) return 0;
    errno = EIO;
    return 1;
}

void status_arm_fault(long n, int repeat) {
    fault_environment_read = 1;
    fault_at = n;
    fault_repeats = repeat;
    fault_rank = -1;
    atomic_store(&fault_points, 0);
}

long status_fault_points_seen(void) {
    return atomic_load(&fault_points);
}
