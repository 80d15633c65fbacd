/* image_jpeg.c - see image_decoder.h. libjpeg ends the program at an error and goes on at a
 * warning, which is what it calls a file that is cut off; here both end the decoding, by longjmp.
 */
#include "io/image_decoder.h"
#include "src/memory.h"
#include <setjmp.h>
#include <stdio.h>
/* jpeglib.h needs stdio.h before it. */
#include <jpeglib.h>

typedef struct Decoder {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    jmp_buf failed;
    uint8_t *inks; /* [width][4]: a row of cyan, magenta, yellow, black, each 255 - ink */
    char message[JMSG_LENGTH_MAX];
} Decoder;

static void leave(j_common_ptr jpeg) {
    Decoder *decoder = jpeg->client_data;
    jpeg->err->format_message(jpeg, decoder->message);
    longjmp(decoder->failed, 1);
}

/* Level -1 is a warning, what is above is chatter. */
static void hear(j_common_ptr jpeg, int level) {
    if (level < 0) leave(jpeg);
}

static void prepare(Decoder *decoder) {
    decoder->jpeg.err = jpeg_std_error(&decoder->errors);
    decoder->errors.error_exit = leave;
    decoder->errors.emit_message = hear;
    decoder->jpeg.client_data = decoder;
}

/* As in Pillow's convert("RGB"), which takes every CMYK image for one of Adobe's, inverted. */
static void inks_to_colors(const uint8_t *inks, int width, uint8_t *colors) {
    for (int x = 0; x < width; x++, inks += 4, colors += 3)
        for (int c = 0; c < 3; c++) {
            unsigned product = (255u - inks[c]) * inks[3] + 128;
            colors[c] = (uint8_t)(inks[3] - ((product >> 8) + product) / 256);
        }
}

static void read_rows(Decoder *decoder, Image *image) {
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    size_t row_bytes = (size_t)image->width * (size_t)image->channels;
    while (jpeg->output_scanline < jpeg->output_height) {
        uint8_t *pixels = image->pixels + jpeg->output_scanline * row_bytes;
        JSAMPROW row = decoder->inks != NULL ? decoder->inks : pixels;
        jpeg_read_scanlines(jpeg, &row, 1);
        if (decoder->inks != NULL) inks_to_colors(decoder->inks, image->width, pixels);
    }
    jpeg_finish_decompress(jpeg);
}

/* No local variable is changed between setjmp and longjmp. */
static Status decode(Decoder *decoder, Image *image, const ImageBytes *file) {
    struct jpeg_decompress_struct *jpeg = &decoder->jpeg;
    if (setjmp(decoder->failed) != 0)
        return FAIL(STATUS_DATA, "%s: JPEG image: %s", file->path, decoder->message);
    jpeg_create_decompress(jpeg);
    jpeg_mem_src(jpeg, file->bytes, file->count);
    jpeg_read_header(jpeg, TRUE);
    int channels = jpeg->num_components == 1 ? 1 : 3;
    TRY(image_allocate(image, file->path, channels, jpeg->image_height, jpeg->image_width));
    jpeg->out_color_space = channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    if (jpeg->num_components == 4) {
        jpeg->out_color_space = JCS_CMYK; /* from YCCK, too */
        TRY(MEMORY_ALLOCATE(&decoder->inks, 4 * (size_t)image->width, "a row of an image"));
    }
    jpeg_start_decompress(jpeg);
    read_rows(decoder, image);
    return STATUS_OK;
}

Status image_decode_jpeg(Image *image, const ImageBytes *file) {
    Decoder decoder = {.message = ""};
    prepare(&decoder);
    Status status = decode(&decoder, image, file);
    jpeg_destroy_decompress(&decoder.jpeg); /* also of one that was never created */
    memory_free(decoder.inks);
    return status;
}
