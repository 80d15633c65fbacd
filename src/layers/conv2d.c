/* conv2d.c - two-dimensional convolution (cross-correlation), as torch.nn.Conv2d.
 *
 * x [in, h, w], y [out, rows, columns], rows = (h + 2 padding - dilation (kernel - 1) - 1) / stride
 * + 1; weight [out, in / groups, kernel, kernel], bias [out].
 *   y [o][r][c] = bias [o] + sum over i, kh, kw of weight [o][i][kh][kw]
 *       * x [i][r stride - padding + kh dilation][c stride - padding + kw dilation]
 * The gradient with respect to x is a convolution of dy with the same weights, for stride s one for
 * each of the s x s places that a pixel of x can have between the steps (its phase).
 * Initial values: uniform in ±1/sqrt(in / groups * kernel * kernel), PyTorch's default
 * (kaiming_uniform_ with a = sqrt(5); He et al., ICCV 2015). */
#include "src/layer.h"
#include "src/layers/conv2d_plan.h"
#include "src/layers/depthwise.h"
#include <limits.h>
#include <math.h>

enum { SIDE_MAX = 4096, STRIDE_MAX = 64 };

typedef struct Options {
    int64_t out, groups;
    OptionInts kernel, stride, padding, dilation;
    int has_bias;
    int algorithm;
} Options;

enum { ALGORITHM_AUTO, ALGORITHM_DIRECT, ALGORITHM_WINOGRAD };
static const char *const algorithms[] = {"auto", "direct", "winograd", NULL};

_Static_assert(CONV2D_TAPS_MAX == 1024, "the doc of kernel says so");
static const Option options[] = {{"out", OPTION_INT, offsetof(Options, out), NULL, .minimum = 1,
                                     .maximum = 1 << 20, .doc = "output channels"},
    {"kernel", OPTION_INTS, offsetof(Options, kernel), NULL, .minimum = 1,
        .maximum = CONV2D_TAPS_MAX,
        .doc = "size of the window, one number or [height, width], at most 1024 weights in all"},
    {"stride", OPTION_INTS, offsetof(Options, stride), "1", .minimum = 1, .maximum = STRIDE_MAX,
        .doc = "pixels from one window to the next, one number or two"},
    {"padding", OPTION_INTS, offsetof(Options, padding), "0", .minimum = 0, .maximum = SIDE_MAX,
        .doc = "zeros around the image, one number or two"},
    {"dilation", OPTION_INTS, offsetof(Options, dilation), "1", .minimum = 1, .maximum = SIDE_MAX,
        .doc = "pixels from one weight of the window to the next, one number or two"},
    {"groups", OPTION_INT, offsetof(Options, groups), "1", .minimum = 1, .maximum = 1 << 20,
        .doc = "groups of channels that are convolved apart"},
    {"bias", OPTION_BOOL, offsetof(Options, has_bias), "true", .doc = "add a learned bias"},
    {"algorithm", OPTION_ENUM, offsetof(Options, algorithm), "auto", .words = algorithms,
        .doc = "direct, or winograd for 3 x 3 windows; auto: the one that is faster"},
    {.key = NULL}};

typedef struct State {
    Conv2dSizes sizes;
    int is_depthwise; /* depthwise.h does it, without scratch */
    int weight, bias; /* tensors; bias -1 without one */
    int plans;        /* scratch: Plans */
    int packed;       /* scratch: all weights in the kernels' order */
    int halo;         /* scratch: x or dy with zeros around, for each thread */
    int sums;     /* scratch for each thread: of conv_weight_gradient or winograd, or for results */
    int stack;    /* scratch: [levels][weights] of the fold over microbatches */
    int dbias;    /* scratch of each microbatch: [out], its bias's gradient */
    int together; /* microbatches whose results are computed together, at most */
    size_t halo_floats; /* of one microbatch */
    size_t sums_floats; /* of one thread */
} State;

/* Made once: each time, it would take some percent of a batch of 4 samples. */
typedef struct Plans {
    const Kernels *kernels; /* that they are for; NULL: not made */
    Conv2dPlan forward, weight_gradient;
    Conv2dPlan input_gradient; /* where it has one phase */
} Plans;

/* ---- set-up ---- */

static Status read_sizes(const Layer *self, Conv2dSizes *sizes, Shape in) {
    const Options *chosen = self->options;
    char text[SHAPE_TEXT_BYTES];
    if (in.dimension_count != 3)
        return FAIL(STATUS_CONFIG, "conv2d '%s' wants channels, height and width, got %s",
            self->label, shape_print(in, text));
    TRY(layer_read_pair(self, "kernel", &chosen->kernel, NULL, sizes->kernel));
    TRY(layer_read_pair(self, "stride", &chosen->stride, NULL, sizes->stride));
    TRY(layer_read_pair(self, "padding", &chosen->padding, NULL, sizes->padding));
    TRY(layer_read_pair(self, "dilation", &chosen->dilation, NULL, sizes->dilation));
    sizes->in = in.size[0];
    sizes->out = (int)chosen->out;
    sizes->groups = (int)chosen->groups;
    if (sizes->in % sizes->groups != 0 || sizes->out % sizes->groups != 0)
        return FAIL(STATUS_CONFIG,
            "conv2d '%s': groups %d must divide the %d input and %d output channels", self->label,
            sizes->groups, sizes->in, sizes->out);
    for (int d = 0; d < SIDES; d++) {
        sizes->x_size[d] = in.size[1 + d];
        int window = sizes->dilation[d] * (sizes->kernel[d] - 1) + 1;
        int64_t room = (int64_t)sizes->x_size[d] + 2 * sizes->padding[d] - window;
        if (room < 0)
            return FAIL(STATUS_CONFIG,
                "conv2d '%s': a window of %d pixels does not fit into %s with padding %d",
                self->label, window, shape_print(in, text), sizes->padding[d]);
        if (room >= INT_MAX)
            return FAIL(STATUS_CONFIG, "conv2d '%s': %s with padding %d is too large", self->label,
                shape_print(in, text), sizes->padding[d]);
        sizes->y_size[d] = (int)room / sizes->stride[d] + 1;
    }
    if (conv2d_taps(sizes) > CONV2D_TAPS_MAX)
        return FAIL(STATUS_CONFIG, "conv2d '%s': a window of %d x %d is more than %d weights",
            self->label, sizes->kernel[HEIGHT], sizes->kernel[WIDTH], CONV2D_TAPS_MAX);
    return STATUS_OK;
}

/* Winograd's transforms pay from 24 channels and images of 6 x 6 on. How many times as fast as
 * direct it was on Zen 4, forward with S = 16: with AVX-512 1.1 with 16 and 24 channels, 1.2 with
 * 32, 1.5 with 64; with AVX2 0.8 with 16, 1.0 with 24, 1.1 with 32. Smaller images are mostly
 * padding, which direct leaves out: 0.9 with 4 x 4 pixels and 64 channels, 0.1 with one pixel.
 * Backward it gains less, as the weight gradient is direct. */
static Status choose_algorithm(const Layer *self, Conv2dSizes *sizes) {
    enum { CHANNELS_MIN = 24, SIDE_MIN = 6, LANES_MIN = 16 };
    int algorithm = ((const Options *)self->options)->algorithm, can = 1;
    int in = sizes->in / sizes->groups, out = sizes->out / sizes->groups;
    for (int d = 0; d < SIDES; d++)
        can &= sizes->kernel[d] == 3 && sizes->stride[d] == 1 && sizes->dilation[d] == 1;
    if (algorithm == ALGORITHM_WINOGRAD && !can)
        return FAIL(STATUS_CONFIG,
            "conv2d '%s': algorithm winograd is for kernel 3, stride 1 and dilation 1: use auto",
            self->label);
    int pays = in >= CHANNELS_MIN && out >= CHANNELS_MIN && sizes->y_size[HEIGHT] >= SIDE_MIN &&
               sizes->y_size[WIDTH] >= SIDE_MIN && self->lanes >= LANES_MIN;
    sizes->uses_winograd =
        algorithm == ALGORITHM_WINOGRAD || (algorithm == ALGORITHM_AUTO && can && pays);
    return STATUS_OK;
}

static void add_parameters(Layer *self, State *state, int has_bias) {
    const Conv2dSizes *sizes = &state->sizes;
    double bound = 1.0 / sqrt((double)conv2d_weights_of_output(sizes));
    Init init = {.rule = INIT_UNIFORM, .minimum = -bound, .maximum = bound};
    Shape weight = {
        4, {sizes->out, sizes->in / sizes->groups, sizes->kernel[HEIGHT], sizes->kernel[WIDTH]}};
    Shape bias = {1, {sizes->out}};
    state->weight = layer_add_parameter(self, "weight", weight, init);
    state->bias = has_bias ? layer_add_parameter(self, "bias", bias, init) : -1;
}

/* Floats that a pair of channels takes when packed. */
static int packed_weights(const Conv2dSizes *sizes) {
    return sizes->uses_winograd ? KERNEL_WINOGRAD_PLACES : conv2d_taps(sizes);
}

/* Where vectors hold pixels of several columns, few of them fill a narrow region of an image: as
 * many microbatches at a time as have the samples of a vector, if the second-level cache has room
 * for their halos. */
static int count_together(const Layer *self, const State *state) {
    enum { HALO_FLOATS_MAX = 131072 };
    if (state->sizes.uses_winograd || self->lanes >= KERNEL_WIDTH_MAX) return 1;
    size_t count = (size_t)(KERNEL_WIDTH_MAX / self->lanes);
    size_t share = (size_t)((self->microbatches_max + self->thread_count - 1) / self->thread_count);
    if (count > share) count = share;
    if (count * state->halo_floats > HALO_FLOATS_MAX) count = HALO_FLOATS_MAX / state->halo_floats;
    return count < 1 ? 1 : (int)count;
}

static void add_scratch(Layer *self, State *state) {
    const Conv2dSizes *sizes = &state->sizes;
    size_t weights = (size_t)sizes->out * conv2d_weights_of_output(sizes);
    size_t threads = (size_t)self->thread_count;
    state->stack = layer_add_scratch(self, weights * (size_t)layer_fold_levels(self));
    if (state->bias >= 0) state->dbias = layer_add_scratch_per_microbatch(self, (size_t)sizes->out);
    if (state->is_depthwise) return;
    int is_padded = sizes->padding[HEIGHT] + sizes->padding[WIDTH] > 0;
    if (is_padded || self->lanes < KERNEL_WIDTH_MAX)
        state->halo_floats = conv2d_halo_floats_max(sizes, self->lanes);
    state->together = count_together(self, state);
    KernelConv conv = {.in = sizes->in / sizes->groups,
        .out = sizes->out / sizes->groups,
        .tap_count = conv2d_taps(sizes)};
    size_t winograd = sizes->uses_winograd ? kernels_winograd_scratch(&conv, self->lanes) : 0;
    size_t spread = 0;
    if (self->lanes < KERNEL_WIDTH_MAX)
        spread = (size_t)state->together * conv2d_spread_floats_max(sizes, self->lanes);
    state->sums_floats = kernels_conv_scratch(&conv);
    if (winograd > state->sums_floats) state->sums_floats = winograd;
    if (spread > state->sums_floats) state->sums_floats = spread;
    size_t pairs = weights / (size_t)conv.tap_count;
    state->plans = layer_add_scratch(self, sizeof(Plans) / sizeof(float));
    state->packed = layer_add_scratch(self, pairs * (size_t)packed_weights(sizes));
    state->halo = layer_add_scratch(self, state->halo_floats * threads * (size_t)state->together);
    state->sums = layer_add_scratch(self, state->sums_floats * threads);
}

static Status configure(Layer *self, Shape in, Shape *out) {
    const Options *chosen = self->options;
    State *state = self->state;
    Conv2dSizes *sizes = &state->sizes;
    TRY(read_sizes(self, sizes, in));
    TRY(choose_algorithm(self, sizes));
    state->is_depthwise = !sizes->uses_winograd && depthwise_suits(sizes);
    add_parameters(self, state, chosen->has_bias);
    add_scratch(self, state);
    *out = (Shape){3, {sizes->out, sizes->y_size[HEIGHT], sizes->y_size[WIDTH]}};
    self->multiply_adds =
        (double)shape_element_count(*out) * (double)conv2d_weights_of_output(sizes);
    return STATUS_OK;
}

/* ---- running a plan ---- */

/* Whether the input's gradient is one convolution. */
static int has_one_phase(const Conv2dSizes *sizes) {
    return sizes->stride[HEIGHT] == 1 && sizes->stride[WIDTH] == 1;
}

/* Local; before the threads. */
static const Plans *plans_of(const Layer *self, const Pass *pass) {
    const State *state = self->state;
    Plans *plans = (Plans *)layer_scratch(self, state->plans, 0);
    if (plans->kernels == pass->kernels) return plans;
    plans->kernels = pass->kernels;
    conv2d_plan_forward(&plans->forward, &state->sizes, pass->kernels, self->lanes);
    conv2d_plan_weight_gradient(&plans->weight_gradient, &state->sizes, pass->kernels, self->lanes);
    if (has_one_phase(&state->sizes))
        conv2d_plan_input_gradient(
            &plans->input_gradient, &state->sizes, pass->kernels, self->lanes, 0, 0);
    return plans;
}

typedef struct Call {
    const Layer *self;
    const State *state;
    const Pass *pass;
    const Conv2dPlan *plan;
    const DepthwisePlan *depthwise; /* takes the plan's place: one of the two is NULL */
    const Tensor *from;             /* read by the plan: x, or dy for the input's gradient */
    Tensor *to;                     /* written by it */
    const Tensor *dy;               /* for the weights' gradient */
    const float *bias;
    void (*put_gradient)(const void *channels, int m, float *dweight); /* for LayerFold */
    int out_together;     /* output channels that it can take at once: ranges within as many */
    int together, chunks; /* microbatches, and the items that they are cut into */
    int rows_per_item, node;
} Call;

/* Floats of one group of a microbatch, of what the plan reads. */
static size_t image_floats(const Conv2dPlan *plan) {
    return (size_t)plan->conv.in * (size_t)plan->image_height * (size_t)plan->image_width *
           (size_t)plan->lanes;
}

/* One group of the microbatches from m on, of what the plan reads. */
static KernelInput group_of(const Call *call, int m, int group) {
    KernelInput images = layer_input(call->from, m);
    images.data += (size_t)group * image_floats(call->plan);
    return images;
}

/* The same of `count` microbatches, with halos if the plan needs them. */
static KernelInput images_of(const Call *call, int m, int count, int group, int thread) {
    const State *state = call->state;
    const Conv2dPlan *plan = call->plan;
    int channels = plan->conv.in;
    KernelInput images = group_of(call, m, group);
    if (plan->halo.height == 0) return images;
    REQUIRE(conv2d_halo_floats(plan, channels) <= state->halo_floats && count <= state->together);
    float *copies = layer_scratch(call->self, state->halo, 0) +
                    (size_t)(thread * state->together) * state->halo_floats;
    for (int i = 0; i < count; i++)
        conv2d_surround(plan, images.data + (size_t)i * images.stride, channels,
            copies + (size_t)i * state->halo_floats);
    return (KernelInput){copies, state->halo_floats};
}

/* Floats of the packed weights of one group. */
static size_t group_floats(const Call *call) {
    const KernelConv *conv = &call->plan->conv;
    int weights = call->plan->uses_winograd ? packed_weights(&call->state->sizes) : conv->tap_count;
    return (size_t)conv->out * (size_t)conv->in * (size_t)weights;
}

static float *thread_sums(const Call *call, int thread) {
    return layer_scratch(call->self, call->state->sums, 0) +
           (size_t)thread * call->state->sums_floats;
}

/* The first of an item's microbatches; how many they are. */
static int find_microbatches(const Call *call, int item, int *count) {
    int m = item / call->chunks * call->together, left = call->pass->batch->local_count - m;
    *count = left < call->together ? left : call->together;
    return m;
}

/* What a thread reads after one group of an item: the next group, or the first of the item that it
 * will probably do then. None if it does not lie together, is too much for a part of the
 * second-level cache, or the kernel streams whole images anyway. */
static KernelBlock find_next(const Call *call, int item, int group) {
    enum { FLOATS_MAX = 65536 };
    const Conv2dPlan *plan = call->plan;
    if (plan->halo.height == 0 && plan->conv.edge == 0) return (KernelBlock){NULL, 0};
    if (++group == call->state->sizes.groups) {
        item += threads_count(call->pass->threads);
        group = 0;
    }
    int count, m = find_microbatches(call, item, &count);
    if (count <= 0 || (count > 1 && call->state->sizes.groups > 1)) return (KernelBlock){NULL, 0};
    KernelInput images = group_of(call, m, group);
    KernelBlock next = {images.data, (size_t)(count - 1) * images.stride + image_floats(plan)};
    return next.floats > FLOATS_MAX ? (KernelBlock){NULL, 0} : next;
}

/* A range of rows of some microbatches, all groups; in pairs, as Winograd's tiles want them. */
static void run_rows(void *context, int item, int thread) {
    const Call *call = context;
    const Conv2dPlan *plan = call->plan;
    const KernelConv *conv = &plan->conv;
    int count, m = find_microbatches(call, item, &count);
    int chunk = item % call->chunks, pairs = (conv->rows + 1) / 2;
    int begin = 2 * (pairs * chunk / call->chunks), end = 2 * (pairs * (chunk + 1) / call->chunks);
    if (end > conv->rows) end = conv->rows;
    const float *all_packed = layer_scratch(call->self, call->state->packed, 0);
    float *scratch = thread_sums(call, thread);
    size_t out = (size_t)conv->out;
    for (int g = 0; g < call->state->sizes.groups; g++) {
        const float *packed = all_packed + (size_t)g * group_floats(call);
        const float *bias = call->bias == NULL ? NULL : call->bias + g * conv->out;
        KernelInput x = images_of(call, m, count, g, thread);
        KernelOutput y = layer_output(call->to, m), side_by_side;
        y.data += plan->out_offset + (size_t)g * out * plan->steps.channel;
        side_by_side = plan->spreads ? (KernelOutput){scratch, out * conv->y_channel} : y;
        if (plan->uses_winograd)
            plan->kernels->winograd(
                conv, packed, bias, x.data, y.data, scratch, plan->lanes, begin, end);
        else
            plan->kernels->conv(conv, packed, bias, x, side_by_side, plan->lanes, count, begin, end,
                find_next(call, item, g));
        for (int i = 0; i < count && plan->spreads; i++)
            conv2d_spread(plan, scratch + (size_t)i * side_by_side.stride,
                y.data + (size_t)i * y.stride, begin, end);
    }
}

static void pack_weights(const Call *call) {
    const Conv2dPlan *plan = call->plan;
    const Conv2dSizes *sizes = &call->state->sizes;
    const float *weight = call->self->tensors[call->state->weight].data;
    float *packed = layer_scratch(call->self, call->state->packed, 0);
    size_t group = (size_t)(sizes->out / sizes->groups) * conv2d_weights_of_output(sizes);
    for (int g = 0; g < sizes->groups; g++) {
        const float *from = weight + (size_t)g * group;
        float *to = packed + (size_t)g * group_floats(call);
        if (plan->uses_winograd)
            plan->kernels->winograd_pack(&plan->conv, from, to);
        else
            plan->kernels->conv_pack(&plan->conv, from, to);
    }
}

/* A range of the channels written of one microbatch. */
static void run_channels(void *context, int item, int thread) {
    (void)thread;
    const Call *call = context;
    const DepthwisePlan *plan = call->depthwise;
    int m = item / call->chunks, chunk = item % call->chunks, channels = plan->to_channels;
    depthwise_run(plan, call->self->tensors[call->state->weight].data, call->bias,
        layer_input(call->from, m).data, layer_output(call->to, m).data,
        channels * chunk / call->chunks, channels * (chunk + 1) / call->chunks);
}

/* Microbatches `together` or fewer, so that each thread has as many; and where there are too few,
 * in as many chunks as give each thread one. */
static void run_chunks(Call *call, int together, ThreadsWork work) {
    int count = call->pass->batch->local_count, threads = threads_count(call->pass->threads);
    if (count == 0) return;
    int share = (count + threads - 1) / threads;
    int turns = (share + together - 1) / together;
    call->together = (share + turns - 1) / turns;
    int parts = (count + call->together - 1) / call->together;
    call->chunks = (threads + parts - 1) / parts;
    threads_run(call->pass->threads, parts * call->chunks, work, call);
}

static void run_in_groups(Call *call, const Conv2dPlan *plan) {
    int packs_columns = plan->kernels->width > plan->lanes;
    call->plan = plan;
    if (call->pass->batch->local_count > 0) pack_weights(call);
    run_chunks(call, packs_columns ? call->state->together : 1, run_rows);
    call->plan = NULL;
}

static void run_depthwise(Call *call, const DepthwisePlan *plan) {
    call->depthwise = plan;
    run_chunks(call, 1, run_channels);
    call->depthwise = NULL;
}

static void forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    const State *state = self->state;
    DepthwisePlan depthwise;
    Call call = {.self = self,
        .state = state,
        .pass = pass,
        .from = x,
        .to = y,
        .bias = state->bias < 0 ? NULL : self->tensors[state->bias].data};
    if (state->is_depthwise) {
        depthwise_plan_forward(&depthwise, &state->sizes, pass->kernels, pass->batch->lanes);
        run_depthwise(&call, &depthwise);
    } else {
        run_in_groups(&call, &plans_of(self, pass)->forward);
    }
}

/* ---- backward ---- */

/* Output channels [begin, end). */
typedef struct Channels {
    const Call *call;
    int begin, end, thread;
} Channels;

/* Where the gradient of microbatch m's bias goes; NULL without one. */
static float *dbias_of(const Call *call, int m) {
    const State *state = call->state;
    return state->bias < 0 ? NULL : layer_scratch(call->self, state->dbias, m);
}

/* The gradients of the weights and the bias of microbatch m: of channels of one group. */
static void put_group_gradient(const void *context, int m, float *dweight) {
    const Channels *channels = context;
    const Call *call = channels->call;
    const KernelConv *conv = &call->plan->conv;
    int group = channels->begin / conv->out, first = group * conv->out;
    const float *dy = layer_input(call->dy, m).data + (size_t)first * conv->y_channel;
    KernelInput x = images_of(call, m, 1, group, channels->thread);
    float *dbias = dbias_of(call, m);
    if (dbias != NULL) dbias += channels->begin;
    call->plan->kernels->conv_weight_gradient(conv, dy, x.data, dweight, dbias,
        thread_sums(call, channels->thread), call->plan->lanes, channels->begin - first,
        channels->end - first);
}

/* The same, of any channels. */
static void put_depthwise_gradient(const void *context, int m, float *dweight) {
    const Channels *channels = context;
    const Call *call = channels->call;
    const int *y_size = call->state->sizes.y_size;
    KernelInput dy = layer_input(call->dy, m);
    float *dbias = dbias_of(call, m);
    depthwise_weight_gradient(call->depthwise, dy.data, layer_input(call->from, m).data, dweight,
        channels->begin, channels->end);
    if (dbias != NULL)
        call->pass->kernels->row_sums(dy, dbias,
            y_size[HEIGHT] * y_size[WIDTH] * call->pass->batch->lanes, 1, channels->begin,
            channels->end);
}

/* The weights' gradient of the batch's node, and what each microbatch adds to the bias's. */
static void weight_channels(const Call *call, int begin, int end, int thread) {
    const State *state = call->state;
    Channels channels = {call, begin, end, thread};
    size_t row = conv2d_weights_of_output(&state->sizes), offset = (size_t)begin * row;
    LayerFold fold = {.put = call->put_gradient,
        .context = &channels,
        .count = (size_t)(end - begin) * row,
        .result = layer_gradient(call->self, call->pass, state->weight, call->node) + offset,
        .stack = layer_scratch(call->self, state->stack, 0) + offset,
        .stride = (size_t)state->sizes.out * row};
    layer_fold(call->pass, call->node, &fold);
}

static void parameter_gradients_of_channels(void *context, int item, int thread) {
    const Call *call = context;
    int all = call->state->sizes.out, out = call->out_together;
    int begin = item * call->rows_per_item, end = begin + call->rows_per_item;
    if (end > all) end = all;
    for (int channel = begin, stop; channel < end; channel = stop) {
        stop = (channel / out + 1) * out;
        if (stop > end) stop = end;
        weight_channels(call, channel, stop, thread);
    }
}

/* For each node of the batch; the threads share the output channels. */
static void parameter_gradients(Call *call) {
    enum { CHANNELS_TOGETHER = 4 };
    int threads = threads_count(call->pass->threads), out = call->state->sizes.out;
    int share = (out + threads - 1) / threads;
    call->rows_per_item = (share + CHANNELS_TOGETHER - 1) / CHANNELS_TOGETHER * CHANNELS_TOGETHER;
    int items = (out + call->rows_per_item - 1) / call->rows_per_item;
    for (call->node = 0; call->node < call->pass->batch->node_count; call->node++)
        threads_run(call->pass->threads, items, parameter_gradients_of_channels, call);
    if (call->state->bias >= 0 && call->pass->batch->local_count > 0)
        layer_fold_gradient(call->self, call->pass, call->state->bias, dbias_of(call, 0),
            call->self->scratch[call->state->dbias].stride);
}

static void input_gradient(Call *call) {
    const Conv2dSizes *sizes = &call->state->sizes;
    call->from = call->dy;
    if (has_one_phase(sizes)) {
        run_in_groups(call, &plans_of(call->self, call->pass)->input_gradient);
        return;
    }
    Conv2dPlan plan;
    for (int row = 0; row < sizes->stride[HEIGHT] && row < sizes->x_size[HEIGHT]; row++)
        for (int column = 0; column < sizes->stride[WIDTH] && column < sizes->x_size[WIDTH];
             column++) {
            conv2d_plan_input_gradient(
                &plan, sizes, call->pass->kernels, call->pass->batch->lanes, row, column);
            run_in_groups(call, &plan);
        }
}

static void backward_in_groups(Call *call) {
    const Pass *pass = call->pass;
    const Conv2dSizes *sizes = &call->state->sizes;
    if (pass->batch->node_count > 0) {
        call->plan = &plans_of(call->self, pass)->weight_gradient;
        call->put_gradient = put_group_gradient;
        call->out_together = sizes->out / sizes->groups;
        parameter_gradients(call);
        call->plan = NULL;
    }
    if (call->to->data != NULL) input_gradient(call);
}

static void backward_depthwise(Call *call) {
    const Pass *pass = call->pass;
    const Conv2dSizes *sizes = &call->state->sizes;
    DepthwisePlan plan;
    depthwise_plan_forward(&plan, sizes, pass->kernels, pass->batch->lanes);
    call->depthwise = &plan;
    call->put_gradient = put_depthwise_gradient;
    call->out_together = sizes->out;
    parameter_gradients(call);
    call->depthwise = NULL;
    if (call->to->data == NULL) return;
    depthwise_plan_input_gradient(&plan, sizes, pass->kernels, pass->batch->lanes);
    call->from = call->dy;
    run_depthwise(call, &plan);
}

static void backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    (void)y;
    const State *state = self->state;
    Call call = {.self = self, .state = state, .pass = pass, .from = x, .to = dx, .dy = dy};
    if (state->is_depthwise)
        backward_depthwise(&call);
    else
        backward_in_groups(&call);
}

const LayerType layer_conv2d = {
    .name = "conv2d",
    .summary = "two-dimensional convolution",
    .example = "{out: 3, kernel: 3, padding: 1}",
    .options = options,
    .options_bytes = sizeof(Options),
    .state_bytes = sizeof(State),
    .configure = configure,
    .forward = forward,
    .backward = backward,
};
