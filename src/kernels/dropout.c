/* dropout.c - factors of 0 or `keep` drawn with Philox4x32-10 (see src/rng.h), a lane for each
 * sample, and their product with what they thin out. */
#include "src/kernels/narrow.h"

typedef uint32_t Words __attribute__((vector_size(KERNEL_WIDTH * 4)));
typedef uint64_t WidePairs __attribute__((vector_size(KERNEL_WIDTH * 4)));

INLINE Words load_words(const uint32_t *p) {
    return (Words) * (const VectorIntInMemory *)p;
}

/* The `lanes` words at p over and over. */
INLINE Words load_repeated_words(const uint32_t *p, int lanes) {
    uint32_t item[WIDTH];
    for (int i = 0; i < WIDTH; i++) item[i] = p[i & (lanes - 1)];
    return load_words(item);
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

/* The factors of rows 4 * quad + k, word k of Philox, for the lanes at `lane`: 0 or `keep`. `quad`
 * is that of each item. */
INLINE void draw(
    const KernelDropout *dropout, Words quad, Words low, Words high, Vector factor[4]) {
    Words counter[4] = {quad, low, high, (Words){0} + dropout->step};
    philox(dropout->key, counter);
    UNROLL
    for (int k = 0; k < 4; k++) {
        VectorInt is_kept = (VectorInt)(counter[k] >= dropout->threshold);
        factor[k] = masked(broadcast(dropout->keep), is_kept);
    }
}

void KERNEL(dropout_draw)(const KernelDropout *dropout, int rows, int lanes, float *factors) {
    for (int quad = 0; 4 * quad < rows; quad++) {
        for (int lane = 0; lane < lanes; lane += WIDTH) {
            Vector factor[4];
            draw(dropout, (Words){0} + (uint32_t)quad, load_words(dropout->sample_low + lane),
                load_words(dropout->sample_high + lane), factor);
            UNROLL
            for (int k = 0; k < 4; k++) {
                int row = 4 * quad + k;
                if (row < rows) store(factors + (size_t)row * lanes + lane, factor[k]);
            }
        }
    }
}

/* A vector holds as many quads of rows as fit; what it gives for four rows each is zipped twice,
 * and lies in the order of the rows. */
INLINE void draw_narrow(const int lanes, const KernelDropout *dropout, int rows, float *factors) {
    Words low = load_repeated_words(dropout->sample_low, lanes);
    Words high = load_repeated_words(dropout->sample_high, lanes);
    Words quad = (Words)piece_numbers(lanes);
    size_t n = (size_t)rows * lanes;
    for (size_t i = 0; i < n; i += 4 * WIDTH, quad += WIDTH / lanes) {
        Vector by_word[4], by_row[4];
        draw(dropout, quad, low, high, by_word);
        UNROLL
        for (int half = 0; half < 2; half++) {
            Vector even = zipped(lanes, by_word[0], by_word[2], half);
            Vector odd = zipped(lanes, by_word[1], by_word[3], half);
            by_row[2 * half] = zipped(lanes, even, odd, 0);
            by_row[2 * half + 1] = zipped(lanes, even, odd, 1);
        }
        UNROLL
        for (size_t k = 0; k < 4; k++) store_up_to(factors, i + k * WIDTH, n, by_row[k]);
    }
}

void KERNEL(dropout_draw_narrow)(
    const KernelDropout *dropout, int rows, int lanes, float *factors) {
    WITH_LANES(lanes, draw_narrow, dropout, rows, factors);
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

/* n floats, one factor each. */
INLINE void multiply_each(const float *x, const float *factors, float *y, size_t n) {
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) store(y + i, load(x + i) * load(factors + i));
    int left = (int)(n - i);
    if (left > 0) store_part(y + i, load_part(x + i, left) * load_part(factors + i, left), left);
}

/* n floats, `lanes` factors that repeat. */
INLINE void multiply_all(const float *x, const float *factors, float *y, size_t n, int lanes) {
    Vector factor = load_repeated(factors, lanes);
    size_t i = 0;
    for (; i + WIDTH <= n; i += WIDTH) store(y + i, load(x + i) * factor);
    int left = (int)(n - i);
    if (left > 0) store_part(y + i, load_part(x + i, left) * factor, left);
}

void KERNEL(multiply_rows_narrow)(
    const float *x, const float *factors, float *y, int pixels, int lanes, int begin, int end) {
    size_t first = (size_t)begin * lanes, row_floats = (size_t)pixels * lanes;
    if (pixels == 1) {
        multiply_each(x + first, factors + first, y + first, (size_t)(end - begin) * lanes);
        return;
    }
    for (int row = begin; row < end; row++) {
        size_t i = row * row_floats;
        multiply_all(x + i, factors + (size_t)row * lanes, y + i, row_floats, lanes);
    }
}
