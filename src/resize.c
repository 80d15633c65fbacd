/* resize.c - see resize.h.
 *
 * Two passes, rows first, each a weighted mean of the input under a triangle around the output
 * pixel's centre. The triangle reaches one pixel to each side of an input that is enlarged, and as
 * many times farther as the output has fewer pixels, which is what keeps small images free of
 * aliasing. Bytes are rounded between the passes, with weights in fixed point. The order of
 * operations is that of Pillow's Resample.c, and the compiler may not contract them (see
 * CMakeLists.txt): equal bytes are the point. */
#include "src/resize.h"
#include "src/memory.h"
#include <math.h>

/* Bits behind the point: 8 are the pixel's, and two keep sums of weights beyond 1 from overflowing.
 */
enum { PRECISION_BITS = 32 - 8 - 2 };

/* Where one output pixel's input begins, and how much of it there is. */
typedef struct Span {
    int begin, count;
} Span;

typedef struct Axis {
    int from, to;
    int weight_count; /* room per output pixel */
    Span *spans;      /* [to] */
    double *weights;  /* [to][weight_count], sums of 1 */
    int32_t *fixed;   /* [to][weight_count], the same in fixed point */
} Axis;

struct Resize {
    Axis rows, columns; /* which input columns make an output column, which rows a row */
    size_t element_bytes;
    void *middle; /* [height][new_width]: between the passes */
};

/* ---- weights ---- */

static double triangle(double x) {
    if (x < 0) x = -x;
    return x < 1 ? 1 - x : 0;
}

/* The span and the weights of output pixel `i`. */
static void weigh_pixel(Axis *axis, int i, double scale, double reach) {
    double centre = (i + 0.5) * scale, inverse = 1.0 / reach, sum = 0;
    double *weights = axis->weights + (size_t)i * (size_t)axis->weight_count;
    int begin = (int)(centre - reach + 0.5), end = (int)(centre + reach + 0.5);
    if (begin < 0) begin = 0;
    if (end > axis->from) end = axis->from;
    axis->spans[i] = (Span){begin, end - begin};
    for (int k = 0; k < end - begin; k++) {
        weights[k] = triangle((k + begin - centre + 0.5) * inverse);
        sum += weights[k];
    }
    for (int k = 0; k < end - begin && sum != 0; k++) weights[k] /= sum;
}

static Status create_axis(Axis *axis, int from, int to) {
    double scale = (double)from / to, reach = scale < 1 ? 1 : scale;
    axis->from = from;
    axis->to = to;
    axis->weight_count = (int)ceil(reach) * 2 + 1;
    size_t weights = (size_t)to * (size_t)axis->weight_count;
    TRY(MEMORY_ALLOCATE(&axis->spans, (size_t)to, "spans of a resize"));
    TRY(MEMORY_ALLOCATE(&axis->weights, weights, "weights of a resize"));
    TRY(MEMORY_ALLOCATE(&axis->fixed, weights, "weights of a resize"));
    for (int i = 0; i < to; i++) weigh_pixel(axis, i, scale, reach);
    for (size_t i = 0; i < weights; i++)
        axis->fixed[i] = (int32_t)(0.5 + axis->weights[i] * (1 << PRECISION_BITS));
    return STATUS_OK;
}

static void free_axis(Axis *axis) {
    memory_free(axis->spans);
    memory_free(axis->weights);
    memory_free(axis->fixed);
}

Status resize_create(
    Resize **resize, int height, int width, int new_height, int new_width, size_t element_bytes) {
    REQUIRE(height > 0 && width > 0 && new_height > 0 && new_width > 0);
    REQUIRE(element_bytes == 1 || element_bytes == sizeof(float));
    TRY(MEMORY_ALLOCATE(resize, 1, "plan of a resize"));
    (*resize)->element_bytes = element_bytes;
    TRY(create_axis(&(*resize)->columns, width, new_width));
    TRY(create_axis(&(*resize)->rows, height, new_height));
    return memory_allocate(&(*resize)->middle, (size_t)height * (size_t)new_width, element_bytes,
        "middle of a resize");
}

void resize_free(Resize *resize) {
    if (resize == NULL) return;
    free_axis(&resize->columns);
    free_axis(&resize->rows);
    memory_free(resize->middle);
    memory_free(resize);
}

/* ---- passes ---- */

/* One output line [to] from an input line; elements of the input lie `in_step` apart, of the output
 * `out_step`. */
static void resize_bytes(
    const Axis *axis, const uint8_t *in, size_t in_step, uint8_t *out, size_t out_step) {
    for (int i = 0; i < axis->to; i++) {
        const int32_t *weights = axis->fixed + (size_t)i * (size_t)axis->weight_count;
        const uint8_t *first = in + (size_t)axis->spans[i].begin * in_step;
        int32_t sum = 1 << (PRECISION_BITS - 1);
        for (int k = 0; k < axis->spans[i].count; k++)
            sum += first[(size_t)k * in_step] * weights[k];
        int value = sum >> PRECISION_BITS;
        out[(size_t)i * out_step] = (uint8_t)(value > 255 ? 255 : value);
    }
}

static void resize_floats(
    const Axis *axis, const float *in, size_t in_step, float *out, size_t out_step) {
    for (int i = 0; i < axis->to; i++) {
        const double *weights = axis->weights + (size_t)i * (size_t)axis->weight_count;
        const float *first = in + (size_t)axis->spans[i].begin * in_step;
        double sum = 0;
        for (int k = 0; k < axis->spans[i].count; k++)
            sum += (double)first[(size_t)k * in_step] * weights[k];
        out[(size_t)i * out_step] = (float)sum;
    }
}

void resize_plane(Resize *resize, const void *from, void *to) {
    const Axis *columns = &resize->columns, *rows = &resize->rows;
    size_t width = (size_t)columns->from, new_width = (size_t)columns->to;
    int is_float = resize->element_bytes == sizeof(float);
    for (size_t y = 0; y < (size_t)rows->from; y++) {
        if (is_float)
            resize_floats(columns, (const float *)from + y * width, 1,
                (float *)resize->middle + y * new_width, 1);
        else
            resize_bytes(columns, (const uint8_t *)from + y * width, 1,
                (uint8_t *)resize->middle + y * new_width, 1);
    }
    for (size_t x = 0; x < new_width; x++) {
        if (is_float)
            resize_floats(
                rows, (const float *)resize->middle + x, new_width, (float *)to + x, new_width);
        else
            resize_bytes(
                rows, (const uint8_t *)resize->middle + x, new_width, (uint8_t *)to + x, new_width);
    }
}
