/* option.c - see option.h. */
#include "src/option.h"
#include "src/memory.h"
#include <string.h>

const Option *option_find(const Option *table, const char *key) {
    for (const Option *option = table; option->key != NULL; option++)
        if (strcmp(option->key, key) == 0) return option;
    return NULL;
}

int option_is_used(const Option *table, const Option *option, const void *values) {
    if (option->chooser == NULL) return 1;
    const Option *chooser = option_find(table, option->chooser);
    REQUIRE(chooser != NULL && chooser->type == OPTION_ENUM);
    int word = *(const int *)(const void *)((const char *)values + chooser->offset);
    return option->chosen >> word & 1;
}

void option_free_values(const Option *table, void *values) {
    if (table == NULL || values == NULL) return;
    for (const Option *option = table; option->key != NULL; option++) {
        if (option->type != OPTION_STRING) continue;
        char **text = (char **)((char *)values + option->offset);
        memory_free(*text);
        *text = NULL;
    }
}
