/* dropout.c - factors of 0 or `keep` drawn with Philox4x32-10 (see src/rng.h), a lane for each
 * sample, and their product with what they thin out. */
#include "src/kernels/narrow.h"

typedef uint32_t Words __attribute__((vector_size(KERNEL_WIDTH * 4)));
typedef uint64_t WidePairs __attribute__((vector_size(KERNEL_WIDTH * 4)));

INLINE Words repeated(uint32_t word) {
    return (Words){0} + word;
}

INLINE Words load_words(const uint32_t *p) {
    return (Words) * (const VectorIntInMemory *)p;
}

/* The `lanes` words at p over and over. */
INLINE Words load_repeated_words(const uint32_t *p, int lanes) {
    uint32_t item[WIDTH];
    for (int i = 0; i < WIDTH; i++) item[i] = p[i & (lanes - 1)];
    return load_words(item);
}

/* factor * the lower word of each pair. GCC multiplies whole pairs, for want of a sign that their
 * upper words do not count, and that takes three multiplications: the one that suffices is named.
 */
INLINE WidePairs product(WidePairs pairs, uint32_t factor) {
    WidePairs factors = (WidePairs)repeated(factor);
#if defined(__AVX__)
    __asm__("vpmuludq %2, %1, %0" : "=v"(pairs) : "v"(pairs), "v"(factors));
    return pairs;
#elif defined(__SSE2__)
    __asm__("pmuludq %1, %0" : "+x"(pairs) : "x"(factors));
    return pairs;
#else
    WidePairs lower_word = (WidePairs){REPEAT_HALF(0xffffffffu)};
    return (pairs & lower_word) * (factors & lower_word);
#endif
}

enum { ROUNDS = 10 };

/* What all draws of a call share. */
typedef struct Draws {
    WidePairs key[ROUNDS][2]; /* of each round, in every word */
    Words step, threshold;
    Vector keep;
} Draws;

INLINE Draws draws_of(const KernelDropout *dropout) {
    Draws draws = {.step = repeated(dropout->step),
        .threshold = repeated(dropout->threshold),
        .keep = broadcast(dropout->keep)};
    for (uint32_t round = 0; round < ROUNDS; round++) {
        draws.key[round][0] = (WidePairs)repeated(dropout->key[0] + round * 0x9E3779B9u);
        draws.key[round][1] = (WidePairs)repeated(dropout->key[1] + round * 0xBB67AE85u);
    }
    return draws;
}

/* Replaces the lower words of the counter; the upper ones are anything before and after. */
INLINE void philox(const Draws *draws, WidePairs counter[4]) {
    UNROLL
    for (int round = 0; round < ROUNDS; round++) {
        WidePairs product0 = product(counter[0], 0xD2511F53u);
        WidePairs product2 = product(counter[2], 0xCD9E8D57u);
        counter[0] = (product2 >> 32) ^ counter[1] ^ draws->key[round][0];
        counter[2] = (product0 >> 32) ^ counter[3] ^ draws->key[round][1];
        counter[1] = product2;
        counter[3] = product0;
    }
}

/* The factors of rows 4 * quad + k, word k of Philox, for the lanes at `lane`: 0 or `keep`. `quad`
 * is that of each item. Items of even number and of odd number are drawn apart, as lower words. */
INLINE void draw(const Draws *draws, Words quad, Words low, Words high, Vector factor[4]) {
    WidePairs lower_word = (WidePairs){REPEAT_HALF(0xffffffffu)};
    Words counter[4] = {quad, low, high, draws->step};
    WidePairs even[4], odd[4];
    UNROLL
    for (int k = 0; k < 4; k++) {
        even[k] = (WidePairs)counter[k];
        odd[k] = (WidePairs)counter[k] >> 32;
    }
    philox(draws, even);
    philox(draws, odd);
    UNROLL
    for (int k = 0; k < 4; k++) {
        Words word = (Words)((even[k] & lower_word) | (odd[k] << 32));
        factor[k] = masked(draws->keep, (VectorInt)(word >= draws->threshold));
    }
}

void KERNEL(dropout_draw)(const KernelDropout *dropout, int rows, int lanes, float *factors) {
    Draws draws = draws_of(dropout);
    for (int lane = 0; lane < lanes; lane += WIDTH) {
        Words low = load_words(dropout->sample_low + lane);
        Words high = load_words(dropout->sample_high + lane);
        for (int quad = 0; 4 * quad < rows; quad++) {
            Vector factor[4];
            draw(&draws, repeated((uint32_t)quad), low, high, factor);
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
    Draws draws = draws_of(dropout);
    size_t n = (size_t)rows * lanes;
    for (size_t i = 0; i < n; i += 4 * WIDTH, quad += WIDTH / lanes) {
        Vector by_word[4], by_row[4];
        draw(&draws, quad, low, high, by_word);
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
