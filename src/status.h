/* status.h - what a function returns when it can fail, and the message that goes with it.
 *
 * A failing function calls FAIL, which keeps one message per thread and returns the code; callers
 * pass the code on with TRY. A thread that fails hands its message to the main thread. */
#ifndef SRC_STATUS_H
#define SRC_STATUS_H

/* Name, sentence, exit code (BSD sysexits where one fits). */
#define STATUS_LIST(ENTRY)                                                                         \
    ENTRY(STATUS_OK, "ok", 0)                                                                      \
    ENTRY(STATUS_DIVERGED, "training diverged", 3)                                                 \
    ENTRY(STATUS_USAGE, "wrong usage", 64)                                                         \
    ENTRY(STATUS_DATA, "bad data", 65)                                                             \
    ENTRY(STATUS_MISSING, "input missing", 66)                                                     \
    ENTRY(STATUS_BUG, "internal error", 70)                                                        \
    ENTRY(STATUS_NO_MEMORY, "out of memory", 71)                                                   \
    ENTRY(STATUS_CREATE, "cannot create output", 73)                                               \
    ENTRY(STATUS_IO, "input/output error", 74)                                                     \
    ENTRY(STATUS_STOPPED, "stopped early, checkpoint saved", 75)                                   \
    ENTRY(STATUS_CONFIG, "bad configuration", 78)

#define STATUS_ENUM(name, sentence, code) name,
typedef enum Status { STATUS_LIST(STATUS_ENUM) STATUS_COUNT } Status;
#undef STATUS_ENUM

#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(text, first) __attribute__((format(printf, text, first)))

enum { STATUS_MESSAGE_BYTES = 8192 }; /* longer messages are cut */

/* Keep a message for `status` and return it. The message names the thing, what was expected and
 * what was found; it may have several lines and ends without a newline. */
#define FAIL(status, ...) status_fail((status), __VA_ARGS__)

/* Return from the calling function if `call` did not return STATUS_OK. */
#define TRY(call)                                                                                  \
    do {                                                                                           \
        Status try_status_ = (call);                                                               \
        if (try_status_ != STATUS_OK) return try_status_;                                          \
    } while (0)

/* A bug if false: print rank, file and line, and end the whole job with exit code 70. */
#define REQUIRE(condition) ((condition) ? (void)0 : status_abort(#condition, __FILE__, __LINE__))

/* Local. Keeps the message (see FAIL); returns `status`. */
MUST_CHECK Status status_fail(Status status, const char *format, ...) PRINTF_LIKE(2, 3);

/* Local. The message of the last failure; "" if there was none. Owned by this module. */
const char *status_message(void);

/* Local. Replace the kept message, for a message that came from another rank. */
void status_set_message(const char *message);

/* Local. A short sentence for the code, e.g. "bad data". */
const char *status_sentence(Status status);

/* Local. The program's exit code for it: 0, 3 or 64..78. */
int status_exit_code(Status status);

/* Local. What REQUIRE calls. `status_set_abort` installs what ends the other ranks as well; it gets
 * the exit code and must not return. Without it, exit. */
_Noreturn void status_abort(const char *condition, const char *file, int line);
void status_set_abort(void (*end_job)(int exit_code), int rank);

/* Local. True when an artificial failure is due at this point: allocation, open, read and write
 * ask. Set by LOCKSTEP_FAULT="N" or "N@RANK": the N-th point asked (on that rank) fails, once; with
 * a trailing "+", all from then on. Used by the fault tests. */
int status_fault_is_due(void);

/* Local. Arm (n >= 1) or disarm (n = 0) the fault points from a test, restarting the count. */
void status_arm_fault(long n, int repeat);

/* Local. Fault points asked since the last status_arm_fault. */
long status_fault_points_seen(void);

#endif
