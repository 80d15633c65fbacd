/* file_kind.h - what a file is that is not what was expected, told by its first bytes. */
#ifndef IO_FILE_KIND_H
#define IO_FILE_KIND_H

#include <stddef.h>

/* What is worth reading of a file for that; the mark of a tar archive comes last. */
enum { FILE_KIND_BYTES = 262 };

/* Local. What a file that starts with these bytes is, e.g. "a zip archive, ..."; NULL: nothing
 * known. */
const char *file_kind_recognize(const unsigned char *start, size_t count);

#endif
