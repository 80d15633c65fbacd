/* rng.c - see rng.h. */
#include "src/rng.h"

static void philox_round(uint32_t counter[4], const uint32_t key[2]) {
    uint64_t product0 = (uint64_t)0xD2511F53u * counter[0];
    uint64_t product1 = (uint64_t)0xCD9E8D57u * counter[2];
    uint32_t next0 = (uint32_t)(product1 >> 32) ^ counter[1] ^ key[0];
    uint32_t next2 = (uint32_t)(product0 >> 32) ^ counter[3] ^ key[1];
    counter[1] = (uint32_t)product1;
    counter[3] = (uint32_t)product0;
    counter[0] = next0;
    counter[2] = next2;
}

void rng_philox(const uint32_t key_in[2], uint32_t counter[4]) {
    uint32_t key[2] = {key_in[0], key_in[1]};
    for (int round = 0; round < 10; round++) {
        philox_round(counter, key);
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
}

Rng rng_stream(uint64_t seed, RngPurpose purpose, uint32_t layer) {
    /* The key has 64 bits and the seed alone may use them all: hash the three together. */
    uint32_t counter[4] = {(uint32_t)purpose, layer, 0, 0};
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    rng_philox(key, counter);
    return (Rng){{counter[0], counter[1]}};
}

void rng_draw(Rng rng, uint32_t when, uint64_t sample, uint32_t element, uint32_t out[4]) {
    out[0] = element;
    out[1] = (uint32_t)sample;
    out[2] = (uint32_t)(sample >> 32);
    out[3] = when;
    rng_philox(rng.key, out);
}

float rng_uniform(uint32_t bits) {
    return (float)(bits >> 8) * 0x1p-24f;
}

void rng_permute(Rng rng, uint32_t when, uint32_t *order, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) order[i] = i;
    for (uint32_t i = count; i > 1; i--) {
        uint32_t bits[4];
        rng_draw(rng, when, i, 0, bits);
        /* 64 random bits times i, upper half: the bias is below i / 2^64. */
        uint64_t wide = (uint64_t)bits[1] << 32 | bits[0];
        uint32_t j = (uint32_t)((unsigned __int128)wide * i >> 64);
        uint32_t swap = order[i - 1];
        order[i - 1] = order[j];
        order[j] = swap;
    }
}
