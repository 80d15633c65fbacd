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

static const float normal_peak = 0.39894228f;      /* 1 / sqrt(2 pi) */
static const float root_two_over_pi = 0.79788456f; /* sqrt(2 / pi) */
static const float cubic = 0.044715f;

/* P(X > size) is taken from 1 or 0, so that both tails keep their digits: within 6 units in the
 * last place down to -2, and 120 down to -13. Slopes of both forms are within 2.1e-7 * dy. */
INLINE Vector gelu(Vector x, Vector dy, float parameter) {
    (void)dy;
    (void)parameter;
    NormalTail tail = normal_tail(absolute(x));
    return rectified(x) - tail.size * (tail.power * tail.ratio);
}

INLINE Vector gelu_gradient(Vector x, Vector dy, float parameter) {
    (void)parameter;
    VectorInt is_negative = (VectorInt)x >> 31;
    NormalTail tail = normal_tail(absolute(x));
    Vector change = tail.power * (tail.size * broadcast(normal_peak) - tail.ratio);
    change = (Vector)((VectorInt)change ^ (is_negative & INT32_MIN));
    return dy * (masked(broadcast(1.0f), ~is_negative) + change);
}

/* e^-2u, u = sqrt(2 / pi) (x + 0.044715 x^3), for (1 + tanh(u)) / 2 = 1 / (1 + e^-2u). */
INLINE Vector gelu_sigmoid_power(Vector x) {
    Vector bent = x * x * broadcast(-2 * root_two_over_pi * cubic);
    return vector_exp_to_add(x * (bent + broadcast(-2 * root_two_over_pi)));
}

INLINE Vector gelu_tanh(Vector x, Vector dy, float parameter) {
    (void)dy;
    (void)parameter;
    return x / (broadcast(1.0f) + gelu_sigmoid_power(x));
}

/* s + x s (1 - s) 2u', s being the sigmoid. Beyond -9, where all is 0, and 9, where it is 1, as
 * there: the power remains finite, (1 - s) = s * power keeps its digits, and x² what it makes
 * small. */
INLINE Vector gelu_tanh_gradient(Vector x, Vector dy, float parameter) {
    (void)parameter;
    x = at_least(at_most(x, 9.0f), -9.0f);
    Vector one = broadcast(1.0f), power = gelu_sigmoid_power(x), s = one / (one + power);
    Vector slope = x * x * broadcast(6 * root_two_over_pi * cubic);
    Vector change = x * (s * power) * (slope + broadcast(2 * root_two_over_pi));
    return dy * (s + s * change);
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
