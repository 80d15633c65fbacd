/* dropout.c - factors of 0 or `keep` drawn with Philox4x32-10 (see src/rng.h), a lane for each
 * sample, and their product with what they thin out. */
#include "src/kernels/kernel.h"

typedef uint32_t Words __attribute__((vector_size(KERNEL_WIDTH * 4)));
typedef uint64_t WidePairs __attribute__((vector_size(KERNEL_WIDTH * 4)));

INLINE Words load_words(const uint32_t *p) {
    return (Words) * (const VectorIntInMemory *)p;
}

/* The upper and lower words of factor * v. */
INLINE void multiply(uint32_t factor, Words v, Words *high, Words *low) {
    WidePairs lower_word = (WidePairs){REPEAT_HALF(0xffffffffu)};
    WidePairs factors = (WidePairs){REPEAT_HALF(factor)};
    WidePairs even = ((WidePairs)v & lower_word) * factors, odd = ((WidePairs)v >> 32) * factors;
    *high = (Words)((even >> 32) | (odd & ~lower_word));
    *low = (Words)((even & lower_word) | (odd << 32));
}

INLINE void philox(const uint32_t key_in[2], Words counter[4]) {
    uint32_t key[2] = {key_in[0], key_in[1]};
    UNROLL
    for (int round = 0; round < 10; round++) {
        Words high0, low0, high2, low2;
        multiply(0xD2511F53u, counter[0], &high0, &low0);
        multiply(0xCD9E8D57u, counter[2], &high2, &low2);
        counter[0] = high2 ^ counter[1] ^ key[0];
        counter[2] = high0 ^ counter[3] ^ key[1];
        counter[1] = low2;
        counter[3] = low0;
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
}

/* Rows 4 * quad .. 4 * quad + 3, as far as they are below `rows`. */
INLINE void draw_rows(const KernelDropout *dropout, int quad, int rows, int lanes, float *factors) {
    Vector keep = broadcast(dropout->keep);
    for (int lane = 0; lane < lanes; lane += WIDTH) {
        Words counter[4] = {(Words){0} + (uint32_t)quad, load_words(dropout->sample_low + lane),
            load_words(dropout->sample_high + lane), (Words){0} + dropout->step};
        philox(dropout->key, counter);
        UNROLL
        for (int k = 0; k < 4; k++) {
            VectorInt is_kept = (VectorInt)(counter[k] >= dropout->threshold);
            if (4 * quad + k < rows)
                store(factors + (size_t)(4 * quad + k) * lanes + lane,
                    (Vector)((VectorInt)keep & is_kept));
        }
    }
}

void KERNEL(dropout_draw)(const KernelDropout *dropout, int rows, int lanes, float *factors) {
    for (int quad = 0; 4 * quad < rows; quad++) draw_rows(dropout, quad, rows, lanes, factors);
}

void KERNEL(multiply_rows)(
    const float *x, const float *factors, float *y, int pixels, int lanes, int begin, int end) {
    for (int row = begin; row < end; row++) {
        for (int p = 0; p < pixels; p++) {
            for (int lane = 0; lane < lanes; lane += WIDTH) {
                size_t i = ((size_t)row * pixels + p) * lanes + lane;
                store(y + i, load(x + i) * load(factors + (size_t)row * lanes + lane));
            }
        }
    }
}
