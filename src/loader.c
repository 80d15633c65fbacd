/* loader.c - see loader.h. */
#include "src/loader.h"
#include "src/memory.h"
#include <math.h>

int64_t loader_train_count(int64_t count, double valid_split) {
    /* 1 - 0.9 is a little less than 0.1: without the margin, 10 samples would give 0. */
    double train = (double)count * (1 - valid_split);
    return (int64_t)floor(train + 1e-6);
}

static Status fill_table(Loader *loader, const OptionFloats *mean, const OptionFloats *std) {
    for (int i = 0; i < 2; i++) {
        int given = (i == 0 ? mean : std)->count;
        if (given != 1 && given != loader->channels)
            return FAIL(STATUS_CONFIG,
                "data.normalize.%s: %d numbers for images of %d channel%s; give one per channel, "
                "or "
                "one for all",
                i == 0 ? "mean" : "std", given, loader->channels, loader->channels == 1 ? "" : "s");
    }
    for (int c = 0; c < loader->channels; c++) {
        float shift = (float)mean->values[mean->count == 1 ? 0 : c];
        float scale = (float)std->values[std->count == 1 ? 0 : c];
        for (int v = 0; v < 256; v++) loader->table[c][v] = ((float)v / 255.0f - shift) / scale;
    }
    return STATUS_OK;
}

/* ---- augmentation ---- */

/* Every thread has room for one microbatch: slot thread * lanes + lane. */
struct LoaderAugmentation {
    AugmentOptions options;
    uint64_t seed;
    int lanes, slot_count;
    Augmentation *drawn;     /* [slot_count] */
    uint8_t *bytes;          /* [slot_count][features] */
    const uint8_t **samples; /* [slot_count]: into bytes */
};

Status loader_augment(
    Loader *loader, const AugmentOptions *options, uint64_t seed, int lanes, int thread_count) {
    REQUIRE(loader->augmentation == NULL);
    if (!augment_is_asked(options)) return STATUS_OK;
    size_t slots = (size_t)lanes * (size_t)thread_count, features = (size_t)loader->features;
    TRY(MEMORY_ALLOCATE(&loader->augmentation, 1, "augmentation"));
    LoaderAugmentation *self = loader->augmentation;
    *self = (LoaderAugmentation){
        .options = *options, .seed = seed, .lanes = lanes, .slot_count = (int)slots};
    TRY(MEMORY_ALLOCATE(&self->drawn, slots, "augmentations of a microbatch"));
    TRY(MEMORY_ALLOCATE(&self->bytes, slots * features, "augmented samples"));
    TRY(MEMORY_ALLOCATE(&self->samples, slots, "places of the augmented samples"));
    for (size_t i = 0; i < slots; i++) self->samples[i] = self->bytes + i * features;
    return STATUS_OK;
}

static void free_augmentation(LoaderAugmentation *augmentation) {
    if (augmentation == NULL) return;
    memory_free(augmentation->drawn);
    memory_free(augmentation->bytes);
    memory_free(augmentation->samples);
    memory_free(augmentation);
}

/* Crop and flip the samples at `position` into the thread's slots, from `slot` on. */
static void move_samples(const Loader *loader, int64_t position, int valid, int slot) {
    const LoaderAugmentation *self = loader->augmentation;
    REQUIRE(slot + valid <= self->slot_count);
    for (int s = 0; s < valid; s++) {
        int64_t index = loader->source.offset + loader->order[position + s];
        Augmentation *drawn = &self->drawn[slot + s];
        *drawn =
            augment_draw(&self->options, loader->source.sample, self->seed, loader->epoch, index);
        augment_move(drawn, loader->source.sample, 1, loader->samples[position + s],
            self->bytes + (size_t)(slot + s) * (size_t)loader->features);
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
    REQUIRE(source->count >= 0 && source->count <= INT32_MAX);
    TRY(MEMORY_ALLOCATE(loader, 1, "loader"));
    Loader *self = *loader;
    self->source = *source;
    self->channels = source->sample.size[0];
    self->channel_pixels = source->sample.size[1] * source->sample.size[2];
    self->features = self->channels * self->channel_pixels;
    TRY(MEMORY_ALLOCATE(&self->table, (size_t)self->channels, "table of the loader"));
    TRY(fill_table(self, mean, std));
    TRY(MEMORY_ALLOCATE(&self->order, (size_t)source->count, "order of the samples"));
    TRY(MEMORY_ALLOCATE(&self->samples, (size_t)source->count, "places of the samples"));
    loader_set_order(self, 0, 0, 0);
    return STATUS_OK;
}

void loader_free(Loader *loader) {
    if (loader == NULL) return;
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
    const uint8_t *first =
        loader->source.images + (size_t)loader->source.offset * (size_t)loader->features;
    for (uint32_t i = 0; i < count; i++)
        loader->samples[i] = first + (size_t)loader->order[i] * (size_t)loader->features;
}

/* What the threads share while they fill a batch. */
typedef struct Filling {
    const Loader *loader;
    const Batch *batch;
    int64_t first_position;
    const Kernels *kernels;
    Tensor *x;
    int *labels;
    int64_t *sample_index;
} Filling;

/* Valid samples from `position` of the order into the lanes of x. */
static void fill_lanes(const Filling *filling, int64_t position, int valid, int thread, float *x) {
    const Loader *loader = filling->loader;
    const LoaderAugmentation *augmentation = loader->augmentation;
    const uint8_t *const *samples = loader->samples + position;
    int lanes = filling->batch->lanes, slot = 0;
    if (augmentation != NULL) {
        slot = thread * augmentation->lanes;
        move_samples(loader, position, valid, slot);
        samples = augmentation->samples + slot;
    }
    filling->kernels->load_bytes(samples, (const float(*)[256])loader->table,
        loader->channel_pixels, loader->features, lanes, valid, x);
    if (augmentation != NULL) cut_samples(loader, lanes, valid, slot, x);
}

static void fill_microbatch(void *context, int m, int thread) {
    const Filling *filling = context;
    const Loader *loader = filling->loader;
    const Batch *batch = filling->batch;
    int64_t position = filling->first_position + batch_first_sample(batch, m);
    int valid = batch_valid_lanes(batch, m);
    int *labels = filling->labels + (size_t)m * (size_t)batch->lanes;
    int64_t *sample_index = filling->sample_index + (size_t)m * (size_t)batch->microbatch;
    fill_lanes(filling, position, valid, thread, filling->x->data + (size_t)m * filling->x->stride);
    for (int s = 0; s < batch->lanes; s++) {
        int64_t sample = s < valid ? loader->source.offset + loader->order[position + s] : -1;
        labels[s] = sample < 0 ? -1 : loader->source.labels[sample];
        if (s < batch->microbatch) sample_index[s] = sample;
    }
}

void loader_fill(const Loader *loader, const Batch *batch, int64_t first_position,
    const Kernels *kernels, Threads *threads, Tensor *x, int *labels, int64_t *sample_index) {
    REQUIRE(
        first_position >= 0 && first_position + batch->global_sample_count <= loader->source.count);
    REQUIRE(shape_element_count(x->shape) == (size_t)loader->features);
    Filling filling = {loader, batch, first_position, kernels, x, labels, sample_index};
    threads_run(threads, batch->local_count, fill_microbatch, &filling);
}
