/* prefetch.c - see prefetch.h. The buffer is free again when a batch has been turned into the
 * network's input, so one is enough. */
#include "src/prefetch.h"
#include "src/memory.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

typedef enum State { STATE_IDLE, STATE_READING, STATE_DONE, STATE_STOP } State;

/* A sample of the set, and its place in what was asked for. */
typedef struct Wanted {
    int64_t sample;
    int place;
} Wanted;

struct Prefetch {
    const SampleSource *source;
    pthread_t thread;
    int is_started;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    State state; /* READING: all below belongs to the thread, else to the caller */
    int capacity, count;
    Wanted *wanted; /* [capacity], ascending by sample */
    int64_t *index; /* [capacity]: their samples */
    char *rows;     /* [capacity][sample_bytes] */
    Status status;
    char message[STATUS_MESSAGE_BYTES];
};

static void keep_status(Prefetch *prefetch, Status status) {
    prefetch->status = status;
    if (status != STATUS_OK)
        snprintf(prefetch->message, sizeof prefetch->message, "%s", status_message());
}

static void *read_until_stopped(void *argument) {
    Prefetch *prefetch = argument;
    const SampleSource *source = prefetch->source;
    pthread_mutex_lock(&prefetch->mutex);
    while (prefetch->state != STATE_STOP) {
        if (prefetch->state != STATE_READING) {
            pthread_cond_wait(&prefetch->changed, &prefetch->mutex);
            continue;
        }
        pthread_mutex_unlock(&prefetch->mutex);
        keep_status(prefetch,
            source->read(source->context, prefetch->index, prefetch->count, prefetch->rows));
        pthread_mutex_lock(&prefetch->mutex);
        prefetch->state = STATE_DONE;
        pthread_cond_broadcast(&prefetch->changed);
    }
    pthread_mutex_unlock(&prefetch->mutex);
    return NULL;
}

static void wait_for_thread(Prefetch *prefetch) {
    pthread_mutex_lock(&prefetch->mutex);
    while (prefetch->state == STATE_READING)
        pthread_cond_wait(&prefetch->changed, &prefetch->mutex);
    pthread_mutex_unlock(&prefetch->mutex);
}

static void set_state(Prefetch *prefetch, State state) {
    pthread_mutex_lock(&prefetch->mutex);
    prefetch->state = state;
    pthread_cond_broadcast(&prefetch->changed);
    pthread_mutex_unlock(&prefetch->mutex);
}

Status prefetch_create(Prefetch **prefetch_out, const SampleSource *source) {
    Prefetch *prefetch = NULL;
    *prefetch_out = NULL;
    TRY(MEMORY_ALLOCATE(&prefetch, 1, "reader of samples"));
    *prefetch_out = prefetch;
    prefetch->source = source;
    pthread_mutex_init(&prefetch->mutex, NULL);
    pthread_cond_init(&prefetch->changed, NULL);
    if (status_fault_is_due() ||
        pthread_create(&prefetch->thread, NULL, read_until_stopped, prefetch) != 0)
        return FAIL(STATUS_NO_MEMORY, "cannot start a thread that reads samples");
    prefetch->is_started = 1;
    return STATUS_OK;
}

static void free_buffers(Prefetch *prefetch) {
    memory_free(prefetch->wanted);
    memory_free(prefetch->index);
    memory_free(prefetch->rows);
    prefetch->wanted = NULL;
    prefetch->index = NULL;
    prefetch->rows = NULL;
    prefetch->capacity = 0;
}

void prefetch_free(Prefetch *prefetch) {
    if (prefetch == NULL) return;
    if (prefetch->is_started) {
        wait_for_thread(prefetch);
        set_state(prefetch, STATE_STOP);
        pthread_join(prefetch->thread, NULL);
    }
    pthread_cond_destroy(&prefetch->changed);
    pthread_mutex_destroy(&prefetch->mutex);
    free_buffers(prefetch);
    memory_free(prefetch);
}

static Status make_room(Prefetch *prefetch, int count) {
    if (count <= prefetch->capacity) return STATUS_OK;
    free_buffers(prefetch);
    TRY(MEMORY_ALLOCATE(&prefetch->wanted, (size_t)count, "samples to read"));
    TRY(MEMORY_ALLOCATE(&prefetch->index, (size_t)count, "samples to read"));
    TRY(memory_allocate(
        (void **)&prefetch->rows, (size_t)count, prefetch->source->sample_bytes, "samples read"));
    prefetch->capacity = count;
    return STATUS_OK;
}

static int compare_samples(const void *a, const void *b) {
    int64_t left = ((const Wanted *)a)->sample, right = ((const Wanted *)b)->sample;
    return (left > right) - (left < right);
}

void prefetch_begin(Prefetch *prefetch, const uint32_t *order, int64_t offset, int count) {
    wait_for_thread(prefetch);
    keep_status(prefetch, make_room(prefetch, count));
    prefetch->count = prefetch->status == STATUS_OK ? count : 0;
    if (prefetch->status != STATUS_OK) return;
    for (int i = 0; i < count; i++) prefetch->wanted[i] = (Wanted){offset + order[i], i};
    qsort(prefetch->wanted, (size_t)count, sizeof *prefetch->wanted, compare_samples);
    for (int i = 0; i < count; i++) prefetch->index[i] = prefetch->wanted[i].sample;
    set_state(prefetch, STATE_READING);
}

Status prefetch_wait(Prefetch *prefetch, const void **samples) {
    wait_for_thread(prefetch);
    if (prefetch->status != STATUS_OK) return FAIL(prefetch->status, "%s", prefetch->message);
    for (int i = 0; i < prefetch->count; i++)
        samples[prefetch->wanted[i].place] =
            prefetch->rows + (size_t)i * prefetch->source->sample_bytes;
    return STATUS_OK;
}
