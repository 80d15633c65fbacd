/* threads.h - a pool of threads inside one rank. */
#ifndef SRC_THREADS_H
#define SRC_THREADS_H

#include "src/status.h"

typedef struct Threads Threads;

/* Do item `item` of the work; `thread` (0 for the caller) tells apart what must not be shared. */
typedef void (*ThreadsWork)(void *context, int item, int thread);

/* Local. Start count-1 threads beside the caller. The caller frees with threads_free, also after a
 * failure. Fails with STATUS_NO_MEMORY. */
MUST_CHECK Status threads_create(Threads **threads, int count);
void threads_free(Threads *threads);

/* Local. The number of threads, the caller included. NULL counts as 1 here and below. */
int threads_count(const Threads *threads);

/* Local. Do items 0..item_count-1, each once, on any thread in any order; returns when all are
 * done. What is computed must not depend on which thread does an item. Called from the main thread
 * only. */
void threads_run(Threads *threads, int item_count, ThreadsWork work, void *context);

/* Local. One turn of a loop that waits for another thread or process. */
void threads_pause(void);

#endif
