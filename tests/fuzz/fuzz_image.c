/* fuzz_image.c - any bytes as a JPEG and as a PNG image: decoded or refused, never a crash, and
 * nothing left allocated. */
#include "io/image_decoder.h"
#include "src/memory.h"
#include "tests/fuzz/fuzz.h"
#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
/* It wants stdio.h before it. */
#include <jpeglib.h>

enum { PIXELS_SHOWN_MAX = 1 << 20, SIDE = 12 };

static void decode(Status (*decoder)(Image *, const ImageBytes *), const ImageBytes *file) {
    Image image = {.pixels = NULL};
    Status status = decoder(&image, file);
    int64_t pixels = (int64_t)image.height * image.width;
    REQUIRE(status == STATUS_OK || status == STATUS_DATA || status == STATUS_NO_MEMORY);
    REQUIRE(pixels <= IMAGE_PIXELS_MAX);
    for (int channels = 1; channels <= 3 && status == STATUS_OK && pixels < PIXELS_SHOWN_MAX;
         channels += 2) {
        uint8_t *planes = malloc((size_t)(pixels * channels));
        REQUIRE(planes != NULL);
        image_split(&image, channels, planes);
        free(planes);
    }
    image_free(&image);
    REQUIRE(memory_in_use() == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ImageBytes file = {"image", data, size};
    decode(image_decode_jpeg, &file);
    decode(image_decode_png, &file);
    return 0;
}

static uint8_t pixels[SIDE * SIDE * 3];

static size_t make_png(uint32_t format, uint8_t *bytes) {
    png_image image = {.version = PNG_IMAGE_VERSION, .width = SIDE, .height = SIDE};
    png_alloc_size_t size = FUZZ_BYTES_MAX;
    image.format = format;
    REQUIRE(png_image_write_to_memory(&image, bytes, &size, 0, pixels, 0, NULL));
    return size;
}

static size_t make_jpeg(int is_progressive, uint8_t *bytes) {
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;
    unsigned char *made = NULL;
    unsigned long size = 0;
    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &made, &size);
    jpeg.image_width = jpeg.image_height = SIDE;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    if (is_progressive) jpeg_simple_progression(&jpeg);
    jpeg_start_compress(&jpeg, TRUE);
    for (int row = 0; row < SIDE; row++) {
        JSAMPROW line = pixels + row * SIDE * 3;
        jpeg_write_scanlines(&jpeg, &line, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    memcpy(bytes, made, size);
    free(made);
    return size;
}

size_t fuzz_seed(int number, uint8_t *bytes) {
    for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * i);
    switch (number) {
    case 0:
        return make_png(PNG_FORMAT_RGB, bytes);
    case 1:
        return make_png(PNG_FORMAT_GRAY, bytes);
    case 2:
        return make_jpeg(0, bytes);
    case 3:
        return make_jpeg(1, bytes);
    default:
        return 0;
    }
}
