/* kernel.h - what the kernel files share: the vector type of this compilation and its helpers.
 *
 * KERNEL_ISA, KERNEL_WIDTH and KERNEL_WIDEST come from the build. A vector is as wide as a
 * register, never wider: the compiler would keep a wider one in memory. One of 1 or 2 floats has
 * the register of four, whose others are never stored nor added up. */
#ifndef SRC_KERNELS_KERNEL_H
#define SRC_KERNELS_KERNEL_H

#include "src/kernels/kernels.h"

#define KERNEL_PASTE_(name, isa, width) kernel_##name##_##isa##_##width
#define KERNEL_PASTE(name, isa, width) KERNEL_PASTE_(name, isa, width)
/* The symbol of this compilation's `name`. */
#define KERNEL(name) KERNEL_PASTE(name, KERNEL_ISA, KERNEL_WIDTH)

/* Items of a vector in its register, and of half a vector. */
#if KERNEL_WIDTH >= 4
#define KERNEL_ITEMS KERNEL_WIDTH
enum { WIDTH = KERNEL_WIDTH, HALF = KERNEL_WIDTH / 2 };
#else
#define KERNEL_ITEMS 4
enum { WIDTH = KERNEL_WIDTH, HALF = KERNEL_WIDTH }; /* whose doubles fit a register */
#endif
#define KERNEL_HALF_ITEMS (KERNEL_ITEMS / 2)

/* Registers, and those for a tile's sums; the rest hold operands. */
#if defined(__AVX512VL__) || defined(__aarch64__)
enum { REGISTERS = 32, TILE_VECTORS = 4, TILE_SUMS = 24 };
#else
enum { REGISTERS = 16, TILE_VECTORS = 2, TILE_SUMS = 12 };
#endif

enum { LINE = 16 }; /* floats of a cache line */

#define INLINE static inline __attribute__((always_inline, unused))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#define UNROLL_LANES /* clang refuses a body this large, with a warning */
#define UNROLL_BY_4 _Pragma("clang loop unroll_count(4)")
#define UNROLL_BY_8 _Pragma("clang loop unroll_count(8)")
#define NO_UNROLL
#else
#define UNROLL _Pragma("GCC unroll 24")
#define UNROLL_LANES _Pragma("GCC unroll 16")
#if defined(__SSE2__) && !defined(__FMA__)
#define UNROLL_BY_4 /* products take registers, and steps together would take too many */
#else
#define UNROLL_BY_4 _Pragma("GCC unroll 4")
#endif
#define UNROLL_BY_8 _Pragma("GCC unroll 8")
#define NO_UNROLL _Pragma("GCC unroll 1")
#endif

typedef float Vector __attribute__((vector_size(KERNEL_ITEMS * 4)));
typedef int32_t VectorInt __attribute__((vector_size(KERNEL_ITEMS * 4)));
typedef float HalfVector __attribute__((vector_size(KERNEL_HALF_ITEMS * 4)));
typedef int32_t HalfVectorInt __attribute__((vector_size(KERNEL_HALF_ITEMS * 4)));
typedef double DoubleVector __attribute__((vector_size(KERNEL_HALF_ITEMS * 8))); /* HALF of them */
typedef int64_t DoubleMask __attribute__((vector_size(KERNEL_HALF_ITEMS * 8)));

typedef float Four __attribute__((vector_size(16))); /* whatever a vector has */

/* The same in memory, at any address. */
typedef float FourInMemory __attribute__((vector_size(16), aligned(4), may_alias));
typedef float VectorInMemory __attribute__((vector_size(KERNEL_ITEMS * 4), aligned(4), may_alias));
typedef int32_t VectorIntInMemory
    __attribute__((vector_size(KERNEL_ITEMS * 4), aligned(4), may_alias));
typedef float HalfVectorInMemory
    __attribute__((vector_size(KERNEL_HALF_ITEMS * 4), aligned(4), may_alias));

#if KERNEL_WIDTH == 16
#define REPEAT(v) v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v
#define REPEAT_HALF(v) v, v, v, v, v, v, v, v
#define COUNT_UP 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
#define COUNT_UP_HALF 0, 1, 2, 3, 4, 5, 6, 7
#define HALF_ITEMS(v, i) v[i], v[i + 1], v[i + 2], v[i + 3], v[i + 4], v[i + 5], v[i + 6], v[i + 7]
#elif KERNEL_WIDTH == 8
#define REPEAT(v) v, v, v, v, v, v, v, v
#define REPEAT_HALF(v) v, v, v, v
#define COUNT_UP 0, 1, 2, 3, 4, 5, 6, 7
#define COUNT_UP_HALF 0, 1, 2, 3
#define HALF_ITEMS(v, i) v[i], v[i + 1], v[i + 2], v[i + 3]
#else
#define REPEAT(v) v, v, v, v
#define REPEAT_HALF(v) v, v
#define COUNT_UP 0, 1, 2, 3
#define COUNT_UP_HALF 0, 1
#define HALF_ITEMS(v, i) v[i], v[i + 1]
#endif

#if KERNEL_WIDTH == 2
typedef double Pair __attribute__((aligned(4), may_alias)); /* two floats */
#endif

INLINE Vector load(const float *p) {
#if KERNEL_WIDTH == 1
    return (Vector){*p};
#elif KERNEL_WIDTH == 2
    return (Vector)(DoubleVector){*(const Pair *)p};
#else
    return *(const VectorInMemory *)p;
#endif
}

INLINE void store(float *p, Vector v) {
#if KERNEL_WIDTH == 1
    *p = v[0];
#elif KERNEL_WIDTH == 2
    *(Pair *)p = ((DoubleVector)v)[0];
#else
    *(VectorInMemory *)p = v;
#endif
}

/* The first `count` < WIDTH floats at p, then zeros; nothing beyond is read. Left whole, the loop
 * becomes one masked load where the CPU has one. */
INLINE Vector load_part(const float *p, int count) {
    float part[WIDTH];
    NO_UNROLL
    for (int i = 0; i < WIDTH; i++) part[i] = i < count ? p[i] : 0.0f;
    return load(part);
}

/* The first `count` of v; nothing beyond is written. */
INLINE void store_part(float *p, Vector v, int count) {
    float part[WIDTH];
    store(part, v);
    NO_UNROLL
    for (int i = 0; i < WIDTH; i++)
        if (i < count) p[i] = part[i];
}

INLINE Vector broadcast(float value) {
    return (Vector){REPEAT(value)};
}

/* v, rounded to float before anything is added to it: where a sum has two products, the compiler
 * may fuse either, and not the same one everywhere; and it fuses none with a sum behind a branch,
 * as that of load_part. */
INLINE Vector rounded(Vector v) {
#if defined(__x86_64__)
    __asm__("" : "+v"(v));
#else
    __asm__("" : "+w"(v));
#endif
    return v;
}

INLINE HalfVector load_half(const float *p) {
#if KERNEL_WIDTH == 1
    return (HalfVector){*p};
#else
    return *(const HalfVectorInMemory *)p;
#endif
}

INLINE void store_half(float *p, HalfVector v) {
#if KERNEL_WIDTH == 1
    *p = v[0];
#else
    *(HalfVectorInMemory *)p = v;
#endif
}

/* GCC makes one instruction of an item after the other, and several of __builtin_convertvector. */
INLINE DoubleVector load_doubles(const float *p) {
    HalfVector v = load_half(p);
    return (DoubleVector){HALF_ITEMS(v, 0)};
}

/* v where the mask is set, else 0. */
INLINE Vector masked(Vector v, VectorInt mask) {
    return (Vector)((VectorInt)v & mask);
}

/* x < 0 ? 0 : x: keeps NaN. */
INLINE Vector rectified(Vector v) {
    return masked(v, ~(v < broadcast(0.0f)));
}

INLINE DoubleVector broadcast_double(double value) {
    return (DoubleVector){REPEAT_HALF(value)};
}

/* The lanes' sum, halves onto halves. */
INLINE float sum_lanes(Vector v) {
#if KERNEL_WIDTH == 1
    return v[0];
#elif KERNEL_WIDTH == 2
    return v[0] + v[1];
#else
#if KERNEL_WIDTH == 16
    float a8 __attribute__((vector_size(32))) =
        __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
        __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
#elif KERNEL_WIDTH == 8
    Vector a8 = v;
#endif
#if KERNEL_WIDTH >= 8
    float a4 __attribute__((vector_size(16))) =
        __builtin_shufflevector(a8, a8, 0, 1, 2, 3) + __builtin_shufflevector(a8, a8, 4, 5, 6, 7);
#else
    Vector a4 = v;
#endif
    return (a4[0] + a4[2]) + (a4[1] + a4[3]);
#endif
}

/* sum_lanes of four vectors at once. */
INLINE void sum_lanes_of_four(Vector a, Vector b, Vector c, Vector d, float sums[4]) {
#if KERNEL_WIDTH == 16
#define HALVES(x, y, first)                                                                        \
    __builtin_shufflevector(x, y, first, first + 1, first + 2, first + 3, first + 4, first + 5,    \
        first + 6, first + 7, first + 16, first + 17, first + 18, first + 19, first + 20,          \
        first + 21, first + 22, first + 23)
#define QUARTERS(x, y, first)                                                                      \
    __builtin_shufflevector(x, y, first, first + 1, first + 2, first + 3, first + 8, first + 9,    \
        first + 10, first + 11, first + 16, first + 17, first + 18, first + 19, first + 24,        \
        first + 25, first + 26, first + 27)
    Vector ab = HALVES(a, b, 0) + HALVES(a, b, 8), cd = HALVES(c, d, 0) + HALVES(c, d, 8);
    Vector abcd = QUARTERS(ab, cd, 0) + QUARTERS(ab, cd, 4);
    Vector pairs = abcd + __builtin_shufflevector(
                              abcd, abcd, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13);
    Vector all = pairs + __builtin_shufflevector(
                             pairs, pairs, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14);
    for (int i = 0; i < 4; i++) sums[i] = all[4 * i];
#undef HALVES
#undef QUARTERS
#elif KERNEL_WIDTH == 8
    Vector ab = __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11) +
                __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15);
    Vector cd = __builtin_shufflevector(c, d, 0, 1, 2, 3, 8, 9, 10, 11) +
                __builtin_shufflevector(c, d, 4, 5, 6, 7, 12, 13, 14, 15);
    Vector pairs = __builtin_shufflevector(ab, cd, 0, 1, 8, 9, 4, 5, 12, 13) +
                   __builtin_shufflevector(ab, cd, 2, 3, 10, 11, 6, 7, 14, 15);
    Vector all = pairs + __builtin_shufflevector(pairs, pairs, 1, 0, 3, 2, 5, 4, 7, 6);
    sums[0] = all[0];
    sums[1] = all[4];
    sums[2] = all[2];
    sums[3] = all[6];
#elif KERNEL_WIDTH <= 2
    sums[0] = sum_lanes(a);
    sums[1] = sum_lanes(b);
    sums[2] = sum_lanes(c);
    sums[3] = sum_lanes(d);
#else
    Vector ab =
        __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
    Vector cd =
        __builtin_shufflevector(c, d, 0, 1, 4, 5) + __builtin_shufflevector(c, d, 2, 3, 6, 7);
    Vector all =
        __builtin_shufflevector(ab, cd, 0, 2, 4, 6) + __builtin_shufflevector(ab, cd, 1, 3, 5, 7);
    for (int i = 0; i < 4; i++) sums[i] = all[i];
#endif
}

INLINE double sum_double_lanes(DoubleVector v) {
#if KERNEL_WIDTH == 1
    return v[0];
#else
#if KERNEL_WIDTH == 16
    double a4 __attribute__((vector_size(32))) =
        __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
#elif KERNEL_WIDTH == 8
    DoubleVector a4 = v;
#endif
#if KERNEL_WIDTH >= 8
    double a2 __attribute__((vector_size(16))) =
        __builtin_shufflevector(a4, a4, 0, 1) + __builtin_shufflevector(a4, a4, 2, 3);
#else
    DoubleVector a2 = v;
#endif
    return a2[0] + a2[1];
#endif
}

/* The entries of the table whose vectors divide the lanes, one declaration each... */
#define KERNEL_LANES_LIST(ENTRY)                                                                   \
    ENTRY(linear_forward)                                                                          \
    ENTRY(linear_input_gradient)                                                                   \
    ENTRY(conv)                                                                                    \
    ENTRY(conv_pack)                                                                               \
    ENTRY(conv_weight_gradient)                                                                    \
    ENTRY(depthwise)                                                                               \
    ENTRY(depthwise_weight_gradient)                                                               \
    ENTRY(winograd_pack)                                                                           \
    ENTRY(winograd)                                                                                \
    ENTRY(max_pool_forward)                                                                        \
    ENTRY(max_pool_backward)                                                                       \
    ENTRY(mean_pool_forward)                                                                       \
    ENTRY(mean_pool_backward)

/* ... those with a second function, `name`_narrow, for lanes fewer than the widest vector's floats:
 * 1, 2, 4 or 8. Both use the widest vectors: KERNEL_WIDEST comes from the build... */
#define KERNEL_NARROW_LIST(ENTRY)                                                                  \
    ENTRY(dropout_draw)                                                                            \
    ENTRY(multiply_rows)

/* ... and those whose vectors do not run along the lanes, and so are the widest as well. The files
 * of these two lists (WIDEST_KERNELS in CMakeLists.txt) are compiled for the widest only. */
#define KERNEL_FLAT_LIST(ENTRY)                                                                    \
    ENTRY(linear_weight_gradient)                                                                  \
    ENTRY(transpose)                                                                               \
    ENTRY(copy_rows)                                                                               \
    ENTRY(row_sums)                                                                                \
    ENTRY(linear_forward_narrow)                                                                   \
    ENTRY(linear_input_gradient_narrow)                                                            \
    ENTRY(norm_moments)                                                                            \
    ENTRY(norm_merge)                                                                              \
    ENTRY(norm_set_scale)                                                                          \
    ENTRY(norm_forward)                                                                            \
    ENTRY(norm_sums)                                                                               \
    ENTRY(norm_set_slope)                                                                          \
    ENTRY(norm_input_gradient)                                                                     \
    ENTRY(group_norm_forward)                                                                      \
    ENTRY(group_norm_backward)                                                                     \
    ENTRY(leaky_relu_forward)                                                                      \
    ENTRY(leaky_relu_backward)                                                                     \
    ENTRY(sigmoid_forward)                                                                         \
    ENTRY(sigmoid_backward)                                                                        \
    ENTRY(tanh_forward)                                                                            \
    ENTRY(tanh_backward)                                                                           \
    ENTRY(gelu_forward)                                                                            \
    ENTRY(gelu_backward)                                                                           \
    ENTRY(gelu_tanh_forward)                                                                       \
    ENTRY(gelu_tanh_backward)                                                                      \
    ENTRY(softmax_forward)                                                                         \
    ENTRY(softmax_backward)                                                                        \
    ENTRY(log_softmax_forward)                                                                     \
    ENTRY(log_softmax_backward)                                                                    \
    ENTRY(relu_forward)                                                                            \
    ENTRY(relu_backward)                                                                           \
    ENTRY(sum)                                                                                     \
    ENTRY(add)                                                                                     \
    ENTRY(scale)                                                                                   \
    ENTRY(sum_of_squares)                                                                          \
    ENTRY(all_finite)                                                                              \
    ENTRY(load_bytes)                                                                              \
    ENTRY(load_floats)                                                                             \
    ENTRY(sgd)                                                                                     \
    ENTRY(adam)                                                                                    \
    ENTRY(fma_peak)

/* The symbol of the widest compilation's `name`. */
#define KERNEL_OF_WIDEST(name) KERNEL_PASTE(name, KERNEL_ISA, KERNEL_WIDEST)

#define KERNEL_DECLARE(name) extern __typeof__(*((Kernels *)0)->name) KERNEL(name);
KERNEL_LANES_LIST(KERNEL_DECLARE)
#undef KERNEL_DECLARE
#define KERNEL_DECLARE(name) extern __typeof__(*((Kernels *)0)->name) KERNEL_OF_WIDEST(name);
KERNEL_FLAT_LIST(KERNEL_DECLARE)
KERNEL_NARROW_LIST(KERNEL_DECLARE)
#undef KERNEL_DECLARE
#define KERNEL_DECLARE(name)                                                                       \
    extern __typeof__(*((Kernels *)0)->name) KERNEL_OF_WIDEST(name##_narrow);
KERNEL_NARROW_LIST(KERNEL_DECLARE)
#undef KERNEL_DECLARE

extern const Kernels KERNEL(table);

#endif
