/* hdf5_chunk.c - see hdf5_chunk.h. Only lengths are followed through the filters: shuffle keeps
 * them, fletcher32 adds a checksum, and what gzip makes of a chunk is unpacked and counted. */
#include "io/hdf5_chunk.h"
#include "src/memory.h"
#include <stdio.h>
#include <zlib.h>

enum { FILTERS_MAX = 8, CHECKSUM_BYTES = 4, PIECE_BYTES = 1 << 14 };

struct Hdf5Chunks {
    hid_t dataset;                     /* borrowed */
    int filter_count, leaves_partial;  /* chunks that hang over the array's end are not packed */
    H5Z_filter_t filters[FILTERS_MAX]; /* in the order of writing */
    ArrayShape shape;
    int64_t size[ARRAY_DIMENSIONS_MAX], count[ARRAY_DIMENSIONS_MAX]; /* of a chunk; of chunks */
    int64_t chunk_bytes, file_bytes, chunk_count;
    unsigned char *is_checked; /* [chunk_count], the last dimension innermost */
    unsigned char *stored;     /* [capacity_bytes]: one chunk as it is in the file */
    size_t capacity_bytes;
};

/* ---- what is packed, and how ---- */

static Status read_filters(Hdf5Chunks *chunks, hid_t creation, const char *where) {
    int count = H5Pget_nfilters(creation), gzips = 0;
    unsigned options = 0;
    if (count < 0 || H5Pget_chunk_opts(creation, &options) < 0)
        return hdf5_fail_read(where, "no list of its filters");
    if (count > FILTERS_MAX)
        return FAIL(
            STATUS_DATA, "%s: has %d filters, at most %d expected", where, count, (int)FILTERS_MAX);
    chunks->leaves_partial = (options & H5D_CHUNK_DONT_FILTER_PARTIAL_CHUNKS) != 0;
    for (int i = 0; i < count; i++) {
        unsigned flags = 0;
        size_t values = 0;
        chunks->filters[i] =
            H5Pget_filter2(creation, (unsigned)i, &flags, &values, NULL, 0, NULL, NULL);
        gzips += chunks->filters[i] == H5Z_FILTER_DEFLATE;
    }
    chunks->filter_count = count;
    if (gzips > 1) return FAIL(STATUS_DATA, "%s: is packed with gzip %d times", where, gzips);
    return STATUS_OK;
}

static void read_sizes(Hdf5Chunks *chunks, hid_t creation, int item_bytes) {
    const ArrayShape *shape = &chunks->shape;
    hsize_t sizes[ARRAY_DIMENSIONS_MAX];
    int dimensions = H5Pget_chunk(creation, ARRAY_DIMENSIONS_MAX, sizes);
    REQUIRE(dimensions == shape->dimension_count);
    chunks->chunk_bytes = item_bytes;
    chunks->chunk_count = 1;
    for (int i = 0; i < shape->dimension_count; i++) {
        chunks->size[i] = (int64_t)sizes[i];
        chunks->count[i] = (shape->size[i] + chunks->size[i] - 1) / chunks->size[i];
        chunks->chunk_bytes *= chunks->size[i];
        chunks->chunk_count *= chunks->count[i];
    }
}

static Status describe(Hdf5Chunks *chunks, int item_bytes, const char *where) {
    hid_t creation = H5Dget_create_plist(chunks->dataset);
    if (creation < 0) return hdf5_fail_read(where, "no description of its storage");
    Status status = read_filters(chunks, creation, where);
    if (status == STATUS_OK) read_sizes(chunks, creation, item_bytes);
    H5Pclose(creation);
    return status;
}

Status hdf5_chunks_create(Hdf5Chunks **chunks_out, hid_t dataset, const ArrayShape *shape,
    int item_bytes, int64_t file_bytes, const char *where) {
    Hdf5Chunks *chunks = NULL;
    *chunks_out = NULL;
    TRY(MEMORY_ALLOCATE(&chunks, 1, "chunks of an HDF5 file"));
    *chunks = (Hdf5Chunks){.dataset = dataset, .shape = *shape, .file_bytes = file_bytes};
    Status status = describe(chunks, item_bytes, where);
    if (status == STATUS_OK && chunks->filter_count > 0)
        status =
            MEMORY_ALLOCATE(&chunks->is_checked, (size_t)chunks->chunk_count, "list of chunks");
    if (status == STATUS_OK && chunks->filter_count > 0)
        *chunks_out = chunks;
    else
        hdf5_chunks_free(chunks);
    return status;
}

void hdf5_chunks_free(Hdf5Chunks *chunks) {
    if (chunks == NULL) return;
    memory_free(chunks->stored);
    memory_free(chunks->is_checked);
    memory_free(chunks);
}

/* ---- one chunk ---- */

/* How many bytes a gzip stream unpacks to; more than `limit` where it is longer, -1 where it is no
 * whole stream. */
static Status measure_stream(
    const unsigned char *stream, int64_t bytes, int64_t limit, int64_t *total) {
    unsigned char piece[PIECE_BYTES];
    z_stream state = {.next_in = (unsigned char *)stream, .avail_in = (uInt)bytes};
    int result = status_fault_is_due() ? Z_MEM_ERROR : inflateInit(&state);
    *total = 0;
    if (result != Z_OK)
        return FAIL(STATUS_NO_MEMORY, "no memory to unpack a chunk of an HDF5 file");
    while (result == Z_OK && *total <= limit) {
        state.next_out = piece;
        state.avail_out = sizeof piece;
        result = inflate(&state, Z_NO_FLUSH);
        *total += (int64_t)sizeof piece - state.avail_out;
    }
    inflateEnd(&state);
    if (result == Z_MEM_ERROR)
        return FAIL(STATUS_NO_MEMORY, "no memory to unpack a chunk of an HDF5 file");
    if (result != Z_STREAM_END && *total <= limit) *total = -1;
    return STATUS_OK;
}

/* Follow the lengths through the filters but those of `skipped`, one bit for each. */
static Status check_length(
    const Hdf5Chunks *chunks, int64_t stored, uint32_t skipped, const char *where) {
    int64_t expected = chunks->chunk_bytes, unpacked = 0, checksums = 0;
    int is_packed = 0;
    for (int i = 0; i < chunks->filter_count; i++) {
        if (skipped >> i & 1) continue;
        is_packed |= chunks->filters[i] == H5Z_FILTER_DEFLATE;
        if (chunks->filters[i] != H5Z_FILTER_FLETCHER32) continue;
        if (is_packed)
            checksums += CHECKSUM_BYTES;
        else
            expected += CHECKSUM_BYTES;
    }
    if (stored < checksums) return FAIL(STATUS_DATA, "%s: is shorter than its checksum", where);
    unpacked = stored - checksums;
    if (is_packed) TRY(measure_stream(chunks->stored, unpacked, expected, &unpacked));
    if (unpacked < 0) return FAIL(STATUS_DATA, "%s: its gzip data is damaged or cut off", where);
    if (unpacked == expected) return STATUS_OK;
    return FAIL(STATUS_DATA, "%s: holds %s bytes than the %lld of a chunk", where,
        unpacked < expected ? "fewer" : "more", (long long)expected);
}

static Status make_room(Hdf5Chunks *chunks, size_t bytes) {
    if (bytes <= chunks->capacity_bytes) return STATUS_OK;
    memory_free(chunks->stored);
    chunks->stored = NULL;
    chunks->capacity_bytes = 0;
    TRY(memory_allocate((void **)&chunks->stored, bytes, 1, "a chunk of an HDF5 file"));
    chunks->capacity_bytes = bytes;
    return STATUS_OK;
}

/* Where chunk number `index` begins, and whether it hangs over the array's end. */
static int find_chunk(const Hdf5Chunks *chunks, int64_t index, ArrayShape *place) {
    int is_partial = 0;
    place->dimension_count = chunks->shape.dimension_count;
    for (int i = place->dimension_count - 1; i >= 0; i--) {
        place->size[i] = index % chunks->count[i] * chunks->size[i];
        is_partial |= place->size[i] + chunks->size[i] > chunks->shape.size[i];
        index /= chunks->count[i];
    }
    return is_partial;
}

static Status check_chunk(Hdf5Chunks *chunks, int64_t index, const char *array) {
    char where[HDF5_WHERE_BYTES + ARRAY_TEXT_BYTES], text[ARRAY_TEXT_BYTES];
    hsize_t offset[ARRAY_DIMENSIONS_MAX], stored = 0;
    ArrayShape place;
    uint32_t skipped = 0;
    int is_partial = find_chunk(chunks, index, &place);
    for (int i = 0; i < place.dimension_count; i++) offset[i] = (hsize_t)place.size[i];
    snprintf(where, sizeof where, "%s: chunk at %s", array, array_shape_print(&place, text));
    if (H5Dget_chunk_storage_size(chunks->dataset, offset, &stored) < 0)
        return hdf5_fail_read(where, "cannot find it");
    if (stored < 1 || stored > (hsize_t)chunks->file_bytes || stored > UINT32_MAX)
        return FAIL(STATUS_DATA, "%s: claims %llu bytes in a file of %lld", where,
            (unsigned long long)stored, (long long)chunks->file_bytes);
    TRY(make_room(chunks, (size_t)stored));
    if (hdf5_fault_is_due() ||
        H5Dread_chunk(chunks->dataset, H5P_DEFAULT, offset, &skipped, chunks->stored) < 0)
        return hdf5_fail_read(where, "cannot read it");
    if (is_partial && chunks->leaves_partial) skipped = UINT32_MAX;
    return check_length(chunks, (int64_t)stored, skipped, where);
}

Status hdf5_chunks_check(Hdf5Chunks *chunks, int64_t first, int64_t count, const char *where) {
    int64_t beside = chunks->chunk_count / chunks->count[0]; /* chunks that a row lies in */
    int64_t begin = first / chunks->size[0] * beside;
    int64_t end = ((first + count - 1) / chunks->size[0] + 1) * beside;
    REQUIRE(first >= 0 && count >= 1 && end <= chunks->chunk_count);
    for (int64_t i = begin; i < end; i++) {
        if (chunks->is_checked[i]) continue;
        TRY(check_chunk(chunks, i, where));
        chunks->is_checked[i] = 1;
    }
    return STATUS_OK;
}
