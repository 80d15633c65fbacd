/* name_list.h - a list of names that grows. */
#ifndef IO_NAME_LIST_H
#define IO_NAME_LIST_H

#include "src/status.h"
#include <stddef.h>

/* Start with {.names = NULL}. */
typedef struct NameList {
    char **names; /* [count] */
    size_t count, capacity;
} NameList;

/* Local. Add a copy of `name` at the end. Fails with STATUS_NO_MEMORY. */
MUST_CHECK Status name_list_add(NameList *list, const char *name);
void name_list_free(NameList *list);

#endif
