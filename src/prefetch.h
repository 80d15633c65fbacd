/* prefetch.h - samples that are not in memory: a thread reads those of the next batch while the
 * present one is computed. It never communicates with other ranks. */
#ifndef SRC_PREFETCH_H
#define SRC_PREFETCH_H

#include "src/status.h"
#include <stddef.h>
#include <stdint.h>

/* Where samples are read from; io/ implements it. */
typedef struct SampleSource {
    size_t sample_bytes;
    void *context;

    /* Local, on any thread, also on several at once. Read samples index [count], ascending and
     * distinct, to rows [count][sample_bytes]. Fails with STATUS_DATA, STATUS_IO. */
    Status (*read)(void *context, const int64_t *index, int count, void *rows);

    /* Local. Free the context. */
    void (*close)(void *context);
} SampleSource;

typedef struct Prefetch Prefetch;

/* Local. Start the thread. `source` is borrowed. The caller frees with prefetch_free, also after a
 * failure. Fails with STATUS_NO_MEMORY. */
MUST_CHECK Status prefetch_create(Prefetch **prefetch, const SampleSource *source);
void prefetch_free(Prefetch *prefetch);

/* Local. Begin to read samples offset + order [count], distinct, in any order. What was asked for
 * before and not waited for is dropped. What fails here is told by prefetch_wait. */
void prefetch_begin(Prefetch *prefetch, const uint32_t *order, int64_t offset, int count);

/* Local. Wait for what was begun last: samples [count] then point to the samples in the order they
 * were asked for, valid until the next prefetch_begin. Fails as the source's read, with
 * STATUS_NO_MEMORY. */
MUST_CHECK Status prefetch_wait(Prefetch *prefetch, const void **samples);

#endif
