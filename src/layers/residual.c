/* residual.c - y = layers(x) + projection(x), or layers(x) + x without a projection (He et al.,
 * CVPR 2016, eq. 1 and 2). Any shapes, but the two terms must have the same.
 *
 * Tensors are named as those of a torch.nn.Module with the attributes `layers` and `projection`,
 * each a torch.nn.Sequential. Gradients: dx = dlayers(dy) + dprojection(dy), in this order.
 *
 * The sum, and a relu behind it, are done by the last of `layers` where that can. */
#include "src/sequence.h"

enum { LAYERS, PROJECTION };

/* Who can adds the shortcut to its own y. */
static void hand_over_sum(Layer *self) {
    const Sequence *layers = self->sequences[LAYERS], *projection = self->sequences[PROJECTION];
    Layer *last = &layers->layers[layers->layer_count - 1];
    if (!last->type->takes_addend) return;
    last->addend = projection == NULL ? &layers->activations[0] : sequence_output(projection);
    last->rectifies = self->rectifies;
}

static Status configure(Layer *self, Shape in, Shape *out) {
    Shape shortcut = in;
    char texts[2][SHAPE_TEXT_BYTES];
    self->backward_reads_y = self->rectifies;
    self->adds_input = self->spec->lists[PROJECTION].count == 0;
    TRY(layer_add_sequence(self, LAYERS, in, out));
    if (!self->adds_input) TRY(layer_add_sequence(self, PROJECTION, in, &shortcut));
    hand_over_sum(self);
    if (shape_is_equal(*out, shortcut)) return STATUS_OK;
    return FAIL(STATUS_CONFIG,
        "residual '%s': its layers give %s, %s %s, and only equal shapes can be added%s",
        self->label, shape_print(*out, texts[0]),
        self->adds_input ? "its input is" : "its projection gives", shape_print(shortcut, texts[1]),
        self->adds_input ? ": give it a projection" : "");
}

static void forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y) {
    Sequence *layers = self->sequences[LAYERS], *projection = self->sequences[PROJECTION];
    if (projection != NULL) sequence_forward(projection, pass);
    sequence_forward(layers, pass);
    if (layers->layers[layers->layer_count - 1].addend == NULL)
        layer_sum(pass, sequence_output(layers),
            projection == NULL ? x : sequence_output(projection), y, self->rectifies);
}

typedef struct Call {
    const Pass *pass;
    const Tensor *y, *dy;
    Tensor *passed; /* dy where the relu passed it, else 0; may be dy */
} Call;

static void pass_relu(void *context, int item, int thread) {
    (void)thread;
    const Call *call = context;
    call->pass->kernels->relu_backward(layer_input(call->y, item).data,
        layer_input(call->dy, item).data, layer_output(call->passed, item).data,
        shape_element_count(call->y->shape) * (size_t)call->pass->batch->lanes);
}

static void backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    (void)x;
    Sequence *layers = self->sequences[LAYERS], *projection = self->sequences[PROJECTION];
    Tensor *passed = sequence_output_gradient(layers);
    Call call = {.pass = pass, .y = y, .dy = dy, .passed = passed};
    int wants_input = dx->data != NULL;
    if (self->rectifies) threads_run(pass->threads, pass->batch->local_count, pass_relu, &call);
    sequence_backward(layers, pass, wants_input);
    if (projection != NULL) sequence_backward(projection, pass, wants_input);
    if (wants_input)
        layer_sum(pass, &layers->gradients[0],
            projection == NULL ? passed : &projection->gradients[0], dx, 0);
}

const LayerType layer_residual = {
    .name = "residual",
    .summary = "layers with a shortcut: y = layers(x) + projection(x), or + x",
    .example = "{layers: [batch_norm, relu]}",
    .lists = {{.key = "layers", .prefix = "layers.", .doc = "first to last"},
        {.key = "projection",
            .prefix = "projection.",
            .is_optional = 1,
            .doc = "layers of the shortcut, which give the same shape; without it: x itself"}},
    .takes_relu_after = 1,
    .configure = configure,
    .forward = forward,
    .backward = backward,
};
