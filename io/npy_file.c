/* npy_file.c - see npy_file.h. */
#include "io/npy_file.h"
#include "io/file_kind.h"
#include <stdio.h>
#include <string.h>

enum { MAGIC_BYTES = 6, START_BYTES_MAX = 12, HEADER_BYTES_MAX = 65536, WORD_BYTES = 64 };

static const int64_t SIZE_LIMIT = INT64_C(1)
                                  << 40; /* of one dimension: so products can be checked */

/* ---- the header's text ---- */

typedef struct Parser {
    const NpyFile *file;
    const char *text;
    int64_t at, bytes, start; /* `start`: the text's first byte in the file */
} Parser;

static Status fail_at(const Parser *parser, const char *expected) {
    char found[24] = "the header's end";
    if (parser->at < parser->bytes) {
        unsigned char c = (unsigned char)parser->text[parser->at];
        snprintf(found, sizeof found, c >= 32 && c < 127 ? "'%c'" : "byte 0x%02x", c);
    }
    return FAIL(STATUS_DATA, "%s: byte %lld: %s found in the header, %s expected",
        parser->file->bytes.path, (long long)(parser->start + parser->at), found, expected);
}

static void skip_blanks(Parser *parser) {
    while (parser->at < parser->bytes && parser->text[parser->at] == ' ') parser->at++;
}

/* Whether `c` comes next, after blanks; if so it is taken. */
static int takes(Parser *parser, char c) {
    skip_blanks(parser);
    if (parser->at == parser->bytes || parser->text[parser->at] != c) return 0;
    parser->at++;
    return 1;
}

static int takes_word(Parser *parser, const char *word) {
    int64_t length = (int64_t)strlen(word);
    skip_blanks(parser);
    if (parser->bytes - parser->at < length ||
        memcmp(parser->text + parser->at, word, (size_t)length) != 0)
        return 0;
    parser->at += length;
    return 1;
}

/* 'text' or "text", without escapes. */
static Status parse_string(Parser *parser, char word[WORD_BYTES], const char *expected) {
    size_t length = 0;
    char quote = takes(parser, '\'') ? '\'' : takes(parser, '"') ? '"' : '\0';
    if (quote == '\0') return fail_at(parser, expected);
    while (parser->at < parser->bytes && parser->text[parser->at] != quote) {
        char c = parser->text[parser->at];
        if (c == '\\' || c < 32 || length + 1 == WORD_BYTES) return fail_at(parser, expected);
        word[length++] = c;
        parser->at++;
    }
    word[length] = '\0';
    return takes(parser, quote) ? STATUS_OK : fail_at(parser, "the closing quote");
}

static Status parse_size(Parser *parser, int64_t *size) {
    int64_t begin = parser->at;
    *size = 0;
    while (parser->at < parser->bytes && parser->text[parser->at] >= '0' &&
           parser->text[parser->at] <= '9') {
        *size = *size * 10 + (parser->text[parser->at] - '0');
        if (*size > SIZE_LIMIT) return fail_at(parser, "a size of at most 2^40");
        parser->at++;
    }
    if (parser->at == begin) return fail_at(parser, "a size");
    if (parser->text[begin] == '0' && parser->at > begin + 1)
        return fail_at(parser, "a size without leading zeros");
    return STATUS_OK;
}

/* "()", "(5,)", "(5, 3)", "(5, 3,)". */
static Status parse_shape(Parser *parser, ArrayShape *shape) {
    shape->dimension_count = 0;
    if (!takes(parser, '(')) return fail_at(parser, "the shape, a tuple,");
    while (!takes(parser, ')')) {
        if (shape->dimension_count == ARRAY_DIMENSIONS_MAX)
            return fail_at(parser, "at most 8 dimensions");
        skip_blanks(parser);
        TRY(parse_size(parser, &shape->size[shape->dimension_count++]));
        if (takes(parser, ',')) continue;
        if (!takes(parser, ')') || shape->dimension_count == 1)
            return fail_at(parser, "a comma after the size");
        break;
    }
    return STATUS_OK;
}

/* The type word of descr: byte order, kind, bytes of an element. */
static Status parse_type(const Parser *parser, NpyFile *file, const char *word) {
    static const int is_big_endian_machine = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;
    char order = word[0], kind = word[0] == '\0' ? '\0' : word[1];
    int is_size = strlen(word) == 3 && strchr("1248", word[2]) != NULL;
    int bytes = is_size ? word[2] - '0' : 0;
    if (kind == 'O')
        return FAIL(STATUS_DATA,
            "%s: byte %lld: the array holds Python objects (descr '%s'), which only Python can "
            "read; save numbers: a.astype(np.float32)",
            file->bytes.path, (long long)parser->start, word);
    if (kind == 'U' || kind == 'S')
        return FAIL(STATUS_DATA,
            "%s: byte %lld: the array holds texts (descr '%s'), numbers expected; labels become "
            "numbers with np.unique(a, return_inverse=True)[1]",
            file->bytes.path, (long long)parser->start, word);
    int is_known = is_size && strchr("uif", kind) != NULL && strchr("<>|", order) != NULL &&
                   (order == '|') == (bytes == 1) && !(kind == 'f' && bytes < 2);
    if (!is_known)
        return FAIL(STATUS_DATA,
            "%s: byte %lld: element type '%s' found, integers of 1, 2, 4 or 8 bytes or floats of "
            "2, 4 or 8 expected; convert with a.astype(...) before np.save",
            file->bytes.path, (long long)parser->start, word);
    file->form.is_float = kind == 'f';
    file->form.is_signed = kind != 'u';
    file->form.item_bytes = bytes;
    file->is_swapped = bytes > 1 && (order == '>') != is_big_endian_machine;
    return STATUS_OK;
}

static Status parse_order(Parser *parser) {
    if (takes_word(parser, "False")) return STATUS_OK;
    if (!takes_word(parser, "True")) return fail_at(parser, "True or False");
    return FAIL(STATUS_DATA,
        "%s: the array is stored column by column (fortran_order True); save "
        "np.ascontiguousarray(a) instead",
        parser->file->bytes.path);
}

static Status parse_value(Parser *parser, NpyFile *file, int key) {
    char word[WORD_BYTES];
    if (key == 1) return parse_order(parser);
    if (key == 2) return parse_shape(parser, &file->form.shape);
    if (takes(parser, '['))
        return FAIL(STATUS_DATA,
            "%s: byte %lld: the array's elements have fields, numbers expected; save one field: "
            "a['name']",
            file->bytes.path, (long long)(parser->start + parser->at - 1));
    TRY(parse_string(parser, word, "an element type in quotes"));
    return parse_type(parser, file, word);
}

static Status parse_header(Parser *parser, NpyFile *file) {
    static const char *const keys[] = {"descr", "fortran_order", "shape"};
    int is_given[3] = {0, 0, 0};
    char word[WORD_BYTES];
    if (!takes(parser, '{')) return fail_at(parser, "'{'");
    while (!takes(parser, '}')) {
        int key = 0;
        TRY(parse_string(parser, word, "a key in quotes"));
        while (key < 3 && strcmp(word, keys[key]) != 0) key++;
        if (key == 3 || is_given[key]) return fail_at(parser, "descr, fortran_order, shape, once,");
        is_given[key] = 1;
        if (!takes(parser, ':')) return fail_at(parser, "':'");
        TRY(parse_value(parser, file, key));
        if (takes(parser, ',')) continue;
        if (!takes(parser, '}')) return fail_at(parser, "',' or '}'");
        break;
    }
    for (int key = 0; key < 3; key++)
        if (!is_given[key])
            return FAIL(STATUS_DATA, "%s: byte %lld: the header has no \"%s\"", file->bytes.path,
                (long long)parser->start, keys[key]);
    skip_blanks(parser);
    if (!takes(parser, '\n') || parser->at != parser->bytes)
        return fail_at(parser, "blanks and a newline");
    return STATUS_OK;
}

/* ---- the file ---- */

static Status read_exactly(NpyFile *file, void *data, int64_t bytes, const char *what) {
    int64_t got = 0;
    TRY(byte_file_read(&file->bytes, data, bytes, &got));
    if (got == bytes) return STATUS_OK;
    return FAIL(STATUS_DATA, "%s: byte %lld: the file ends here, inside its %s", file->bytes.path,
        (long long)file->bytes.offset, what);
}

static Status check_magic(const NpyFile *file, const unsigned char *start, int64_t got) {
    if (got == 0) return FAIL(STATUS_DATA, "%s: byte 0: the file is empty", file->bytes.path);
    if (got >= MAGIC_BYTES && memcmp(start, "\x93NUMPY", MAGIC_BYTES) == 0) return STATUS_OK;
    const char *found = file_kind_recognize(start, (size_t)got);
    return FAIL(STATUS_DATA, "%s: byte 0: found %s, expected a NumPy array (\\x93NUMPY)",
        file->bytes.path, found != NULL ? found : "something else");
}

/* The bytes before the header's text, and the text's length. */
static Status read_start(NpyFile *file, int64_t *text_bytes) {
    unsigned char start[START_BYTES_MAX] = {0};
    int64_t got = 0;
    TRY(byte_file_read(&file->bytes, start, MAGIC_BYTES, &got));
    TRY(check_magic(file, start, got));
    TRY(read_exactly(file, start + 6, 4, "header"));
    if (start[6] < 1 || start[6] > 3 || start[7] != 0)
        return FAIL(STATUS_DATA, "%s: byte 6: format version %d.%d found, 1.0 to 3.0 expected",
            file->bytes.path, start[6], start[7]);
    *text_bytes = start[8] | start[9] << 8;
    if (start[6] > 1) {
        TRY(read_exactly(file, start + 10, 2, "header"));
        *text_bytes |= (int64_t)start[10] << 16 | (int64_t)start[11] << 24;
    }
    if (*text_bytes >= 1 && *text_bytes <= HEADER_BYTES_MAX) return STATUS_OK;
    return FAIL(STATUS_DATA, "%s: byte 8: a header of %lld bytes promised, 1 to %d expected",
        file->bytes.path, (long long)*text_bytes, HEADER_BYTES_MAX);
}

/* What the header promises is at most, in a plain file exactly, what the file holds. */
static Status check_length(const NpyFile *file) {
    char text[ARRAY_TEXT_BYTES];
    const ByteFile *bytes = &file->bytes;
    int64_t promised = file->form.item_bytes, most = byte_file_bytes_max(bytes);
    int is_too_large = 0;
    for (int i = 0; i < file->form.shape.dimension_count; i++)
        is_too_large |= __builtin_mul_overflow(promised, file->form.shape.size[i], &promised);
    is_too_large |= __builtin_add_overflow(promised, file->header_bytes, &promised);
    array_shape_print(&file->form.shape, text);
    if (is_too_large || promised > most)
        return FAIL(STATUS_DATA,
            "%s: byte %lld: the header promises %s elements of %d bytes, more than the file's %lld "
            "bytes %s; was it copied whole?",
            bytes->path, (long long)bytes->file_bytes, text, file->form.item_bytes,
            (long long)bytes->file_bytes, bytes->is_compressed ? "of gzip can hold" : "hold");
    if (!bytes->is_compressed && promised < most)
        return FAIL(STATUS_DATA,
            "%s: byte %lld: the file goes on, to %lld bytes, after the %s elements of %d bytes "
            "that its header promises",
            bytes->path, (long long)promised, (long long)most, text, file->form.item_bytes);
    return STATUS_OK;
}

static Status read_header(NpyFile *file) {
    char text[HEADER_BYTES_MAX];
    int64_t text_bytes = 0;
    TRY(read_start(file, &text_bytes));
    Parser parser = {.file = file, .text = text, .bytes = text_bytes, .start = file->bytes.offset};
    TRY(read_exactly(file, text, text_bytes, "header"));
    TRY(parse_header(&parser, file));
    file->header_bytes = file->bytes.offset;
    return check_length(file);
}

Status npy_open(NpyFile *file, const char *folder, const char *name) {
    *file = (NpyFile){.is_swapped = 0};
    TRY(byte_file_open_packed(&file->bytes, folder, name));
    if (file->bytes.stream == NULL) return STATUS_OK;
    Status status = read_header(file);
    if (status != STATUS_OK) npy_close(file);
    return status;
}

static void swap_items(unsigned char *items, int64_t count, int item_bytes) {
    for (int64_t i = 0; i < count; i++, items += item_bytes)
        for (int low = 0, high = item_bytes - 1; low < high; low++, high--) {
            unsigned char byte = items[low];
            items[low] = items[high];
            items[high] = byte;
        }
}

Status npy_read(NpyFile *file, void *items, int64_t count) {
    TRY(read_exactly(file, items, count * file->form.item_bytes, "elements"));
    if (file->is_swapped) swap_items(items, count, file->form.item_bytes);
    return STATUS_OK;
}

Status npy_finish(NpyFile *file) {
    char byte;
    int64_t got = 0;
    TRY(byte_file_read(&file->bytes, &byte, 1, &got));
    if (got == 0) return STATUS_OK;
    return FAIL(STATUS_DATA, "%s: byte %lld: the file goes on after its last element",
        file->bytes.path, (long long)file->bytes.offset - 1);
}

void npy_close(NpyFile *file) {
    byte_file_close(&file->bytes);
}
