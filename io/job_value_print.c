/* job_value_print.c - one option's value as YAML; see job_reader.h. */
#include "io/job_reader.h"
#include "io/number_text.h"
#include "io/utf8.h"
#include <ctype.h>
#include <inttypes.h>
#include <string.h>
#include <strings.h>

/* Words that YAML 1.1 takes for something else than text. */
static int is_reserved(const char *text) {
    static const char *const words[] = {
        "true", "false", "yes", "no", "on", "off", "y", "n", "null", NULL};
    for (int i = 0; words[i] != NULL; i++)
        if (strcasecmp(words[i], text) == 0) return 1;
    return 0;
}

static int may_be_plain(const char *text) {
    if (!isascii(text[0]) || (!isalpha((unsigned char)text[0]) && text[0] != '/')) return 0;
    for (const char *letter = text; *letter != '\0'; letter++)
        if (!isascii(*letter) || (!isalnum((unsigned char)*letter) && !strchr("_./-", *letter)))
            return 0;
    return !is_reserved(text);
}

/* Code points that a YAML text may not hold as they are, or that would be read as line breaks. */
static int needs_escape(uint32_t code) {
    return code < 0x20 || (code >= 0x7f && code <= 0xa0) || code == 0x2028 || code == 0x2029 ||
           code == 0xfeff || code == 0xfffe || code == 0xffff;
}

void job_value_print_string(TextBuilder *builder, const char *text) {
    if (may_be_plain(text)) {
        text_builder_print(builder, "%s", text);
        return;
    }
    text_builder_print(builder, "\"");
    for (size_t left = strlen(text), step = 0; left > 0; left -= step, text += step) {
        uint32_t code = 0;
        step = utf8_decode(text, left, &code);
        REQUIRE(step > 0);
        if (code == '"' || code == '\\')
            text_builder_print(builder, "\\%c", (int)code);
        else if (needs_escape(code))
            text_builder_print(builder, "\\u%04" PRIX32, code);
        else
            text_builder_print(builder, "%.*s", (int)step, text);
    }
    text_builder_print(builder, "\"");
}

static void print_int(TextBuilder *builder, const Option *option, int64_t value) {
    if (value == -1 && option->is_null_allowed)
        text_builder_print(builder, "null");
    else
        text_builder_print(builder, "%" PRId64, value);
}

static void print_float(TextBuilder *builder, double value) {
    char text[NUMBER_TEXT_BYTES];
    text_builder_print(builder, "%s", number_text_print(value, text));
}

static void print_list(TextBuilder *builder, const Option *option, const void *target) {
    const OptionInts *ints = target;
    const OptionFloats *floats = target;
    int is_ints = option->type == OPTION_INTS;
    int count = is_ints ? ints->count : floats->count;
    text_builder_print(builder, count == 0 ? "null" : "[");
    for (int i = 0; i < count; i++) {
        if (i > 0) text_builder_print(builder, ", ");
        if (is_ints)
            print_int(builder, option, ints->values[i]);
        else
            print_float(builder, floats->values[i]);
    }
    if (count > 0) text_builder_print(builder, "]");
}

static void print_group(TextBuilder *builder, int64_t group) {
    if (group <= 1)
        text_builder_print(builder, "%s", group == 0 ? "global" : "none");
    else
        text_builder_print(builder, "{group: %" PRId64 "}", group);
}

void job_value_print(TextBuilder *builder, const Option *option, const void *values) {
    const void *target = (const char *)values + option->offset;
    switch (option->type) {
    case OPTION_INT:
        print_int(builder, option, *(const int64_t *)target);
        break;
    case OPTION_FLOAT:
        print_float(builder, *(const double *)target);
        break;
    case OPTION_BOOL:
        text_builder_print(builder, "%s", *(const int *)target ? "true" : "false");
        break;
    case OPTION_STRING:
        job_value_print_string(builder, *(char *const *)target);
        break;
    case OPTION_ENUM:
        text_builder_print(builder, "%s", option->words[*(const int *)target]);
        break;
    case OPTION_INTS:
    case OPTION_FLOATS:
        print_list(builder, option, target);
        break;
    case OPTION_GROUP:
        print_group(builder, *(const int64_t *)target);
        break;
    }
}
