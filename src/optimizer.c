/* optimizer.c - see optimizer.h. Adam: Kingma & Ba, ICLR 2015; AdamW: Loshchilov & Hutter, ICLR
 * 2019. */
#include "src/optimizer.h"
#include "src/memory.h"
#include <math.h>

static void name_states(Optimizer *optimizer) {
    if (optimizer->job->name != OPTIMIZER_SGD) {
        optimizer->state_names[0] = "exp_avg";
        optimizer->state_names[1] = "exp_avg_sq";
        optimizer->state_count = 2;
    } else if (optimizer->job->momentum != 0) {
        optimizer->state_names[0] = "momentum_buffer";
        optimizer->state_count = 1;
    }
}

Status optimizer_create(Optimizer **optimizer_out, const JobOptimizer *job, const Kernels *kernels,
    size_t begin, size_t count) {
    Optimizer *optimizer = NULL;
    *optimizer_out = NULL;
    TRY(MEMORY_ALLOCATE(&optimizer, 1, "optimizer"));
    *optimizer_out = optimizer;
    optimizer->job = job;
    optimizer->kernels = kernels;
    optimizer->begin = begin;
    optimizer->count = count;
    optimizer->lr = job->lr;
    name_states(optimizer);
    for (int i = 0; i < optimizer->state_count; i++)
        TRY(MEMORY_ALLOCATE(&optimizer->states[i], count, "optimizer state"));
    return STATUS_OK;
}

void optimizer_free(Optimizer *optimizer) {
    if (optimizer == NULL) return;
    for (int i = 0; i < OPTIMIZER_STATES_MAX; i++) memory_free(optimizer->states[i]);
    memory_free(optimizer);
}

static void update_sgd(
    const Optimizer *optimizer, size_t at, size_t count, float *parameters, const float *gradient) {
    const JobOptimizer *job = optimizer->job;
    float *buffer = optimizer->state_count > 0 ? optimizer->states[0] + at : NULL;
    optimizer->kernels->sgd(parameters, gradient, buffer, count, (float)optimizer->lr,
        (float)job->momentum, (float)job->dampening, (float)job->weight_decay, job->nesterov,
        optimizer->step == 0);
}

static void update_adam(
    const Optimizer *optimizer, size_t at, size_t count, float *parameters, const float *gradient) {
    const JobOptimizer *job = optimizer->job;
    double beta1 = job->betas.values[0], beta2 = job->betas.values[1];
    double t = (double)optimizer->step + 1;
    double step_size = optimizer->lr / (1 - pow(beta1, t));
    double correction = sqrt(1 - pow(beta2, t));
    optimizer->kernels->adam(parameters, gradient, optimizer->states[0] + at,
        optimizer->states[1] + at, count, (float)optimizer->lr, (float)beta1, (float)beta2,
        (float)job->eps, (float)job->weight_decay, job->name == OPTIMIZER_ADAMW, (float)step_size,
        (float)correction);
}

void optimizer_update(
    void *context, size_t begin, size_t count, float *parameters, const float *gradient) {
    Optimizer *optimizer = context;
    REQUIRE(begin >= optimizer->begin && begin + count <= optimizer->begin + optimizer->count);
    size_t at = begin - optimizer->begin;
    if (optimizer->job->name == OPTIMIZER_SGD)
        update_sgd(optimizer, at, count, parameters, gradient);
    else
        update_adam(optimizer, at, count, parameters, gradient);
}

void optimizer_finish_step(Optimizer *optimizer) {
    optimizer->step++;
}
