/* hdf5_heap.h - texts of variable length, taken from where they lie in an HDF5 file.
 *
 * HDF5 (1.10.8, and later ones) believes the lengths that a file gives for them: it makes room for
 * up to 4 GiB, and copies what lies there, however long, into the room for the length claimed. So
 * it reads no more than the list of places. Format: HDF5 File Format Specification, version 3,
 * sections III.E (global heap) and VIII (places in it). */
#ifndef IO_HDF5_HEAP_H
#define IO_HDF5_HEAP_H

#include "io/hdf5_array.h"

/* The texts of one attribute. */
typedef struct Hdf5Heap {
    const char *path, *where; /* borrowed; `where` begins messages */
    int descriptor;           /* negative: not open */
    int64_t file_bytes, base;
    size_t address_bytes, length_bytes; /* of numbers in the file */
    unsigned char *places;              /* [count][4 + address_bytes + 4] */
    unsigned char *collection;          /* the one looked into last */
    uint64_t address, collection_bytes;
} Hdf5Heap;

/* Local; the caller holds an HDF5_SECTION. Read the places of the `count` texts of an attribute of
 * `type`, texts of variable length. The file must stay open; the caller ends with hdf5_heap_close,
 * also after a failure. Fails with STATUS_DATA, STATUS_IO, STATUS_NO_MEMORY. */
MUST_CHECK Status hdf5_heap_open(Hdf5Heap *heap, const Hdf5File *file, const char *where,
    hid_t attribute, hid_t type, size_t count);
void hdf5_heap_close(Hdf5Heap *heap);

/* Local. Text number `index`: its first byte, owned by the heap until it is used again, and its
 * length, 0 to `limit`. Fails with STATUS_DATA (no such text, or a longer one), STATUS_IO,
 * STATUS_NO_MEMORY. */
MUST_CHECK Status hdf5_heap_find(
    Hdf5Heap *heap, size_t index, size_t limit, const char **text, size_t *bytes);

#endif
