/* hdf5_names.c - see hdf5_names.h. */
#include "io/hdf5_names.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- looking for names ---- */

typedef struct Search {
    const Hdf5Names *names;
    const char *group; /* that is listed; NULL: the top */
    Hdf5Found *found;
} Search;

/* "BEFORE_BEHIND" */
static int is_joined(const char *name, const char *before, const char *behind) {
    size_t length = strlen(before);
    return strncasecmp(name, before, length) == 0 && name[length] == '_' &&
           strcasecmp(name + length + 1, behind) == 0;
}

static int is_name(const Search *search, const char *name) {
    const Hdf5Names *names = search->names;
    int is_bare = search->group != NULL || names->may_be_bare;
    for (int i = 0; names->words[i] != NULL; i++) {
        const char *word = names->words[i];
        if (is_bare && strcasecmp(name, word) == 0) return 1;
        if (search->group != NULL) continue;
        if (is_joined(name, names->split, word) || is_joined(name, word, names->split)) return 1;
    }
    return 0;
}

static H5I_type_t type_of(hid_t group, const char *name) {
    hid_t object = H5Oopen(group, name, H5P_DEFAULT);
    H5I_type_t type = object < 0 ? H5I_BADID : H5Iget_type(object);
    if (object >= 0) H5Oclose(object);
    return type;
}

static herr_t visit(hid_t group, const char *name, const H5L_info_t *link, void *context);

static herr_t visit_all(hid_t group, void *search) {
    hsize_t position = 0;
    return H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, &position, visit, search);
}

static herr_t visit_group(hid_t top, const char *name, const Search *search) {
    Search below = {.names = search->names, .group = name, .found = search->found};
    hid_t group = H5Gopen2(top, name, H5P_DEFAULT);
    herr_t result = group < 0 ? -1 : visit_all(group, &below);
    if (group >= 0) H5Gclose(group);
    search->found->has_group = 1;
    return result;
}

static herr_t visit(hid_t group, const char *name, const H5L_info_t *link, void *context) {
    const Search *search = context;
    Hdf5Found *found = search->found;
    (void)link;
    if (search->group == NULL && strcasecmp(name, search->names->split) == 0 &&
        type_of(group, name) == H5I_GROUP)
        return visit_group(group, name, search);
    /* A group may be called "x" too. */
    if (!is_name(search, name) || type_of(group, name) != H5I_DATASET) return 0;
    if (found->array_count < 2)
        snprintf(found->name[found->array_count], HDF5_NAME_BYTES, "%s%s%s",
            search->group == NULL ? "" : search->group, search->group == NULL ? "" : "/", name);
    found->array_count++;
    return 0;
}

Status hdf5_names_search(hid_t file, const char *path, const Hdf5Names *names, Hdf5Found *found) {
    Search search = {.names = names, .found = found};
    *found = (Hdf5Found){.array_count = 0};
    return visit_all(file, &search) < 0 ? hdf5_fail_read(path, "cannot list it") : STATUS_OK;
}

/* ---- the one that is wanted ---- */

enum { LIST_BYTES = 512 };

/* Adds the name, or "..." where the list is full. */
static herr_t list_name(hid_t group, const char *name, const H5L_info_t *link, void *context) {
    static const char more[] = ", ...";
    char *list = context;
    size_t used = strlen(list);
    (void)link;
    if (used + strlen(name) + sizeof ", /" + sizeof more > LIST_BYTES) {
        strcpy(list + used, used == 0 ? more + 2 : more);
        return 1;
    }
    snprintf(list + used, LIST_BYTES - used, "%s%s%s", used == 0 ? "" : ", ", name,
        type_of(group, name) == H5I_GROUP ? "/" : "");
    return 0;
}

static Status fail_missing(hid_t file, const char *path, const Hdf5Names *names) {
    const char *word = names->words[0], *split = names->split;
    char others[LIST_BYTES] = "", list[LIST_BYTES] = "";
    hsize_t position = 0;
    for (int i = 1; names->words[i] != NULL; i++) {
        size_t used = strlen(others);
        snprintf(others + used, sizeof others - used, "%s%s",
            names->words[i + 1] != NULL ? ", " : " or ", names->words[i]);
    }
    if (H5Literate(file, H5_INDEX_NAME, H5_ITER_INC, &position, list_name, list) < 0)
        return hdf5_fail_read(path, "cannot list it");
    return FAIL(STATUS_MISSING,
        "%s: has no %s; looked for /%s/%s, /%s_%s, /%s_%s%s%s (or%s for %s); the file has %s", path,
        names->what, split, word, split, word, word, split, names->may_be_bare ? ", /" : "",
        names->may_be_bare ? word : "", others[0] == ',' ? others + 1 : others, word,
        list[0] == '\0' ? "nothing" : list);
}

Status hdf5_names_find(
    hid_t file, const char *path, const Hdf5Names *names, char name[HDF5_NAME_BYTES]) {
    Hdf5Found found;
    TRY(hdf5_names_search(file, path, names, &found));
    if (found.array_count == 0) return fail_missing(file, path, names);
    if (found.array_count > 1)
        return FAIL(STATUS_DATA, "%s: has /%s and /%s; keep one of them as the %s", path,
            found.name[0], found.name[1], names->what);
    memcpy(name, found.name[0], HDF5_NAME_BYTES);
    return STATUS_OK;
}
