/* fuzz_hdf5.c - any bytes as a set in an HDF5 file: read or refused, never a crash, never more
 * memory than the file's length justifies, and no handle of HDF5 left open.
 *
 * HDF5 itself crashes on some damaged files, which is not ours to mend: inputs are read in a
 * child, and a crash inside HDF5's library is told, but is no failure. */
#include "io/dataset_format.h"
#include "src/memory.h"
#include "tests/fuzz/fuzz.h"
#include <dlfcn.h>
#include <execinfo.h>
#include <hdf5.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { COUNT = 6, SIDE = 3, CHUNK_ROWS = 4, FACTOR_MAX = 1100, CORE_STEP = 1 << 12, SPARE = 512 };

typedef enum Packing { COMPACT, CONTIGUOUS, CHUNKED, PACKED } Packing;

/* A set of each kind of storage, and of the older and the newer format. */
static const struct {
    Packing packing;
    H5F_libver_t oldest;
    int is_float, is_bare; /* is_bare: "images" rather than "train/images" */
} kinds[] = {{COMPACT, H5F_LIBVER_EARLIEST, 0, 1}, {CONTIGUOUS, H5F_LIBVER_EARLIEST, 0, 0},
    {CHUNKED, H5F_LIBVER_EARLIEST, 1, 1}, {PACKED, H5F_LIBVER_EARLIEST, 0, 0},
    {PACKED, H5F_LIBVER_V110, 1, 1}, {CONTIGUOUS, H5F_LIBVER_V110, 1, 0}};
enum { KINDS = sizeof kinds / sizeof *kinds };
static const char *const names[KINDS] = {"0.h5", "1.h5", "2.h5", "3.h5", "4.h5", "5.h5"};

/* ---- good files ---- */

static hid_t storage_of(Packing packing, int dimensions) {
    static const hsize_t chunk[] = {CHUNK_ROWS, 1, SIDE, SIDE};
    static const H5D_layout_t layouts[] = {H5D_COMPACT, H5D_CONTIGUOUS, H5D_CHUNKED, H5D_CHUNKED};
    hid_t storage = H5Pcreate(H5P_DATASET_CREATE);
    REQUIRE(H5Pset_layout(storage, layouts[packing]) >= 0);
    if (packing >= CHUNKED) REQUIRE(H5Pset_chunk(storage, dimensions, chunk) >= 0);
    if (packing == PACKED)
        REQUIRE(H5Pset_shuffle(storage) >= 0 && H5Pset_deflate(storage, 6) >= 0 &&
                H5Pset_fletcher32(storage) >= 0);
    return storage;
}

static void write_array(
    hid_t group, const char *name, hid_t type, int dimensions, Packing packing) {
    static const hsize_t sizes[] = {COUNT, 1, SIDE, SIDE};
    int values[COUNT * SIDE * SIDE];
    for (int i = 0; i < COUNT * SIDE * SIDE; i++) values[i] = i % 3;
    hid_t space = H5Screate_simple(dimensions, sizes, NULL);
    hid_t storage = storage_of(packing, dimensions);
    hid_t array = H5Dcreate2(group, name, type, space, H5P_DEFAULT, storage, H5P_DEFAULT);
    REQUIRE(H5Dwrite(array, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0);
    REQUIRE(H5Dclose(array) >= 0 && H5Pclose(storage) >= 0 && H5Sclose(space) >= 0);
}

static void write_split(hid_t file, const char *split, int kind) {
    hid_t group = kinds[kind].is_bare && strcmp(split, "train") == 0
                      ? H5Gopen2(file, "/", H5P_DEFAULT)
                      : H5Gcreate2(file, split, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    hid_t type = kinds[kind].is_float ? H5T_IEEE_F64BE : H5T_STD_U8LE;
    write_array(group, "images", type, 4, kinds[kind].packing);
    write_array(group, "labels", H5T_STD_I16LE, 1, kinds[kind].packing);
    REQUIRE(H5Gclose(group) >= 0);
}

/* Texts of variable length: HDF5 itself believes what a file says of them. */
static void write_classes(hid_t file) {
    static const char *const texts[] = {"cat", "", "Reh im Wald"};
    static const hsize_t count = sizeof texts / sizeof *texts;
    hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate_simple(1, &count, NULL);
    REQUIRE(H5Tset_size(type, H5T_VARIABLE) >= 0);
    hid_t list = H5Acreate2(file, "classes", type, space, H5P_DEFAULT, H5P_DEFAULT);
    REQUIRE(H5Awrite(list, type, texts) >= 0);
    REQUIRE(H5Aclose(list) >= 0 && H5Sclose(space) >= 0 && H5Tclose(type) >= 0);
}

/* Written in memory, with spare bytes: HDF5 looks no further at a file that was cut. */
static size_t make_good(int kind, uint8_t *bytes) {
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    REQUIRE(H5Pset_fapl_core(access, CORE_STEP, 0) >= 0 &&
            H5Pset_libver_bounds(access, kinds[kind].oldest, H5F_LIBVER_V110) >= 0);
    hid_t file = H5Fcreate("fuzz", H5F_ACC_TRUNC, H5P_DEFAULT, access);
    write_split(file, "train", kind);
    write_split(file, "test", kind);
    write_classes(file);
    REQUIRE(H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0);
    ssize_t size = H5Fget_file_image(file, bytes, FUZZ_BYTES_MAX);
    REQUIRE(size > 0 && H5Fclose(file) >= 0 && H5Pclose(access) >= 0);
    memset(bytes + size, 0, SPARE);
    return (size_t)size + SPARE;
}

static const FuzzSet set = {names, KINDS, make_good};

/* ---- one input ---- */

static void check_sample(const DatasetSizes *sizes, const void *sample) {
    int64_t elements = sizes->channels * sizes->height * sizes->width;
    for (int64_t i = 0; sizes->element_bytes == 4 && i < elements; i++)
        REQUIRE(isfinite(((const float *)sample)[i]));
}

static void read_samples(const Job *job, DatasetSplit split, const DatasetSizes *sizes) {
    SampleSource source;
    if (dataset_hdf5.open_source(job, split, sizes, &source) != STATUS_OK) return;
    REQUIRE(source.sample_bytes ==
            (size_t)(sizes->channels * sizes->height * sizes->width * sizes->element_bytes));
    void *sample = malloc(source.sample_bytes);
    REQUIRE(sample != NULL);
    for (int64_t i = 0; i < sizes->count && i < 2 * COUNT; i++)
        if (source.read(source.context, &i, 1, sample) == STATUS_OK) check_sample(sizes, sample);
    free(sample);
    source.close(source.context);
}

static void read_labels(const Job *job, DatasetSplit split, const DatasetSizes *sizes) {
    int32_t *labels = malloc((size_t)sizes->count * sizeof *labels);
    REQUIRE(labels != NULL);
    if (dataset_hdf5.fill(job, split, sizes, NULL, labels) == STATUS_OK)
        for (int64_t i = 0; i < sizes->count; i++)
            REQUIRE(labels[i] >= 0 && labels[i] < sizes->class_count);
    free(labels);
}

static void read_split(const Job *job, DatasetSplit split, size_t size) {
    char note[DATASET_NOTE_BYTES] = "";
    DatasetSizes sizes;
    int has = 0;
    if (dataset_hdf5.has_split(job, split, &has, note) == STATUS_OK && has &&
        dataset_hdf5.measure(job, split, &sizes) == STATUS_OK) {
        size_t elements = (size_t)(sizes.count * sizes.channels * sizes.height * sizes.width);
        REQUIRE(sizes.element_bytes == 1 || sizes.element_bytes == 4);
        REQUIRE(elements <= size * FACTOR_MAX && sizes.class_count >= 2);
        read_labels(job, split, &sizes);
        read_samples(job, split, &sizes);
    }
    REQUIRE(memory_in_use() == 0);
    REQUIRE(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL) == 0);
}

static void read_classes(const Job *job) {
    NameList classes = {.names = NULL};
    if (dataset_hdf5.read_classes(job, &classes) == STATUS_OK)
        for (size_t i = 0; i < classes.count; i++) REQUIRE(strlen(classes.names[i]) <= 4096);
    name_list_free(&classes);
    REQUIRE(memory_in_use() == 0);
}

typedef struct Input {
    int index, layout; /* of the file's name */
    size_t size;
} Input;

static void read_input(const Input *input) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", fuzz_set_folder(&set), names[input->index]);
    Job job = {.data = {.format = DATA_HDF5, .path = path, .layout = input->layout}};
    read_split(&job, DATASET_TRAIN, input->size);
    read_split(&job, DATASET_TEST, input->size);
    read_classes(&job);
}

/* ---- whose crash ---- */

enum { IN_HDF5 = 99, FRAMES_MAX = 128, STACK_BYTES = 1 << 18, SECONDS_MAX = 8 };

/* Sanitizers abort, so that what they find comes to judge_crash; a huge malloc fails. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) {
    return "abort_on_error=1:handle_abort=0:allocator_may_return_null=1";
}

/* Whether a function belongs to the library whose file's name begins so. */
static int is_from(void *function, const char *library) {
    Dl_info found;
    if (dladdr(function, &found) == 0) return 0;
    const char *slash = strrchr(found.dli_fname, '/');
    const char *file = slash == NULL ? found.dli_fname : slash + 1;
    return strncmp(file, library, strlen(library)) == 0;
}

/* Called by a signal's handler: what was running, but for the C library and the sanitizers? */
static int is_in_hdf5(void) {
    void *frames[FRAMES_MAX];
    int count = backtrace(frames, FRAMES_MAX), i = 0;
    while (i < count && !is_from(frames[i], "libc.")) i++; /* the handler, which libc called */
    while (i < count && (is_from(frames[i], "libc.") || is_from(frames[i], "libasan.") ||
                            is_from(frames[i], "libubsan.")))
        i++;
    return i < count && is_from(frames[i], "libhdf5");
}

static void judge_crash(int signal_number) {
    if (is_in_hdf5()) _exit(IN_HDF5);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void judge_crashes(void) {
    static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM};
    static char stack[STACK_BYTES]; /* where recursion has used up the other */
    void *frame;
    backtrace(&frame, 1); /* loads what it needs */
    REQUIRE(sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL) == 0);
    struct sigaction judge = {.sa_handler = judge_crash, .sa_flags = SA_ONSTACK | SA_NODEFER};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        REQUIRE(sigaction(signals[i], &judge, NULL) == 0);
}

/* ---- the child ---- */

static struct {
    pid_t child; /* 0: none */
    int to, from;
} reader;

static _Noreturn void run_reader(int from_parent, int to_parent) {
    Input input;
    judge_crashes();
    while (read(from_parent, &input, sizeof input) == sizeof input) {
        alarm(SECONDS_MAX);
        read_input(&input);
        alarm(0);
        REQUIRE(write(to_parent, "", 1) == 1);
    }
    _exit(EXIT_SUCCESS);
}

static void start_reader(void) {
    int to[2], from[2];
    REQUIRE(pipe(to) == 0 && pipe(from) == 0);
    reader.child = fork();
    REQUIRE(reader.child >= 0);
    if (reader.child == 0) {
        close(to[1]);
        close(from[0]);
        run_reader(to[0], from[1]);
    }
    close(to[0]);
    close(from[1]);
    reader.to = to[1];
    reader.from = from[0];
}

static void end_reader(void) {
    int state = 0;
    close(reader.to);
    close(reader.from);
    REQUIRE(waitpid(reader.child, &state, 0) == reader.child);
    REQUIRE(WIFEXITED(state) && WEXITSTATUS(state) == IN_HDF5);
    printf("HDF5 itself crashed\n");
    reader.child = 0;
}

/* The first byte chooses the layout too. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    Input input = {.layout = data[0] / KINDS % 3, .size = size};
    char answer;
    input.index = fuzz_set_write(&set, data, size);
    if (reader.child == 0) start_reader();
    REQUIRE(write(reader.to, &input, sizeof input) == sizeof input);
    if (read(reader.from, &answer, 1) != 1) end_reader();
    return 0;
}

size_t fuzz_seed(int number, uint8_t *bytes) {
    return fuzz_set_seed(&set, number, bytes);
}
