/* peak.c - multiply-adds that never leave the registers: the most a core can do. */
#include "src/kernels/kernel.h"

enum { STEPS_TOGETHER = 4 }; /* so that counting them costs next to nothing */

INLINE void peak_step(Vector *chain, Vector factor, Vector term) {
    UNROLL
    for (int i = 0; i < KERNEL_PEAK_CHAINS; i++) chain[i] = chain[i] * factor + term;
}

double KERNEL(fma_peak)(float *x, float factor, float term, int steps) {
    Vector chain[KERNEL_PEAK_CHAINS], factors = broadcast(factor), terms = broadcast(term);
    UNROLL
    for (int i = 0; i < KERNEL_PEAK_CHAINS; i++) chain[i] = broadcast(x[i]);
    for (int step = 0; step < steps; step += STEPS_TOGETHER) {
        UNROLL
        for (int s = 0; s < STEPS_TOGETHER; s++) peak_step(chain, factors, terms);
    }
    UNROLL
    for (int i = 0; i < KERNEL_PEAK_CHAINS; i++) x[i] = chain[i][WIDTH - 1];
    return (double)steps * KERNEL_PEAK_CHAINS * WIDTH;
}
