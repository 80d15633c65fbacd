/* test_checkpoint_hostile.c - HDF5 files that carry a correct seal and are not what we write: each
 * is refused with a reason, before it can make the reader follow it, allocate for it or crash. */
#include "io/seal.h"
#include "src/memory.h"
#include "tests/support/checkpoint_sample.h"
#include "tests/support/unit_check.h"
#include <hdf5.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- making files ---- */

static const char config[] = "seed: 1\n";
static const float numbers[4] = {1, 2, 3, 4};

/* What the case changes lies in the functions below; everything else is as we write it. */
typedef struct Hostile {
    hid_t file, model;
    uint64_t checksum; /* of `numbers` */
} Hostile;

typedef struct Case {
    const char *name, *reason;
    void (*change)(Hostile *hostile);
} Case;

static hid_t must(hid_t id) {
    ck_assert_int_ge(id, 0);
    return id;
}

static void put_attribute(
    hid_t object, const char *name, hid_t type, hsize_t count, const void *value) {
    hid_t space = must(count == 1 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &count, NULL));
    if (H5Aexists(object, name) > 0) must(H5Adelete(object, name));
    hid_t attribute = must(H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT));
    must(H5Awrite(attribute, type, value));
    must(H5Aclose(attribute));
    must(H5Sclose(space));
}

static void put_number(hid_t object, const char *name, double number) {
    put_attribute(object, name, H5T_NATIVE_DOUBLE, 1, &number);
}

static hid_t text_type(const char *text) {
    hid_t type = must(H5Tcopy(H5T_C_S1));
    must(H5Tset_size(type, strlen(text)));
    return type;
}

static void put_text(hid_t object, const char *name, const char *text) {
    hid_t type = text_type(text);
    put_attribute(object, name, type, 1, text);
    must(H5Tclose(type));
}

/* Replaces a dataset of that name; data NULL: none is written. Returns it opened. */
static hid_t make_dataset(
    hid_t group, const char *name, hid_t type, hid_t space, hid_t creation, const void *data) {
    if (H5Lexists(group, name, H5P_DEFAULT) > 0) must(H5Ldelete(group, name, H5P_DEFAULT));
    hid_t dataset = must(H5Dcreate2(group, name, type, space, H5P_DEFAULT, creation, H5P_DEFAULT));
    if (data != NULL) must(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data));
    return dataset;
}

/* The array that the reader asks for, [4] floats, with the given creation list and checksum. */
static void put_weight(Hostile *hostile, hid_t type, int dimensions, const hsize_t *sizes,
    hid_t creation, const void *data) {
    hid_t space = must(H5Screate_simple(dimensions, sizes, NULL));
    hid_t dataset = make_dataset(hostile->model, "weight", type, space, creation, data);
    put_attribute(dataset, "xxh3", H5T_STD_U64LE, 1, &hostile->checksum);
    must(H5Dclose(dataset));
    must(H5Sclose(space));
}

static void put_good_weight(Hostile *hostile, hid_t creation) {
    hsize_t size = 4;
    put_weight(hostile, H5T_IEEE_F32LE, 1, &size, creation, numbers);
}

static void put_config(Hostile *hostile) {
    hid_t type = text_type(config), space = must(H5Screate(H5S_SCALAR));
    hid_t dataset = make_dataset(hostile->file, "config", type, space, H5P_DEFAULT, config);
    must(H5Dclose(dataset));
    must(H5Sclose(space));
    must(H5Tclose(type));
}

/* ---- what is wrong ---- */

static void change_nothing(Hostile *hostile) {
    (void)hostile;
}

static void store_elsewhere(Hostile *hostile) {
    hsize_t size = 4;
    hid_t creation = must(H5Pcreate(H5P_DATASET_CREATE));
    must(H5Pset_external(creation, "/etc/passwd", 0, 16));
    put_weight(hostile, H5T_IEEE_F32LE, 1, &size, creation, NULL);
    must(H5Pclose(creation));
}

static void link_softly(Hostile *hostile) {
    must(H5Lmove(hostile->model, "weight", hostile->file, "elsewhere", H5P_DEFAULT, H5P_DEFAULT));
    must(H5Lcreate_soft("/elsewhere", hostile->model, "weight", H5P_DEFAULT, H5P_DEFAULT));
}

static void link_to_nothing(Hostile *hostile) {
    must(H5Lcreate_soft("/nowhere", hostile->file, "dangling", H5P_DEFAULT, H5P_DEFAULT));
}

static void link_to_a_file(Hostile *hostile) {
    must(H5Ldelete(hostile->model, "weight", H5P_DEFAULT));
    must(H5Lcreate_external(
        "other.h5", "/model/weight", hostile->model, "weight", H5P_DEFAULT, H5P_DEFAULT));
}

static void make_it_virtual(Hostile *hostile) {
    hsize_t size = 4;
    hid_t creation = must(H5Pcreate(H5P_DATASET_CREATE));
    hid_t space = must(H5Screate_simple(1, &size, NULL));
    must(H5Pset_virtual(creation, space, "other.h5", "/model/weight", space));
    put_weight(hostile, H5T_IEEE_F32LE, 1, &size, creation, NULL);
    must(H5Sclose(space));
    must(H5Pclose(creation));
}

static void compress(Hostile *hostile) {
    hsize_t size = 4;
    hid_t creation = must(H5Pcreate(H5P_DATASET_CREATE));
    must(H5Pset_chunk(creation, 1, &size));
    must(H5Pset_deflate(creation, 9));
    put_good_weight(hostile, creation);
    must(H5Pclose(creation));
}

/* A filter that only a plug-in could run. */
static void filter_strangely(Hostile *hostile) {
    hsize_t size = 4;
    hid_t creation = must(H5Pcreate(H5P_DATASET_CREATE));
    must(H5Pset_chunk(creation, 1, &size));
    must(H5Pset_filter(creation, 32001, H5Z_FLAG_OPTIONAL, 0, NULL));
    put_weight(hostile, H5T_IEEE_F32LE, 1, &size, creation, NULL);
    must(H5Pclose(creation));
}

static void use_doubles(Hostile *hostile) {
    const double wide[4] = {1, 2, 3, 4};
    hsize_t size = 4;
    put_weight(hostile, H5T_IEEE_F64LE, 1, &size, H5P_DEFAULT, wide);
}

static void use_big_endian(Hostile *hostile) {
    hsize_t size = 4;
    put_weight(hostile, H5T_IEEE_F32BE, 1, &size, H5P_DEFAULT, numbers);
}

static void use_texts_of_any_length(Hostile *hostile) {
    const char *const texts[4] = {"a", "b", "c", "d"};
    hsize_t size = 4;
    hid_t type = must(H5Tcopy(H5T_C_S1));
    must(H5Tset_size(type, H5T_VARIABLE));
    put_weight(hostile, type, 1, &size, H5P_DEFAULT, texts);
    must(H5Tclose(type));
}

static void use_another_shape(Hostile *hostile) {
    const hsize_t sizes[2] = {2, 2};
    put_weight(hostile, H5T_IEEE_F32LE, 2, sizes, H5P_DEFAULT, numbers);
}

static void use_many_dimensions(Hostile *hostile) {
    hsize_t sizes[32];
    for (int i = 0; i < 32; i++) sizes[i] = i == 0 ? 4 : 1;
    put_weight(hostile, H5T_IEEE_F32LE, 32, sizes, H5P_DEFAULT, numbers);
}

static void use_no_shape(Hostile *hostile) {
    hid_t space = must(H5Screate(H5S_NULL));
    hid_t dataset =
        make_dataset(hostile->model, "weight", H5T_IEEE_F32LE, space, H5P_DEFAULT, NULL);
    put_attribute(dataset, "xxh3", H5T_STD_U64LE, 1, &hostile->checksum);
    must(H5Dclose(dataset));
    must(H5Sclose(space));
}

/* 4 EiB in a file of some KB. */
static void claim_a_huge_array(Hostile *hostile) {
    const hsize_t sizes[2] = {(hsize_t)1 << 30, (hsize_t)1 << 30}, chunk[2] = {1, 1};
    hid_t creation = must(H5Pcreate(H5P_DATASET_CREATE));
    must(H5Pset_chunk(creation, 2, chunk));
    put_weight(hostile, H5T_IEEE_F32LE, 2, sizes, creation, NULL);
    must(H5Pclose(creation));
}

/* Four times 2^32 + 1: as an int, 4. */
static void claim_a_wrapping_size(Hostile *hostile) {
    const hsize_t size = ((hsize_t)1 << 32) + 4, chunk = 4;
    hid_t creation = must(H5Pcreate(H5P_DATASET_CREATE));
    must(H5Pset_chunk(creation, 1, &chunk));
    put_weight(hostile, H5T_IEEE_F32LE, 1, &size, creation, NULL);
    must(H5Pclose(creation));
}

/* Declared, never written: HDF5 would give zeros. */
static void write_no_data(Hostile *hostile) {
    hsize_t size = 4;
    put_weight(hostile, H5T_IEEE_F32LE, 1, &size, H5P_DEFAULT, NULL);
}

static void change_the_data(Hostile *hostile) {
    const float others[4] = {1, 2, 3, 5};
    hsize_t size = 4;
    put_weight(hostile, H5T_IEEE_F32LE, 1, &size, H5P_DEFAULT, others);
}

static hid_t open_weight(const Hostile *hostile) {
    return must(H5Dopen2(hostile->model, "weight", H5P_DEFAULT));
}

static void leave_out_the_checksum(Hostile *hostile) {
    hid_t dataset = open_weight(hostile);
    must(H5Adelete(dataset, "xxh3"));
    must(H5Dclose(dataset));
}

/* Would be read into the memory of one. */
static void give_many_checksums(Hostile *hostile) {
    static const uint64_t many[4096];
    hid_t dataset = open_weight(hostile);
    put_attribute(dataset, "xxh3", H5T_STD_U64LE, 4096, many);
    must(H5Dclose(dataset));
}

static void leave_out_the_weight(Hostile *hostile) {
    must(H5Ldelete(hostile->model, "weight", H5P_DEFAULT));
}

static void put_a_group_in_its_place(Hostile *hostile) {
    leave_out_the_weight(hostile);
    must(H5Gclose(
        must(H5Gcreate2(hostile->model, "weight", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT))));
}

static void add_a_dataset(Hostile *hostile) {
    hid_t space = must(H5Screate(H5S_SCALAR));
    must(H5Dclose(
        make_dataset(hostile->model, "extra", H5T_IEEE_F32LE, space, H5P_DEFAULT, numbers)));
    must(H5Sclose(space));
}

static void add_a_group(Hostile *hostile) {
    must(
        H5Gclose(must(H5Gcreate2(hostile->model, "extra", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT))));
}

static void nest_groups(Hostile *hostile) {
    hid_t creation = must(H5Pcreate(H5P_LINK_CREATE));
    char path[2 * 1000 + 1] = "";
    for (int i = 0; i < 1000; i++) memcpy(path + 2 * i, "g/", 3);
    path[sizeof path - 2] = '\0';
    must(H5Pset_create_intermediate_group(creation, 1));
    must(H5Gclose(must(H5Gcreate2(hostile->file, path, creation, H5P_DEFAULT, H5P_DEFAULT))));
    must(H5Pclose(creation));
}

static void close_a_circle(Hostile *hostile) {
    must(H5Lcreate_hard(hostile->file, "/", hostile->model, "circle", H5P_DEFAULT, H5P_DEFAULT));
}

static void commit_a_type(Hostile *hostile) {
    hid_t type = must(H5Tcopy(H5T_IEEE_F32LE));
    must(H5Tcommit2(hostile->file, "type", type, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    must(H5Tclose(type));
}

static void come_from_the_future(Hostile *hostile) {
    put_number(hostile->file, "format_version", CHECKPOINT_FORMAT_VERSION + 1);
}

static void have_version_zero(Hostile *hostile) {
    put_number(hostile->file, "format_version", 0);
}

static void have_no_number_as_version(Hostile *hostile) {
    put_number(hostile->file, "format_version", NAN);
}

static void have_a_text_as_version(Hostile *hostile) {
    put_text(hostile->file, "format_version", "1");
}

static void have_many_versions(Hostile *hostile) {
    static const double many[4096] = {1};
    put_attribute(hostile->file, "format_version", H5T_NATIVE_DOUBLE, 4096, many);
}

static void have_no_version(Hostile *hostile) {
    must(H5Adelete(hostile->file, "format_version"));
}

static void be_incomplete(Hostile *hostile) {
    put_number(hostile->file, "complete", 0);
}

static void not_say_whether_complete(Hostile *hostile) {
    must(H5Adelete(hostile->file, "complete"));
}

static void have_another_format(Hostile *hostile) {
    put_text(hostile->file, "format", "lockstep-checkpoin");
}

static void have_a_number_as_format(Hostile *hostile) {
    put_number(hostile->file, "format", 1);
}

static void have_no_format(Hostile *hostile) {
    must(H5Adelete(hostile->file, "format"));
}

static void have_a_format_of_any_length(Hostile *hostile) {
    const char *text = "lockstep-checkpoint";
    hid_t type = must(H5Tcopy(H5T_C_S1));
    must(H5Tset_size(type, H5T_VARIABLE));
    put_attribute(hostile->file, "format", type, 1, &text);
    must(H5Tclose(type));
}

static void have_no_config(Hostile *hostile) {
    must(H5Ldelete(hostile->file, "config", H5P_DEFAULT));
}

static void have_a_config_of_any_length(Hostile *hostile) {
    const char *text = config;
    hid_t type = must(H5Tcopy(H5T_C_S1)), space = must(H5Screate(H5S_SCALAR));
    must(H5Tset_size(type, H5T_VARIABLE));
    must(H5Dclose(make_dataset(hostile->file, "config", type, space, H5P_DEFAULT, &text)));
    must(H5Sclose(space));
    must(H5Tclose(type));
}

static void have_a_huge_config(Hostile *hostile) {
    hid_t type = must(H5Tcopy(H5T_C_S1)), space = must(H5Screate(H5S_SCALAR));
    must(H5Tset_size(type, (size_t)1 << 31));
    must(H5Dclose(make_dataset(hostile->file, "config", type, space, H5P_DEFAULT, NULL)));
    must(H5Sclose(space));
    must(H5Tclose(type));
}

static void have_many_configs(Hostile *hostile) {
    const hsize_t size = 1000;
    hid_t type = text_type(config), space = must(H5Screate_simple(1, &size, NULL));
    must(H5Dclose(make_dataset(hostile->file, "config", type, space, H5P_DEFAULT, NULL)));
    must(H5Sclose(space));
    must(H5Tclose(type));
}

static const Case cases[] = {{"nothing wrong", NULL, change_nothing},
    {"external storage", "in another file", store_elsewhere},
    {"soft link", "link to elsewhere", link_softly},
    {"dangling soft link", "link to elsewhere", link_to_nothing},
    {"external link", "link to elsewhere", link_to_a_file},
    {"virtual dataset", "is virtual", make_it_virtual},
    {"deflate", "compressed or filtered", compress},
    {"unknown filter", "compressed or filtered", filter_strangely},
    {"doubles", "not of type float32", use_doubles},
    {"big endian", "not of type float32", use_big_endian},
    {"texts", "not of type float32", use_texts_of_any_length},
    {"another shape", "is [2, 2], expected [4]", use_another_shape},
    {"32 dimensions", "dimensions", use_many_dimensions}, {"no shape", "no shape", use_no_shape},
    {"4 EiB", "expected [4]", claim_a_huge_array},
    {"2^32 + 4", "expected [4]", claim_a_wrapping_size}, {"no data", "checksum", write_no_data},
    {"other data", "checksum", change_the_data},
    {"no checksum", "no checksum", leave_out_the_checksum},
    {"many checksums", "no checksum", give_many_checksums},
    {"missing dataset", "has no dataset /model/weight", leave_out_the_weight},
    {"a group as dataset", "has no dataset /model/weight", put_a_group_in_its_place},
    {"extra dataset", "/model/extra is not part", add_a_dataset},
    {"extra group", "/model/extra is not part", add_a_group},
    {"deep groups", "too deep", nest_groups}, {"a circle of groups", "too deep", close_a_circle},
    {"committed datatype", "neither group nor dataset", commit_a_type},
    {"newer version", "newer lockstep", come_from_the_future},
    {"version 0", "no format version 0", have_version_zero},
    {"version NaN", "no format version", have_no_number_as_version},
    {"version as text", "format_version is not a number", have_a_text_as_version},
    {"many versions", "format_version is no scalar", have_many_versions},
    {"no version", "no attribute format_version", have_no_version},
    {"incomplete", "not complete", be_incomplete},
    {"complete missing", "no attribute complete", not_say_whether_complete},
    {"another format", "is no \"lockstep-checkpoint\"", have_another_format},
    {"format as number", "format is not a text", have_a_number_as_format},
    {"no format", "no attribute format", have_no_format},
    {"format of any length", "format is not a text", have_a_format_of_any_length},
    {"no config", "/config", have_no_config},
    {"config of any length", "/config is not a text", have_a_config_of_any_length},
    {"huge config", "/config is not a text", have_a_huge_config},
    {"many configs", "/config is not a text", have_many_configs}};

/* ---- the test ---- */

/* The checksum that a file of our own gives `numbers`. */
static uint64_t find_checksum(void) {
    float copy[4];
    uint64_t checksum = 0;
    memcpy(copy, numbers, sizeof copy);
    CheckpointArray array = {"model", "weight", CHECKPOINT_FLOAT32, {1, {4}}, copy};
    CheckpointContent content = {.config = config, .array_count = 1, .arrays = &array};
    ck_assert_int_eq(checkpoint_write(scratch_folder(), "other.h5", &content), STATUS_OK);
    hid_t file = must(H5Fopen(scratch_path("other.h5"), H5F_ACC_RDONLY, H5P_DEFAULT));
    hid_t attribute =
        must(H5Aopen_by_name(file, "/model/weight", "xxh3", H5P_DEFAULT, H5P_DEFAULT));
    must(H5Aread(attribute, H5T_NATIVE_UINT64, &checksum));
    must(H5Aclose(attribute));
    must(H5Fclose(file));
    return checksum;
}

static void seal_file(const char *name) {
    size_t bytes = 0;
    unsigned char *data = scratch_read(name, &bytes);
    seal_put(data, bytes, SAMPLE_STEP);
    scratch_write(name, data, bytes);
    free(data);
}

static void make_file(const Case *this, const char *name) {
    Hostile hostile = {.checksum = find_checksum()};
    hid_t creation = must(H5Pcreate(H5P_FILE_CREATE)), access = must(H5Pcreate(H5P_FILE_ACCESS));
    must(H5Pset_userblock(creation, SEAL_BYTES));
    must(H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110));
    hostile.file = must(H5Fcreate(scratch_path(name), H5F_ACC_TRUNC, creation, access));
    hostile.model = must(H5Gcreate2(hostile.file, "model", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
    put_text(hostile.file, "format", "lockstep-checkpoint");
    put_number(hostile.file, "format_version", CHECKPOINT_FORMAT_VERSION);
    put_number(hostile.file, "complete", 1);
    put_good_weight(&hostile, H5P_DEFAULT);
    put_config(&hostile);
    this->change(&hostile);
    must(H5Gclose(hostile.model));
    must(H5Fclose(hostile.file));
    must(H5Pclose(access));
    must(H5Pclose(creation));
    seal_file(name);
}

/* All that resuming reads. */
static Status read_all(const char *name) {
    float found[4];
    char *text = NULL;
    Checkpoint *file = NULL;
    CheckpointArray array = {"model", "weight", CHECKPOINT_FLOAT32, {1, {4}}, found};
    Status status = checkpoint_open(&file, scratch_path(name));
    if (status == STATUS_OK) status = checkpoint_read_config(file, &text);
    if (status == STATUS_OK) status = checkpoint_read(file, &array, 1);
    if (status == STATUS_OK) ck_assert_int_eq(memcmp(found, numbers, sizeof found), 0);
    memory_free(text);
    checkpoint_close(file);
    return status;
}

static long peak_kilobytes(void) {
    struct rusage usage;
    ck_assert_int_eq(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

START_TEST(a_sealed_file_that_is_not_ours_is_refused_with_a_reason) {
    const Case *this = &cases[_i];
    make_file(this, "a.h5");
    long before = peak_kilobytes();
    Status status = read_all("a.h5");
    ck_assert_int_le(peak_kilobytes() - before, 16 * 1024);
    if (this->reason == NULL) {
        ck_assert_msg(status == STATUS_OK, "%s", status_message());
        return;
    }
    ck_assert_msg(status == STATUS_DATA, "%s: status %d", this->name, status);
    ck_assert_msg(
        strstr(status_message(), this->reason) != NULL, "%s: %s", this->name, status_message());
    ck_assert_ptr_nonnull(strstr(status_message(), scratch_path("a.h5")));
}
END_TEST

static void tear_down(void) {
    ck_assert_int_eq(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
    scratch_tear_down();
}

int main(void) {
    Suite *suite = suite_create("checkpoint_hostile");
    TCase *tests = unit_check_case(suite, "hostile");
    tcase_add_checked_fixture(tests, scratch_set_up, tear_down);
    tcase_add_loop_test(tests, a_sealed_file_that_is_not_ours_is_refused_with_a_reason, 0,
        sizeof cases / sizeof cases[0]);
    return unit_check_run(suite);
}
