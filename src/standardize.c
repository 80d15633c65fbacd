/* standardize.c - see standardize.h. Bytes are counted, which is exact; floats are summed in
 * double, twice, over a binary tree of the samples. */
#include "src/standardize.h"
#include <math.h>

/* One channel of all samples. */
typedef struct Channel {
    const void *first; /* its plane in the first sample */
    size_t pixels, sample_elements;
    int64_t count;
} Channel;

/* ---- bytes ---- */

static void measure_bytes(const Channel *channel, double *mean, double *variance) {
    uint64_t counts[256] = {0}, sum = 0;
    for (int64_t i = 0; i < channel->count; i++) {
        const uint8_t *plane =
            (const uint8_t *)channel->first + (size_t)i * channel->sample_elements;
        for (size_t p = 0; p < channel->pixels; p++) counts[plane[p]]++;
    }
    double total = (double)channel->count * (double)channel->pixels, squares = 0;
    for (uint64_t v = 0; v < 256; v++) sum += v * counts[v];
    double middle = (double)sum / total;
    for (int v = 0; v < 256; v++) squares += (double)counts[v] * (v - middle) * (v - middle);
    *mean = middle / 255;
    *variance = squares / total / (255.0 * 255.0);
}

/* ---- floats ---- */

/* The sum of (x - middle)^power over samples [begin, begin + count). */
static double sum_powers(
    const Channel *channel, int64_t begin, int64_t count, double middle, int power) {
    if (count > 1) {
        int64_t half = 1;
        while (2 * half < count) half *= 2;
        return sum_powers(channel, begin, half, middle, power) +
               sum_powers(channel, begin + half, count - half, middle, power);
    }
    const float *plane = (const float *)channel->first + (size_t)begin * channel->sample_elements;
    double sum = 0;
    for (size_t p = 0; p < channel->pixels; p++) {
        double difference = plane[p] - middle;
        sum += power == 1 ? difference : difference * difference;
    }
    return sum;
}

static void measure_floats(const Channel *channel, double *mean, double *variance) {
    double total = (double)channel->count * (double)channel->pixels;
    *mean = sum_powers(channel, 0, channel->count, 0, 1) / total;
    *variance = sum_powers(channel, 0, channel->count, *mean, 2) / total;
}

Status standardize_measure(const void *samples, int64_t count, Shape sample, size_t element_bytes,
    OptionFloats *mean, OptionFloats *std) {
    REQUIRE(sample.dimension_count == 3 && count > 0);
    REQUIRE(element_bytes == 1 || element_bytes == sizeof(float));
    int channels = sample.size[0];
    size_t pixels = (size_t)sample.size[1] * (size_t)sample.size[2];
    if (channels > OPTION_LIST_MAX)
        return FAIL(STATUS_CONFIG, "data.standardize: samples of %d channels; at most %d", channels,
            OPTION_LIST_MAX);
    mean->count = std->count = channels;
    for (int c = 0; c < channels; c++) {
        double variance = 0;
        Channel channel = {.first = (const char *)samples + (size_t)c * pixels * element_bytes,
            .pixels = pixels,
            .sample_elements = shape_element_count(sample),
            .count = count};
        if (element_bytes == 1)
            measure_bytes(&channel, &mean->values[c], &variance);
        else
            measure_floats(&channel, &mean->values[c], &variance);
        std->values[c] = sqrt(variance);
        if (!(variance > 0) || !isfinite(variance))
            return FAIL(STATUS_DATA,
                "data.standardize: channel %d of the training samples has standard deviation %g; "
                "leave standardize out, and give data.normalize if need be",
                c, std->values[c]);
    }
    return STATUS_OK;
}
