/* memory.h - counted, zeroed, 64-byte aligned allocation.
 *
 * Every allocation of the program goes through here, so a test can make the n-th one fail and can
 * check at its end that none is left. */
#ifndef SRC_MEMORY_H
#define SRC_MEMORY_H

#include "src/status.h"
#include <stddef.h>

enum { MEMORY_ALIGNMENT_BYTES = 64 };

/* Local. Allocate count * item_bytes zeroed bytes; `*pointer` is NULL on failure. The caller frees
 * with memory_free. Zero items give a valid pointer.
 * Fails with STATUS_NO_MEMORY, naming `what` and the size. */
#define MEMORY_ALLOCATE(pointer, count, what)                                                      \
    memory_allocate((void **)(pointer), (count), sizeof(**(pointer)), (what))
MUST_CHECK Status memory_allocate(
    void **pointer, size_t count, size_t item_bytes, const char *what);

/* Local. Copy a string; the caller frees with memory_free. */
MUST_CHECK Status memory_copy_string(char **copy, const char *text);

/* Local. NULL is allowed. */
void memory_free(void *pointer);

/* Local. Allocations not yet freed, and their bytes. */
size_t memory_in_use(void);
size_t memory_in_use_bytes(void);

#endif
