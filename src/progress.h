/* progress.h - what a person sees while training: a bar on a real terminal, else a line now and
 * then; and the same lines in log.txt. Only rank 0 has one. */
#ifndef SRC_PROGRESS_H
#define SRC_PROGRESS_H

#include "src/status.h"
#include <stdint.h>

typedef enum ProgressMode {
    PROGRESS_AUTO,
    PROGRESS_BAR,
    PROGRESS_LINES,
    PROGRESS_NONE
} ProgressMode;

typedef struct Progress Progress;

/* One moment of training. */
typedef struct ProgressPoint {
    int64_t epoch, epochs;             /* the present one, from 1; of the run */
    int64_t position, steps_per_epoch; /* steps done in the epoch */
    int64_t step, steps;               /* done in the run; of the run */
    double loss, accuracy;             /* means over the epoch so far */
    double lr;
    double samples_per_second;
    double communication_share; /* of this rank's time */
    double seconds_left;        /* estimate */
} ProgressPoint;

/* Local. PROGRESS_AUTO: a bar if stdout is a terminal that has a size, lines otherwise (under
 * mpirun isatty is true even into a file). Lines also go to `log_path`, appended; NULL: no log. The
 * caller frees. Fails with STATUS_CREATE, STATUS_NO_MEMORY. */
MUST_CHECK Status progress_create(
    Progress **progress, ProgressMode mode, double every_seconds, const char *log_path);
void progress_free(Progress *progress);

/* Local. Show the moment if it is time to. NULL progress: nothing. */
void progress_show(Progress *progress, const ProgressPoint *point);

/* Local. Print a line that stays, to stdout and the log. NULL progress: nothing. */
void progress_print(Progress *progress, const char *format, ...) PRINTF_LIKE(2, 3);

/* Local. The same for what was asked for: PROGRESS_NONE does not keep it off stdout. */
void progress_answer(Progress *progress, const char *format, ...) PRINTF_LIKE(2, 3);

/* Local. Add a line to the log alone. NULL progress: nothing. */
void progress_log(Progress *progress, const char *line);

/* Local. Seconds of a monotonic clock. */
double progress_now(void);

#endif
