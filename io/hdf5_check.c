/* hdf5_check.c - what may be in an HDF5 file at all; see hdf5_private.h. */
#include "io/hdf5_private.h"

enum { DEPTH_MAX = 4, OBJECTS_MAX = 1 << 20 };

typedef struct Walk {
    const char *path, *hint;
    const H5Z_filter_t *filters; /* allowed; ended by H5Z_FILTER_NONE */
    int depth, objects;
    Status status;
} Walk;

static Status check_group(Walk *walk, hid_t group);

static int is_allowed(const Walk *walk, H5Z_filter_t filter) {
    for (int i = 0; walk->filters[i] != H5Z_FILTER_NONE; i++)
        if (walk->filters[i] == filter) return 1;
    return 0;
}

/* No storage outside the file, no other layout or filter than those allowed. */
static Status check_dataset(const Walk *walk, hid_t dataset, const char *name) {
    hid_t creation = H5Dget_create_plist(dataset);
    const char *problem = NULL;
    if (creation < 0) return hdf5_fail_read(walk->path, name);
    H5D_layout_t layout = H5Pget_layout(creation);
    if (H5Pget_external_count(creation) != 0) problem = "keeps its data in another file";
    if (layout != H5D_COMPACT && layout != H5D_CONTIGUOUS && layout != H5D_CHUNKED)
        problem = "is virtual: its data is in other datasets";
    for (int i = 0; problem == NULL && i < H5Pget_nfilters(creation); i++) {
        unsigned flags = 0;
        size_t values = 0;
        if (!is_allowed(
                walk, H5Pget_filter2(creation, (unsigned)i, &flags, &values, NULL, 0, NULL, NULL)))
            problem = "is compressed or filtered";
    }
    H5Pclose(creation);
    if (problem == NULL) return STATUS_OK;
    return FAIL(STATUS_DATA, "%s: dataset \"%s\" %s; %s", walk->path, name, problem, walk->hint);
}

static Status check_object(Walk *walk, hid_t parent, const char *name) {
    hid_t object = H5Oopen(parent, name, H5P_DEFAULT);
    Status status = STATUS_OK;
    if (object < 0) return hdf5_fail_read(walk->path, name);
    H5I_type_t type = H5Iget_type(object);
    if (type == H5I_DATASET)
        status = check_dataset(walk, object, name);
    else if (type == H5I_GROUP)
        status = check_group(walk, object);
    else
        status = FAIL(
            STATUS_DATA, "%s: \"%s\" is neither group nor dataset: delete it", walk->path, name);
    H5Oclose(object);
    return status;
}

static herr_t check_link(hid_t group, const char *name, const H5L_info_t *link, void *context) {
    Walk *walk = context;
    if (++walk->objects > OBJECTS_MAX)
        walk->status = FAIL(STATUS_DATA, "%s: holds too many objects", walk->path);
    else if (link->type != H5L_TYPE_HARD)
        walk->status = FAIL(
            STATUS_DATA, "%s: \"%s\" is a link to elsewhere; %s", walk->path, name, walk->hint);
    else
        walk->status = check_object(walk, group, name);
    return walk->status == STATUS_OK ? 0 : 1;
}

static Status check_group(Walk *walk, hid_t group) {
    hsize_t position = 0;
    if (++walk->depth > DEPTH_MAX)
        return FAIL(STATUS_DATA, "%s: groups lie too deep in each other", walk->path);
    if (H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, &position, check_link, walk) < 0)
        walk->status = hdf5_fail_read(walk->path, "cannot list a group");
    walk->depth--;
    return walk->status;
}

Status hdf5_check_content(
    hid_t file, const char *path, const H5Z_filter_t *filters, const char *hint) {
    Walk walk = {.path = path, .filters = filters, .hint = hint, .status = STATUS_OK};
    hid_t root = H5Gopen2(file, "/", H5P_DEFAULT);
    if (root < 0) return hdf5_fail_read(path, "no root");
    Status status = check_group(&walk, root);
    H5Gclose(root);
    return status;
}
