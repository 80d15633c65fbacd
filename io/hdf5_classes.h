/* hdf5_classes.h - the names of a set's classes in its HDF5 file. */
#ifndef IO_HDF5_CLASSES_H
#define IO_HDF5_CLASSES_H

#include "io/hdf5_array.h"
#include "io/name_list.h"

/* Local; the caller holds an HDF5_SECTION. Add the texts of the root's attribute `classes`, a list
 * of texts of fixed length, as dataset_file.h writes it, or of variable length, as h5py does, to
 * `names`; none where there is no such attribute, or one that is no such list. Fails with
 * STATUS_DATA, STATUS_IO, STATUS_NO_MEMORY. */
MUST_CHECK Status hdf5_classes_read(const Hdf5File *file, NameList *names);

#endif
