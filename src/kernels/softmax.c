/* softmax.c - softmax and its logarithm over the channels of one microbatch x [channels][n], n
 * whole vectors of numbers that do not know of each other. The largest x is taken out first; sums
 * are taken in double, channel by channel. */
#include "src/kernels/vector_math.h"

/* Sums of a vector's lanes in double: the lower half, the upper half. */
typedef struct Sums {
    DoubleVector half[2];
} Sums;

INLINE Sums widened(Vector v) {
    float item[WIDTH];
    store(item, v);
    return (Sums){{load_doubles(item), load_doubles(item + HALF)}};
}

INLINE Vector narrowed(Sums sums) {
    float item[WIDTH];
    for (int h = 0; h < 2; h++)
        *(HalfVectorInMemory *)(item + h * HALF) =
            __builtin_convertvector(sums.half[h], HalfVector);
    return load(item);
}

INLINE void add_to(Sums *sums, Vector v) {
    Sums term = widened(v);
    sums->half[0] += term.half[0];
    sums->half[1] += term.half[1];
}

INLINE Vector largest_of(const float *x, int channels, size_t n) {
    Vector largest = load(x);
    for (int c = 1; c < channels; c++) {
        Vector v = load(x + c * n);
        largest = choose(v > largest, v, largest);
    }
    return largest;
}

void KERNEL(softmax_forward)(const float *x, float *y, int channels, size_t n) {
    for (size_t i = 0; i < n; i += WIDTH) {
        Vector largest = largest_of(x + i, channels, n);
        Sums sums = {{{0}}};
        for (int c = 0; c < channels; c++) {
            Vector power = vector_exp(load(x + c * n + i) - largest);
            store(y + c * n + i, power);
            add_to(&sums, power);
        }
        Vector sum = narrowed(sums);
        for (int c = 0; c < channels; c++) store(y + c * n + i, load(y + c * n + i) / sum);
    }
}

void KERNEL(softmax_backward)(const float *y, const float *dy, float *dx, int channels, size_t n) {
    for (size_t i = 0; i < n; i += WIDTH) {
        Sums sums = {{{0}}};
        for (int c = 0; c < channels; c++)
            add_to(&sums, rounded(load(y + c * n + i) * load(dy + c * n + i)));
        Vector sum = narrowed(sums);
        for (int c = 0; c < channels; c++)
            store(dx + c * n + i, load(y + c * n + i) * (load(dy + c * n + i) - sum));
    }
}

void KERNEL(log_softmax_forward)(const float *x, float *y, int channels, size_t n) {
    for (size_t i = 0; i < n; i += WIDTH) {
        Vector largest = largest_of(x + i, channels, n);
        Sums sums = {{{0}}};
        for (int c = 0; c < channels; c++) add_to(&sums, vector_exp(load(x + c * n + i) - largest));
        Sums shift = widened(largest);
        for (int h = 0; h < 2; h++) shift.half[h] += vector_log(sums.half[h]);
        for (int c = 0; c < channels; c++) {
            Sums v = widened(load(x + c * n + i));
            for (int h = 0; h < 2; h++) v.half[h] -= shift.half[h];
            store(y + c * n + i, narrowed(v));
        }
    }
}

void KERNEL(log_softmax_backward)(
    const float *y, const float *dy, float *dx, int channels, size_t n) {
    for (size_t i = 0; i < n; i += WIDTH) {
        Sums sums = {{{0}}};
        for (int c = 0; c < channels; c++) add_to(&sums, load(dy + c * n + i));
        Vector sum = narrowed(sums);
        for (int c = 0; c < channels; c++) {
            Vector power = vector_exp(load(y + c * n + i));
            store(dx + c * n + i, load(dy + c * n + i) - power * sum);
        }
    }
}
