/* command_convert.h - what the parts of `lockstep convert` share: command_convert.c finds out what
 * the input is, command_convert_set.c and command_convert_images.c write it. */
#ifndef SRC_COMMAND_CONVERT_H
#define SRC_COMMAND_CONVERT_H

#include "io/dataset_file.h"
#include "src/command.h"

typedef struct Conversion {
    const char *input;
    const ConvertOptions *options;
    DatasetFile *file; /* created: the splits are added, and it is finished */
    void *result;      /* one sample as it is written; the caller frees */
} Conversion;

/* Local. Write a set of one of the formats of job files, job->data.format, and finish the file.
 * Fails as its format, as transform_shape and as dataset_file.h says. */
MUST_CHECK Status convert_set(Conversion *conversion, const Job *job);

/* Local. The same for a folder of images. Fails as image_folder.h and image_file.h say, and with
 * STATUS_DATA where sizes or colours of the images differ. */
MUST_CHECK Status convert_folder(Conversion *conversion);

/* The names of the splits in the file. */
extern const char *const convert_split_names[2];

/* Local. Tell the user of a split that was written. */
void convert_tell_split(int split, int64_t count, Shape sample);

/* Local. `status`; a message that names a key of job files names what stands for it on the command
 * line, and a failure of the configuration becomes one of usage. */
MUST_CHECK Status convert_name_option(Status status);

#endif
