/* checkpoint_read.c - read a checkpoint: seal first, then HDF5, and nothing that was not expected.
 */
#include "io/hdf5_private.h"
#include "io/seal.h"
#include "src/memory.h"
#include <stdio.h>
#include <string.h>

enum { TEXT_BYTES_MAX = 1 << 24 };

struct Checkpoint {
    hid_t file;
    char path[CHECKPOINT_PATH_BYTES];
};

/* ---- opening ---- */

static Status check_version(Checkpoint *checkpoint) {
    char *format = NULL;
    double version = 0;
    TRY(checkpoint_read_text(checkpoint, "", "format", &format));
    int is_ours = strcmp(format, CHECKPOINT_FORMAT_NAME) == 0;
    memory_free(format);
    if (!is_ours)
        return FAIL(STATUS_DATA, "%s: is no \"%s\"", checkpoint->path, CHECKPOINT_FORMAT_NAME);
    TRY(checkpoint_read_number(checkpoint, "", "format_version", &version));
    if (!(version >= 1))
        return FAIL(STATUS_DATA, "%s: there is no format version %g", checkpoint->path, version);
    if (version > CHECKPOINT_FORMAT_VERSION)
        return FAIL(STATUS_DATA,
            "%s: format version %.0f was written by a newer lockstep; this one knows up to %d",
            checkpoint->path, version, CHECKPOINT_FORMAT_VERSION);
    double complete = 0;
    TRY(checkpoint_read_number(checkpoint, "", "complete", &complete));
    if (complete != 1) return FAIL(STATUS_DATA, "%s: is not complete", checkpoint->path);
    return STATUS_OK;
}

static Status open_hdf5(Checkpoint *checkpoint) {
    static const H5Z_filter_t filters[] = {H5Z_FILTER_FLETCHER32, H5Z_FILTER_NONE};
    hid_t access = hdf5_file_access();
    if (access >= 0 && !hdf5_fault_is_due())
        checkpoint->file = H5Fopen(checkpoint->path, H5F_ACC_RDONLY, access);
    Status status =
        checkpoint->file < 0 ? hdf5_fail_read(checkpoint->path, "HDF5 cannot open it") : STATUS_OK;
    if (access >= 0) H5Pclose(access);
    TRY(status);
    TRY(hdf5_check_content(
        checkpoint->file, checkpoint->path, filters, "lockstep writes none like it"));
    return check_version(checkpoint);
}

Status checkpoint_open(Checkpoint **checkpoint_out, const char *path) {
    HDF5_SECTION;
    Checkpoint *checkpoint = NULL;
    int64_t step = -1;
    *checkpoint_out = NULL;
    hdf5_prepare();
    TRY(seal_check(path, &step));
    TRY(MEMORY_ALLOCATE(&checkpoint, 1, "checkpoint"));
    checkpoint->file = -1;
    snprintf(checkpoint->path, sizeof checkpoint->path, "%s", path);
    Status status = open_hdf5(checkpoint);
    if (status == STATUS_OK)
        *checkpoint_out = checkpoint;
    else
        checkpoint_close(checkpoint);
    return status;
}

void checkpoint_close(Checkpoint *checkpoint) {
    HDF5_SECTION;
    if (checkpoint == NULL) return;
    if (checkpoint->file >= 0) H5Fclose(checkpoint->file);
    memory_free(checkpoint);
}

/* ---- datasets ---- */

/* One element: more would be read into one number's memory. */
static int is_scalar(hid_t space) {
    return space >= 0 && H5Sget_simple_extent_npoints(space) == 1;
}

static const char *const type_names[] = {"float32", "float64", "int64"};

/* Type and sizes as expected; says both otherwise. */
static Status check_shape(
    const Checkpoint *checkpoint, const CheckpointArray *array, hid_t type, hid_t space) {
    hsize_t sizes[SHAPE_DIMENSIONS_MAX];
    char expected[SHAPE_TEXT_BYTES], found[SHAPE_TEXT_BYTES];
    if (H5Tequal(type, hdf5_file_type(array->type)) <= 0)
        return FAIL(STATUS_DATA, "%s: /%s/%s is not of type %s", checkpoint->path, array->group,
            array->name, type_names[array->type]);
    int dimensions =
        H5Sget_simple_extent_type(space) == H5S_NULL ? -1 : H5Sget_simple_extent_ndims(space);
    Shape shape = {.dimension_count = dimensions};
    if (dimensions >= 0 && dimensions <= SHAPE_DIMENSIONS_MAX &&
        H5Sget_simple_extent_dims(space, sizes, NULL) == dimensions)
        for (int d = 0; d < dimensions; d++)
            shape.size[d] = sizes[d] < INT32_MAX ? (int)sizes[d] : INT32_MAX;
    else
        return FAIL(STATUS_DATA, "%s: /%s/%s has no shape, or one of more than %d dimensions",
            checkpoint->path, array->group, array->name, SHAPE_DIMENSIONS_MAX);
    if (shape_is_equal(shape, array->shape)) return STATUS_OK;
    return FAIL(STATUS_DATA, "%s: /%s/%s is %s, expected %s", checkpoint->path, array->group,
        array->name, shape_print(shape, found), shape_print(array->shape, expected));
}

/* The checksum stored with a dataset: one integer of 64 bits. */
static Status read_checksum(
    const Checkpoint *checkpoint, hid_t dataset, const char *problem, uint64_t *checksum) {
    hid_t attribute = H5Aopen(dataset, "xxh3", H5P_DEFAULT);
    if (attribute < 0) return hdf5_fail_read(checkpoint->path, problem);
    hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    int is_number = type >= 0 && H5Tequal(type, H5T_STD_U64LE) > 0 && is_scalar(space);
    Status status = STATUS_OK;
    if (!is_number)
        status = FAIL(STATUS_DATA, "%s: %s", checkpoint->path, problem);
    else if (H5Aread(attribute, H5T_NATIVE_UINT64, checksum) < 0)
        status = hdf5_fail_read(checkpoint->path, problem);
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    H5Aclose(attribute);
    return status;
}

static Status check_checksum(
    const Checkpoint *checkpoint, const CheckpointArray *array, hid_t dataset) {
    char problem[CHECKPOINT_PATH_BYTES];
    uint64_t stored = 0;
    snprintf(problem, sizeof problem, "/%s/%s has no checksum", array->group, array->name);
    TRY(read_checksum(checkpoint, dataset, problem, &stored));
    if (stored == hdf5_array_checksum(array)) return STATUS_OK;
    return FAIL(STATUS_DATA, "%s: /%s/%s does not match its checksum", checkpoint->path,
        array->group, array->name);
}

static Status open_dataset(
    const Checkpoint *checkpoint, const char *group, const char *name, hid_t *dataset) {
    static const char problem[] = "has no dataset ";
    char text[CHECKPOINT_PATH_BYTES];
    snprintf(text, sizeof text, "%s/%s/%s", problem, group, name);
    *dataset = H5Dopen2(checkpoint->file, text + strlen(problem), H5P_DEFAULT);
    return *dataset >= 0 ? STATUS_OK : hdf5_fail_read(checkpoint->path, text);
}

static Status read_array(const Checkpoint *checkpoint, const CheckpointArray *array) {
    hid_t dataset = -1;
    TRY(open_dataset(checkpoint, array->group, array->name, &dataset));
    hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset);
    Status status = type < 0 || space < 0 ? hdf5_fail_read(checkpoint->path, array->name)
                                          : check_shape(checkpoint, array, type, space);
    if (status == STATUS_OK &&
        (hdf5_fault_is_due() || H5Dread(dataset, hdf5_file_type(array->type), H5S_ALL, H5S_ALL,
                                    H5P_DEFAULT, array->data) < 0))
        status = hdf5_fail_read(checkpoint->path, array->name);
    if (status == STATUS_OK) status = check_checksum(checkpoint, array, dataset);
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    H5Dclose(dataset);
    return status;
}

/* ---- nothing but what was expected ---- */

typedef struct Expected {
    const Checkpoint *checkpoint;
    const CheckpointArray *arrays;
    int array_count;
    const char *group;
    Status status;
} Expected;

/* A dataset must be one of the arrays, a group hold some of them. */
static int is_expected(const Expected *expected, H5I_type_t type, const char *name) {
    char path[CHECKPOINT_PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", expected->group, name);
    for (int i = 0; i < expected->array_count; i++) {
        const CheckpointArray *array = &expected->arrays[i];
        int is_here = strcmp(array->group, expected->group) == 0;
        if (type == H5I_GROUP ? strcmp(array->group, path) == 0
                              : is_here && strcmp(array->name, name) == 0)
            return 1;
    }
    return 0;
}

static herr_t check_expected(hid_t group, const char *name, const H5L_info_t *link, void *context) {
    Expected *expected = context;
    (void)link;
    hid_t object = H5Oopen(group, name, H5P_DEFAULT);
    if (object < 0) {
        expected->status = hdf5_fail_read(expected->checkpoint->path, name);
        return 1;
    }
    H5I_type_t type = H5Iget_type(object);
    H5Oclose(object);
    if (is_expected(expected, type, name)) return 0;
    expected->status = FAIL(STATUS_DATA, "%s: /%s/%s is not part of this job's model or optimizer",
        expected->checkpoint->path, expected->group, name);
    return 1;
}

static Status refuse_others(const Checkpoint *checkpoint, const CheckpointArray *arrays,
    int array_count, const char *group) {
    Expected expected = {checkpoint, arrays, array_count, group, STATUS_OK};
    hsize_t position = 0;
    hid_t opened = H5Gopen2(checkpoint->file, group, H5P_DEFAULT);
    if (opened < 0) return hdf5_fail_read(checkpoint->path, group);
    if (H5Literate(opened, H5_INDEX_NAME, H5_ITER_NATIVE, &position, check_expected, &expected) < 0)
        expected.status = hdf5_fail_read(checkpoint->path, group);
    H5Gclose(opened);
    return expected.status;
}

Status checkpoint_read(Checkpoint *checkpoint, const CheckpointArray *arrays, int array_count) {
    HDF5_SECTION;
    for (int i = 0; i < array_count; i++) TRY(read_array(checkpoint, &arrays[i]));
    for (int i = 0; i < array_count; i++) {
        int is_known = i > 0 && strcmp(arrays[i].group, arrays[i - 1].group) == 0;
        if (!is_known) TRY(refuse_others(checkpoint, arrays, array_count, arrays[i].group));
    }
    return STATUS_OK;
}

Status checkpoint_length(
    Checkpoint *checkpoint, const char *group, const char *name, int64_t *length) {
    HDF5_SECTION;
    hid_t dataset = -1;
    hsize_t sizes[H5S_MAX_RANK];
    TRY(open_dataset(checkpoint, group, name, &dataset));
    hid_t space = H5Dget_space(dataset);
    int dimensions = space < 0 ? -1 : H5Sget_simple_extent_dims(space, sizes, NULL);
    if (space >= 0) H5Sclose(space);
    H5Dclose(dataset);
    if (dimensions < 0 || (dimensions > 0 && sizes[0] > INT32_MAX))
        return FAIL(STATUS_DATA, "%s: /%s/%s has no sensible size", checkpoint->path, group, name);
    *length = dimensions == 0 ? 0 : (int64_t)sizes[0];
    return STATUS_OK;
}

/* ---- attributes and the job ---- */

static Status open_attribute(
    const Checkpoint *checkpoint, const char *group, const char *name, hid_t *attribute) {
    char path[CHECKPOINT_PATH_BYTES], problem[2 * CHECKPOINT_PATH_BYTES];
    snprintf(path, sizeof path, "/%s", group);
    snprintf(problem, sizeof problem, "%s has no attribute %s", path, name);
    *attribute = H5Aopen_by_name(checkpoint->file, path, name, H5P_DEFAULT, H5P_DEFAULT);
    return *attribute >= 0 ? STATUS_OK : hdf5_fail_read(checkpoint->path, problem);
}

/* Numbers, and the boolean's base type. */
static Status read_number(
    const Checkpoint *checkpoint, hid_t attribute, const char *name, double *number) {
    hid_t type = H5Aget_type(attribute);
    H5T_class_t class = type < 0 ? H5T_NO_CLASS : H5Tget_class(type);
    int8_t flag = 0;
    herr_t result = -1;
    if (class == H5T_ENUM && H5Tget_size(type) == 1) {
        result = H5Aread(attribute, type, &flag);
        *number = flag;
    } else if ((class == H5T_INTEGER || class == H5T_FLOAT) && H5Tget_size(type) <= 8) {
        result = H5Aread(attribute, H5T_NATIVE_DOUBLE, number);
    }
    char problem[CHECKPOINT_PATH_BYTES];
    snprintf(problem, sizeof problem, "attribute %s is not a number", name);
    Status status = result >= 0 ? STATUS_OK : hdf5_fail_read(checkpoint->path, problem);
    if (type >= 0) H5Tclose(type);
    return status;
}

Status checkpoint_read_number(
    Checkpoint *checkpoint, const char *group, const char *name, double *number) {
    HDF5_SECTION;
    hid_t attribute = -1;
    *number = 0;
    TRY(open_attribute(checkpoint, group, name, &attribute));
    hid_t space = H5Aget_space(attribute);
    Status status = is_scalar(space) ? read_number(checkpoint, attribute, name, number)
                                     : FAIL(STATUS_DATA, "%s: attribute %s is no scalar",
                                           checkpoint->path, name);
    if (space >= 0) H5Sclose(space);
    H5Aclose(attribute);
    return status;
}

/* Allocate for a string of fixed length; refuses any other type. */
static Status allocate_text(
    const Checkpoint *checkpoint, hid_t type, hid_t space, const char *name, char **text) {
    size_t bytes = type < 0 ? 0 : H5Tget_size(type);
    if (type < 0 || H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0 ||
        !is_scalar(space) || bytes > TEXT_BYTES_MAX)
        return FAIL(STATUS_DATA, "%s: %s is not a text of fixed length", checkpoint->path, name);
    return memory_allocate((void **)text, bytes + 1, 1, "text of a checkpoint");
}

static void free_text(char **text) {
    memory_free(*text);
    *text = NULL;
}

Status checkpoint_read_text(
    Checkpoint *checkpoint, const char *group, const char *name, char **text) {
    HDF5_SECTION;
    hid_t attribute = -1;
    *text = NULL;
    TRY(open_attribute(checkpoint, group, name, &attribute));
    hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    Status status = allocate_text(checkpoint, type, space, name, text);
    if (status == STATUS_OK && (hdf5_fault_is_due() || H5Aread(attribute, type, *text) < 0))
        status = hdf5_fail_read(checkpoint->path, name);
    if (status != STATUS_OK) free_text(text);
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    H5Aclose(attribute);
    return status;
}

Status checkpoint_read_config(Checkpoint *checkpoint, char **text) {
    HDF5_SECTION;
    hid_t dataset = H5Dopen2(checkpoint->file, "/config", H5P_DEFAULT);
    *text = NULL;
    if (dataset < 0) return hdf5_fail_read(checkpoint->path, "/config");
    hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset);
    Status status = allocate_text(checkpoint, type, space, "/config", text);
    if (status == STATUS_OK &&
        (hdf5_fault_is_due() || H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, *text) < 0))
        status = hdf5_fail_read(checkpoint->path, "/config");
    if (status != STATUS_OK) free_text(text);
    if (type >= 0) H5Tclose(type);
    if (space >= 0) H5Sclose(space);
    H5Dclose(dataset);
    return status;
}
