/* text_builder.c - see text_builder.h. */
#include "io/text_builder.h"
#include "src/memory.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static Status make_room(TextBuilder *builder, size_t more_bytes) {
    size_t needed = builder->bytes + more_bytes + 1;
    if (needed <= builder->capacity) return STATUS_OK;
    size_t capacity = needed < 1024 ? 1024 : 2 * needed;
    char *text = NULL;
    TRY(memory_allocate((void **)&text, capacity, 1, "text"));
    if (builder->text != NULL) memcpy(text, builder->text, builder->bytes);
    memory_free(builder->text);
    builder->text = text;
    builder->capacity = capacity;
    return STATUS_OK;
}

void text_builder_print(TextBuilder *builder, const char *format, ...) {
    if (builder->status != STATUS_OK) return;
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    REQUIRE(bytes >= 0);
    builder->status = make_room(builder, (size_t)bytes);
    if (builder->status != STATUS_OK) return;
    va_start(arguments, format);
    vsnprintf(builder->text + builder->bytes, (size_t)bytes + 1, format, arguments);
    va_end(arguments);
    builder->bytes += (size_t)bytes;
}

Status text_builder_finish(TextBuilder *builder, char **text) {
    text_builder_print(builder, "%s", ""); /* an empty text is a text too */
    *text = builder->text;
    if (builder->status == STATUS_OK) return STATUS_OK;
    memory_free(builder->text);
    *text = NULL;
    return builder->status;
}
