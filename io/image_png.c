/* image_png.c - see image_decoder.h. libpng's errors end the decoding by longjmp; its warnings are
 * about chunks that say nothing of the pixels. Colours are taken as they are, without gamma. */
#include "io/image_decoder.h"
#include "src/memory.h"
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

typedef struct Decoder {
    const ImageBytes *file;
    size_t offset;
    png_structp png;
    png_infop info;
    png_bytep *rows;
    char message[128];
} Decoder;

static void leave(png_structp png, png_const_charp message) {
    Decoder *decoder = png_get_error_ptr(png);
    snprintf(decoder->message, sizeof decoder->message, "%s", message);
    longjmp(png_jmpbuf(png), 1);
}

static void ignore(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static void read_bytes(png_structp png, png_bytep data, png_size_t count) {
    Decoder *decoder = png_get_io_ptr(png);
    if (count > decoder->file->count - decoder->offset) png_error(png, "the file is cut off");
    memcpy(data, decoder->file->bytes + decoder->offset, count);
    decoder->offset += count;
}

/* Whatever the file has, rows of bytes come out: grey, or red, green and blue. */
static void ask_for_bytes(Decoder *decoder) {
    png_set_expand(decoder->png);
    png_set_scale_16(decoder->png);
    png_set_strip_alpha(decoder->png);
    png_set_interlace_handling(decoder->png);
    png_read_update_info(decoder->png, decoder->info);
}

static Status read_rows(Decoder *decoder, Image *image) {
    png_structp png = decoder->png;
    png_uint_32 height = png_get_image_height(png, decoder->info);
    png_uint_32 width = png_get_image_width(png, decoder->info);
    int channels = png_get_color_type(png, decoder->info) & PNG_COLOR_MASK_COLOR ? 3 : 1;
    TRY(image_allocate(image, decoder->file->path, channels, height, width));
    ask_for_bytes(decoder);
    size_t row_bytes = (size_t)width * (size_t)channels;
    REQUIRE(png_get_rowbytes(png, decoder->info) == row_bytes);
    TRY(MEMORY_ALLOCATE(&decoder->rows, height, "rows of an image"));
    for (size_t y = 0; y < height; y++) decoder->rows[y] = image->pixels + y * row_bytes;
    png_read_image(png, decoder->rows);
    png_read_end(png, NULL);
    return STATUS_OK;
}

/* No local variable is changed between setjmp and longjmp. */
static Status decode(Decoder *decoder, Image *image) {
    decoder->info = png_create_info_struct(decoder->png);
    if (decoder->info == NULL)
        return FAIL(STATUS_NO_MEMORY, "%s: no memory to decode it", decoder->file->path);
    if (setjmp(png_jmpbuf(decoder->png)) != 0)
        return FAIL(STATUS_DATA, "%s: PNG image: %s", decoder->file->path, decoder->message);
    /* image_allocate has the limits, and names them. */
    png_set_user_limits(decoder->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_read_fn(decoder->png, decoder, read_bytes);
    png_read_info(decoder->png, decoder->info);
    return read_rows(decoder, image);
}

Status image_decode_png(Image *image, const ImageBytes *file) {
    Decoder decoder = {.file = file};
    decoder.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoder, leave, ignore);
    if (decoder.png == NULL)
        return FAIL(STATUS_NO_MEMORY, "%s: no memory to decode it", file->path);
    Status status = decode(&decoder, image);
    png_destroy_read_struct(&decoder.png, &decoder.info, NULL);
    memory_free(decoder.rows);
    return status;
}
