/* resize.h - an image plane in another size: bilinear with antialiasing, the same numbers as
 * Image.resize((width, height), BILINEAR) in Pillow 9.4: bytes as its mode "L", floats as
 * its mode "F". Pillow 13 rounds some bytes otherwise. */
#ifndef SRC_RESIZE_H
#define SRC_RESIZE_H

#include "src/status.h"
#include <stddef.h>
#include <stdint.h>

typedef struct Resize Resize;

/* Local. Plan the way from [height][width] to [new_height][new_width] for elements of 1 byte
 * (uint8_t) or 4 (float); all sizes at least 1. The caller frees with resize_free, also after a
 * failure. Fails with STATUS_NO_MEMORY. */
MUST_CHECK Status resize_create(
    Resize **resize, int height, int width, int new_height, int new_width, size_t element_bytes);
void resize_free(Resize *resize);

/* Local. from [height][width], to [new_height][new_width]; they may not overlap. Uses memory of the
 * plan: one thread at a time. */
void resize_plane(Resize *resize, const void *from, void *to);

#endif
