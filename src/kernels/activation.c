/* activation.c - activation functions, element by element, and their gradients.
 *
 * No sum is left with two products, of which a compiler may fuse either: every element gets the
 * same roundings, wherever it stands. */
#include "src/kernels/vector_math.h"

/* What becomes of a vector: of v and dy where it is a gradient, of v alone where not. */
typedef Vector Formula(Vector v, Vector dy, float parameter);

INLINE void map(
    Formula *formula, const float *v, const float *dy, float *out, size_t n, float parameter) {
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH)
        store(out + i, formula(load(v + i), load(dy + i), parameter));
    if (i == n) return;
    int left = (int)(n - i);
    store_part(out + i, formula(load_part(v + i, left), load_part(dy + i, left), parameter), left);
}

/* ---- leaky ReLU ---- */

INLINE Vector leaky_relu(Vector x, Vector dy, float slope) {
    (void)dy;
    return choose(x > broadcast(0.0f), x, x * broadcast(slope));
}

INLINE Vector leaky_relu_gradient(Vector y, Vector dy, float slope) {
    return choose(y > broadcast(0.0f), dy, dy * broadcast(slope));
}

void KERNEL(leaky_relu_forward)(const float *x, float *y, size_t n, float slope) {
    map(leaky_relu, x, x, y, n, slope);
}

void KERNEL(leaky_relu_backward)(
    const float *y, const float *dy, float *dx, size_t n, float slope) {
    map(leaky_relu_gradient, y, dy, dx, n, slope);
}

/* ---- sigmoid and tanh ---- */

INLINE Vector sigmoid(Vector x, Vector dy, float parameter) {
    (void)dy;
    (void)parameter;
    return vector_sigmoid(x);
}

INLINE Vector sigmoid_gradient(Vector y, Vector dy, float parameter) {
    (void)parameter;
    return dy * (y * (broadcast(1.0f) - y));
}

INLINE Vector hyperbolic_tangent(Vector x, Vector dy, float parameter) {
    (void)dy;
    (void)parameter;
    return vector_tanh(x);
}

INLINE Vector hyperbolic_tangent_gradient(Vector y, Vector dy, float parameter) {
    (void)parameter;
    return dy * (broadcast(1.0f) - y * y);
}

void KERNEL(sigmoid_forward)(const float *x, float *y, size_t n) {
    map(sigmoid, x, x, y, n, 0);
}

void KERNEL(sigmoid_backward)(const float *y, const float *dy, float *dx, size_t n) {
    map(sigmoid_gradient, y, dy, dx, n, 0);
}

void KERNEL(tanh_forward)(const float *x, float *y, size_t n) {
    map(hyperbolic_tangent, x, x, y, n, 0);
}

void KERNEL(tanh_backward)(const float *y, const float *dy, float *dx, size_t n) {
    map(hyperbolic_tangent_gradient, y, dy, dx, n, 0);
}

/* ---- GELU (Hendrycks and Gimpel 2016) ---- */

static const float root_half = 0.70710678f;        /* sqrt(1/2) */
static const float normal_peak = 0.39894228f;      /* 1 / sqrt(2 pi) */
static const float root_two_over_pi = 0.79788456f; /* sqrt(2 / pi) */
static const float cubic = 0.044715f;

INLINE Vector gelu(Vector x, Vector dy, float parameter) {
    (void)dy;
    (void)parameter;
    Vector both = broadcast(1.0f) + vector_erf(x * broadcast(root_half));
    return x * broadcast(0.5f) * both;
}

INLINE Vector gelu_gradient(Vector x, Vector dy, float parameter) {
    (void)parameter;
    Vector both = broadcast(1.0f) + vector_erf(x * broadcast(root_half));
    Vector density = vector_exp(x * x * broadcast(-0.5f)) * broadcast(normal_peak);
    return dy * (rounded(broadcast(0.5f) * both) + x * density);
}

/* The tangent's argument is x * (1 + cubic x²) * sqrt(2 / pi). */
INLINE Vector gelu_tangent(Vector x) {
    Vector bent = x * x * broadcast(cubic) + broadcast(1.0f);
    return vector_tanh(x * broadcast(root_two_over_pi) * bent);
}

INLINE Vector gelu_tanh(Vector x, Vector dy, float parameter) {
    (void)dy;
    (void)parameter;
    return x * broadcast(0.5f) * (broadcast(1.0f) + gelu_tangent(x));
}

INLINE Vector gelu_tanh_gradient(Vector x, Vector dy, float parameter) {
    (void)parameter;
    Vector one = broadcast(1.0f), t = gelu_tangent(x);
    Vector slope = x * x * broadcast(3 * cubic) + one;
    Vector change = (one - t * t) * slope * broadcast(root_two_over_pi);
    return dy * (rounded(broadcast(0.5f) * (one + t)) + x * broadcast(0.5f) * change);
}

void KERNEL(gelu_forward)(const float *x, float *y, size_t n) {
    map(gelu, x, x, y, n, 0);
}

void KERNEL(gelu_backward)(const float *x, const float *dy, float *dx, size_t n) {
    map(gelu_gradient, x, dy, dx, n, 0);
}

void KERNEL(gelu_tanh_forward)(const float *x, float *y, size_t n) {
    map(gelu_tanh, x, x, y, n, 0);
}

void KERNEL(gelu_tanh_backward)(const float *x, const float *dy, float *dx, size_t n) {
    map(gelu_tanh_gradient, x, dy, dx, n, 0);
}
