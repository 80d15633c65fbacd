/* dataset.c - see dataset.h. What is collective about a data set; the formats are in
 * dataset_<name>.c. */
#include "io/dataset.h"
#include "io/dataset_format.h"
#include "src/memory.h"
#include "src/transform_source.h"
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { DIGEST_SAMPLES_MAX = 64 };
enum { DIGEST_BYTES = sizeof((Dataset *)NULL)->digest };

#define FORMAT_ENTRY(format, object) [format] = &object,
static const DatasetFormat *const formats[] = {DATASET_FORMATS(FORMAT_ENTRY)};

const DatasetFormat *dataset_format(int format) {
    return formats[format];
}

Status dataset_has_test(Comm *comm, const Job *job, int *has_test, char note[DATASET_NOTE_BYTES]) {
    const DatasetFormat *format = formats[job->data.format];
    Status status = STATUS_OK;
    *has_test = 1;
    note[0] = '\0';
    if (format->has_split != NULL && comm_is_root(comm))
        status = job_locate(job, format->has_split(job, DATASET_TEST, has_test, note));
    comm_broadcast(comm, has_test, sizeof *has_test, 0);
    return comm_agree(comm, status);
}

/* One rank of each node handles the files. */
static int is_leader(const Comm *comm) {
    return comm_node_rank(comm) == 0;
}

Shape dataset_sample_shape(const DatasetSizes *sizes) {
    return (Shape){3, {(int)sizes->channels, (int)sizes->height, (int)sizes->width}};
}

size_t dataset_sample_bytes(const DatasetSizes *sizes) {
    return (size_t)(sizes->channels * sizes->height * sizes->width * sizes->element_bytes);
}

/* The network takes a sample as it is after the transforms, or flat. */
static Status check_input(const Job *job, DatasetSplit split, Shape sample) {
    Shape input = job->network.input;
    Shape flat = {1, {(int)shape_element_count(sample)}};
    char input_text[SHAPE_TEXT_BYTES], sample_text[SHAPE_TEXT_BYTES], flat_text[SHAPE_TEXT_BYTES];
    if (shape_is_equal(input, sample) || shape_is_equal(input, flat)) return STATUS_OK;
    return FAIL(STATUS_CONFIG,
        "model.input: is %s, but the %s images of the data set are %s (or, flat, %s)%s",
        shape_print(input, input_text), split == DATASET_TEST ? "test" : "training",
        shape_print(sample, sample_text), shape_print(flat, flat_text),
        transform_is_asked(&job->data.transforms) ? " after resize, pad and center_crop" : "");
}

/* The network gives a number for each class. */
static Status check_output(const Job *job, const DatasetSizes *sizes) {
    char text[SHAPE_TEXT_BYTES], hint[192] = "";
    int64_t class_count = sizes->class_count;
    if (job->output.dimension_count == 1 && job->output.size[0] >= class_count) return STATUS_OK;
    if (sizes->first_label > 0)
        snprintf(hint, sizeof hint,
            "; labels count from 0, but those for training are %lld to %lld: save a - %lld",
            (long long)sizes->first_label, (long long)class_count - 1,
            (long long)sizes->first_label);
    return FAIL(STATUS_CONFIG,
        "model.layers: the last layer gives %s for each sample; %s of %lld classes wants [%lld]%s",
        shape_print(job->output, text), job->loss == LOSS_NLL ? "nll" : "cross_entropy",
        (long long)class_count, (long long)class_count, hint);
}

/* What the job asks for and the set cannot give, before images are held in memory. */
static Status check_job(const Job *job, DatasetSplit split, const DatasetSizes *sizes) {
    Shape sample;
    TRY(transform_shape(&job->data.transforms, dataset_sample_shape(sizes), &sample));
    TRY(check_input(job, split, sample));
    if (split == DATASET_TRAIN) TRY(augment_check(&job->data.augment, sample));
    return check_output(job, sizes);
}

static Status measure_set(
    const Comm *comm, const Job *job, DatasetSplit split, DatasetSizes *sizes) {
    *sizes = (DatasetSizes){0};
    if (!is_leader(comm)) return STATUS_OK;
    TRY(job_locate(job, dataset_format(job->data.format)->measure(job, split, sizes)));
    return job_locate(job, check_job(job, split, sizes));
}

/* Collective. Every rank gets rank 0's sizes; every leader must have found the same. */
static Status agree_on_sizes(const Comm *comm, DatasetSizes *sizes) {
    DatasetSizes own = *sizes;
    comm_broadcast(comm, sizes, sizeof *sizes, 0);
    Status status = STATUS_OK;
    if (is_leader(comm) && memcmp(&own, sizes, sizeof own) != 0)
        status = FAIL(STATUS_DATA,
            "data set: node %d sees %lld samples %lld x %lld x %lld of %lld classes, rank 0 %lld "
            "samples %lld x %lld x %lld of %lld classes",
            comm_node(comm), (long long)own.count, (long long)own.channels, (long long)own.height,
            (long long)own.width, (long long)own.class_count, (long long)sizes->count,
            (long long)sizes->channels, (long long)sizes->height, (long long)sizes->width,
            (long long)sizes->class_count);
    return comm_agree(comm, status);
}

/* Bytes that images need while they are transformed within one place: those of the larger of the
 * two forms. */
static size_t room_bytes(const Dataset *dataset, const DatasetSizes *sizes) {
    size_t before = dataset_sample_bytes(sizes);
    size_t after = shape_element_count(dataset->shape) * (size_t)dataset->element_bytes;
    return (size_t)sizes->count * (before > after ? before : after);
}

/* Collective. */
static Status create_window(
    Dataset *dataset, const Comm *comm, const Job *job, const DatasetSizes *sizes) {
    char *data = NULL;
    int is_in_memory = sizes->file_bytes == 0;
    size_t label_bytes = (size_t)sizes->count * sizeof *dataset->labels;
    size_t first = (label_bytes + 63) / 64 * 64;
    dataset->element_bytes = (int)sizes->element_bytes;
    TRY(comm_agree(comm,
        transform_shape(&job->data.transforms, dataset_sample_shape(sizes), &dataset->shape)));
    size_t image_bytes = is_in_memory ? room_bytes(dataset, sizes) : 0;
    TRY(comm_window_create(comm, first + image_bytes, &dataset->window, (void **)&data));
    dataset->count = sizes->count;
    dataset->class_count = (int)sizes->class_count;
    dataset->read_bytes = sizes->read_bytes;
    dataset->labels = (int32_t *)(void *)data;
    dataset->images = is_in_memory ? data + first : NULL;
    return STATUS_OK;
}

static void hash_int64(XXH3_state_t *state, int64_t value) {
    uint8_t bytes[8]; /* little-endian on every machine */
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)((uint64_t)value >> 8 * i);
    XXH3_128bits_update(state, bytes, sizeof bytes);
}

/* Samples 0, ..., count - 1, evenly spread. */
static Status hash_samples(XXH3_state_t *state, const SampleSource *source, int64_t count) {
    int64_t taken = count < DIGEST_SAMPLES_MAX ? count : DIGEST_SAMPLES_MAX;
    void *row = NULL;
    TRY(memory_allocate(&row, source->sample_bytes, 1, "a sample"));
    Status status = STATUS_OK;
    for (int64_t i = 0; i < taken && status == STATUS_OK; i++) {
        int64_t sample = taken == 1 ? 0 : i * (count - 1) / (taken - 1);
        status = source->read(source->context, &sample, 1, row);
        if (status == STATUS_OK) XXH3_128bits_update(state, row, source->sample_bytes);
    }
    memory_free(row);
    return status;
}

static size_t transformed_bytes(const Dataset *dataset) {
    return shape_element_count(dataset->shape) * (size_t)dataset->element_bytes;
}

static Status hash_images(XXH3_state_t *state, const Dataset *dataset, int64_t file_bytes) {
    hash_int64(state, file_bytes);
    if (dataset->images == NULL) return hash_samples(state, &dataset->source, dataset->count);
    XXH3_128bits_update(
        state, dataset->images, (size_t)dataset->count * transformed_bytes(dataset));
    return STATUS_OK;
}

static Status compute_digest(Dataset *dataset, const DatasetSizes *sizes) {
    XXH3_state_t *state = status_fault_is_due() ? NULL : XXH3_createState();
    if (state == NULL || XXH3_128bits_reset(state) != XXH_OK) {
        XXH3_freeState(state);
        return FAIL(STATUS_NO_MEMORY, "data set: no memory for its digest");
    }
    hash_int64(state, dataset->count);
    for (int i = 0; i < 3; i++) hash_int64(state, dataset->shape.size[i]);
    hash_int64(state, dataset->class_count);
    hash_int64(state, dataset->element_bytes);
    XXH3_128bits_update(state, dataset->labels, (size_t)dataset->count * sizeof *dataset->labels);
    Status status = hash_images(state, dataset, sizes->file_bytes);
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
    XXH3_freeState(state);
    memcpy(dataset->digest, canonical.digest, DIGEST_BYTES);
    return status;
}

/* Every rank reads its own samples. */
static Status open_source(
    Dataset *dataset, const Job *job, DatasetSplit split, const DatasetSizes *sizes) {
    if (dataset->images != NULL) return STATUS_OK;
    TRY(dataset_format(job->data.format)->open_source(job, split, sizes, &dataset->source));
    if (!transform_is_asked(&job->data.transforms)) return STATUS_OK;
    return transform_source_wrap(&dataset->source, &job->data.transforms,
        dataset_sample_shape(sizes), (size_t)sizes->element_bytes);
}

/* From `raw`, the end of the images' room, to its start, one after another: sample i ends where no
 * later one lies yet. */
static Status transform_set(
    Dataset *dataset, const Job *job, const DatasetSizes *sizes, const char *raw) {
    Transform *transform = NULL;
    size_t before = dataset_sample_bytes(sizes), after = transformed_bytes(dataset);
    char *images = (char *)dataset->images;
    Status status = transform_create(&transform, &job->data.transforms, dataset_sample_shape(sizes),
        (size_t)sizes->element_bytes);
    for (size_t i = 0; i < (size_t)sizes->count && status == STATUS_OK; i++)
        transform_sample(transform, raw + i * before, images + i * after);
    transform_free(transform);
    return status;
}

static Status fill_set(Dataset *dataset, const Comm *comm, const Job *job, DatasetSplit split,
    const DatasetSizes *sizes) {
    if (!is_leader(comm)) return STATUS_OK;
    const DatasetFormat *format = dataset_format(job->data.format);
    int32_t *labels = (int32_t *)dataset->labels;
    if (dataset->images == NULL) {
        TRY(format->fill(job, split, sizes, NULL, labels));
        return compute_digest(dataset, sizes);
    }
    size_t raw_bytes = (size_t)sizes->count * dataset_sample_bytes(sizes);
    char *raw = (char *)dataset->images + (room_bytes(dataset, sizes) - raw_bytes);
    TRY(format->fill(job, split, sizes, raw, labels));
    if (transform_is_asked(&job->data.transforms)) TRY(transform_set(dataset, job, sizes, raw));
    return compute_digest(dataset, sizes);
}

void dataset_print_digest(const Dataset *dataset, char text[DATASET_DIGEST_TEXT_BYTES]) {
    for (int i = 0; i < DIGEST_BYTES; i++) snprintf(text + 2 * i, 3, "%02x", dataset->digest[i]);
}

/* Collective. The leaders' digests are compared; the other ranks take rank 0's. */
static Status agree_on_digest(Dataset *dataset, const Comm *comm) {
    uint8_t digest[DIGEST_BYTES];
    char text[DATASET_DIGEST_TEXT_BYTES];
    memcpy(digest, dataset->digest, DIGEST_BYTES);
    comm_broadcast(comm, digest, DIGEST_BYTES, 0);
    if (!is_leader(comm)) memcpy(dataset->digest, digest, DIGEST_BYTES);
    dataset_print_digest(dataset, text);
    return comm_require_same(comm, "content of the data set (XXH3-128)", text);
}

Status dataset_open(Dataset *dataset, Comm *comm, const Job *job, DatasetSplit split) {
    DatasetSizes sizes;
    *dataset = (Dataset){0};
    REQUIRE(!comm_is_root(comm) || is_leader(comm));
    TRY(comm_agree(comm, measure_set(comm, job, split, &sizes)));
    TRY(agree_on_sizes(comm, &sizes));
    TRY(create_window(dataset, comm, job, &sizes));
    TRY(comm_agree(comm, open_source(dataset, job, split, &sizes)));
    TRY(comm_agree(comm, fill_set(dataset, comm, job, split, &sizes)));
    comm_node_barrier(comm);
    return agree_on_digest(dataset, comm);
}

Status dataset_read_classes(const Job *job, NameList *names) {
    const DatasetFormat *format = formats[job->data.format];
    return format->read_classes == NULL ? STATUS_OK : format->read_classes(job, names);
}

void dataset_free(Dataset *dataset) {
    if (dataset->source.close != NULL) dataset->source.close(dataset->source.context);
    if (dataset->window != NULL) comm_window_free(dataset->window);
    *dataset = (Dataset){0};
}

Status dataset_create_loader(
    Loader **loader, const Dataset *dataset, const JobData *data, int64_t offset, int64_t count) {
    LoaderSource source = {.images = dataset->images,
        .reader = &dataset->source,
        .labels = dataset->labels,
        .element_bytes = dataset->element_bytes,
        .sample = dataset->shape,
        .offset = offset,
        .count = count};
    return loader_create(loader, &source, &data->mean, &data->std);
}
