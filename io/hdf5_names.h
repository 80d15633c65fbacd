/* hdf5_names.h - which array of an HDF5 data file holds what: its writers have no names in common.
 * The caller holds an HDF5_SECTION around every call. */
#ifndef IO_HDF5_NAMES_H
#define IO_HDF5_NAMES_H

#include "io/hdf5_private.h"

/* What the images, or the labels, of a split may be called, in upper or lower case: with the words
 * "images" and "x" and the split "test", /test/images, /test_images, /images_test, /test/x, ... */
typedef struct Hdf5Names {
    const char *what;         /* "test images" */
    const char *split;        /* "test" */
    const char *const *words; /* ended by NULL */
    int may_be_bare;          /* /images and /x as well */
} Hdf5Names;

enum { HDF5_NAME_BYTES = 64 };

typedef struct Hdf5Found {
    int array_count;               /* arrays of such a name */
    char name[2][HDF5_NAME_BYTES]; /* the first of them, without the slash before them */
    int has_group;                 /* there is a group of the split's name */
} Hdf5Found;

/* Local. Look for them in an open file; `path` begins messages. Fails with STATUS_DATA,
 * STATUS_IO. */
MUST_CHECK Status hdf5_names_search(
    hid_t file, const char *path, const Hdf5Names *names, Hdf5Found *found);

/* Local. The name of the only one there is. Fails as the search, with STATUS_MISSING where there is
 * none, with STATUS_DATA where there are two. */
MUST_CHECK Status hdf5_names_find(
    hid_t file, const char *path, const Hdf5Names *names, char name[HDF5_NAME_BYTES]);

#endif
