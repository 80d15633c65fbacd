/* kernel.h - what the kernel files share: the vector type of this compilation and its helpers.
 *
 * KERNEL_ISA, KERNEL_WIDTH and KERNEL_WIDEST come from the build. A vector is as wide as a
 * register, never wider: the compiler would keep a wider one in memory. */
#ifndef SRC_KERNELS_KERNEL_H
#define SRC_KERNELS_KERNEL_H

#include "src/kernels/kernels.h"

#define KERNEL_PASTE_(name, isa, width) kernel_##name##_##isa##_##width
#define KERNEL_PASTE(name, isa, width) KERNEL_PASTE_(name, isa, width)
/* The symbol of this compilation's `name`. */
#define KERNEL(name) KERNEL_PASTE(name, KERNEL_ISA, KERNEL_WIDTH)

enum { WIDTH = KERNEL_WIDTH, HALF = KERNEL_WIDTH / 2 };

/* Registers for a tile's sums: 24 of 32, or 12 of 16; the rest hold operands. */
#if defined(__AVX512VL__) || defined(__aarch64__)
enum { TILE_VECTORS = 4, TILE_SUMS = 24 };
#else
enum { TILE_VECTORS = 2, TILE_SUMS = 12 };
#endif

#define INLINE static inline __attribute__((always_inline, unused))
#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#define UNROLL_LANES /* clang refuses a body this large, with a warning */
#else
#define UNROLL _Pragma("GCC unroll 24")
#define UNROLL_LANES _Pragma("GCC unroll 16")
#endif

typedef float Vector __attribute__((vector_size(KERNEL_WIDTH * 4)));
typedef int32_t VectorInt __attribute__((vector_size(KERNEL_WIDTH * 4)));
typedef float HalfVector __attribute__((vector_size(KERNEL_WIDTH * 2)));
typedef double DoubleVector __attribute__((vector_size(KERNEL_WIDTH * 4))); /* HALF of them */
typedef int64_t DoubleMask __attribute__((vector_size(KERNEL_WIDTH * 4)));

/* The same in memory, at any address. */
typedef float VectorInMemory __attribute__((vector_size(KERNEL_WIDTH * 4), aligned(4), may_alias));
typedef int32_t VectorIntInMemory
    __attribute__((vector_size(KERNEL_WIDTH * 4), aligned(4), may_alias));
typedef float HalfVectorInMemory
    __attribute__((vector_size(KERNEL_WIDTH * 2), aligned(4), may_alias));

#if KERNEL_WIDTH == 16
#define REPEAT(v) v, v, v, v, v, v, v, v, v, v, v, v, v, v, v, v
#define REPEAT_HALF(v) v, v, v, v, v, v, v, v
#define COUNT_UP 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
#define COUNT_UP_HALF 0, 1, 2, 3, 4, 5, 6, 7
#elif KERNEL_WIDTH == 8
#define REPEAT(v) v, v, v, v, v, v, v, v
#define REPEAT_HALF(v) v, v, v, v
#define COUNT_UP 0, 1, 2, 3, 4, 5, 6, 7
#define COUNT_UP_HALF 0, 1, 2, 3
#else
#define REPEAT(v) v, v, v, v
#define REPEAT_HALF(v) v, v
#define COUNT_UP 0, 1, 2, 3
#define COUNT_UP_HALF 0, 1
#endif

INLINE Vector load(const float *p) {
    return *(const VectorInMemory *)p;
}

INLINE void store(float *p, Vector v) {
    *(VectorInMemory *)p = v;
}

INLINE Vector broadcast(float value) {
    return (Vector){REPEAT(value)};
}

/* v, rounded to float before anything is added to it: where a sum has two products, the compiler
 * may fuse either, and not the same one everywhere. */
INLINE Vector rounded(Vector v) {
#if defined(__x86_64__)
    __asm__("" : "+v"(v));
#else
    __asm__("" : "+w"(v));
#endif
    return v;
}

INLINE DoubleVector load_doubles(const float *p) {
    HalfVector v = *(const HalfVectorInMemory *)p;
    return __builtin_convertvector(v, DoubleVector);
}

INLINE DoubleVector broadcast_double(double value) {
    return (DoubleVector){REPEAT_HALF(value)};
}

/* v in lanes `lane`.. that are below `valid`, 0 in the others, whatever these hold. */
INLINE Vector keep_valid(Vector v, int lane, int valid) {
    if (lane + WIDTH <= valid) return v;
    VectorInt index = (VectorInt){COUNT_UP} + (VectorInt){REPEAT(lane)};
    return (Vector)((VectorInt)v & (index < (VectorInt){REPEAT(valid)}));
}

INLINE DoubleVector keep_valid_doubles(DoubleVector v, int lane, int valid) {
    if (lane + HALF <= valid) return v;
    DoubleMask index = (DoubleMask){COUNT_UP_HALF} + (DoubleMask){REPEAT_HALF(lane)};
    return (DoubleVector)((DoubleMask)v & (index < (DoubleMask){REPEAT_HALF(valid)}));
}

/* The lanes' sum, halves onto halves. */
INLINE float sum_lanes(Vector v) {
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
}

INLINE double sum_double_lanes(DoubleVector v) {
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
}

/* The entries of the table whose vectors divide the lanes, one declaration each... */
#define KERNEL_LANES_LIST(ENTRY)                                                                   \
    ENTRY(linear_forward)                                                                          \
    ENTRY(linear_input_gradient)                                                                   \
    ENTRY(linear_weight_gradient)                                                                  \
    ENTRY(row_sums)                                                                                \
    ENTRY(transpose)                                                                               \
    ENTRY(norm_moments)                                                                            \
    ENTRY(norm_forward)                                                                            \
    ENTRY(norm_sums)                                                                               \
    ENTRY(norm_input_gradient)                                                                     \
    ENTRY(conv)                                                                                    \
    ENTRY(conv_pack)                                                                               \
    ENTRY(conv_weight_gradient)

/* ... and those that see no lanes, and so use the widest vectors: KERNEL_WIDEST comes from the
 * build. Their files (FLAT_KERNELS in CMakeLists.txt) are compiled for these only. */
#define KERNEL_FLAT_LIST(ENTRY)                                                                    \
    ENTRY(relu_forward)                                                                            \
    ENTRY(relu_backward)                                                                           \
    ENTRY(add)                                                                                     \
    ENTRY(scale)                                                                                   \
    ENTRY(sum_of_squares)                                                                          \
    ENTRY(all_finite)                                                                              \
    ENTRY(load_bytes)                                                                              \
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
#undef KERNEL_DECLARE

extern const Kernels KERNEL(table);

#endif
