/* option.c - see option.h. */
#include "src/option.h"
#include "src/memory.h"

void option_free_values(const Option *table, void *values) {
    if (table == NULL || values == NULL) return;
    for (const Option *option = table; option->key != NULL; option++) {
        if (option->type != OPTION_STRING) continue;
        char **text = (char **)((char *)values + option->offset);
        memory_free(*text);
        *text = NULL;
    }
}
