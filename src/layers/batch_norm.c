/* batch_norm.c - y = (x - mean) / sqrt(var + eps) * weight + bias, per channel (Ioffe & Szegedy,
 * ICML 2015), as torch.nn.BatchNorm1d/2d; statistics over all samples and pixels of the whole
 * global batch, or of groups of microbatches, whatever the number of ranks.
 *
 * x [c] or [c, h, w], y the same; weight, bias, running_mean, running_var [c], num_batches_tracked.
 * Moments: each microbatch gives count, mean and M2 = sum of (x - mean)², taken about a rough mean
 * and corrected; they are merged in double along the tree by Chan, Golub & LeVeque's formula
 * (Stanford STAN-CS-79-773, eq. 1.5): M2 = M2a + M2b + (mean_b - mean_a)² * n_a * n_b / (n_a +
 * n_b). One collective forward and one backward. The batch is normalised with the biased variance;
 * running_var takes the unbiased one of the whole batch (left alone where the batch has one value
 * per channel). With groups that is the law of total variance over the groups. Backward: dx =
 * weight / std * (dy - mean(dy) - xhat * mean(dy * xhat)), means over the group. */
#include "src/layer.h"
#include <math.h>
#include <string.h>

typedef struct Options {
    double eps, momentum;
    int is_affine;
    int64_t group; /* microbatches that share statistics; 0: all */
    int init_gamma;
} Options;

enum { GAMMA_ONES, GAMMA_UNIFORM };
static const char *const gammas[] = {"ones", "uniform", NULL};

static const Option options[] = {{"eps", OPTION_FLOAT, offsetof(Options, eps), "1.0e-5",
                                     .minimum = 0, .maximum = 1, .doc = "added to the variance"},
    {"momentum", OPTION_FLOAT, offsetof(Options, momentum), "0.1", .minimum = 0, .maximum = 1,
        .is_null_allowed = 1,
        .doc = "weight of the new batch in the running statistics; null: plain average"},
    {"affine", OPTION_BOOL, offsetof(Options, is_affine), "true",
        .doc = "learn a scale and a shift per channel"},
    {"sync", OPTION_GROUP, offsetof(Options, group), "global",
        .doc = "statistics over the whole batch, each microbatch (none), or {group: G} of them"},
    {"init_gamma", OPTION_ENUM, offsetof(Options, init_gamma), "ones", .words = gammas,
        .doc = "start of the scale: 1, or uniform in [0, 1) as frameworks once did"},
    {.key = NULL}};

/* Rows of the table of floats that every local microbatch has, each [channels]; those that share
 * statistics use the table of the first of them. */
enum { MEAN, MEAN_LOW, INVERSE_STD, SCALE, SHIFT, SLOPE, OFFSET, TABLE_ROWS };

typedef struct State {
    int channels, pixels;
    int weight, bias;                               /* parameters; -1 without affine */
    int running_mean, running_var, batches_tracked; /* tensors */
    int table;                                      /* scratch per microbatch: see above */
    int leaves;                                     /* scratch per microbatch: dweight, dbias */
    int records, grouped;                           /* scratch per microbatch: double [length] */
    int total;                                      /* scratch: double [length] */
} State;

/* A record of the forward collective: count, mean [c], M2 [c]; of the backward one: sum of dy [c],
 * sum of dy * xhat [c]. */
static int record_length(const State *state) {
    return 2 * state->channels + 1;
}

static void add_tensors(Layer *self, State *state, const Options *chosen) {
    Shape channels = {.dimension_count = 1, .size = {state->channels}};
    Init ones = {.rule = INIT_CONSTANT, .value = 1};
    Init uniform = {.rule = INIT_UNIFORM, .minimum = 0, .maximum = 1};
    Init zeros = {.rule = INIT_CONSTANT, .value = 0};
    state->weight = state->bias = -1;
    if (chosen->is_affine) {
        Init gamma = chosen->init_gamma == GAMMA_UNIFORM ? uniform : ones;
        state->weight = layer_add_parameter(self, "weight", channels, gamma);
        state->bias = layer_add_parameter(self, "bias", channels, zeros);
    }
    state->running_mean = layer_add_buffer(self, "running_mean", channels, 0);
    state->running_var = layer_add_buffer(self, "running_var", channels, 1);
    state->batches_tracked = layer_add_counter(self, "num_batches_tracked");
}

static Status configure(Layer *self, Shape in, Shape *out) {
    State *state = self->state;
    *out = in;
    state->channels = in.size[0];
    state->pixels = (int)(shape_element_count(in) / (size_t)state->channels);
    if (record_length(state) > REDUCER_LENGTH_MAX)
        return FAIL(STATUS_CONFIG, "batch_norm '%s': %d channels are more than %d", self->label,
            state->channels, (REDUCER_LENGTH_MAX - 1) / 2);
    add_tensors(self, state, self->options);
    size_t channels = (size_t)state->channels;
    size_t record = (size_t)record_length(state) * sizeof(double) / sizeof(float);
    state->table = layer_add_scratch_per_microbatch(self, TABLE_ROWS * channels);
    state->leaves = layer_add_scratch_per_microbatch(self, 2 * channels);
    state->records = layer_add_scratch_contiguous(self, record);
    state->grouped = layer_add_scratch_contiguous(self, record);
    state->total = layer_add_scratch(self, record);
    self->multiply_adds = 2.0 * (double)shape_element_count(in);
    return STATUS_OK;
}

typedef struct Call {
    const Layer *self;
    const State *state;
    const Pass *pass;
    const Tensor *x, *dy;
    Tensor *y;     /* or dx */
    int64_t group; /* microbatches that share statistics */
    int rectifies; /* do the relu that follows, or its backward pass */
    int chunks;    /* items per microbatch: ranges of channels */
} Call;

/* What one item does: channels [begin, end) of microbatch m. */
typedef struct Item {
    int m, begin, end, valid;
} Item;

static Item item_of(const Call *call, int index) {
    int chunk = index % call->chunks;
    Item item = {.m = index / call->chunks};
    item.begin = (int)((int64_t)call->state->channels * chunk / call->chunks);
    item.end = (int)((int64_t)call->state->channels * (chunk + 1) / call->chunks);
    item.valid = batch_valid_lanes(call->pass->batch, item.m);
    return item;
}

static void run(Call *call, ThreadsWork work) {
    int count = call->pass->batch->local_count;
    if (count == 0) return;
    call->chunks = (threads_count(call->pass->threads) + count - 1) / count;
    threads_run(call->pass->threads, count * call->chunks, work, call);
}

/* The first local microbatch of those that share m's statistics. */
static int first_of_group(const Call *call, int m) {
    int64_t begin = call->pass->batch->local_begin;
    int64_t first = (begin + m) / call->group * call->group - begin;
    return first < 0 ? 0 : (int)first;
}

static float *table_row(const Call *call, int m, int row) {
    float *table = layer_scratch(call->self, call->state->table, first_of_group(call, m));
    return table + (size_t)row * call->state->channels;
}

static KernelNorm norm_of(const Call *call, int m) {
    return (KernelNorm){.mean = table_row(call, m, MEAN),
        .mean_low = table_row(call, m, MEAN_LOW),
        .inverse_std = table_row(call, m, INVERSE_STD),
        .scale = table_row(call, m, SCALE),
        .shift = table_row(call, m, SHIFT),
        .slope = table_row(call, m, SLOPE),
        .offset = table_row(call, m, OFFSET),
        .rectifies = call->rectifies};
}

static double *record_of(const Call *call, int scratch, int m) {
    double *records = (double *)call->self->scratch[scratch].data;
    return records + (size_t)m * (size_t)record_length(call->state);
}

/* ---- forward ---- */

static void take_moments(void *context, int index, int thread) {
    (void)thread;
    const Call *call = context;
    Item item = item_of(call, index);
    double *record = record_of(call, call->state->records, item.m);
    if (item.begin == 0) record[0] = (double)item.valid * call->state->pixels;
    call->pass->kernels->norm_moments(layer_input(call->x, item.m).data, call->state->pixels,
        call->pass->batch->lanes, item.valid, item.begin, item.end, record + 1,
        record + 1 + call->state->channels);
}

/* Fill microbatch m's table from the moments of each channel. */
static void set_statistics(const Call *call, int m, const double *moments) {
    const State *state = call->state;
    const LayerTensor *tensors = call->self->tensors;
    const float *weight = state->weight < 0 ? NULL : tensors[state->weight].data;
    const float *bias = state->bias < 0 ? NULL : tensors[state->bias].data;
    call->pass->kernels->norm_set_scale(norm_of(call, m), moments + 1,
        moments + 1 + state->channels, moments[0], ((const Options *)call->self->options)->eps,
        weight, bias, state->channels);
}

static void update_running_statistics(Layer *self, const State *state, const double *total) {
    const Options *chosen = self->options;
    int channels = state->channels;
    float *mean = self->tensors[state->running_mean].data;
    float *variance = self->tensors[state->running_var].data;
    int64_t *batches = &self->tensors[state->batches_tracked].counter;
    *batches += 1;
    double factor = isnan(chosen->momentum) ? 1.0 / (double)*batches : chosen->momentum;
    for (int c = 0; c < channels; c++) {
        mean[c] = (float)((1 - factor) * mean[c] + factor * total[1 + c]);
        if (total[0] > 1)
            variance[c] = (float)((1 - factor) * variance[c] +
                                  factor * total[1 + channels + c] / (total[0] - 1));
    }
}

/* How many microbatches share statistics in a pass. */
static int64_t group_of(const Layer *self, const Pass *pass) {
    int64_t all = pass->batch->global_microbatch_count;
    int64_t chosen = ((const Options *)self->options)->group;
    return chosen == 0 || chosen > all || !pass->uses_batch_statistics ? all : chosen;
}

static void use_batch_statistics(Layer *self, Call *call) {
    const State *state = self->state;
    const Pass *pass = call->pass;
    double *total = record_of(call, state->total, 0);
    int count = pass->batch->local_count;
    run(call, take_moments);
    layer_combine(pass, (int)call->group, record_length(state), pass->kernels->norm_merge,
        record_of(call, state->records, 0), record_of(call, state->grouped, 0), total);
    for (int m = 0; m < count; m++) {
        if (first_of_group(call, m) < m) continue;
        set_statistics(call, m, record_of(call, state->grouped, m));
    }
    if (pass->is_training) update_running_statistics(self, state, total);
}

static void use_running_statistics(Layer *self, Call *call) {
    const State *state = self->state;
    double *total = record_of(call, state->total, 0);
    total[0] = 1;
    for (int c = 0; c < state->channels; c++) {
        total[1 + c] = self->tensors[state->running_mean].data[c];
        total[1 + state->channels + c] = self->tensors[state->running_var].data[c];
    }
    if (call->pass->batch->local_count > 0) set_statistics(call, 0, total);
}

static void normalize(void *context, int index, int thread) {
    (void)thread;
    const Call *call = context;
    Item item = item_of(call, index);
    const Tensor *addend = call->self->addend;
    call->pass->kernels->norm_forward(layer_input(call->x, item.m).data,
        addend == NULL ? NULL : layer_input(addend, item.m).data,
        layer_output(call->y, item.m).data, norm_of(call, item.m), call->state->pixels,
        call->pass->batch->lanes, item.begin, item.end);
}

static void forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    Call call = {.self = self, .state = self->state, .pass = pass, .x = x, .y = y};
    call.group = group_of(self, pass);
    call.rectifies = self->rectifies;
    if (pass->uses_batch_statistics)
        use_batch_statistics(self, &call);
    else
        use_running_statistics(self, &call);
    run(&call, normalize);
}

/* ---- backward ---- */

static void take_gradient_sums(void *context, int index, int thread) {
    (void)thread;
    const Call *call = context;
    const State *state = call->state;
    Item item = item_of(call, index);
    double *sum_dy = record_of(call, state->records, item.m);
    double *sum_dy_xhat = sum_dy + state->channels;
    float *leaves = layer_scratch(call->self, state->leaves, item.m);
    call->pass->kernels->norm_sums(layer_input(call->dy, item.m).data,
        layer_input(call->x, item.m).data, norm_of(call, item.m), state->pixels,
        call->pass->batch->lanes, item.valid, item.begin, item.end, sum_dy, sum_dy_xhat);
    for (int c = item.begin; c < item.end; c++) {
        leaves[c] = (float)sum_dy_xhat[c];
        leaves[state->channels + c] = (float)sum_dy[c];
    }
    if (item.begin == 0) sum_dy[2 * state->channels] = (double)item.valid * state->pixels;
}

static void input_gradient(void *context, int index, int thread) {
    (void)thread;
    const Call *call = context;
    Item item = item_of(call, index);
    call->pass->kernels->norm_input_gradient(layer_input(call->dy, item.m).data,
        layer_input(call->x, item.m).data, layer_output(call->y, item.m).data,
        norm_of(call, item.m), call->state->pixels, call->pass->batch->lanes, item.valid,
        item.begin, item.end);
}

static void backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    (void)y;
    const State *state = self->state;
    Call call = {.self = self, .state = state, .pass = pass, .x = x, .dy = dy, .y = dx};
    call.group = group_of(self, pass);
    call.rectifies = self->rectifies && self->addend == NULL;
    int channels = state->channels;
    size_t stride = self->scratch[state->leaves].stride;
    run(&call, take_gradient_sums);
    if (state->weight >= 0 && pass->batch->local_count > 0) {
        float *leaves = layer_scratch(self, state->leaves, 0);
        layer_fold_gradient(self, pass, state->weight, leaves, stride);
        layer_fold_gradient(self, pass, state->bias, leaves + channels, stride);
    }
    if (dx->data == NULL) return;
    layer_combine(pass, (int)call.group, record_length(state), reducer_merge_sum,
        record_of(&call, state->records, 0), record_of(&call, state->grouped, 0), NULL);
    for (int m = 0; m < pass->batch->local_count; m++) {
        if (first_of_group(&call, m) < m) continue;
        const double *sums = record_of(&call, state->grouped, m);
        pass->kernels->norm_set_slope(
            norm_of(&call, m), sums, sums + channels, sums[2 * channels], channels);
    }
    run(&call, input_gradient);
}

const LayerType layer_batch_norm = {
    .name = "batch_norm",
    .summary = "batch normalization per channel, synchronised over ranks",
    .example = "{momentum: 0.1}",
    .options = options,
    .options_bytes = sizeof(Options),
    .state_bytes = sizeof(State),
    .takes_relu_after = 1,
    .takes_addend = 1,
    .configure = configure,
    .forward = forward,
    .backward = backward,
};
