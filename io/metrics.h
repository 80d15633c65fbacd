/* metrics.h - metrics.jsonl of a run: a header line, then one JSON object per record.
 *
 * Records of training carry "step", the optimizer steps done, so that a resumed run can drop what
 * the one before wrote beyond its checkpoint. */
#ifndef IO_METRICS_H
#define IO_METRICS_H

#include "src/status.h"
#include <stdint.h>
#include <stdio.h>

typedef struct Metrics Metrics;

/* Local. Open `folder`/metrics.jsonl for appending after removing the records whose step is larger
 * than `keep_step` (-1: all of them, for a new run) and a torn last line. The caller closes it.
 * Fails with STATUS_CREATE, STATUS_IO, STATUS_NO_MEMORY. */
MUST_CHECK Status metrics_open(Metrics **metrics, const char *folder, int64_t keep_step);
void metrics_close(Metrics *metrics);

/* Local. Build a record field by field and write it as one line. A number that is not finite
 * becomes null. Nothing is written before metrics_end, which flushes; it fails with STATUS_IO. */
void metrics_begin(Metrics *metrics, const char *type);
void metrics_number(Metrics *metrics, const char *name, double value);
void metrics_text(Metrics *metrics, const char *name, const char *value);
MUST_CHECK Status metrics_end(Metrics *metrics);

#endif
