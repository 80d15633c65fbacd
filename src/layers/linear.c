/* linear.c - y = W x + b: a fully connected layer, as torch.nn.Linear.
 *
 * x [in], y [out]; weight [out, in], bias [out]. Gradients: dW = dy xᵀ, db = dy, dx = Wᵀ dy.
 * Initial values: uniform in ±1/sqrt(in), PyTorch's default (kaiming_uniform_ with a = sqrt(5); He
 * et al., ICCV 2015). */
#include "src/layer.h"
#include <math.h>

typedef struct Options {
    int64_t out;
    int has_bias;
} Options;

static const Option options[] = {{"out", OPTION_INT, offsetof(Options, out), NULL, .minimum = 1,
                                     .maximum = 1 << 24, .doc = "output features"},
    {"bias", OPTION_BOOL, offsetof(Options, has_bias), "true", .doc = "add a learned bias"},
    {.key = NULL}};

typedef struct State {
    int in, out;
    int weight, bias; /* tensors; bias -1 without one */
    int transposed;   /* scratch: x [lanes][row] */
    size_t row;       /* of transposed x: in, rounded up to whole vectors */
} State;

static Status configure(Layer *self, Shape in, Shape *out) {
    const Options *chosen = self->options;
    State *state = self->state;
    char text[SHAPE_TEXT_BYTES];
    if (in.dimension_count != 1)
        return FAIL(STATUS_CONFIG, "linear '%s' wants features, got %s: put flatten before it",
            self->label, shape_print(in, text));
    state->in = in.size[0];
    state->out = (int)chosen->out;
    double bound = 1.0 / sqrt(state->in);
    Init init = {.rule = INIT_UNIFORM, .minimum = -bound, .maximum = bound};
    Shape weight = {.dimension_count = 2, .size = {state->out, state->in}};
    *out = (Shape){.dimension_count = 1, .size = {state->out}};
    state->weight = layer_add_parameter(self, "weight", weight, init);
    state->bias = chosen->has_bias ? layer_add_parameter(self, "bias", *out, init) : -1;
    state->row = ((size_t)state->in + 15) / 16 * 16;
    state->transposed = layer_add_scratch_per_microbatch(self, state->row * (size_t)self->lanes);
    self->multiply_adds = (double)state->in * state->out;
    return STATUS_OK;
}

/* What one call of forward or backward works on, for the threads. */
typedef struct Call {
    const Layer *self;
    const State *state;
    const Pass *pass;
    const Tensor *x;
    const Tensor *dy;
    Tensor *y; /* or dx */
    const float *weight, *bias;
    int rows, rows_per_item, node;
} Call;

static int row_end(const Call *call, int item) {
    int end = (item + 1) * call->rows_per_item;
    return end < call->rows ? end : call->rows;
}

/* Do the rows of a matrix, item by item. */
static void run_rows(Call *call, int rows, ThreadsWork work) {
    call->rows = rows;
    call->rows_per_item = layer_rows_per_item(call->pass, rows);
    int items = (rows + call->rows_per_item - 1) / call->rows_per_item;
    threads_run(call->pass->threads, items, work, call);
}

/* Fewer lanes than a vector has floats: the vectors run along the weights. */
static int is_narrow(const Pass *pass) {
    return pass->batch->lanes < pass->kernels->widest;
}

static void transpose_microbatch(void *context, int item, int thread) {
    (void)thread;
    const Call *call = context;
    call->pass->kernels->transpose(layer_input(call->x, item).data,
        layer_scratch(call->self, call->state->transposed, item), call->state->row, call->state->in,
        call->pass->batch->lanes);
}

/* x of microbatch m and on, transposed. */
static KernelInput transposed_input(const Call *call, int m) {
    int scratch = call->state->transposed;
    return (KernelInput){.data = layer_scratch(call->self, scratch, m),
        .stride = call->self->scratch[scratch].stride};
}

static void forward_rows(void *context, int item, int thread) {
    (void)thread;
    const Call *call = context;
    const Kernels *kernels = call->pass->kernels;
    const State *state = call->state;
    int lanes = call->pass->batch->lanes, count = call->pass->batch->local_count;
    int begin = item * call->rows_per_item, end = row_end(call, item);
    KernelOutput y = layer_output(call->y, 0);
    if (is_narrow(call->pass))
        kernels->linear_forward_narrow(call->weight, call->bias, transposed_input(call, 0),
            state->row, y, state->in, lanes, count, begin, end);
    else
        kernels->linear_forward(call->weight, call->bias, layer_input(call->x, 0), y, state->in,
            state->out, lanes, count, begin, end);
}

static void forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    const State *state = self->state;
    Call call = {.self = self,
        .state = state,
        .pass = pass,
        .x = x,
        .y = y,
        .weight = self->tensors[state->weight].data,
        .bias = state->bias < 0 ? NULL : self->tensors[state->bias].data};
    if (is_narrow(pass))
        threads_run(pass->threads, pass->batch->local_count, transpose_microbatch, &call);
    run_rows(&call, state->out, forward_rows);
}

static void parameter_gradient_rows(void *context, int item, int thread) {
    (void)thread;
    const Call *call = context;
    const State *state = call->state;
    const Batch *batch = call->pass->batch;
    int first = layer_node_begin(call->pass, call->node);
    int count = (int)batch->nodes[call->node].count;
    int begin = item * call->rows_per_item, end = row_end(call, item);
    KernelInput dy = layer_input(call->dy, first);
    call->pass->kernels->linear_weight_gradient(dy, transposed_input(call, first), state->row,
        layer_gradient(call->self, call->pass, state->weight, call->node), state->in, state->out,
        batch->lanes, count, begin, end);
    if (state->bias < 0) return;
    call->pass->kernels->row_sums(dy,
        layer_gradient(call->self, call->pass, state->bias, call->node), batch->lanes, count, begin,
        end);
}

static void input_gradient_rows(void *context, int item, int thread) {
    (void)thread;
    const Call *call = context;
    const Kernels *kernels = call->pass->kernels;
    int in = call->state->in, out = call->state->out, lanes = call->pass->batch->lanes;
    int count = call->pass->batch->local_count;
    int begin = item * call->rows_per_item, end = row_end(call, item);
    KernelInput dy = layer_input(call->dy, 0);
    KernelOutput dx = layer_output(call->y, 0);
    if (is_narrow(call->pass))
        kernels->linear_input_gradient_narrow(
            call->weight, dy, dx, in, out, lanes, count, begin, end);
    else
        kernels->linear_input_gradient(call->weight, dy, dx, in, out, lanes, count, begin, end);
}

static void backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    (void)y;
    const State *state = self->state;
    Call call = {.self = self,
        .state = state,
        .pass = pass,
        .x = x,
        .dy = dy,
        .y = dx,
        .weight = self->tensors[state->weight].data};
    threads_run(pass->threads, pass->batch->local_count, transpose_microbatch, &call);
    for (call.node = 0; call.node < pass->batch->node_count; call.node++)
        run_rows(&call, state->out, parameter_gradient_rows);
    if (dx->data != NULL) run_rows(&call, state->in, input_gradient_rows);
}

const LayerType layer_linear = {
    .name = "linear",
    .summary = "fully connected layer: y = W x + b",
    .example = "{out: 3}",
    .options = options,
    .options_bytes = sizeof(Options),
    .state_bytes = sizeof(State),
    .configure = configure,
    .forward = forward,
    .backward = backward,
};
