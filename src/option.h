/* option.h - tables of the options of layers, optimizers and job sections.
 *
 * One table gives validation, defaults, the printed default job and the documentation. src/ owns
 * the tables and the structs they fill; io/job.c reads YAML into them. */
#ifndef SRC_OPTION_H
#define SRC_OPTION_H

#include "src/status.h"
#include <stddef.h>
#include <stdint.h>

typedef enum OptionType {
    OPTION_INT,    /* int64_t */
    OPTION_FLOAT,  /* double, finite */
    OPTION_BOOL,   /* int: true or false, nothing else */
    OPTION_STRING, /* char *, from memory_copy_string; never NULL */
    OPTION_ENUM,   /* int: index into `words` */
    OPTION_INTS,   /* OptionInts: a list, or one number for a list of one */
    OPTION_FLOATS, /* OptionFloats */
    OPTION_GROUP   /* int64_t: `global` (0), `none` (1), or {group: G} with G >= 1 */
} OptionType;

enum { OPTION_LIST_MAX = 16 };

typedef struct OptionInts {
    int count;
    int64_t values[OPTION_LIST_MAX];
} OptionInts;

typedef struct OptionFloats {
    int count;
    double values[OPTION_LIST_MAX];
} OptionFloats;

typedef struct Option {
    const char *key; /* "lr"; a dot descends into a mapping: "normalize.mean" */
    OptionType type;
    size_t offset;            /* of the value in the struct that the table describes */
    const char *fallback;     /* the default as YAML text; NULL: the key must be given */
    double minimum, maximum;  /* of numbers, inclusive; both 0: any */
    int is_minimum_exclusive; /* minimum itself is refused (lr > 0) */
    int is_null_allowed;      /* `null`: NaN (float), -1 (int), "" (string), an empty list */
    const char *const *words; /* of an enum, NULL-terminated */
    const char *chooser; /* key of an enum: the option is for some of its words; NULL: always */
    unsigned chosen;     /* for which: bit i stands for word i */
    const char *doc;     /* one line; says unit and meaning */
} Option;                /* a table ends with .key = NULL */

/* Local. The option of a table under `key`, or NULL. */
const Option *option_find(const Option *table, const char *key);

/* Local. Whether what the chooser is set to in `values` has use for the option. */
int option_is_used(const Option *table, const Option *option, const void *values);

/* Local. Free the strings that the table's options hold in `values`. NULL is allowed for both. */
void option_free_values(const Option *table, void *values);

#endif
