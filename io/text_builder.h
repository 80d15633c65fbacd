/* text_builder.h - a text that grows. */
#ifndef IO_TEXT_BUILDER_H
#define IO_TEXT_BUILDER_H

#include "src/status.h"
#include <stddef.h>

/* Start with {0}. After a failure nothing more is added, so only the end needs a check. */
typedef struct TextBuilder {
    char *text; /* ends with a zero; NULL before the first print */
    size_t bytes, capacity;
    Status status;
} TextBuilder;

/* Local. Add to the text. */
void text_builder_print(TextBuilder *builder, const char *format, ...) PRINTF_LIKE(2, 3);

/* Local. Hand the text over: the caller frees it with memory_free. Fails with STATUS_NO_MEMORY if
 * any print did; there is no text then. */
MUST_CHECK Status text_builder_finish(TextBuilder *builder, char **text);

#endif
