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
#include <math.h>
#include <string.h>

enum { HEIGHT, WIDTH, SIDES };
enum { SIDE_MAX = 4096, TAPS_MAX = 1024, STRIDE_MAX = 64 };

typedef struct Options {
    int64_t out, groups;
    OptionInts kernel, stride, padding, dilation;
    int has_bias;
} Options;

static const Option options[] = {{"out", OPTION_INT, offsetof(Options, out), NULL, .minimum = 1,
                                     .maximum = 1 << 20, .doc = "output channels"},
    {"kernel", OPTION_INTS, offsetof(Options, kernel), NULL, .minimum = 1, .maximum = TAPS_MAX,
        .doc = "size of the window, one number or [height, width]"},
    {"stride", OPTION_INTS, offsetof(Options, stride), "1", .minimum = 1, .maximum = STRIDE_MAX,
        .doc = "pixels from one window to the next, one number or two"},
    {"padding", OPTION_INTS, offsetof(Options, padding), "0", .minimum = 0, .maximum = SIDE_MAX,
        .doc = "zeros around the image, one number or two"},
    {"dilation", OPTION_INTS, offsetof(Options, dilation), "1", .minimum = 1, .maximum = SIDE_MAX,
        .doc = "pixels from one weight of the window to the next, one number or two"},
    {"groups", OPTION_INT, offsetof(Options, groups), "1", .minimum = 1, .maximum = 1 << 20,
        .doc = "groups of channels that are convolved apart"},
    {"bias", OPTION_BOOL, offsetof(Options, has_bias), "true", .doc = "add a learned bias"},
    {.key = NULL}};

typedef struct State {
    int in, out, groups;              /* channels, all groups */
    int x_size[SIDES], y_size[SIDES]; /* pixels */
    int kernel[SIDES], stride[SIDES], padding[SIDES], dilation[SIDES];
    int weight, bias;    /* tensors; bias -1 without one */
    int packed;          /* scratch: all weights in the kernels' order */
    int x_halo, dy_halo; /* scratch per microbatch: images with zeros around */
    int sums;            /* scratch: of conv_weight_gradient, one per thread */
    int stack;           /* scratch: [levels][weights] of the fold over microbatches */
} State;

/* ---- set-up ---- */

static Status read_sizes(Layer *self, State *state, Shape in) {
    const Options *chosen = self->options;
    char text[SHAPE_TEXT_BYTES];
    if (in.dimension_count != 3)
        return FAIL(STATUS_CONFIG, "conv2d '%s' wants channels, height and width, got %s",
            self->label, shape_print(in, text));
    TRY(layer_read_pair(self, "kernel", &chosen->kernel, state->kernel));
    TRY(layer_read_pair(self, "stride", &chosen->stride, state->stride));
    TRY(layer_read_pair(self, "padding", &chosen->padding, state->padding));
    TRY(layer_read_pair(self, "dilation", &chosen->dilation, state->dilation));
    if (state->kernel[HEIGHT] * state->kernel[WIDTH] > TAPS_MAX)
        return FAIL(STATUS_CONFIG, "conv2d '%s': a window of %d x %d is more than %d weights",
            self->label, state->kernel[HEIGHT], state->kernel[WIDTH], TAPS_MAX);
    state->in = in.size[0];
    state->out = (int)chosen->out;
    state->groups = (int)chosen->groups;
    if (state->in % state->groups != 0 || state->out % state->groups != 0)
        return FAIL(STATUS_CONFIG,
            "conv2d '%s': groups %d must divide the %d input and %d output channels", self->label,
            state->groups, state->in, state->out);
    for (int d = 0; d < SIDES; d++) {
        state->x_size[d] = in.size[1 + d];
        int window = state->dilation[d] * (state->kernel[d] - 1) + 1;
        int room = state->x_size[d] + 2 * state->padding[d] - window;
        if (room < 0)
            return FAIL(STATUS_CONFIG,
                "conv2d '%s': a window of %d pixels does not fit into %s with padding %d",
                self->label, window, shape_print(in, text), state->padding[d]);
        state->y_size[d] = room / state->stride[d] + 1;
    }
    return STATUS_OK;
}

static int taps(const State *state) {
    return state->kernel[HEIGHT] * state->kernel[WIDTH];
}

static size_t weights_of_output(const State *state) {
    return (size_t)(state->in / state->groups) * (size_t)taps(state);
}

static void add_parameters(Layer *self, State *state, int has_bias) {
    double bound = 1.0 / sqrt((double)weights_of_output(state));
    Init init = {.rule = INIT_UNIFORM, .minimum = -bound, .maximum = bound};
    Shape weight = {
        4, {state->out, state->in / state->groups, state->kernel[HEIGHT], state->kernel[WIDTH]}};
    Shape bias = {1, {state->out}};
    state->weight = layer_add_parameter(self, "weight", weight, init);
    state->bias = has_bias ? layer_add_parameter(self, "bias", bias, init) : -1;
}

/* ---- plans: what the kernels are to compute ---- */

/* Zeros around an image, so that vectors that hold several columns never leave it. */
typedef struct Halo {
    int top, left, height, width; /* height and width with the halo; 0: none is needed */
} Halo;

/* A convolution of one group of one microbatch, from `in` to `out`, both images of activations. */
typedef struct Plan {
    KernelConv conv;
    KernelTap taps[TAPS_MAX];
    const Kernels *kernels;
    Halo halo;
    size_t out_offset; /* floats to the first result */
} Plan;

/* Surround the image with what the taps reach beyond it. */
static void add_halo(Plan *plan) {
    KernelConv *conv = &plan->conv;
    int top = 0, left = 0, bottom = 0, right = 0;
    for (int t = 0; t < conv->tap_count; t++) {
        const KernelTap *tap = &plan->taps[t];
        int last_row = tap->row + (conv->rows - 1) * conv->row_step;
        int last_column = tap->column + conv->columns - 1;
        if (-tap->row > top) top = -tap->row;
        if (-tap->column > left) left = -tap->column;
        if (last_row - conv->height + 1 > bottom) bottom = last_row - conv->height + 1;
        if (last_column - conv->width + 1 > right) right = last_column - conv->width + 1;
    }
    if (top + left + bottom + right == 0) return;
    conv->height += top + bottom;
    conv->width += left + right;
    plan->halo = (Halo){top, left, conv->height, conv->width};
    for (int t = 0; t < conv->tap_count; t++) {
        plan->taps[t].row += top;
        plan->taps[t].column += left;
    }
}

/* Lanes narrower than the machine's vectors: let these hold several columns where that can be. */
static void choose_kernels(Plan *plan, const Kernels *kernels, int lanes) {
    KernelConv *conv = &plan->conv;
    conv->taps = plan->taps;
    plan->kernels = kernels;
    int is_dense = conv->column_step == 1 && conv->y_column == (size_t)lanes;
    const Kernels *wide = kernels_for_rows(kernels, (size_t)conv->columns * (size_t)lanes);
    if (!is_dense || wide->width <= lanes) return;
    plan->kernels = wide;
    add_halo(plan);
}

static void plan_forward(const State *state, const Kernels *kernels, int lanes, Plan *plan) {
    size_t row = (size_t)state->y_size[WIDTH] * (size_t)lanes;
    *plan = (Plan){.conv = {.in = state->in / state->groups,
                       .out = state->out / state->groups,
                       .height = state->x_size[HEIGHT],
                       .width = state->x_size[WIDTH],
                       .rows = state->y_size[HEIGHT],
                       .columns = state->y_size[WIDTH],
                       .row_step = state->stride[HEIGHT],
                       .column_step = state->stride[WIDTH],
                       .tap_count = taps(state),
                       .weight_out = weights_of_output(state),
                       .weight_in = (size_t)taps(state),
                       .y_channel = row * (size_t)state->y_size[HEIGHT],
                       .y_row = row,
                       .y_column = (size_t)lanes}};
    for (int t = 0; t < taps(state); t++) {
        int kh = t / state->kernel[WIDTH], kw = t % state->kernel[WIDTH];
        plan->taps[t] = (KernelTap){.row = kh * state->dilation[HEIGHT] - state->padding[HEIGHT],
            .column = kw * state->dilation[WIDTH] - state->padding[WIDTH],
            .weight = (size_t)t};
    }
    choose_kernels(plan, kernels, lanes);
}

/* The dy that tap k of dimension d meets for the first pixel of `phase`; whether it meets any. */
static int meets_phase(const State *state, int d, int k, int phase, int *dy) {
    int at = phase + state->padding[d] - k * state->dilation[d];
    *dy = at / state->stride[d];
    return at % state->stride[d] == 0;
}

static void add_phase_taps(const State *state, int phase_row, int phase_column, Plan *plan) {
    for (int kh = state->kernel[HEIGHT] - 1; kh >= 0; kh--)
        for (int kw = state->kernel[WIDTH] - 1; kw >= 0; kw--) {
            KernelTap tap = {.weight = (size_t)(kh * state->kernel[WIDTH] + kw)};
            if (meets_phase(state, HEIGHT, kh, phase_row, &tap.row) &&
                meets_phase(state, WIDTH, kw, phase_column, &tap.column))
                plan->taps[plan->conv.tap_count++] = tap;
        }
}

/* From dy to the pixels of dx at rows phase_row, phase_row + stride, ..., columns alike. */
static void plan_input_gradient(const State *state, const Kernels *kernels, int lanes,
    int phase_row, int phase_column, Plan *plan) {
    size_t row = (size_t)state->x_size[WIDTH] * (size_t)lanes;
    int row_step = state->stride[HEIGHT], column_step = state->stride[WIDTH];
    *plan =
        (Plan){.conv = {.in = state->out / state->groups,
                   .out = state->in / state->groups,
                   .height = state->y_size[HEIGHT],
                   .width = state->y_size[WIDTH],
                   .rows = (state->x_size[HEIGHT] - phase_row + row_step - 1) / row_step,
                   .columns = (state->x_size[WIDTH] - phase_column + column_step - 1) / column_step,
                   .row_step = 1,
                   .column_step = 1,
                   .weight_out = (size_t)taps(state),
                   .weight_in = weights_of_output(state),
                   .y_channel = row * (size_t)state->x_size[HEIGHT],
                   .y_row = row * (size_t)row_step,
                   .y_column = (size_t)(column_step * lanes)},
            .out_offset = (size_t)phase_row * row + (size_t)(phase_column * lanes)};
    add_phase_taps(state, phase_row, phase_column, plan);
    choose_kernels(plan, kernels, lanes);
}

/* ---- running a plan ---- */

typedef struct Call {
    const Layer *self;
    const State *state;
    const Pass *pass;
    const Plan *plan;
    const Tensor *x, *dy;
    Tensor *y; /* or dx */
    int halo;  /* scratch of this plan's halo */
    const float *bias;
    int chunks, rows_per_item, node;
} Call;

static size_t halo_floats(const Plan *plan, int channels, int lanes) {
    return (size_t)channels * (size_t)plan->halo.height * (size_t)plan->halo.width * (size_t)lanes;
}

/* Copy an image into the middle of its halo. */
static void copy_into_halo(const Plan *plan, const float *image, int channels, int height,
    int width, int lanes, float *copy) {
    const Halo *halo = &plan->halo;
    size_t row = (size_t)(width * lanes);
    memset(copy, 0, halo_floats(plan, channels, lanes) * sizeof *copy);
    for (int c = 0; c < channels; c++)
        for (int r = 0; r < height; r++)
            memcpy(copy + (((size_t)c * (size_t)halo->height + (size_t)(halo->top + r)) *
                                  (size_t)halo->width +
                              (size_t)halo->left) *
                              (size_t)lanes,
                image + ((size_t)c * (size_t)height + (size_t)r) * row, row * sizeof *copy);
}

static void surround_x(void *context, int m, int thread) {
    (void)thread;
    const Call *call = context;
    const State *state = call->state;
    copy_into_halo(call->plan, layer_input(call->x, m).data, state->in, state->x_size[HEIGHT],
        state->x_size[WIDTH], call->pass->batch->lanes, layer_scratch(call->self, call->halo, m));
}

static void surround_dy(void *context, int m, int thread) {
    (void)thread;
    const Call *call = context;
    const State *state = call->state;
    copy_into_halo(call->plan, layer_input(call->dy, m).data, state->out, state->y_size[HEIGHT],
        state->y_size[WIDTH], call->pass->batch->lanes, layer_scratch(call->self, call->halo, m));
}

/* The image that the plan reads, with its halo if it has one. */
static const float *image_of(const Call *call, const Tensor *plain, int m) {
    if (call->plan->halo.height > 0) return layer_scratch(call->self, call->halo, m);
    return layer_input(plain, m).data;
}

/* A range of rows of one microbatch, all groups. */
static void run_rows(const Call *call, const Tensor *from, Tensor *to, int item) {
    const Plan *plan = call->plan;
    const KernelConv *conv = &plan->conv;
    int m = item / call->chunks, chunk = item % call->chunks, lanes = call->pass->batch->lanes;
    int begin = conv->rows * chunk / call->chunks, end = conv->rows * (chunk + 1) / call->chunks;
    size_t image = (size_t)conv->height * (size_t)conv->width * (size_t)lanes;
    const float *x = image_of(call, from, m);
    const float *packed = layer_scratch(call->self, call->state->packed, 0);
    float *y = layer_output(to, m).data + plan->out_offset;
    for (int g = 0; g < call->state->groups; g++) {
        const float *bias = call->bias == NULL ? NULL : call->bias + g * conv->out;
        plan->kernels->conv(conv,
            packed + (size_t)(g * conv->out * conv->in) * (size_t)conv->tap_count, bias,
            x + (size_t)(g * conv->in) * image, y + (size_t)(g * conv->out) * conv->y_channel,
            lanes, begin, end);
    }
}

static void pack_weights(const Call *call) {
    const Plan *plan = call->plan;
    const State *state = call->state;
    const float *weight = call->self->tensors[state->weight].data;
    float *packed = layer_scratch(call->self, state->packed, 0);
    size_t group = (size_t)(state->out / state->groups) * weights_of_output(state);
    size_t step = (size_t)(plan->conv.out * plan->conv.in) * (size_t)plan->conv.tap_count;
    for (int g = 0; g < state->groups; g++)
        plan->kernels->conv_pack(
            &plan->conv, weight + (size_t)g * group, packed + (size_t)g * step);
}

static void run_plan(Call *call, ThreadsWork surround, ThreadsWork work) {
    int count = call->pass->batch->local_count;
    if (count == 0) return;
    pack_weights(call);
    if (call->plan->halo.height > 0) threads_run(call->pass->threads, count, surround, call);
    call->chunks = (threads_count(call->pass->threads) + count - 1) / count;
    threads_run(call->pass->threads, count * call->chunks, work, call);
}

/* ---- forward ---- */

static void forward_rows(void *context, int item, int thread) {
    (void)thread;
    const Call *call = context;
    run_rows(call, call->x, call->y, item);
}

static void forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    const State *state = self->state;
    Plan plan;
    plan_forward(state, pass->kernels, pass->batch->lanes, &plan);
    Call call = {.self = self,
        .state = state,
        .pass = pass,
        .plan = &plan,
        .x = x,
        .y = y,
        .halo = state->x_halo,
        .bias = state->bias < 0 ? NULL : self->tensors[state->bias].data};
    run_plan(&call, surround_x, forward_rows);
}

/* ---- backward ---- */

/* The weights' gradient for output channels [begin, end), all of one group, of microbatch m. */
static void weight_leaf(
    const Call *call, int m, int begin, int end, float *scratch, float *dweight) {
    const Plan *plan = call->plan;
    const KernelConv *conv = &plan->conv;
    int group = begin / conv->out, lanes = call->pass->batch->lanes;
    size_t image = (size_t)conv->height * (size_t)conv->width * (size_t)lanes;
    const float *dy = layer_input(call->dy, m).data + (size_t)(group * conv->out) * conv->y_channel;
    plan->kernels->conv_weight_gradient(conv, dy,
        image_of(call, call->x, m) + (size_t)(group * conv->in) * image, dweight, scratch, lanes,
        begin - group * conv->out, end - group * conv->out);
}

/* Output channels [begin, end) of one group over the node's microbatches: a fold whose slot 0 is
 * the gradient itself. */
static void weight_channels(const Call *call, int begin, int end, int thread) {
    const State *state = call->state;
    const Layer *self = call->self;
    size_t row = weights_of_output(state), offset = (size_t)begin * row;
    size_t count = (size_t)(end - begin) * row, level = (size_t)state->out * row;
    float *gradient = layer_gradient(self, call->pass, state->weight, call->node) + offset;
    float *stack = layer_scratch(self, state->stack, 0) + offset;
    float *scratch = layer_scratch(self, state->sums, 0) +
                     (size_t)thread * kernels_conv_scratch(&call->plan->conv);
    int first = layer_node_begin(call->pass, call->node);
    int64_t leaves = call->pass->batch->nodes[call->node].count;
    TreeFold fold;
    tree_fold_begin(&fold);
    for (int64_t leaf = 0; leaf <= leaves; leaf++) {
        int is_end = leaf == leaves, top = is_end ? fold.depth - 1 : fold.depth;
        float *slot = top == 0 ? gradient : stack + (size_t)(top - 1) * level;
        if (!is_end) weight_leaf(call, first + (int)leaf, begin, end, scratch, slot);
        int merges = is_end ? tree_fold_finish(&fold)
                            : tree_fold_push(&fold, (TreeNode){.begin = leaf, .count = 1});
        for (; merges > 0; merges--, top--) {
            float *left = top == 1 ? gradient : stack + (size_t)(top - 2) * level;
            call->pass->kernels->add(left, stack + (size_t)(top - 1) * level, count);
        }
    }
}

static void parameter_gradients(void *context, int item, int thread) {
    const Call *call = context;
    const State *state = call->state;
    const Batch *batch = call->pass->batch;
    int out = state->out / state->groups, begin = item * call->rows_per_item;
    int end = begin + call->rows_per_item < state->out ? begin + call->rows_per_item : state->out;
    for (int channel = begin; channel < end;) {
        int group_end = (channel / out + 1) * out, stop = group_end < end ? group_end : end;
        weight_channels(call, channel, stop, thread);
        channel = stop;
    }
    if (state->bias < 0) return;
    int floats = state->y_size[HEIGHT] * state->y_size[WIDTH] * batch->lanes;
    kernels_find(call->pass->kernels->isa, floats)
        ->row_sums(layer_input(call->dy, layer_node_begin(call->pass, call->node)),
            layer_gradient(call->self, call->pass, state->bias, call->node), floats,
            (int)batch->nodes[call->node].count, begin, end);
}

/* For each node of the batch; the threads share the output channels. */
static void parameter_gradient(Call *call) {
    enum { CHANNELS_TOGETHER = 4 };
    int threads = threads_count(call->pass->threads), out = call->state->out;
    int share = (out + threads - 1) / threads;
    call->rows_per_item = (share + CHANNELS_TOGETHER - 1) / CHANNELS_TOGETHER * CHANNELS_TOGETHER;
    int items = (out + call->rows_per_item - 1) / call->rows_per_item;
    for (call->node = 0; call->node < call->pass->batch->node_count; call->node++)
        threads_run(call->pass->threads, items, parameter_gradients, call);
}

static void input_gradient_rows(void *context, int item, int thread) {
    (void)thread;
    const Call *call = context;
    run_rows(call, call->dy, call->y, item);
}

static void input_gradient(Call *call) {
    const State *state = call->state;
    Plan plan;
    call->plan = &plan;
    call->halo = state->dy_halo;
    call->bias = NULL;
    for (int row = 0; row < state->stride[HEIGHT] && row < state->x_size[HEIGHT]; row++)
        for (int column = 0; column < state->stride[WIDTH] && column < state->x_size[WIDTH];
             column++) {
            plan_input_gradient(
                state, call->pass->kernels, call->pass->batch->lanes, row, column, &plan);
            run_plan(call, surround_dy, input_gradient_rows);
        }
}

static void backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    (void)y;
    const State *state = self->state;
    Plan plan;
    plan_forward(state, pass->kernels, pass->batch->lanes, &plan);
    Call call = {.self = self,
        .state = state,
        .pass = pass,
        .plan = &plan,
        .x = x,
        .dy = dy,
        .y = dx,
        .halo = state->x_halo};
    parameter_gradient(&call);
    if (dx->data != NULL) input_gradient(&call);
}

/* ---- memory ---- */

/* Room for the halo of any kernels that may be chosen. */
static size_t halo_floats_max(const Layer *self, const Plan *plan, int channels) {
    Plan with_halo = *plan;
    if (with_halo.halo.height == 0) add_halo(&with_halo);
    return halo_floats(&with_halo, channels, self->lanes);
}

static void add_scratch(Layer *self, State *state) {
    enum { LANES_OF_ANY_VECTOR = 16 };
    size_t weights = (size_t)state->out * weights_of_output(state);
    state->packed = layer_add_scratch(self, weights);
    state->stack = layer_add_scratch(self, weights * (size_t)layer_fold_levels(self));
    Plan forward_plan, backward_plan;
    plan_forward(state, kernels_find(NULL, self->lanes), self->lanes, &forward_plan);
    plan_input_gradient(state, kernels_find(NULL, self->lanes), self->lanes, 0, 0, &backward_plan);
    state->sums = layer_add_scratch(
        self, kernels_conv_scratch(&forward_plan.conv) * (size_t)self->thread_count);
    int is_narrow = self->lanes < LANES_OF_ANY_VECTOR;
    state->x_halo = layer_add_scratch_per_microbatch(self,
        is_narrow && state->stride[WIDTH] == 1 ? halo_floats_max(self, &forward_plan, state->in)
                                               : 0);
    state->dy_halo = layer_add_scratch_per_microbatch(self,
        is_narrow && state->stride[WIDTH] == 1 ? halo_floats_max(self, &backward_plan, state->out)
                                               : 0);
}

static Status configure(Layer *self, Shape in, Shape *out) {
    const Options *chosen = self->options;
    State *state = self->state;
    TRY(read_sizes(self, state, in));
    add_parameters(self, state, chosen->has_bias);
    add_scratch(self, state);
    *out = (Shape){3, {state->out, state->y_size[HEIGHT], state->y_size[WIDTH]}};
    self->multiply_adds = (double)shape_element_count(*out) * (double)weights_of_output(state);
    return STATUS_OK;
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
