/* optimizer.h - update rules over a slice of the parameter block: SGD, Adam, AdamW as in
 * torch.optim. */
#ifndef SRC_OPTIMIZER_H
#define SRC_OPTIMIZER_H

#include "src/job.h"
#include "src/kernels/kernels.h"

enum { OPTIMIZER_STATES_MAX = 2 };

typedef struct Optimizer {
    const JobOptimizer *job;
    const Kernels *kernels;
    int state_count;
    const char *state_names[OPTIMIZER_STATES_MAX]; /* "momentum_buffer"; "exp_avg", "exp_avg_sq" */
    float *states[OPTIMIZER_STATES_MAX];           /* [count] each: this slice's part; owned */
    size_t begin, count;                           /* the slice of the parameter block */
    int64_t step;                                  /* updates done */
    double lr;                                     /* of the update to come */
} Optimizer;

/* Local. The state for floats [begin, begin + count) of the parameter block, zeroed. `job` and
 * `kernels` must outlive it. The caller frees with optimizer_free, also after a failure.
 * Fails with STATUS_NO_MEMORY. */
MUST_CHECK Status optimizer_create(Optimizer **optimizer, const JobOptimizer *job,
    const Kernels *kernels, size_t begin, size_t count);
void optimizer_free(Optimizer *optimizer);

/* Local. Update floats [begin, begin + count) of the parameter block, a part of the slice, with lr
 * optimizer->lr: an ExchangeUpdate whose context is the Optimizer. */
void optimizer_update(
    void *optimizer, size_t begin, size_t count, float *parameters, const float *gradient);

/* Local. The slice (all its parts) has been updated: count the step. */
void optimizer_finish_step(Optimizer *optimizer);

#endif
