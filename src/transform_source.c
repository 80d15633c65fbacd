/* transform_source.c - see transform_source.h. */
#include "src/transform_source.h"
#include "src/memory.h"

typedef struct Transforming {
    SampleSource raw;
    TransformOptions options;
    Shape sample;                       /* before */
    size_t element_bytes, sample_bytes; /* of a sample: after */
} Transforming;

static void transform_rows(
    const Transforming *self, Transform *transform, const char *raw, int count, char *rows) {
    for (size_t i = 0; i < (size_t)count; i++)
        transform_sample(
            transform, raw + i * self->raw.sample_bytes, rows + i * self->sample_bytes);
}

/* Every call has memory of its own, because several threads may read. */
static Status read_rows(void *context, const int64_t *index, int count, void *rows) {
    const Transforming *self = context;
    Transform *transform = NULL;
    void *raw = NULL;
    Status status =
        memory_allocate(&raw, (size_t)count, self->raw.sample_bytes, "samples to be transformed");
    if (status == STATUS_OK)
        status = transform_create(&transform, &self->options, self->sample, self->element_bytes);
    if (status == STATUS_OK) status = self->raw.read(self->raw.context, index, count, raw);
    if (status == STATUS_OK) transform_rows(self, transform, raw, count, rows);
    transform_free(transform);
    memory_free(raw);
    return status;
}

static void close_source(void *context) {
    Transforming *self = context;
    self->raw.close(self->raw.context);
    memory_free(self);
}

Status transform_source_wrap(
    SampleSource *source, const TransformOptions *options, Shape sample, size_t element_bytes) {
    Transforming *self = NULL;
    Shape result;
    TRY(transform_shape(options, sample, &result));
    TRY(MEMORY_ALLOCATE(&self, 1, "transforms of a source"));
    *self = (Transforming){.raw = *source,
        .options = *options,
        .sample = sample,
        .element_bytes = element_bytes,
        .sample_bytes = shape_element_count(result) * element_bytes};
    *source = (SampleSource){.sample_bytes = self->sample_bytes,
        .context = self,
        .read = read_rows,
        .close = close_source};
    return STATUS_OK;
}
