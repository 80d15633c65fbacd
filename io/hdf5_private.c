/* hdf5_private.c - see hdf5_private.h. */
#include "io/hdf5_private.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

static pthread_mutex_t section_mutex;

static void prepare_once(void) {
    H5dont_atexit(); /* all files are closed by then, but those that cannot be */
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&section_mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
    H5open();
    H5PLset_loading_state(0);
}

int hdf5_enter(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare_once);
    pthread_mutex_lock(&section_mutex);
    return 1;
}

void hdf5_leave(int *section) {
    if (*section) pthread_mutex_unlock(&section_mutex);
}

/* A library built for threads keeps this for each of them. */
void hdf5_prepare(void) {
    HDF5_SECTION;
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

/* How HDF5's drivers quote the system. */
#define SYSTEM_MARK "error message = '"

typedef struct Reason {
    int is_system; /* the system refused */
    char text[256];
} Reason;

static herr_t keep_reason(unsigned depth, const H5E_error2_t *error, void *context) {
    Reason *reason = context;
    (void)depth;
    if (error->desc == NULL) return 0;
    const char *quoted = strstr(error->desc, SYSTEM_MARK);
    reason->is_system = quoted != NULL;
    snprintf(reason->text, sizeof reason->text, "%s",
        quoted == NULL ? error->desc : quoted + strlen(SYSTEM_MARK));
    reason->text[strcspn(reason->text, quoted == NULL ? "\n" : "'")] = '\0'; /* addresses follow */
    return 0;
}

static Reason find_reason(void) {
    Reason reason = {.text = "HDF5 gives no reason"};
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_reason, &reason); /* the innermost comes last */
    H5Eclear2(H5E_DEFAULT);
    return reason;
}

Status hdf5_fail(Status status, const char *path, const char *what) {
    return FAIL(status, "%s: %s: %s", path, what, find_reason().text);
}

Status hdf5_fail_read(const char *path, const char *what) {
    Reason reason = find_reason();
    return FAIL(reason.is_system ? STATUS_IO : STATUS_DATA, "%s: %s: %s", path, what, reason.text);
}

int hdf5_fault_is_due(void) {
    if (!status_fault_is_due()) return 0;
    H5Eclear2(H5E_DEFAULT);
    H5Epush2(H5E_DEFAULT, __FILE__, __func__, __LINE__, H5E_ERR_CLS, H5E_IO, H5E_READERROR,
        SYSTEM_MARK "%s'", strerror(errno));
    return 1;
}

hid_t hdf5_file_access(void) {
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    if (access < 0) return access;
    if (H5Pset_fapl_sec2(access) < 0 ||
        H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_V110) < 0 ||
        H5Pset_file_locking(access, 0, 1) < 0 || H5Pset_fclose_degree(access, H5F_CLOSE_SEMI) < 0) {
        H5Pclose(access);
        return -1;
    }
    return access;
}

hid_t hdf5_file_type(CheckpointType type) {
    return type == CHECKPOINT_FLOAT32   ? H5T_IEEE_F32LE
           : type == CHECKPOINT_FLOAT64 ? H5T_IEEE_F64LE
                                        : H5T_STD_I64LE;
}

hid_t hdf5_creation_list(hid_t class, int has_links) {
    unsigned order = H5P_CRT_ORDER_TRACKED | H5P_CRT_ORDER_INDEXED;
    hid_t list = H5Pcreate(class);
    if (list < 0) return list;
    if (H5Pset_obj_track_times(list, 0) < 0 ||
        (has_links && H5Pset_link_creation_order(list, order) < 0)) {
        H5Pclose(list);
        return -1;
    }
    return list;
}

hid_t hdf5_string_type(size_t bytes) {
    hid_t type = H5Tcopy(H5T_C_S1);
    if (type >= 0 &&
        (H5Tset_size(type, bytes + (bytes == 0)) < 0 || H5Tset_strpad(type, H5T_STR_NULLPAD) < 0 ||
            H5Tset_cset(type, H5T_CSET_UTF8) < 0)) {
        H5Tclose(type);
        return -1;
    }
    return type;
}

size_t hdf5_type_bytes(CheckpointType type) {
    return type == CHECKPOINT_FLOAT32 ? 4 : 8;
}

uint64_t hdf5_array_checksum(const CheckpointArray *array) {
    return XXH3_64bits(
        array->data, shape_element_count(array->shape) * hdf5_type_bytes(array->type));
}

const char *checkpoint_library_version(void) {
    static char text[32];
    unsigned major = 0, minor = 0, release = 0;
    H5get_libversion(&major, &minor, &release);
    snprintf(text, sizeof text, "%u.%u.%u", major, minor, release);
    return text;
}
