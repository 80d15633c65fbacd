/* schedule.h - the learning rate of each step: a function of the step, with nothing to save. */
#ifndef SRC_SCHEDULE_H
#define SRC_SCHEDULE_H

#include "src/job.h"

/* Local. The learning rate of step `step` (from 0) of a run with `steps_per_epoch`; steps beyond
 * the run's end keep the last one. With w = warm-up steps, n = all steps, t = (step - w) / (n - w):
 * step < w: lr * (step + 1) / w.  constant: lr.  step: lr * gamma^floor(epoch / step_epochs).
 * cosine: final + (lr - final) * (1 + cos(pi t)) / 2 (Loshchilov & Hutter, ICLR 2017, eq. 5).
 * linear: lr + (final - lr) * t. */
double schedule_lr(const Job *job, int64_t step, int64_t steps_per_epoch);

#endif
