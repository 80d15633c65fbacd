/* fuzz_image.c - any bytes as a JPEG and as a PNG image: decoded or refused, never a crash, and
 * nothing left allocated.
 *
 * From the top folder, for libFuzzer:
 *   clang -g -O1 -std=gnu11 -D_GNU_SOURCE -I. -fsanitize=fuzzer,address,undefined \
 *       tests/fuzz/fuzz_image.c io/image_*.c io/file.c src/status.c src/memory.c -ljpeg -lpng
 * or, to run files through it, with any compiler and -DFUZZ_MAIN instead of -fsanitize=fuzzer. */
#include "io/image_decoder.h"
#include "src/memory.h"
#include <stdio.h>
#include <stdlib.h>

enum { PIXELS_SHOWN_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

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

#ifdef FUZZ_MAIN
int main(int argc, char **argv) {
    static uint8_t bytes[1 << 20];
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        if (file == NULL) {
            fprintf(stderr, "%s: cannot open\n", argv[i]);
            return EXIT_FAILURE;
        }
        size_t size = fread(bytes, 1, sizeof bytes, file);
        fclose(file);
        LLVMFuzzerTestOneInput(bytes, size);
        printf("%s: %zu bytes: %s\n", argv[i], size, status_message());
    }
    return EXIT_SUCCESS;
}
#endif
