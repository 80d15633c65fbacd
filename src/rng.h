/* rng.h - random numbers that are a function of what they are for: no state, nothing to save.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3. SC'11),
 * keyed by (seed, purpose, layer) and counted by (epoch or step, global sample index, element), so
 * that no number depends on the rank or the thread that asks for it. */
#ifndef SRC_RNG_H
#define SRC_RNG_H

#include <stdint.h>

/* What a stream is for. New purposes go at the end: their order is part of a run's identity. */
typedef enum RngPurpose {
    RNG_WEIGHTS,
    RNG_SHUFFLE,
    RNG_DROPOUT,
    RNG_AUGMENTATION,
    RNG_SYNTHETIC
} RngPurpose;

/* A key: which stream. */
typedef struct Rng {
    uint32_t key[2];
} Rng;

/* Local. Philox4x32-10 itself: replaces the counter by four random numbers. */
void rng_philox(const uint32_t key[2], uint32_t counter[4]);

/* Local. The stream of this purpose and layer (0 where there is none). */
Rng rng_stream(uint64_t seed, RngPurpose purpose, uint32_t layer);

/* Local. Four 32-bit numbers: number 4*element.. of (when, sample) in the stream. `when` is an
 * epoch or a step below 2^32. */
void rng_draw(Rng rng, uint32_t when, uint64_t sample, uint32_t element, uint32_t out[4]);

/* Local. A number in [0, 1) from 24 of the 32 bits. */
float rng_uniform(uint32_t bits);

/* Local. Fill order[0..count) with a permutation of 0..count-1 (Fisher-Yates) that depends only on
 * the stream and `when`. */
void rng_permute(Rng rng, uint32_t when, uint32_t *order, uint32_t count);

#endif
