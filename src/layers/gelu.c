/* gelu.c - y = x P(X <= x) of a standard normal X, element by element, any shape (Hendrycks &
 * Gimpel, arXiv:1606.08415), exactly or by the tangent that the paper gives. As torch.nn.GELU. */
#include "src/layers/microbatch.h"

enum { EXACT, BY_TANH };
static const char *const ways[] = {"none", "tanh", NULL};

typedef struct Options {
    int approximate;
} Options;

static const Option options[] = {
    {"approximate", OPTION_ENUM, offsetof(Options, approximate), "none", .words = ways,
        .doc = "none: by erf; tanh: x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))"},
    {.key = NULL}};

static int is_exact(const Layer *self) {
    const Options *chosen = self->options;
    return chosen->approximate == EXACT;
}

static void forward_rows(const Microbatch *microbatch) {
    const Kernels *kernels = microbatch->kernels;
    size_t i = microbatch_offset(microbatch), n = microbatch_floats(microbatch);
    if (is_exact(microbatch->self))
        kernels->gelu_forward(microbatch->x + i, microbatch->out + i, n);
    else
        kernels->gelu_tanh_forward(microbatch->x + i, microbatch->out + i, n);
}

static void backward_rows(const Microbatch *microbatch) {
    const Kernels *kernels = microbatch->kernels;
    const float *x = microbatch->x + microbatch_offset(microbatch);
    const float *dy = microbatch->dy + microbatch_offset(microbatch);
    float *dx = microbatch->out + microbatch_offset(microbatch);
    if (is_exact(microbatch->self))
        kernels->gelu_backward(x, dy, dx, microbatch_floats(microbatch));
    else
        kernels->gelu_tanh_backward(x, dy, dx, microbatch_floats(microbatch));
}

static Status configure(Layer *self, Shape in, Shape *out) {
    return microbatch_configure_elements(self, in, out, forward_rows, backward_rows);
}

const LayerType layer_gelu = {
    .name = "gelu",
    .summary = "Gaussian error linear unit",
    .example = "",
    .options = options,
    .options_bytes = sizeof(Options),
    .state_bytes = sizeof(MicrobatchState),
    .configure = configure,
    .forward = microbatch_state_forward,
    .backward = microbatch_state_backward,
};
