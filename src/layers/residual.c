/* residual.c - y = layers(x) + projection(x), or layers(x) + x without a projection (He et al.,
 * CVPR 2016, eq. 1 and 2). Any shapes, but the two terms must have the same.
 *
 * Tensors are named as those of a torch.nn.Module with the attributes `layers` and `projection`,
 * each a torch.nn.Sequential. Gradients: dx = dlayers(dy) + dprojection(dy), in this order. */
#include "src/sequence.h"

enum { LAYERS, PROJECTION };

static Status configure(Layer *self, Shape in, Shape *out) {
    Shape shortcut = in;
    char texts[2][SHAPE_TEXT_BYTES];
    TRY(layer_add_sequence(self, LAYERS, in, out));
    self->adds_input = self->spec->lists[PROJECTION].count == 0;
    if (!self->adds_input) TRY(layer_add_sequence(self, PROJECTION, in, &shortcut));
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
    layer_sum(
        pass, sequence_output(layers), projection == NULL ? x : sequence_output(projection), y);
}

static void backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx) {
    (void)x;
    (void)y;
    Sequence *layers = self->sequences[LAYERS], *projection = self->sequences[PROJECTION];
    int wants_input = dx->data != NULL;
    sequence_backward(layers, pass, wants_input);
    if (projection != NULL) sequence_backward(projection, pass, wants_input);
    if (!wants_input) return;
    layer_sum(pass, &layers->gradients[0], projection == NULL ? dy : &projection->gradients[0], dx);
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
    .configure = configure,
    .forward = forward,
    .backward = backward,
};
