/* augment.h - random changes of training samples: crop, flip, cutout.
 *
 * What happens to a sample is a function of (seed, epoch, index of the sample in the set), so it is
 * the same on any number of ranks and threads, and after a resume. */
#ifndef SRC_AUGMENT_H
#define SRC_AUGMENT_H

#include "src/shape.h"
#include "src/status.h"
#include <stddef.h>
#include <stdint.h>

typedef struct AugmentOptions {
    int64_t random_crop; /* zeros around the sample, out of which its size is cut; 0: no crop */
    int flip;            /* left and right exchanged with probability 1/2 */
    int64_t cutout;      /* side of the square set to 0; 0: none */
} AugmentOptions;

/* What happens to one sample. */
typedef struct Augmentation {
    int shift_down, shift_right; /* of the window over the sample: pixel (y, x) becomes
                                    (y + shift_down, x + shift_right) of the sample, 0 outside */
    int is_flipped;              /* after the shift */
    int cut_top, cut_left, cut_bottom, cut_right; /* in the result; bottom and right are beyond */
} Augmentation;

/* Local. Whether anything is asked for. */
int augment_is_asked(const AugmentOptions *options);

/* Local. Whether something of every sample [c, h, w] is left, whatever is drawn. Fails with
 * STATUS_CONFIG. */
MUST_CHECK Status augment_check(const AugmentOptions *options, Shape sample);

/* Local. Draw for sample `index` of the set, of shape [c, h, w], in `epoch`. */
Augmentation augment_draw(
    const AugmentOptions *options, Shape sample, uint64_t seed, uint32_t epoch, int64_t index);

/* Local. Crop and flip: from and to [c][h][w] of elements of `element_bytes`; they may not overlap.
 */
void augment_move(const Augmentation *augmentation, Shape sample, size_t element_bytes,
    const void *from, void *to);

/* Local. Cutout, after normalisation: x [c][h][w][lanes], of which one lane is changed. */
void augment_cut(const Augmentation *augmentation, Shape sample, int lanes, int lane, float *x);

#endif
