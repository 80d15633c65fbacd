/* hdf5_array.c - see hdf5_array.h. */
#include "io/hdf5_array.h"
#include "io/byte_file.h"
#include "io/file.h"
#include "io/file_kind.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { CHUNK_BYTES_MAX = 1 << 28, CACHE_BYTES_MIN = 1 << 20, CACHE_BYTES_MAX = 1 << 29 };

/* Up to how many bytes all of an array is kept, unpacked, and from how many bytes for one row on
 * also if it is not packed. */
enum { KEPT_BYTES_MAX = 1 << 28, KEPT_ROW_BYTES = 1 << 18 };

enum { CACHE_SLOTS = 12421 }; /* a prime, far more than the chunks of a row of samples */

/* ---- files ---- */

/* What a file is that is not HDF5, where its first bytes tell. */
static Status check_start(int descriptor, const char *path, int64_t bytes) {
    static const char mark[] = "\x89HDF\r\n\x1a\n";
    unsigned char start[FILE_KIND_BYTES];
    size_t count = bytes < FILE_KIND_BYTES ? (size_t)bytes : FILE_KIND_BYTES;
    if (count < sizeof mark - 1)
        return FAIL(STATUS_DATA, "%s: byte %lld: the file ends here; an HDF5 file expected", path,
            (long long)bytes);
    TRY(file_read_at(descriptor, path, start, count, 0));
    if (memcmp(start, mark, sizeof mark - 1) == 0) return STATUS_OK;
    const char *found = file_kind_recognize(start, count);
    if (found == NULL) return STATUS_OK; /* a user block may come first */
    return FAIL(STATUS_DATA,
        "%s: byte 0: found %s, expected an HDF5 file; of a set of another format give the folder",
        path, found);
}

static Status look_at_file(Hdf5File *file) {
    int descriptor = -1;
    struct stat found;
    TRY(file_open_to_read(&descriptor, &file->bytes, file->path));
    Status status = check_start(descriptor, file->path, file->bytes);
    if (status == STATUS_OK && fstat(descriptor, &found) != 0)
        status = FAIL(STATUS_IO, "%s: cannot stat: %s", file->path, strerror(errno));
    file_close(descriptor);
    if (status != STATUS_OK) return status;
    file->seconds = found.st_mtim.tv_sec;
    file->nanoseconds = found.st_mtim.tv_nsec;
    return STATUS_OK;
}

Status hdf5_file_open(Hdf5File *file, const char *path) {
    static const H5Z_filter_t filters[] = {
        H5Z_FILTER_DEFLATE, H5Z_FILTER_SHUFFLE, H5Z_FILTER_FLETCHER32, H5Z_FILTER_NONE};
    *file = (Hdf5File){.id = -1};
    hdf5_prepare();
    if (snprintf(file->path, sizeof file->path, "%s", path) >= (int)sizeof file->path)
        return FAIL(STATUS_CONFIG, "data.path: longer than %zu bytes: %.60s...",
            sizeof file->path - 1, path);
    TRY(look_at_file(file));
    hid_t access = hdf5_file_access();
    if (access >= 0 && !hdf5_fault_is_due()) file->id = H5Fopen(path, H5F_ACC_RDONLY, access);
    Status status = file->id < 0 ? hdf5_fail_read(path, "HDF5 cannot open it") : STATUS_OK;
    if (access >= 0) H5Pclose(access);
    TRY(status);
    return hdf5_check_content(file->id, path, filters,
        "lockstep reads data that lies in the file itself, plain or with gzip, shuffle and "
        "fletcher32");
}

void hdf5_file_close(Hdf5File *file) {
    if (file->id >= 0) H5Fclose(file->id);
    file->id = -1;
}

Status hdf5_file_check_unchanged(const Hdf5File *file) {
    struct stat now;
    void *handle = NULL;
    if (H5Fget_vfd_handle(file->id, H5P_DEFAULT, &handle) < 0 || handle == NULL)
        return hdf5_fail(STATUS_IO, file->path, "HDF5 does not tell its descriptor");
    if (fstat(*(int *)handle, &now) != 0)
        return FAIL(STATUS_IO, "%s: cannot stat: %s", file->path, strerror(errno));
    if (now.st_size == file->bytes && now.st_mtim.tv_sec == file->seconds &&
        now.st_mtim.tv_nsec == file->nanoseconds)
        return STATUS_OK;
    return FAIL(STATUS_DATA,
        "%s: the file was changed while it was read: it had %lld bytes and has %lld now",
        file->path, (long long)file->bytes, (long long)now.st_size);
}

/* ---- what an array is ---- */

static Status read_type(Hdf5Array *array) {
    hid_t type = H5Dget_type(array->id);
    if (type < 0) return hdf5_fail_read(array->where, "no type");
    H5T_class_t class = H5Tget_class(type);
    size_t bytes = H5Tget_size(type);
    array->form.is_float = class == H5T_FLOAT;
    array->form.is_signed = class == H5T_FLOAT || H5Tget_sign(type) == H5T_SGN_2;
    array->form.item_bytes = bytes <= 8 ? (int)bytes : 0;
    H5Tclose(type);
    int is_number = class == H5T_INTEGER || class == H5T_FLOAT;
    if (is_number && (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8)) return STATUS_OK;
    return FAIL(STATUS_DATA, "%s: its elements are no numbers of 1, 2, 4 or 8 bytes%s",
        array->where,
        class == H5T_ENUM     ? " but bool, or an enumeration: store a.astype(np.uint8)"
        : class == H5T_STRING ? " but texts; of labels, store np.unique(a, return_inverse=True)[1]"
        : class == H5T_VLEN   ? " but arrays of any length: store one array of all images"
        : class == H5T_COMPOUND ? " but have fields: store one of them, a['name']"
                                : ": store a.astype(np.float32)");
}

static Status read_shape(Hdf5Array *array) {
    hsize_t sizes[H5S_MAX_RANK];
    hid_t space = H5Dget_space(array->id);
    int is_simple = space >= 0 && H5Sget_simple_extent_type(space) == H5S_SIMPLE;
    int dimensions = is_simple ? H5Sget_simple_extent_dims(space, sizes, NULL) : -1;
    if (space >= 0) H5Sclose(space);
    if (dimensions < 1 || dimensions > ARRAY_DIMENSIONS_MAX)
        return FAIL(STATUS_DATA, "%s: has no shape, or one of more than %d dimensions",
            array->where, ARRAY_DIMENSIONS_MAX);
    array->form.shape.dimension_count = dimensions;
    for (int i = 0; i < dimensions; i++) {
        if (sizes[i] < 1 || sizes[i] > INT32_MAX)
            return FAIL(STATUS_DATA, "%s: size %llu of dimension %d found, 1 to %d expected",
                array->where, (unsigned long long)sizes[i], i, INT32_MAX);
        array->form.shape.size[i] = (int64_t)sizes[i];
    }
    return STATUS_OK;
}

typedef struct Storage {
    int is_chunked, is_packed;
    double chunk_bytes, chunk_count;  /* of the whole array; chunked only */
    double slab_bytes;                /* all chunks that one row lies in */
    double promised, stored, on_disk; /* bytes */
} Storage;

static Status measure_chunks(const Hdf5Array *array, hid_t creation, Storage *storage) {
    hsize_t sizes[ARRAY_DIMENSIONS_MAX] = {0};
    int dimensions = H5Pget_chunk(creation, ARRAY_DIMENSIONS_MAX, sizes);
    storage->chunk_bytes = array->form.item_bytes;
    storage->chunk_count = 1;
    for (int i = 0; i < array->form.shape.dimension_count; i++) {
        hsize_t size = (hsize_t)array->form.shape.size[i];
        if (dimensions != array->form.shape.dimension_count || sizes[i] == 0)
            return FAIL(STATUS_DATA, "%s: its chunks have %d dimensions, %d expected, none empty",
                array->where, dimensions, array->form.shape.dimension_count);
        storage->chunk_bytes *= (double)sizes[i];
        storage->chunk_count *= (double)((size + sizes[i] - 1) / sizes[i]);
    }
    double rows = (double)(((hsize_t)array->form.shape.size[0] + sizes[0] - 1) / sizes[0]);
    storage->slab_bytes = storage->chunk_bytes * (storage->chunk_count / rows);
    return STATUS_OK;
}

static Status measure_storage(const Hdf5Array *array, const Hdf5File *file, Storage *storage) {
    hid_t creation = H5Dget_create_plist(array->id);
    *storage = (Storage){.is_chunked = 0};
    if (creation < 0) return hdf5_fail_read(array->where, "no description of its storage");
    *storage = (Storage){.is_chunked = H5Pget_layout(creation) == H5D_CHUNKED,
        .promised = array->form.item_bytes,
        .stored = (double)H5Dget_storage_size(array->id),
        .on_disk = (double)file->bytes};
    for (int i = 0; i < array->form.shape.dimension_count; i++)
        storage->promised *= (double)array->form.shape.size[i];
    for (int i = 0; i < H5Pget_nfilters(creation); i++) {
        unsigned flags = 0;
        size_t values = 0;
        storage->is_packed |= H5Pget_filter2(creation, (unsigned)i, &flags, &values, NULL, 0, NULL,
                                  NULL) == H5Z_FILTER_DEFLATE;
    }
    Status status = storage->is_chunked ? measure_chunks(array, creation, storage) : STATUS_OK;
    H5Pclose(creation);
    return status;
}

static Status check_chunks(const Hdf5Array *array, const Storage *storage) {
    hsize_t count = 0;
    hid_t space = H5Dget_space(array->id);
    int failed = space < 0 || H5Dget_num_chunks(array->id, space, &count) < 0;
    Status status = failed ? hdf5_fail_read(array->where, "cannot count its chunks") : STATUS_OK;
    if (space >= 0) H5Sclose(space);
    TRY(status);
    if (storage->chunk_bytes > CHUNK_BYTES_MAX)
        return FAIL(STATUS_DATA,
            "%s: its chunks have %.0f bytes, at most %d expected; store a few samples in each",
            array->where, storage->chunk_bytes, CHUNK_BYTES_MAX);
    if ((double)count == storage->chunk_count) return STATUS_OK;
    return FAIL(STATUS_DATA,
        "%s: only %llu of its %.0f chunks were ever written; was its writer stopped?", array->where,
        (unsigned long long)count, storage->chunk_count);
}

static Status check_storage(const Hdf5Array *array, const Storage *storage) {
    double most =
        storage->is_packed ? storage->stored * BYTE_FILE_DEFLATE_FACTOR_MAX : storage->stored;
    char text[ARRAY_TEXT_BYTES];
    if (storage->promised <= most && storage->stored <= storage->on_disk)
        return storage->is_chunked ? check_chunks(array, storage) : STATUS_OK;
    return FAIL(STATUS_DATA,
        "%s: its shape %s promises %.0f bytes, but only %.0f are stored in this file of %.0f%s",
        array->where, array_shape_print(&array->form.shape, text), storage->promised,
        storage->stored, storage->on_disk, storage->is_packed ? ", too few for gzip" : "");
}

/* Samples in any order find their chunks unpacked if all fit. Else, a batch's samples being asked
 * for in ascending order, each chunk is unpacked once for a batch if those of one row of samples
 * fit. */
static double cache_bytes(const Storage *storage) {
    double all = storage->chunk_bytes * storage->chunk_count, slabs = 2 * storage->slab_bytes;
    int is_slow = storage->is_packed || storage->slab_bytes >= KEPT_ROW_BYTES;
    if (is_slow && all <= KEPT_BYTES_MAX && all > CACHE_BYTES_MIN) return all;
    if (slabs < CACHE_BYTES_MIN) return CACHE_BYTES_MIN;
    return slabs > CACHE_BYTES_MAX ? CACHE_BYTES_MAX : slabs;
}

/* The weight 0 gives up what was used longest ago; with 1 HDF5 would give up none but chunks that
 * were read completely, and with shuffled samples keep the whole file. */
static Status set_cache(Hdf5Array *array, const Hdf5File *file, const char *name, double bytes) {
    hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
    H5Dclose(array->id);
    array->id = -1;
    if (access >= 0 && H5Pset_chunk_cache(access, CACHE_SLOTS, (size_t)bytes, 0) >= 0)
        array->id = H5Dopen2(file->id, name, access);
    Status status = array->id < 0 ? hdf5_fail_read(array->where, "cannot open") : STATUS_OK;
    if (access >= 0) H5Pclose(access);
    return status;
}

Status hdf5_array_open(Hdf5Array *array, const Hdf5File *file, const Hdf5Names *names) {
    char name[HDF5_NAME_BYTES];
    Storage storage;
    *array = (Hdf5Array){.id = -1};
    TRY(hdf5_names_find(file->id, file->path, names, name));
    snprintf(array->where, sizeof array->where, "%s: /%s", file->path, name);
    array->id = H5Dopen2(file->id, name, H5P_DEFAULT);
    if (array->id < 0) return hdf5_fail_read(array->where, "cannot open");
    TRY(read_type(array));
    TRY(read_shape(array));
    TRY(measure_storage(array, file, &storage));
    TRY(check_storage(array, &storage));
    if (!storage.is_chunked) return STATUS_OK;
    double bytes = cache_bytes(&storage);
    if (bytes < storage.chunk_bytes * storage.chunk_count) array->row_bytes = storage.slab_bytes;
    TRY(set_cache(array, file, name, bytes));
    return hdf5_chunks_create(&array->chunks, array->id, &array->form.shape, array->form.item_bytes,
        file->bytes, array->where);
}

void hdf5_array_close(Hdf5Array *array) {
    hdf5_chunks_free(array->chunks);
    array->chunks = NULL;
    if (array->id >= 0) H5Dclose(array->id);
    array->id = -1;
}

/* ---- reading ---- */

Status hdf5_array_read(
    const Hdf5Array *array, int64_t first, int64_t count, hid_t memory_type, void *items) {
    hsize_t start[ARRAY_DIMENSIONS_MAX] = {(hsize_t)first}, size[ARRAY_DIMENSIONS_MAX];
    int dimensions = array->form.shape.dimension_count;
    REQUIRE(first >= 0 && count >= 1 && first + count <= array->form.shape.size[0]);
    for (int i = 0; i < dimensions; i++) size[i] = (hsize_t)array->form.shape.size[i];
    size[0] = (hsize_t)count;
    if (array->chunks != NULL) TRY(hdf5_chunks_check(array->chunks, first, count, array->where));
    hid_t in_file = H5Dget_space(array->id), in_memory = H5Screate_simple(dimensions, size, NULL);
    int failed = in_file < 0 || in_memory < 0 || hdf5_fault_is_due() ||
                 H5Sselect_hyperslab(in_file, H5S_SELECT_SET, start, NULL, size, NULL) < 0 ||
                 H5Dread(array->id, memory_type, in_memory, in_file, H5P_DEFAULT, items) < 0;
    char what[64];
    snprintf(what, sizeof what, "cannot read samples %lld to %lld", (long long)first,
        (long long)(first + count - 1));
    Status status = failed ? hdf5_fail_read(array->where, what) : STATUS_OK;
    if (in_file >= 0) H5Sclose(in_file);
    if (in_memory >= 0) H5Sclose(in_memory);
    return status;
}
