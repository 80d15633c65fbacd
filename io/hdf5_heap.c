/* hdf5_heap.c - see hdf5_heap.h. */
#include "io/hdf5_heap.h"
#include "io/file.h"
#include "src/memory.h"
#include <string.h>

enum { LENGTH_BYTES = 4, INDEX_BYTES = 4 };           /* of a place */
enum { HEADER_BYTES = 16, COLLECTION_MAX = 1 << 20 }; /* of a collection, and of a text in it */

/* Little-endian. */
static uint64_t number_at(const unsigned char *bytes, size_t count) {
    uint64_t number = 0;
    for (size_t i = count; i-- > 0;) number = number << 8 | bytes[i];
    return number;
}

/* ---- the places ---- */

/* A conversion of HDF5's that leaves what is in the file as it is. */
static herr_t keep_places(hid_t from, hid_t to, H5T_cdata_t *data, size_t count, size_t stride,
    size_t background_stride, void *items, void *background, hid_t list) {
    (void)from;
    (void)to;
    (void)data;
    (void)count;
    (void)stride;
    (void)background_stride;
    (void)items;
    (void)background;
    (void)list;
    return 0;
}

static Status read_places(Hdf5Heap *heap, hid_t attribute, hid_t type, size_t place_bytes) {
    hid_t opaque = H5Tcreate(H5T_OPAQUE, place_bytes);
    int is_known =
        opaque >= 0 && H5Tregister(H5T_PERS_SOFT, "places", type, opaque, keep_places) >= 0;
    int failed = !is_known || hdf5_fault_is_due() || H5Aread(attribute, opaque, heap->places) < 0;
    Status status = failed ? hdf5_fail_read(heap->where, "cannot read where texts lie") : STATUS_OK;
    if (is_known) H5Tunregister(H5T_PERS_SOFT, "places", type, opaque, keep_places);
    if (opaque >= 0) H5Tclose(opaque);
    return status;
}

static Status read_properties(Hdf5Heap *heap, const Hdf5File *file) {
    hsize_t base = 0;
    hid_t creation = H5Fget_create_plist(file->id);
    int failed = creation < 0 || H5Pget_userblock(creation, &base) < 0 ||
                 H5Pget_sizes(creation, &heap->address_bytes, &heap->length_bytes) < 0;
    Status status = failed ? hdf5_fail_read(heap->where, "no description of the file") : STATUS_OK;
    if (creation >= 0) H5Pclose(creation);
    heap->base = (int64_t)base;
    if (status != STATUS_OK || (heap->address_bytes <= 8 && heap->length_bytes <= 8)) return status;
    return FAIL(STATUS_DATA,
        "%s: lies in a file whose numbers have %zu and %zu bytes, at most 8 expected", heap->where,
        heap->address_bytes, heap->length_bytes);
}

Status hdf5_heap_open(Hdf5Heap *heap, const Hdf5File *file, const char *where, hid_t attribute,
    hid_t type, size_t count) {
    *heap = (Hdf5Heap){.path = file->path, .where = where, .descriptor = -1};
    TRY(read_properties(heap, file));
    TRY(file_open_to_read(&heap->descriptor, &heap->file_bytes, file->path));
    size_t place_bytes = LENGTH_BYTES + heap->address_bytes + INDEX_BYTES;
    TRY(memory_allocate((void **)&heap->places, count, place_bytes, "places of texts"));
    return read_places(heap, attribute, type, place_bytes);
}

void hdf5_heap_close(Hdf5Heap *heap) {
    if (heap->descriptor >= 0) file_close(heap->descriptor);
    heap->descriptor = -1;
    memory_free(heap->places);
    memory_free(heap->collection);
}

/* ---- the texts ---- */

static Status fail_place(const Hdf5Heap *heap, uint64_t address, const char *what) {
    return FAIL(STATUS_DATA, "%s: a text at byte %llu %s", heap->where,
        (unsigned long long)(address + (uint64_t)heap->base), what);
}

static Status measure_collection(Hdf5Heap *heap, uint64_t address) {
    unsigned char header[HEADER_BYTES];
    uint64_t file_bytes = (uint64_t)(heap->file_bytes - heap->base);
    if (address > file_bytes || file_bytes - address < HEADER_BYTES)
        return fail_place(heap, address, "lies outside the file");
    TRY(file_read_at(
        heap->descriptor, heap->path, header, sizeof header, (int64_t)address + heap->base));
    if (memcmp(header, "GCOL\1", 5) != 0)
        return fail_place(heap, address, "is none: the file is damaged");
    heap->collection_bytes = number_at(header + 8, heap->length_bytes);
    if (heap->collection_bytes <= COLLECTION_MAX && heap->collection_bytes >= HEADER_BYTES &&
        heap->collection_bytes <= file_bytes - address)
        return STATUS_OK;
    return FAIL(STATUS_DATA,
        "%s: a text at byte %llu lies among %llu bytes, at most %d in this file of %lld expected; "
        "store texts of fixed length",
        heap->where, (unsigned long long)(address + (uint64_t)heap->base),
        (unsigned long long)heap->collection_bytes, COLLECTION_MAX, (long long)heap->file_bytes);
}

/* Many texts of a list lie in one collection. */
static Status read_collection(Hdf5Heap *heap, uint64_t address) {
    if (heap->collection != NULL && heap->address == address) return STATUS_OK;
    memory_free(heap->collection);
    heap->collection = NULL;
    TRY(measure_collection(heap, address));
    TRY(MEMORY_ALLOCATE(&heap->collection, (size_t)heap->collection_bytes, "texts"));
    heap->address = address;
    return file_read_at(heap->descriptor, heap->path, heap->collection,
        (size_t)heap->collection_bytes, (int64_t)address + heap->base);
}

/* Text `wanted` of the collection, at least `bytes` long; NULL where there is none. */
static const unsigned char *search_collection(
    const Hdf5Heap *heap, uint64_t wanted, uint64_t bytes) {
    uint64_t end = heap->collection_bytes;
    for (uint64_t at = HEADER_BYTES; end - at >= HEADER_BYTES;) {
        const unsigned char *header = heap->collection + at;
        uint64_t index = number_at(header, 2), size = number_at(header + 8, heap->length_bytes);
        at += HEADER_BYTES;
        if (index == 0 || size > end - at) return NULL; /* what follows is free, or damaged */
        if (index == wanted) return size >= bytes ? heap->collection + at : NULL;
        uint64_t padded = (size + 7) / 8 * 8;
        if (padded > end - at) return NULL;
        at += padded;
    }
    return NULL;
}

Status hdf5_heap_find(
    Hdf5Heap *heap, size_t index, size_t limit, const char **text, size_t *bytes) {
    const unsigned char *place =
        heap->places + index * (LENGTH_BYTES + heap->address_bytes + INDEX_BYTES);
    uint64_t length = number_at(place, LENGTH_BYTES);
    uint64_t address = number_at(place + LENGTH_BYTES, heap->address_bytes);
    *text = "";
    *bytes = (size_t)length;
    if (length == 0) return STATUS_OK;
    if (length > limit)
        return FAIL(STATUS_DATA, "%s: text %zu has %llu bytes, at most %zu expected", heap->where,
            index, (unsigned long long)length, limit);
    TRY(read_collection(heap, address));
    *text = (const char *)search_collection(
        heap, number_at(place + LENGTH_BYTES + heap->address_bytes, INDEX_BYTES), length);
    return *text != NULL ? STATUS_OK
                         : fail_place(heap, address,
                               "is not there, or shorter than it claims: the file is damaged");
}
