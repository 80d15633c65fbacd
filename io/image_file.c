/* image_file.c - see image_file.h. */
#include "io/file.h"
#include "io/file_kind.h"
#include "io/image_decoder.h"
#include "src/memory.h"
#include <string.h>

enum { FILE_BYTES_MAX = 1 << 28, SIGNATURE_BYTES = 8 };

static const uint8_t png_signature[SIGNATURE_BYTES] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
static const uint8_t jpeg_signature[] = {0xff, 0xd8, 0xff};

Status image_allocate(
    Image *image, const char *path, int channels, uint32_t height, uint32_t width) {
    if (height == 0 || width == 0 || height > IMAGE_SIDE_MAX || width > IMAGE_SIDE_MAX ||
        (uint64_t)height * width > IMAGE_PIXELS_MAX)
        return FAIL(STATUS_DATA,
            "%s: an image of %u x %u pixels; a side has 1 to %d, the whole at most %d", path,
            height, width, IMAGE_SIDE_MAX, IMAGE_PIXELS_MAX);
    image->channels = channels;
    image->height = (int)height;
    image->width = (int)width;
    return MEMORY_ALLOCATE(
        &image->pixels, (size_t)height * width * (size_t)channels, "pixels of an image");
}

static Status decode(Image *image, const ImageBytes *file) {
    if (file->count >= SIGNATURE_BYTES && memcmp(file->bytes, png_signature, SIGNATURE_BYTES) == 0)
        return image_decode_png(image, file);
    if (file->count >= sizeof jpeg_signature &&
        memcmp(file->bytes, jpeg_signature, sizeof jpeg_signature) == 0)
        return image_decode_jpeg(image, file);
    const char *found = file_kind_recognize(file->bytes, file->count);
    if (file->count == 0) return FAIL(STATUS_DATA, "%s: is empty", file->path);
    return FAIL(STATUS_DATA, "%s: byte 0: found %s, expected a JPEG or PNG image", file->path,
        found != NULL ? found : "something else");
}

Status image_read(Image *image, const char *path) {
    int descriptor = -1;
    int64_t bytes = 0;
    uint8_t *data = NULL;
    *image = (Image){.pixels = NULL};
    TRY(file_open_to_read(&descriptor, &bytes, path));
    Status status = STATUS_OK;
    if (bytes > FILE_BYTES_MAX)
        status = FAIL(STATUS_DATA, "%s: %lld bytes are too many for an image; at most %d", path,
            (long long)bytes, FILE_BYTES_MAX);
    if (status == STATUS_OK) status = MEMORY_ALLOCATE(&data, (size_t)bytes, "an image file");
    if (status == STATUS_OK) status = file_read_at(descriptor, path, data, (size_t)bytes, 0);
    file_close(descriptor);
    ImageBytes file = {path, data, (size_t)bytes};
    if (status == STATUS_OK) status = decode(image, &file);
    memory_free(data);
    return status;
}

void image_free(Image *image) {
    memory_free(image->pixels);
    *image = (Image){.pixels = NULL};
}

/* Weights of red, green and blue that sum to 2^16. */
static uint8_t luma_of(const uint8_t *pixel) {
    return (uint8_t)((pixel[0] * 19595u + pixel[1] * 38470u + pixel[2] * 7471u + 0x8000u) >> 16);
}

void image_split(const Image *image, int channels, uint8_t *planes) {
    size_t count = (size_t)image->height * (size_t)image->width;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *pixel = image->pixels + i * (size_t)image->channels;
        if (channels == 1)
            planes[i] = image->channels == 1 ? pixel[0] : luma_of(pixel);
        else
            for (size_t c = 0; c < 3; c++)
                planes[c * count + i] = pixel[image->channels == 1 ? 0 : c];
    }
}
