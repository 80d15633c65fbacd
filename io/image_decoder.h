/* image_decoder.h - what image_file.c and the decoders of the two formats share. */
#ifndef IO_IMAGE_DECODER_H
#define IO_IMAGE_DECODER_H

#include "io/image_file.h"

/* A file's bytes, in memory. */
typedef struct ImageBytes {
    const char *path;
    const uint8_t *bytes;
    size_t count;
} ImageBytes;

/* Local. Take memory for the pixels of an image of this size once it is known, before it is
 * decoded. Fails with STATUS_DATA (no pixels, or too many), STATUS_NO_MEMORY. */
MUST_CHECK Status image_allocate(
    Image *image, const char *path, int channels, uint32_t height, uint32_t width);

/* Local. As image_read, from memory. */
MUST_CHECK Status image_decode_jpeg(Image *image, const ImageBytes *file);
MUST_CHECK Status image_decode_png(Image *image, const ImageBytes *file);

#endif
