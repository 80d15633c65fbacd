/* thin_out.c - see thin_out.h. */
#include "src/layers/thin_out.h"
#include <string.h>

const Option thin_out_options[] = {
    {"p", OPTION_FLOAT, offsetof(ThinOutOptions, p), "0.5", .minimum = 0, .maximum = 0.9999999,
        .doc = "probability of being dropped; what is kept is scaled by 1 / (1 - p)"},
    {.key = NULL}};

void thin_out_configure(Layer *self, Shape in, int rows) {
    ThinOutState *state = self->state;
    size_t lanes = (size_t)self->lanes;
    state->rows = rows;
    state->pixels = (int)(shape_element_count(in) / (size_t)rows);
    state->factors = layer_add_scratch_per_microbatch(self, (size_t)rows * lanes);
    state->samples = layer_add_scratch_per_microbatch(self, 2 * lanes);
}

/* The samples' indices, 0 in lanes without one, whose factors meet no gradient. */
static void split_samples(const Batch *batch, const int64_t *index, int m, uint32_t *halves) {
    for (int s = 0; s < batch->lanes; s++) {
        uint64_t sample = s < batch_valid_lanes(batch, m) ? (uint64_t)index[s] : 0;
        halves[s] = (uint32_t)sample;
        halves[batch->lanes + s] = (uint32_t)(sample >> 32);
    }
}

/* What the threads share. */
typedef struct Call {
    const Layer *self;
    const Pass *pass;
} Call;

static void draw_microbatch(void *context, int m, int thread) {
    (void)thread;
    const Call *call = context;
    const ThinOutState *state = call->self->state;
    const ThinOutOptions *chosen = call->self->options;
    const Batch *batch = call->pass->batch;
    uint32_t *halves = (uint32_t *)(void *)layer_scratch(call->self, state->samples, m);
    Rng rng = rng_stream(call->pass->seed, RNG_DROPOUT, call->self->index);
    split_samples(
        batch, call->pass->sample_index + (size_t)m * (size_t)batch->microbatch, m, halves);
    KernelDropout dropout = {.key = {rng.key[0], rng.key[1]},
        .step = call->pass->step,
        .sample_low = halves,
        .sample_high = halves + batch->lanes,
        .threshold = (uint32_t)(chosen->p * 0x1p32),
        .keep = 1.0f / (float)(1.0 - chosen->p)};
    call->pass->kernels->dropout_draw(
        &dropout, state->rows, batch->lanes, layer_scratch(call->self, state->factors, m));
}

/* out = in times the factors, for either direction. */
static void multiply(const Microbatch *microbatch, const float *in) {
    const ThinOutState *state = microbatch->self->state;
    microbatch->kernels->multiply_rows(in,
        layer_scratch(microbatch->self, state->factors, microbatch->m), microbatch->out,
        state->pixels, microbatch->lanes, microbatch->begin, microbatch->end);
}

/* The same with factors of 1. */
static void copy(const Microbatch *microbatch, const float *in) {
    const ThinOutState *state = microbatch->self->state;
    size_t i = microbatch_offset(microbatch) * (size_t)state->pixels;
    size_t n = microbatch_floats(microbatch) * (size_t)state->pixels;
    if (in != microbatch->out) memcpy(microbatch->out + i, in + i, n * sizeof *in);
}

static void forward_rows(const Microbatch *microbatch) {
    const ThinOutState *state = microbatch->self->state;
    (state->drops ? multiply : copy)(microbatch, microbatch->x);
}

static void backward_rows(const Microbatch *microbatch) {
    const ThinOutState *state = microbatch->self->state;
    (state->drops ? multiply : copy)(microbatch, microbatch->dy);
}

void thin_out_forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    ThinOutState *state = self->state;
    Call call = {.self = self, .pass = pass};
    state->drops = pass->uses_batch_statistics;
    if (state->drops) threads_run(pass->threads, pass->batch->local_count, draw_microbatch, &call);
    microbatch_forward(self, pass, x, y, state->rows, forward_rows);
}

void thin_out_backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    const ThinOutState *state = self->state;
    if (dx->data == NULL) return;
    microbatch_backward(self, pass, x, y, dy, dx, state->rows, backward_rows);
}
