/* copy_rows.c - an image's rows, each followed by zeros. */
#include "src/kernels/kernel.h"

/* Whole vectors: what they write too much is overwritten later; nothing is written beyond the end.
 */
INLINE void put(float *to, Vector v, const float *end) {
    if (end - to >= WIDTH)
        store(to, v);
    else
        store_part(to, v, (int)(end - to));
}

void KERNEL(copy_rows)(const float *from, float *to, size_t floats, size_t gap, int count) {
    const float *end = to + (size_t)count * (floats + gap);
    for (int r = 0; r < count; r++, from += floats, to += floats + gap) {
        for (size_t i = 0; i < floats; i += WIDTH) put(to + i, load(from + i), end);
        for (size_t i = floats; i < floats + gap; i += WIDTH) put(to + i, broadcast(0.0f), end);
    }
}
