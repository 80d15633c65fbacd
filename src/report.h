/* report.h - what a training run tells: on the display, in log.txt and in metrics.jsonl. Only rank
 * 0 tells; the others call the same functions, which then do nothing. */
#ifndef SRC_REPORT_H
#define SRC_REPORT_H

#include "src/trainer.h"

/* What is measured while an epoch runs; differs between ranks and runs. */
typedef struct ReportStopwatch {
    double start, communication_at_start;
    int64_t samples;
} ReportStopwatch;

/* Local. Start measuring. */
ReportStopwatch report_stopwatch_start(const Trainer *trainer);

/* Local. The present moment of training. */
ProgressPoint report_point(const Trainer *trainer, const ReportStopwatch *watch, double lr);

/* Local. The run's size, ranks and threads; a warning where processors are too few. */
void report_start(const Trainer *trainer);

/* Local. The numbers of data.standardize, found in so many training samples. */
void report_standardization(const Trainer *trainer, int64_t sample_count);

/* Local, rank 0. The first record of metrics.jsonl, or that of a resumed run. Fails with STATUS_IO.
 */
MUST_CHECK Status report_header(Trainer *trainer, int is_resumed);

/* Local. A failure that does not end training. STATUS_OK: nothing. */
void report_warning(const Trainer *trainer, Status status);

/* Local. A record of one step, where log.every_steps asks for it. */
void report_step(const Trainer *trainer, const Totals *batch, double lr);

/* Local. The newest row of the history. point: of the epoch's end, NULL before the first epoch. */
void report_epoch(const Trainer *trainer, const ProgressPoint *point, double seconds);

/* Local. Where the time of rank 0's training steps went, if it was measured. */
void report_profile(const Trainer *trainer);

/* Collective. Evaluate the test set and tell the result, or that there is none. Fails as
 * engine_run. */
MUST_CHECK Status report_test(Trainer *trainer);

#endif
