/* image_file.h - photographs and drawings in files: JPEG and PNG, told apart by their content. */
#ifndef IO_IMAGE_FILE_H
#define IO_IMAGE_FILE_H

#include "src/status.h"
#include <stddef.h>
#include <stdint.h>

/* An image that claims more is refused before any memory is taken for it. */
enum { IMAGE_SIDE_MAX = 16384, IMAGE_PIXELS_MAX = 1 << 26 };

typedef struct Image {
    int channels; /* 1: grey, 3: red, green, blue */
    int height, width;
    uint8_t *pixels; /* [height][width][channels] */
} Image;

/* Local. Read a whole image. Palettes and fewer bits than 8 are expanded, 16 bits scaled to 8, an
 * alpha channel is left out, CMYK becomes RGB. The caller frees with image_free, also after a
 * failure. Fails with STATUS_MISSING, STATUS_IO, STATUS_NO_MEMORY, STATUS_DATA (neither JPEG nor
 * PNG, cut off, damaged in any way that the decoder notices, too large). */
MUST_CHECK Status image_read(Image *image, const char *path);
void image_free(Image *image);

/* Local. Write planes [channels][height][width]. Colours become grey as in Pillow's convert("L"):
 * ITU-R 601-2 luma; grey becomes three equal colours. */
void image_split(const Image *image, int channels, uint8_t *planes);

#endif
