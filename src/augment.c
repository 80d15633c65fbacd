/* augment.c - see augment.h.
 *
 * Crop and flip: torchvision's RandomCrop(size, padding) and RandomHorizontalFlip, He et al. 2016,
 * section 4.2. Cutout: DeVries and Taylor, Improved regularization of convolutional neural networks
 * with cutout, 2017: the square's centre is uniform in the image, its border may lie outside. */
#include "src/augment.h"
#include "src/rng.h"
#include <string.h>

/* Blocks of four numbers of a sample. */
enum { DRAW_MOVE, DRAW_CUT };

int augment_is_asked(const AugmentOptions *options) {
    return options->random_crop > 0 || options->flip || options->cutout > 0;
}

Status augment_check(const AugmentOptions *options, Shape sample) {
    int height = sample.size[1], width = sample.size[2];
    int smaller = height < width ? height : width, larger = height < width ? width : height;
    char text[SHAPE_TEXT_BYTES];
    if (options->random_crop >= smaller && options->random_crop > 0)
        return FAIL(STATUS_CONFIG,
            "data.augment.random_crop: %lld zeros around samples of %s, cut to their size, can "
            "leave nothing of them; at most %d",
            (long long)options->random_crop, shape_print(sample, text), smaller - 1);
    if (options->cutout < larger || options->cutout == 0) return STATUS_OK;
    return FAIL(STATUS_CONFIG,
        "data.augment.cutout: a square of %lld x %lld can hide all of samples of %s; at most %d",
        (long long)options->cutout, (long long)options->cutout, shape_print(sample, text),
        larger - 1);
}

/* Uniform in [0, count); the bias is below count / 2^32. */
static int draw_below(uint32_t bits, int64_t count) {
    return (int)((uint64_t)bits * (uint64_t)count >> 32);
}

/* `side` pixels around `centre`, without those outside [0, size). */
static void clip_square(int centre, int64_t side, int size, int *begin, int *end) {
    int64_t first = centre - side / 2, last = first + side;
    *begin = first < 0 ? 0 : (int)first;
    *end = last > size ? size : (int)last;
}

Augmentation augment_draw(
    const AugmentOptions *options, Shape sample, uint64_t seed, uint32_t epoch, int64_t index) {
    Rng rng = rng_stream(seed, RNG_AUGMENTATION, 0);
    Augmentation drawn = {.is_flipped = 0};
    uint32_t bits[4];
    int64_t offsets = 2 * options->random_crop + 1;
    rng_draw(rng, epoch, (uint64_t)index, DRAW_MOVE, bits);
    drawn.shift_down = (int)(draw_below(bits[0], offsets) - options->random_crop);
    drawn.shift_right = (int)(draw_below(bits[1], offsets) - options->random_crop);
    drawn.is_flipped = options->flip && bits[2] >> 31;
    if (options->cutout == 0) return drawn;
    int height = sample.size[1], width = sample.size[2];
    rng_draw(rng, epoch, (uint64_t)index, DRAW_CUT, bits);
    clip_square(
        draw_below(bits[0], height), options->cutout, height, &drawn.cut_top, &drawn.cut_bottom);
    clip_square(
        draw_below(bits[1], width), options->cutout, width, &drawn.cut_left, &drawn.cut_right);
    return drawn;
}

/* Exchange left and right of `count` elements. */
static void reverse_row(char *row, int count, size_t element_bytes) {
    for (int left = 0, right = count - 1; left < right; left++, right--) {
        char *a = row + (size_t)left * element_bytes, *b = row + (size_t)right * element_bytes;
        for (size_t i = 0; i < element_bytes; i++) {
            char swap = a[i];
            a[i] = b[i];
            b[i] = swap;
        }
    }
}

void augment_move(const Augmentation *augmentation, Shape sample, size_t element_bytes,
    const void *from, void *to) {
    int height = sample.size[1], width = sample.size[2], right = augmentation->shift_right;
    int begin = right < 0 ? -right : 0, end = right > 0 ? width - right : width;
    size_t row_bytes = (size_t)width * element_bytes;
    char *out = to;
    for (int c = 0; c < sample.size[0]; c++) {
        const char *plane = (const char *)from + (size_t)c * (size_t)height * row_bytes;
        for (int y = 0; y < height; y++, out += row_bytes) {
            int source = y + augmentation->shift_down;
            memset(out, 0, row_bytes);
            if (source < 0 || source >= height || begin >= end) continue;
            const char *row = plane + (size_t)source * row_bytes;
            memcpy(out + (size_t)begin * element_bytes,
                row + (size_t)(begin + right) * element_bytes,
                (size_t)(end - begin) * element_bytes);
            if (augmentation->is_flipped) reverse_row(out, width, element_bytes);
        }
    }
}

void augment_cut(const Augmentation *augmentation, Shape sample, int lanes, int lane, float *x) {
    size_t height = (size_t)sample.size[1], width = (size_t)sample.size[2];
    for (size_t c = 0; c < (size_t)sample.size[0]; c++)
        for (int row = augmentation->cut_top; row < augmentation->cut_bottom; row++)
            for (int column = augmentation->cut_left; column < augmentation->cut_right; column++) {
                size_t pixel = (c * height + (size_t)row) * width + (size_t)column;
                x[pixel * (size_t)lanes + (size_t)lane] = 0;
            }
}
