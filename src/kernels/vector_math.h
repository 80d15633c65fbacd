/* vector_math.h - exp, tanh and the normal distribution of whole vectors, for kernel files.
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

/* a > b ? a : b, item by item: GCC finds the instruction for it in a loop, with AVX-512 in no
 * choice by a mask. */
INLINE Vector larger_of(Vector a, Vector b) {
    float item[WIDTH], other[WIDTH];
    store(item, a);
    store(other, b);
    NO_UNROLL
    for (int i = 0; i < WIDTH; i++) item[i] = item[i] > other[i] ? item[i] : other[i];
    return load(item);
}

/* v, but not more than `high`, or not less than `low`; NaN stays. */
INLINE Vector at_most(Vector v, float high) {
    return choose(v > broadcast(high), broadcast(high), v);
}

INLINE Vector at_least(Vector v, float low) {
    return choose(v < broadcast(low), broadcast(low), v);
}

/* c[0] + v c[1] + v² c[2] + ..., by Horner's rule. */
INLINE Vector polynomial(Vector v, const float *c, int terms) {
    Vector sum = broadcast(c[terms - 1]);
    UNROLL
    for (int i = terms - 2; i >= 0; i--) sum = sum * v + broadcast(c[i]);
    return sum;
}

/* What is added to a small number so that its last bits are n + 127, n the nearest whole number:
 * shifted to their place they are the exponent of 2^n. */
static const float to_exponent = 0x1.8p23f + 127;

INLINE Vector power_of_two(Vector shifted) {
    return (Vector)((VectorInt)shifted << 23);
}

/* e^x * 2^offset = 2^(n + offset) e^r, |r| <= ln(2) / 2, by Taylor's sum to r^7 / 7! (relative
 * error 5e-9). Within 1.5 units in the last place. n + offset from -126 to 127, or 128: infinite.
 */
INLINE Vector scaled_exp(Vector x, const int offset) {
    static const float taylor[] = {
        1, 1, 1 / 2.0f, 1 / 6.0f, 1 / 24.0f, 1 / 120.0f, 1 / 720.0f, 1 / 5040.0f};
    Vector whole = broadcast(to_exponent + (float)offset);
    Vector shifted = x * broadcast(0x1.715476p0f) + whole; /* 1 / ln(2) */
    Vector count = shifted - whole;
    Vector r = x - count * broadcast(0x1.62e4p-1f); /* ln(2) to 15 bits: the product is exact */
    r = r - count * broadcast(0x1.7f7d1cp-20f);     /* the rest of it */
    return polynomial(r, taylor, 8) * power_of_two(shifted);
}

/* e^x for x <= 40, subnormal results too where these are kept; 0 below -104. */
INLINE Vector vector_exp(Vector x) {
    return scaled_exp(at_least(x, -104.0f), 64) * broadcast(0x1p-64f);
}

/* e^x for what is added to 1: not less than 1.6e-38; infinite above 88.37. */
INLINE Vector vector_exp_to_add(Vector x) {
    return scaled_exp(at_least(at_most(x, 89.0f), -87.0f), 0);
}

/* Below 0.625 an odd polynomial, above 1 - 2 / (e^2x + 1). Within 2 units in the last place. */
INLINE Vector vector_tanh(Vector x) {
    static const float odd[] = {
        -0.3333332843f, 0.1333271885f, -0.05384326318f, 0.02096132911f, -0.006045165097f};
    Vector size = absolute(x), square = x * x, one = broadcast(1.0f);
    Vector small = polynomial(square, odd, 5) * square;
    small = small * x + x;
    Vector large = one - broadcast(2.0f) / (vector_exp_to_add(size + size) + one);
    return choose(size < broadcast(0.625f), small, with_sign_of(large, x));
}

/* 1 / (1 + e^-x). Within 3 units in the last place; 0 below -88.37. */
INLINE Vector vector_sigmoid(Vector x) {
    Vector one = broadcast(1.0f);
    return one / (one + vector_exp_to_add(-x));
}

/* The standard normal distribution at size >= 0: e^(-size^2 / 2), and P(X > size) over that, a
 * rational function (relative error 6e-9 to 14). Beyond 15 both are those of 15: 0 and 0.027. */
typedef struct NormalTail {
    Vector size, power, ratio;
} NormalTail;

INLINE NormalTail normal_tail(Vector size) {
    static const float over[] = {0.5f, 0.43725127f, 0.182462037f, 0.0403726064f, 0.00407761196f};
    static const float under[] = {
        1, 1.67238748f, 1.19929171f, 0.467429638f, 0.101205923f, 0.0102209281f};
    static const float taylor[] = {1, 0.693147182f, 0.240226507f, 0.0555041097f, 0.00961812865f,
        0.00133335579f, 0.000154035297f, 1.52527336e-05f}; /* ln(2)^k / k! */
    Vector whole = broadcast(to_exponent + 64);
    size = at_most(size, 15.0f);
    Vector exponent = rounded(size * size * broadcast(-0x1.715476p-1f)); /* 1 / (2 ln(2)) */
    Vector shifted = exponent + whole;
    Vector power = polynomial(exponent - (shifted - whole), taylor, 8) * power_of_two(shifted);
    return (NormalTail){.size = size,
        .power = power * broadcast(0x1p-64f),
        .ratio = polynomial(size, over, 5) / polynomial(size, under, 6)};
}

#endif
