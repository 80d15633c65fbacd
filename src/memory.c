/* memory.c - see memory.h. A block starts with a header that holds its size. */
#include "src/memory.h"
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct Header {
    size_t bytes;
} Header;

static atomic_size_t blocks_in_use;
static atomic_size_t bytes_in_use;

Status memory_allocate(void **pointer, size_t count, size_t item_bytes, const char *what) {
    *pointer = NULL;
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, item_bytes, &bytes) || bytes > SIZE_MAX / 2)
        return FAIL(STATUS_NO_MEMORY, "%s: %zu items of %zu bytes are more than memory can hold",
            what, count, item_bytes);
    size_t rounded =
        (bytes + MEMORY_ALIGNMENT_BYTES - 1) / MEMORY_ALIGNMENT_BYTES * MEMORY_ALIGNMENT_BYTES;
    char *block = status_fault_is_due()
                      ? NULL
                      : aligned_alloc(MEMORY_ALIGNMENT_BYTES, rounded + MEMORY_ALIGNMENT_BYTES);
    if (block == NULL) return FAIL(STATUS_NO_MEMORY, "%s: cannot allocate %zu bytes", what, bytes);
    memset(block, 0, rounded + MEMORY_ALIGNMENT_BYTES);
    ((Header *)block)->bytes = bytes;
    atomic_fetch_add(&blocks_in_use, 1);
    atomic_fetch_add(&bytes_in_use, bytes);
    *pointer = block + MEMORY_ALIGNMENT_BYTES;
    return STATUS_OK;
}

Status memory_copy_string(char **copy, const char *text) {
    size_t bytes = strlen(text) + 1;
    TRY(memory_allocate((void **)copy, bytes, 1, "text"));
    memcpy(*copy, text, bytes);
    return STATUS_OK;
}

void memory_free(void *pointer) {
    if (pointer == NULL) return;
    char *block = (char *)pointer - MEMORY_ALIGNMENT_BYTES;
    atomic_fetch_sub(&blocks_in_use, 1);
    atomic_fetch_sub(&bytes_in_use, ((Header *)block)->bytes);
    free(block);
}

size_t memory_in_use(void) {
    return atomic_load(&blocks_in_use);
}

size_t memory_in_use_bytes(void) {
    return atomic_load(&bytes_in_use);
}
