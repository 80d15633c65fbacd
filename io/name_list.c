/* name_list.c - see name_list.h. */
#include "io/name_list.h"
#include "src/memory.h"

Status name_list_add(NameList *list, const char *name) {
    if (list->count == list->capacity) {
        char **more = NULL;
        size_t capacity = list->capacity == 0 ? 16 : 2 * list->capacity;
        TRY(MEMORY_ALLOCATE(&more, capacity, "list of names"));
        for (size_t i = 0; i < list->count; i++) more[i] = list->names[i];
        memory_free(list->names);
        list->names = more;
        list->capacity = capacity;
    }
    TRY(memory_copy_string(&list->names[list->count], name));
    list->count++;
    return STATUS_OK;
}

void name_list_free(NameList *list) {
    for (size_t i = 0; i < list->count; i++) memory_free(list->names[i]);
    memory_free(list->names);
    *list = (NameList){.names = NULL};
}
