/* vector_math.h - exp, tanh and erf of whole vectors, for kernel files.
 *
 * Every sum below has one product, so a compiler that fuses it has no choice: a number gets the
 * same result in every lane, at every place and in every table of an instruction set. NaN gives
 * NaN. Errors are those against double on 17 million arguments over the whole range. Polynomials
 * that are not Taylor's are near-minimax ones (Chebyshev interpolation in 40 digits, mpmath's
 * chebyfit). */
#ifndef SRC_KERNELS_VECTOR_MATH_H
#define SRC_KERNELS_VECTOR_MATH_H

#include "src/kernels/kernel.h"

/* `yes` where all bits of the mask are set, else `no`. */
INLINE Vector choose(VectorInt mask, Vector yes, Vector no) {
    return (Vector)(((VectorInt)yes & mask) | ((VectorInt)no & ~mask));
}

INLINE Vector absolute(Vector v) {
    return masked(v, (VectorInt){REPEAT(0x7fffffff)});
}

INLINE Vector with_sign_of(Vector magnitude, Vector sign) {
    VectorInt bit = (VectorInt)sign & (VectorInt){REPEAT(INT32_MIN)};
    return (Vector)((VectorInt)magnitude | bit);
}

/* v where it is within [low, high] or NaN, else the nearer bound. */
INLINE Vector clamp(Vector v, float low, float high) {
    v = choose(v < broadcast(low), broadcast(low), v);
    return choose(v > broadcast(high), broadcast(high), v);
}

/* c[0] + v c[1] + v² c[2] + ..., by Horner's rule. */
INLINE Vector polynomial(Vector v, const float *c, int terms) {
    Vector sum = broadcast(c[terms - 1]);
    UNROLL
    for (int i = terms - 2; i >= 0; i--) sum = sum * v + broadcast(c[i]);
    return sum;
}

/* 2^n for n from -126 to 127. */
INLINE Vector power_of_two(VectorInt n) {
    return (Vector)((n + 127) << 23);
}

/* e^x = 2^n e^r, |r| <= ln(2) / 2, by Taylor's sum to r^7 / 7! (relative error 5e-9). Within 1.5
 * units in the last place, subnormal results too; 0 below -104, infinite above 88.73. */
INLINE Vector vector_exp(Vector x) {
    static const float taylor[] = {
        1, 1, 1 / 2.0f, 1 / 6.0f, 1 / 24.0f, 1 / 120.0f, 1 / 720.0f, 1 / 5040.0f};
    Vector whole = broadcast(0x1.8p23f); /* added: the last bits are those of the nearest whole */
    x = clamp(x, -104.0f, 89.0f);
    Vector shifted = x * broadcast(0x1.715476p0f) + whole; /* 1 / ln(2) */
    VectorInt n = (VectorInt)shifted - (VectorInt)whole;
    Vector count = shifted - whole;
    Vector r = x - count * broadcast(0x1.62e4p-1f); /* ln(2) to 15 bits: the product is exact */
    r = r - count * broadcast(0x1.7f7d1cp-20f);     /* the rest of it */
    Vector sum = polynomial(r, taylor, 8);
    VectorInt half = n >> 1;
    return sum * power_of_two(half) * power_of_two(n - half);
}

/* Below 0.625 an odd polynomial, above 1 - 2 / (e^2x + 1). Within 2 units in the last place. */
INLINE Vector vector_tanh(Vector x) {
    static const float odd[] = {
        -0.3333332843f, 0.1333271885f, -0.05384326318f, 0.02096132911f, -0.006045165097f};
    Vector size = absolute(x), square = x * x, one = broadcast(1.0f);
    Vector small = polynomial(square, odd, 5) * square;
    small = small * x + x;
    Vector large = one - broadcast(2.0f) / (vector_exp(size + size) + one);
    return choose(size < broadcast(0.625f), small, with_sign_of(large, x));
}

/* Below 1 an odd polynomial, above 1 - e^p(|x|), p = log(1 - erf). Within 2.5 units in the
 * last place. */
INLINE Vector vector_erf(Vector x) {
    static const float odd[] = {1.128379166f, -0.3761262667f, 0.1128359472f, -0.02685421201f,
        0.005189087423f, -0.0008016864287f, 7.875875063e-5f};
    static const float log_rest[] = {0.0003201380497f, -1.130233435f, -0.6318260516f,
        -0.1100800829f, 0.02642113601f, -0.004759596293f, 0.0005968056257f, -4.605804269e-5f,
        1.637151415e-6f};
    Vector size = absolute(x), square = x * x;
    Vector small = polynomial(square, odd, 7) * x;
    Vector rest = vector_exp(polynomial(clamp(size, 0.0f, 4.0f), log_rest, 9));
    Vector large = with_sign_of(broadcast(1.0f) - rest, x);
    return choose(size < broadcast(1.0f), small, large);
}

/* 1 / (1 + e^-x). Within 3 units in the last place; 0 below -88.73. */
INLINE Vector vector_sigmoid(Vector x) {
    Vector one = broadcast(1.0f);
    return one / (one + vector_exp(-x));
}

#endif
