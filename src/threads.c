/* threads.c - see threads.h. Workers spin a short while for the next work, then sleep. */
#include "src/threads.h"
#include "src/memory.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { SPINS_BEFORE_SLEEP = 4000, SPINS_BEFORE_YIELD = 1000 };

struct Threads {
    int count;         /* the caller included */
    int started;       /* workers that run */
    pthread_t *worker; /* [count - 1] */
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    atomic_uint generation; /* grows with every work; workers wait for it to change */
    atomic_int sleepers;
    atomic_int next_item;
    atomic_int busy; /* workers that have not finished the present work */
    int item_count;
    ThreadsWork work;
    void *context;
    atomic_int stop;
};

typedef struct WorkerStart {
    Threads *threads;
    int thread;
} WorkerStart;

void threads_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void do_items(Threads *threads, int thread) {
    for (;;) {
        int item = atomic_fetch_add_explicit(&threads->next_item, 1, memory_order_relaxed);
        if (item >= threads->item_count) return;
        threads->work(threads->context, item, thread);
    }
}

/* Returns the new generation. */
static unsigned wait_for_work(Threads *threads, unsigned seen) {
    for (int spin = 0; spin < SPINS_BEFORE_SLEEP; spin++) {
        unsigned now = atomic_load_explicit(&threads->generation, memory_order_acquire);
        if (now != seen) return now;
        threads_pause();
    }
    pthread_mutex_lock(&threads->mutex);
    atomic_fetch_add(&threads->sleepers, 1);
    while (atomic_load(&threads->generation) == seen)
        pthread_cond_wait(&threads->wake, &threads->mutex);
    atomic_fetch_sub(&threads->sleepers, 1);
    pthread_mutex_unlock(&threads->mutex);
    return atomic_load(&threads->generation);
}

static void *work_until_stopped(void *argument) {
    WorkerStart start = *(WorkerStart *)argument;
    memory_free(argument);
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_work(start.threads, seen);
        if (atomic_load(&start.threads->stop)) return NULL;
        do_items(start.threads, start.thread);
        atomic_fetch_sub_explicit(&start.threads->busy, 1, memory_order_release);
    }
}

static void announce(Threads *threads) {
    atomic_fetch_add(&threads->generation, 1);
    if (atomic_load(&threads->sleepers) == 0) return;
    pthread_mutex_lock(&threads->mutex);
    pthread_cond_broadcast(&threads->wake);
    pthread_mutex_unlock(&threads->mutex);
}

static Status start_worker(Threads *threads, int thread) {
    WorkerStart *start = NULL;
    TRY(MEMORY_ALLOCATE(&start, 1, "thread"));
    *start = (WorkerStart){.threads = threads, .thread = thread};
    if (pthread_create(&threads->worker[thread - 1], NULL, work_until_stopped, start) != 0) {
        memory_free(start);
        return FAIL(STATUS_NO_MEMORY, "cannot start thread %d of %d: the system refuses more",
            thread + 1, threads->count);
    }
    threads->started++;
    return STATUS_OK;
}

Status threads_create(Threads **threads_out, int count) {
    REQUIRE(count >= 1);
    Threads *threads = NULL;
    *threads_out = NULL;
    TRY(MEMORY_ALLOCATE(&threads, 1, "threads"));
    *threads_out = threads;
    threads->count = count;
    pthread_mutex_init(&threads->mutex, NULL);
    pthread_cond_init(&threads->wake, NULL);
    TRY(MEMORY_ALLOCATE(&threads->worker, (size_t)count, "threads"));
    for (int thread = 1; thread < count; thread++) TRY(start_worker(threads, thread));
    return STATUS_OK;
}

void threads_free(Threads *threads) {
    if (threads == NULL) return;
    atomic_store(&threads->stop, 1);
    announce(threads);
    for (int i = 0; i < threads->started; i++) pthread_join(threads->worker[i], NULL);
    pthread_cond_destroy(&threads->wake);
    pthread_mutex_destroy(&threads->mutex);
    memory_free(threads->worker);
    memory_free(threads);
}

int threads_count(const Threads *threads) {
    return threads == NULL ? 1 : threads->count;
}

void threads_run(Threads *threads, int item_count, ThreadsWork work, void *context) {
    if (threads == NULL || threads->count == 1 || item_count <= 1) {
        for (int item = 0; item < item_count; item++) work(context, item, 0);
        return;
    }
    threads->work = work;
    threads->context = context;
    threads->item_count = item_count;
    atomic_store(&threads->next_item, 0);
    atomic_store(&threads->busy, threads->count - 1);
    announce(threads);
    do_items(threads, 0);
    for (int spin = 0; atomic_load_explicit(&threads->busy, memory_order_acquire) > 0; spin++) {
        if (spin < SPINS_BEFORE_YIELD)
            threads_pause();
        else
            sched_yield();
    }
}
