/* command_convert_set.c - sets in the formats of job files, for lockstep convert. */
#include "io/dataset_format.h"
#include "src/command_convert.h"
#include "src/memory.h"
#include <stdio.h>

enum { BLOCK = 64 }; /* samples read at once, of a set that stays in its file */

/* A split that is being converted. */
typedef struct Split {
    DatasetSizes sizes;
    const void *images;  /* all of them, NULL: */
    SampleSource source; /* reads them */
    void *block;         /* [BLOCK] samples, where they are read */
    int32_t *labels;
    Transform *transform;
} Split;

/* Samples [begin, begin + count), one after the other. */
static Status fetch(const Split *split, int64_t begin, int count, const char **first) {
    int64_t index[BLOCK];
    *first = split->block;
    if (split->images != NULL) {
        *first = (const char *)split->images + (size_t)begin * dataset_sample_bytes(&split->sizes);
        return STATUS_OK;
    }
    for (int i = 0; i < count; i++) index[i] = begin + i;
    return split->source.read(split->source.context, index, count, split->block);
}

static Status add_samples(Conversion *conversion, const Split *split) {
    int64_t all = split->sizes.count;
    for (int64_t begin = 0; begin < all; begin += BLOCK) {
        const char *first = NULL;
        int count = all - begin < BLOCK ? (int)(all - begin) : BLOCK;
        TRY(fetch(split, begin, count, &first));
        for (int i = 0; i < count; i++) {
            transform_sample(split->transform,
                first + (size_t)i * dataset_sample_bytes(&split->sizes), conversion->result);
            TRY(dataset_file_add(conversion->file, conversion->result, split->labels[begin + i]));
        }
    }
    return STATUS_OK;
}

/* The images in memory, or a source and memory for what it reads. */
static Status read_split(Split *split, const Job *job, DatasetSplit name, void **images) {
    const DatasetFormat *format = dataset_format(job->data.format);
    const DatasetSizes *sizes = &split->sizes;
    int stays_in_file = sizes->file_bytes > 0;
    size_t bytes = dataset_sample_bytes(sizes), rows = stays_in_file ? BLOCK : (size_t)sizes->count;
    TRY(memory_allocate(images, rows, bytes, "images of the set"));
    TRY(MEMORY_ALLOCATE(&split->labels, (size_t)sizes->count, "labels of the set"));
    split->images = stays_in_file ? NULL : *images;
    split->block = *images;
    TRY(format->fill(job, name, sizes, stays_in_file ? NULL : *images, split->labels));
    return stays_in_file ? format->open_source(job, name, sizes, &split->source) : STATUS_OK;
}

static Status write_split(Conversion *conversion, Split *split, DatasetSplit name) {
    const DatasetSizes *sizes = &split->sizes;
    size_t element_bytes = (size_t)sizes->element_bytes;
    Shape sample = dataset_sample_shape(sizes);
    DatasetFileSplit written = {.name = convert_split_names[name],
        .count = sizes->count,
        .class_count = sizes->class_count,
        .element_bytes = element_bytes};
    TRY(transform_shape(&conversion->options->transforms, sample, &written.sample));
    TRY(memory_allocate(
        &conversion->result, shape_element_count(written.sample), element_bytes, "a sample"));
    TRY(transform_create(
        &split->transform, &conversion->options->transforms, sample, element_bytes));
    TRY(dataset_file_begin(conversion->file, &written));
    TRY(add_samples(conversion, split));
    convert_tell_split(name, sizes->count, written.sample);
    return STATUS_OK;
}

static Status convert_split(Conversion *conversion, const Job *job, DatasetSplit name) {
    Split split = {.labels = NULL};
    void *images = NULL;
    TRY(dataset_format(job->data.format)->measure(job, name, &split.sizes));
    Status status = read_split(&split, job, name, &images);
    if (status == STATUS_OK) status = write_split(conversion, &split, name);
    if (split.source.close != NULL) split.source.close(split.source.context);
    transform_free(split.transform);
    memory_free(images);
    memory_free(split.labels);
    memory_free(conversion->result);
    conversion->result = NULL;
    return status;
}

Status convert_set(Conversion *conversion, const Job *job) {
    const DatasetFormat *format = dataset_format(job->data.format);
    NameList classes = {.names = NULL};
    char note[DATASET_NOTE_BYTES] = "";
    int has_test = 1;
    TRY(convert_split(conversion, job, DATASET_TRAIN));
    if (format->has_split != NULL) TRY(format->has_split(job, DATASET_TEST, &has_test, note));
    if (note[0] != '\0') printf("%s\n", note);
    if (has_test) TRY(convert_split(conversion, job, DATASET_TEST));
    Status status = dataset_read_classes(job, &classes);
    if (status == STATUS_OK)
        status = dataset_file_finish(conversion->file, classes.names, classes.count);
    name_list_free(&classes);
    return status;
}
