/* standardize.c - see standardize.h. Bytes are counted, a record for each rank: whole numbers,
 * whose sums are exact. Floats are summed in double, twice, a record for each block of samples,
 * over binary trees of samples and blocks. */
#include "src/standardize.h"
#include "src/memory.h"
#include <math.h>

enum { BLOCK = 64 }; /* samples read at once */
enum { VALUES = 256 };

/* `count` <= BLOCK samples from number `begin` on, one after the other. */
static Status fetch(
    const Standardizer *standardizer, int64_t begin, int count, const void **first) {
    const StandardizeInput *input = standardizer->input;
    int64_t index[BLOCK];
    *first = standardizer->block;
    if (input->samples != NULL) {
        *first = (const char *)input->samples + (size_t)begin * standardizer->sample_bytes;
        return STATUS_OK;
    }
    for (int i = 0; i < count; i++) index[i] = begin + i;
    return input->source->read(input->source->context, index, count, standardizer->block);
}

/* Samples of block number `block` of the set, each record's of a batch that floats have. */
static int block_count(const Standardizer *standardizer, int64_t block) {
    int64_t left = standardizer->input->count - block * BLOCK;
    return left < BLOCK ? (int)left : BLOCK;
}

/* Collective. The sum of all ranks' records. */
static void combine(Standardizer *standardizer, double *total) {
    Reducer *reducer = standardizer->input->reducer;
    const Batch *batch = &standardizer->batch;
    reducer->combine(reducer, batch, (int)batch->global_microbatch_count,
        standardizer->record_length, reducer_merge_sum, standardizer->records, NULL, total);
}

/* ---- bytes ---- */

static void count_values(
    const Standardizer *standardizer, const uint8_t *first, int count, double *counts) {
    for (int i = 0; i < count; i++)
        for (int c = 0; c < standardizer->channels; c++) {
            const uint8_t *plane =
                first + (size_t)i * standardizer->sample_bytes + (size_t)c * standardizer->pixels;
            for (size_t p = 0; p < standardizer->pixels; p++) counts[c * VALUES + plane[p]]++;
        }
}

/* This rank's blocks. */
static Status count_blocks(Standardizer *standardizer) {
    const StandardizeInput *input = standardizer->input;
    int64_t blocks = (input->count + BLOCK - 1) / BLOCK;
    int64_t end = tree_first_leaf(input->rank + 1, input->size, blocks);
    for (int64_t b = tree_first_leaf(input->rank, input->size, blocks); b < end; b++) {
        const void *first = NULL;
        TRY(fetch(standardizer, b * BLOCK, block_count(standardizer, b), &first));
        count_values(standardizer, first, block_count(standardizer, b), standardizer->records);
    }
    return STATUS_OK;
}

static Status measure_bytes(Standardizer *standardizer, double *mean, double *variance) {
    double counts[OPTION_LIST_MAX * VALUES];
    double total = (double)standardizer->input->count * (double)standardizer->pixels;
    Status status = count_blocks(standardizer);
    combine(standardizer, counts);
    for (int c = 0; c < standardizer->channels; c++) {
        const double *of_channel = counts + (size_t)c * VALUES;
        double sum = 0, squares = 0;
        for (int v = 0; v < VALUES; v++) sum += v * of_channel[v];
        double middle = sum / total;
        for (int v = 0; v < VALUES; v++) squares += of_channel[v] * (v - middle) * (v - middle);
        mean[c] = middle / 255;
        variance[c] = squares / total / (255.0 * 255.0);
    }
    return status;
}

/* ---- floats ---- */

/* Of a tree over `count` samples, the leaves of its left half. */
static int left_half(int count) {
    int half = 1;
    while (2 * half < count) half *= 2;
    return half;
}

/* The sum of (x - middle)^power over one channel of `count` samples. */
static double sum_samples(
    const Standardizer *standardizer, const float *plane, int count, double middle, int power) {
    size_t step = standardizer->sample_bytes / sizeof *plane;
    if (count > 1) {
        int half = left_half(count);
        return sum_samples(standardizer, plane, half, middle, power) +
               sum_samples(standardizer, plane + (size_t)half * step, count - half, middle, power);
    }
    double sum = 0;
    for (size_t p = 0; p < standardizer->pixels; p++) {
        double difference = plane[p] - middle;
        sum += power == 1 ? difference : difference * difference;
    }
    return sum;
}

/* The same for every channel of this rank's blocks, into their records. */
static Status sum_blocks(Standardizer *standardizer, const double *middle, int power) {
    const Batch *batch = &standardizer->batch;
    double *record = standardizer->records;
    for (int m = 0; m < batch->local_count; m++, record += standardizer->record_length) {
        int64_t block = batch->local_begin + m;
        int count = block_count(standardizer, block);
        const void *first = NULL;
        TRY(fetch(standardizer, block * BLOCK, count, &first));
        for (int c = 0; c < standardizer->channels; c++)
            record[c] = sum_samples(standardizer,
                (const float *)first + (size_t)c * standardizer->pixels, count, middle[c], power);
    }
    return STATUS_OK;
}

static Status measure_floats(Standardizer *standardizer, double *mean, double *variance) {
    double zero[OPTION_LIST_MAX] = {0};
    double total = (double)standardizer->input->count * (double)standardizer->pixels;
    Status status = sum_blocks(standardizer, zero, 1);
    combine(standardizer, mean);
    for (int c = 0; c < standardizer->channels; c++) mean[c] /= total;
    if (status == STATUS_OK) status = sum_blocks(standardizer, mean, 2);
    combine(standardizer, variance); /* also after a failure: the others wait */
    for (int c = 0; c < standardizer->channels; c++) variance[c] /= total;
    return status;
}

/* ---- the measure ---- */

Status standardize_prepare(Standardizer *standardizer, const StandardizeInput *input) {
    Shape sample = input->sample;
    REQUIRE(sample.dimension_count == 3 && input->count > 0);
    REQUIRE(input->element_bytes == 1 || input->element_bytes == sizeof(float));
    int is_bytes = input->element_bytes == 1, channels = sample.size[0];
    *standardizer = (Standardizer){.input = input,
        .channels = channels,
        .record_length = is_bytes ? channels * VALUES : channels,
        .pixels = (size_t)sample.size[1] * (size_t)sample.size[2],
        .sample_bytes = shape_element_count(sample) * input->element_bytes};
    if (channels > OPTION_LIST_MAX)
        return FAIL(STATUS_CONFIG, "data.standardize: samples of %d channels; at most %d", channels,
            OPTION_LIST_MAX);
    batch_plan(&standardizer->batch, is_bytes ? input->size : input->count, is_bytes ? 1 : BLOCK,
        input->rank, input->size);
    TRY(MEMORY_ALLOCATE(&standardizer->records,
        (size_t)standardizer->batch.local_count * (size_t)standardizer->record_length,
        "sums over samples"));
    if (input->samples != NULL) return STATUS_OK;
    return memory_allocate(
        &standardizer->block, BLOCK, standardizer->sample_bytes, "samples to be measured");
}

void standardize_finish(Standardizer *standardizer) {
    memory_free(standardizer->records);
    memory_free(standardizer->block);
}

Status standardize_measure(Standardizer *standardizer, OptionFloats *mean, OptionFloats *std) {
    double variance[OPTION_LIST_MAX];
    TRY(standardizer->input->element_bytes == 1
            ? measure_bytes(standardizer, mean->values, variance)
            : measure_floats(standardizer, mean->values, variance));
    mean->count = std->count = standardizer->channels;
    for (int c = 0; c < standardizer->channels; c++) {
        std->values[c] = sqrt(variance[c]);
        if (!(variance[c] > 0) || !isfinite(variance[c]))
            return FAIL(STATUS_DATA,
                "data.standardize: channel %d of the training samples has standard deviation %g; "
                "leave standardize out, and give data.normalize if need be",
                c, std->values[c]);
    }
    return STATUS_OK;
}
