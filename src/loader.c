/* loader.c - see loader.h. */
#include "src/loader.h"
#include "src/memory.h"
#include <math.h>

int64_t loader_train_count(int64_t count, double valid_split) {
    /* 1 - 0.9 is a little less than 0.1: without the margin, 10 samples would give 0. */
    double train = (double)count * (1 - valid_split);
    return (int64_t)floor(train + 1e-6);
}

static Status check_normalization(
    const Loader *loader, const OptionFloats *mean, const OptionFloats *std) {
    for (int i = 0; i < 2; i++) {
        int given = (i == 0 ? mean : std)->count;
        if (given != 1 && given != loader->channels)
            return FAIL(STATUS_CONFIG,
                "data.normalize.%s: %d numbers for images of %d channel%s; give one per channel, "
                "or one for all",
                i == 0 ? "mean" : "std", given, loader->channels, loader->channels == 1 ? "" : "s");
    }
    return STATUS_OK;
}

static void fill_tables(Loader *loader, const OptionFloats *mean, const OptionFloats *std) {
    for (int c = 0; c < loader->channels; c++) {
        float shift = (float)mean->values[mean->count == 1 ? 0 : c];
        float scale = (float)std->values[std->count == 1 ? 0 : c];
        loader->mean[c] = shift;
        loader->std[c] = scale;
        for (int v = 0; v < 256; v++) loader->table[c][v] = ((float)v / 255.0f - shift) / scale;
    }
}

/* ---- augmentation ---- */

/* Every thread has room for one microbatch: slot thread * lanes + lane. */
struct LoaderAugmentation {
    AugmentOptions options;
    uint64_t seed;
    int lanes, slot_count;
    Augmentation *drawn;  /* [slot_count] */
    char *moved;          /* [slot_count][features] elements */
    const void **samples; /* [slot_count]: into moved */
};

Status loader_augment(
    Loader *loader, const AugmentOptions *options, uint64_t seed, int lanes, int thread_count) {
    REQUIRE(loader->augmentation == NULL);
    if (!augment_is_asked(options)) return STATUS_OK;
    size_t slots = (size_t)lanes * (size_t)thread_count;
    size_t sample_bytes = (size_t)loader->features * (size_t)loader->source.element_bytes;
    TRY(MEMORY_ALLOCATE(&loader->augmentation, 1, "augmentation"));
    LoaderAugmentation *self = loader->augmentation;
    *self = (LoaderAugmentation){
        .options = *options, .seed = seed, .lanes = lanes, .slot_count = (int)slots};
    TRY(MEMORY_ALLOCATE(&self->drawn, slots, "augmentations of a microbatch"));
    TRY(MEMORY_ALLOCATE(&self->moved, slots * sample_bytes, "augmented samples"));
    TRY(MEMORY_ALLOCATE(&self->samples, slots, "places of the augmented samples"));
    for (size_t i = 0; i < slots; i++) self->samples[i] = self->moved + i * sample_bytes;
    return STATUS_OK;
}

static void free_augmentation(LoaderAugmentation *augmentation) {
    if (augmentation == NULL) return;
    memory_free(augmentation->drawn);
    memory_free(augmentation->moved);
    memory_free(augmentation->samples);
    memory_free(augmentation);
}

/* Crop and flip the samples at `position` into the thread's slots, from `slot` on. */
static void move_samples(const Loader *loader, int64_t position, int valid, int slot) {
    const LoaderAugmentation *self = loader->augmentation;
    size_t element_bytes = (size_t)loader->source.element_bytes;
    size_t sample_bytes = (size_t)loader->features * element_bytes;
    REQUIRE(slot + valid <= self->slot_count);
    for (int s = 0; s < valid; s++) {
        int64_t index = loader->source.offset + loader->order[position + s];
        Augmentation *drawn = &self->drawn[slot + s];
        *drawn =
            augment_draw(&self->options, loader->source.sample, self->seed, loader->epoch, index);
        augment_move(drawn, loader->source.sample, element_bytes, loader->samples[position + s],
            self->moved + (size_t)(slot + s) * sample_bytes);
    }
}

static void cut_samples(const Loader *loader, int lanes, int valid, int slot, float *x) {
    for (int s = 0; s < valid; s++)
        augment_cut(&loader->augmentation->drawn[slot + s], loader->source.sample, lanes, s, x);
}

/* ---- loader ---- */

Status loader_create(Loader **loader, const LoaderSource *source, const OptionFloats *mean,
    const OptionFloats *std) {
    REQUIRE(source->sample.dimension_count == 3 && source->offset >= 0);
    REQUIRE(source->element_bytes == 1 || source->element_bytes == sizeof(float));
    REQUIRE(source->count >= 0 && source->count <= INT32_MAX);
    TRY(MEMORY_ALLOCATE(loader, 1, "loader"));
    Loader *self = *loader;
    self->source = *source;
    self->channels = source->sample.size[0];
    self->channel_pixels = source->sample.size[1] * source->sample.size[2];
    self->features = self->channels * self->channel_pixels;
    TRY(check_normalization(self, mean, std));
    TRY(MEMORY_ALLOCATE(&self->mean, (size_t)self->channels, "means of the loader"));
    TRY(MEMORY_ALLOCATE(&self->std, (size_t)self->channels, "deviations of the loader"));
    TRY(MEMORY_ALLOCATE(&self->table, (size_t)self->channels, "table of the loader"));
    fill_tables(self, mean, std);
    TRY(MEMORY_ALLOCATE(&self->order, (size_t)source->count, "order of the samples"));
    TRY(MEMORY_ALLOCATE(&self->samples, (size_t)source->count, "places of the samples"));
    if (source->images == NULL) TRY(prefetch_create(&self->prefetch, source->reader));
    loader_set_order(self, 0, 0, 0);
    return STATUS_OK;
}

void loader_free(Loader *loader) {
    if (loader == NULL) return;
    prefetch_free(loader->prefetch);
    memory_free(loader->mean);
    memory_free(loader->std);
    memory_free(loader->table);
    memory_free(loader->order);
    memory_free(loader->samples);
    free_augmentation(loader->augmentation);
    memory_free(loader);
}

void loader_set_order(Loader *loader, uint32_t epoch, int shuffle, uint64_t seed) {
    uint32_t count = (uint32_t)loader->source.count;
    loader->epoch = epoch;
    if (shuffle)
        rng_permute(rng_stream(seed, RNG_SHUFFLE, 0), epoch, loader->order, count);
    else
        for (uint32_t i = 0; i < count; i++) loader->order[i] = i;
    loader->begun_count = 0;
    if (loader->prefetch != NULL) return;
    size_t sample_bytes = (size_t)loader->features * (size_t)loader->source.element_bytes;
    const char *first = (const char *)loader->source.images + loader->source.offset * sample_bytes;
    for (uint32_t i = 0; i < count; i++)
        loader->samples[i] = first + loader->order[i] * sample_bytes;
}

/* The local samples of a batch are consecutive in the order. */
static int local_sample_count(const Batch *batch) {
    int count = batch->local_count;
    return count == 0 ? 0 : (count - 1) * batch->microbatch + batch_valid_lanes(batch, count - 1);
}

void loader_request(Loader *loader, const Batch *batch, int64_t first_position) {
    int count = local_sample_count(batch);
    if (loader->prefetch == NULL || count == 0) return;
    loader->begun_at = first_position + batch_first_sample(batch, 0);
    loader->begun_count = count;
    prefetch_begin(
        loader->prefetch, loader->order + loader->begun_at, loader->source.offset, count);
}

/* Let loader->samples point to the samples of the batch. */
static Status fetch(Loader *loader, const Batch *batch, int64_t first_position) {
    int count = local_sample_count(batch);
    if (loader->prefetch == NULL || count == 0) return STATUS_OK;
    int64_t begin = first_position + batch_first_sample(batch, 0);
    if (loader->begun_at != begin || loader->begun_count != count)
        loader_request(loader, batch, first_position);
    loader->begun_count = 0;
    return prefetch_wait(loader->prefetch, loader->samples + begin);
}

/* What the threads share while they fill a batch. */
typedef struct Filling {
    const Loader *loader;
    const Batch *batch;
    int64_t first_position;
    const Kernels *kernels;
    int is_empty; /* no lane gets a sample */
    Tensor *x;
    int *labels;
    int64_t *sample_index;
} Filling;

/* Raw samples, [channels][height][width] each, into the lanes of one microbatch. */
static void load_samples(const Filling *filling, const void *const *samples, int valid, float *x) {
    const Loader *loader = filling->loader;
    int lanes = filling->batch->lanes;
    if (loader->source.element_bytes == 1)
        filling->kernels->load_bytes((const uint8_t *const *)samples,
            (const float(*)[256])loader->table, loader->channel_pixels, loader->features, lanes,
            valid, x);
    else
        filling->kernels->load_floats((const float *const *)samples, loader->mean, loader->std,
            loader->channel_pixels, loader->features, lanes, valid, x);
}

/* Valid samples from `position` of the order into the lanes of x. */
static void fill_lanes(const Filling *filling, int64_t position, int valid, int thread, float *x) {
    const Loader *loader = filling->loader;
    const LoaderAugmentation *augmentation = loader->augmentation;
    const void *const *samples = loader->samples + position;
    int slot = 0;
    if (augmentation != NULL) {
        slot = thread * augmentation->lanes;
        move_samples(loader, position, valid, slot);
        samples = augmentation->samples + slot;
    }
    load_samples(filling, samples, valid, x);
    if (augmentation != NULL) cut_samples(loader, filling->batch->lanes, valid, slot, x);
}

static void fill_microbatch(void *context, int m, int thread) {
    const Filling *filling = context;
    const Loader *loader = filling->loader;
    const Batch *batch = filling->batch;
    int64_t position = filling->first_position + batch_first_sample(batch, m);
    int valid = filling->is_empty ? 0 : batch_valid_lanes(batch, m);
    int *labels = filling->labels + (size_t)m * (size_t)batch->lanes;
    int64_t *sample_index = filling->sample_index + (size_t)m * (size_t)batch->microbatch;
    fill_lanes(filling, position, valid, thread, filling->x->data + (size_t)m * filling->x->stride);
    for (int s = 0; s < batch->lanes; s++) {
        int64_t sample = s < valid ? loader->source.offset + loader->order[position + s] : -1;
        labels[s] = sample < 0 ? -1 : loader->source.labels[sample];
        if (s < batch->microbatch) sample_index[s] = sample;
    }
}

Status loader_fill(Loader *loader, const Batch *batch, int64_t first_position,
    const Kernels *kernels, Threads *threads, Tensor *x, int *labels, int64_t *sample_index) {
    REQUIRE(
        first_position >= 0 && first_position + batch->global_sample_count <= loader->source.count);
    REQUIRE(shape_element_count(x->shape) == (size_t)loader->features);
    Status status = fetch(loader, batch, first_position);
    Filling filling = {
        loader, batch, first_position, kernels, status != STATUS_OK, x, labels, sample_index};
    threads_run(threads, batch->local_count, fill_microbatch, &filling);
    return status;
}
