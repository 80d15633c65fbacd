/* standardize.c - see standardize.h. Bytes are counted, which is exact; floats are summed in
 * double, twice, over a binary tree of the samples. */
#include "src/standardize.h"
#include "src/memory.h"
#include <math.h>

enum { BLOCK = 64 }; /* samples read at once */

typedef struct Samples {
    const StandardizeInput *input;
    int channels;
    size_t pixels, sample_bytes;
    void *block; /* [BLOCK] samples, where they are read */
} Samples;

/* `count` <= BLOCK samples from number `begin` on, one after the other. */
static Status fetch(const Samples *samples, int64_t begin, int count, const void **first) {
    const StandardizeInput *input = samples->input;
    int64_t index[BLOCK];
    *first = samples->block;
    if (input->samples != NULL) {
        *first = (const char *)input->samples + (size_t)begin * samples->sample_bytes;
        return STATUS_OK;
    }
    for (int i = 0; i < count; i++) index[i] = begin + i;
    return input->source->read(input->source->context, index, count, samples->block);
}

/* ---- bytes ---- */

static void count_values(
    const Samples *samples, const uint8_t *first, int count, uint64_t counts[][256]) {
    for (int i = 0; i < count; i++)
        for (int c = 0; c < samples->channels; c++) {
            const uint8_t *plane =
                first + (size_t)i * samples->sample_bytes + (size_t)c * samples->pixels;
            for (size_t p = 0; p < samples->pixels; p++) counts[c][plane[p]]++;
        }
}

static Status measure_bytes(const Samples *samples, double *mean, double *variance) {
    uint64_t counts[OPTION_LIST_MAX][256] = {{0}};
    int64_t all = samples->input->count;
    for (int64_t begin = 0; begin < all; begin += BLOCK) {
        const void *first = NULL;
        int count = all - begin < BLOCK ? (int)(all - begin) : BLOCK;
        TRY(fetch(samples, begin, count, &first));
        count_values(samples, first, count, counts);
    }
    double total = (double)all * (double)samples->pixels;
    for (int c = 0; c < samples->channels; c++) {
        uint64_t sum = 0;
        double squares = 0;
        for (uint64_t v = 0; v < 256; v++) sum += v * counts[c][v];
        double middle = (double)sum / total;
        for (int v = 0; v < 256; v++) squares += (double)counts[c][v] * (v - middle) * (v - middle);
        mean[c] = middle / 255;
        variance[c] = squares / total / (255.0 * 255.0);
    }
    return STATUS_OK;
}

/* ---- floats ---- */

/* Of a tree over `count` samples, the leaves of its left half. */
static int64_t left_half(int64_t count) {
    int64_t half = 1;
    while (2 * half < count) half *= 2;
    return half;
}

/* The sum of (x - middle)^power over one channel of `count` samples. */
static double sum_block(
    const Samples *samples, const float *plane, int count, double middle, int power) {
    size_t step = samples->sample_bytes / sizeof *plane;
    if (count > 1) {
        int half = (int)left_half(count);
        return sum_block(samples, plane, half, middle, power) +
               sum_block(samples, plane + (size_t)half * step, count - half, middle, power);
    }
    double sum = 0;
    for (size_t p = 0; p < samples->pixels; p++) {
        double difference = plane[p] - middle;
        sum += power == 1 ? difference : difference * difference;
    }
    return sum;
}

/* The same for every channel of samples [begin, begin + count) of the set. */
static Status sum_powers(const Samples *samples, int64_t begin, int64_t count, const double *middle,
    int power, double *sums) {
    double right[OPTION_LIST_MAX];
    if (count > BLOCK) {
        int64_t half = left_half(count);
        TRY(sum_powers(samples, begin, half, middle, power, sums));
        TRY(sum_powers(samples, begin + half, count - half, middle, power, right));
        for (int c = 0; c < samples->channels; c++) sums[c] += right[c];
        return STATUS_OK;
    }
    const void *first = NULL;
    TRY(fetch(samples, begin, (int)count, &first));
    for (int c = 0; c < samples->channels; c++)
        sums[c] = sum_block(samples, (const float *)first + (size_t)c * samples->pixels, (int)count,
            middle[c], power);
    return STATUS_OK;
}

static Status measure_floats(const Samples *samples, double *mean, double *variance) {
    double zero[OPTION_LIST_MAX] = {0};
    int64_t count = samples->input->count;
    double total = (double)count * (double)samples->pixels;
    TRY(sum_powers(samples, 0, count, zero, 1, mean));
    for (int c = 0; c < samples->channels; c++) mean[c] /= total;
    TRY(sum_powers(samples, 0, count, mean, 2, variance));
    for (int c = 0; c < samples->channels; c++) variance[c] /= total;
    return STATUS_OK;
}

/* ---- the measure ---- */

static Status measure(const Samples *samples, double *mean, double *variance) {
    return samples->input->element_bytes == 1 ? measure_bytes(samples, mean, variance)
                                              : measure_floats(samples, mean, variance);
}

Status standardize_measure(const StandardizeInput *input, OptionFloats *mean, OptionFloats *std) {
    Shape sample = input->sample;
    REQUIRE(sample.dimension_count == 3 && input->count > 0);
    REQUIRE(input->element_bytes == 1 || input->element_bytes == sizeof(float));
    double variance[OPTION_LIST_MAX];
    Samples samples = {.input = input,
        .channels = sample.size[0],
        .pixels = (size_t)sample.size[1] * (size_t)sample.size[2],
        .sample_bytes = shape_element_count(sample) * input->element_bytes};
    if (samples.channels > OPTION_LIST_MAX)
        return FAIL(STATUS_CONFIG, "data.standardize: samples of %d channels; at most %d",
            samples.channels, OPTION_LIST_MAX);
    if (input->samples == NULL)
        TRY(memory_allocate(&samples.block, BLOCK, samples.sample_bytes, "samples to be measured"));
    Status status = measure(&samples, mean->values, variance);
    memory_free(samples.block);
    TRY(status);
    mean->count = std->count = samples.channels;
    for (int c = 0; c < samples.channels; c++) {
        std->values[c] = sqrt(variance[c]);
        if (!(variance[c] > 0) || !isfinite(variance[c]))
            return FAIL(STATUS_DATA,
                "data.standardize: channel %d of the training samples has standard deviation %g; "
                "leave standardize out, and give data.normalize if need be",
                c, std->values[c]);
    }
    return STATUS_OK;
}
