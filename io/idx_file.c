/* idx_file.c - see idx_file.h. */
#include "io/idx_file.h"
#include "io/file.h"
#include "io/file_kind.h"
#include <stdio.h>
#include <string.h>

enum { MAGIC_BYTES = 4, TYPE_UNSIGNED_BYTE = 8, CIFAR_RECORD_BYTES = 3073 };
static const int64_t COUNT_MAX = 2147483647;

int64_t idx_content_bytes(const IdxFile *file) {
    int64_t elements = 1;
    for (int i = 0; i < file->dimension_count; i++) elements *= file->size[i];
    return MAGIC_BYTES * (1 + file->dimension_count) + elements;
}

/* "16 + 60000 x 28 x 28" */
static const char *print_content(const IdxFile *file, char text[80]) {
    int n = snprintf(text, 80, "%d", MAGIC_BYTES * (1 + file->dimension_count));
    for (int i = 0; i < file->dimension_count; i++)
        n += snprintf(
            text + n, 80 - (size_t)n, "%s%lld", i == 0 ? " + " : " x ", (long long)file->size[i]);
    return text;
}

Status idx_read(IdxFile *file, void *data, int64_t bytes) {
    int64_t got = 0;
    TRY(byte_file_read(&file->bytes, data, bytes, &got));
    if (got == bytes) return STATUS_OK;
    char content[80];
    return FAIL(STATUS_DATA,
        "%s: byte %lld: the file ends here, but its header promises %lld bytes (%s)",
        file->bytes.path, (long long)file->bytes.offset, (long long)idx_content_bytes(file),
        print_content(file, content));
}

Status idx_finish(IdxFile *file) {
    char byte;
    int64_t got = 0;
    char content[80];
    TRY(byte_file_read(&file->bytes, &byte, 1, &got));
    if (got == 0) return STATUS_OK;
    return FAIL(STATUS_DATA,
        "%s: byte %lld: the file goes on after the %lld bytes (%s) that its header "
        "promises",
        file->bytes.path, (long long)idx_content_bytes(file), (long long)idx_content_bytes(file),
        print_content(file, content));
}

void idx_close(IdxFile *file) {
    byte_file_close(&file->bytes);
}

/* `magic`: the first `count` bytes of the file. */
static Status check_magic(const IdxFile *file, const unsigned char *magic, size_t count) {
    const char *wanted = file->dimension_count == 3 ? "images" : "labels";
    const char *found = file_kind_recognize(magic, count);
    if (found != NULL)
        return FAIL(STATUS_DATA, "%s: byte 0: found %s, expected IDX %s (magic 0x0000080%d)",
            file->bytes.path, found, wanted, file->dimension_count);
    if (magic[0] != 0 || magic[1] != 0)
        return FAIL(STATUS_DATA,
            "%s: byte 0: magic 0x%02x%02x%02x%02x found%s, 0x0000080%d (IDX %s) "
            "expected",
            file->bytes.path, magic[0], magic[1], magic[2], magic[3],
            !file->bytes.is_compressed && magic[0] < 10 &&
                    file->bytes.file_bytes % CIFAR_RECORD_BYTES == 0
                ? " (by its length the CIFAR-10 binary format)"
                : "",
            file->dimension_count, wanted);
    if (magic[2] != TYPE_UNSIGNED_BYTE)
        return FAIL(STATUS_DATA,
            "%s: byte 2: element type 0x%02x found, 0x08 (unsigned byte) expected",
            file->bytes.path, magic[2]);
    if (magic[3] != file->dimension_count)
        return FAIL(STATUS_DATA, "%s: byte 3: %d dimension%s found%s, %d (%s) expected",
            file->bytes.path, magic[3], magic[3] == 1 ? "" : "s",
            magic[3] == 1   ? " (labels)"
            : magic[3] == 3 ? " (images)"
                            : "",
            file->dimension_count, wanted);
    return STATUS_OK;
}

static Status check_sizes(const IdxFile *file) {
    static const char *const names[] = {"count", "rows", "columns"};
    for (int i = 0; i < file->dimension_count; i++) {
        int64_t limit = i == 0 ? COUNT_MAX : IDX_SIDE_MAX;
        if (file->size[i] < 1 || file->size[i] > limit)
            return FAIL(STATUS_DATA, "%s: byte %d: %s %lld found, 1 to %lld expected",
                file->bytes.path, MAGIC_BYTES * (1 + i), names[i], (long long)file->size[i],
                (long long)limit);
    }
    return STATUS_OK;
}

/* The sizes are within their limits, so none of these products overflows. */
static Status check_length(const IdxFile *file) {
    char content[80];
    long long promised = idx_content_bytes(file), found = file->bytes.file_bytes;
    print_content(file, content);
    if (file->bytes.is_compressed && promised > byte_file_bytes_max(&file->bytes))
        return FAIL(STATUS_DATA,
            "%s: byte 4: the header promises %lld bytes (%s), more than %lld bytes of gzip can "
            "hold",
            file->bytes.path, promised, content, found);
    if (!file->bytes.is_compressed && found < promised)
        return FAIL(STATUS_DATA,
            "%s: byte %lld: the file ends here, but its header promises %lld bytes (%s)",
            file->bytes.path, found, promised, content);
    if (!file->bytes.is_compressed && found > promised)
        return FAIL(STATUS_DATA,
            "%s: byte %lld: the file goes on, to %lld bytes, after those (%s) that its header "
            "promises",
            file->bytes.path, promised, found, content);
    return STATUS_OK;
}

static Status read_header(IdxFile *file) {
    unsigned char bytes[FILE_KIND_BYTES] = {0};
    int64_t wanted = MAGIC_BYTES * (1 + file->dimension_count), got = 0, more = 0;
    TRY(byte_file_read(&file->bytes, bytes, wanted, &got));
    if (got == 0) return FAIL(STATUS_DATA, "%s: byte 0: the file is empty", file->bytes.path);
    if (bytes[0] != 0)
        TRY(byte_file_read(&file->bytes, bytes + got, (int64_t)sizeof bytes - got, &more));
    if (got >= MAGIC_BYTES) TRY(check_magic(file, bytes, (size_t)(got + more)));
    if (got < wanted)
        return FAIL(STATUS_DATA,
            "%s: byte %lld: the file ends inside its header, which has %lld bytes",
            file->bytes.path, (long long)got, (long long)wanted);
    for (int i = 0; i < file->dimension_count; i++) {
        const unsigned char *p = bytes + MAGIC_BYTES * (1 + i);
        file->size[i] = (int64_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
    }
    TRY(check_sizes(file));
    return check_length(file);
}

Status idx_open(IdxFile *file, const char *folder, const char *stem, int dimension_count) {
    static const char *const endings[] = {"", ".gz"};
    *file = (IdxFile){.dimension_count = dimension_count};
    TRY(byte_file_check_folder(folder));
    for (int i = 0; i < 4 && file->bytes.stream == NULL; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s%cidx%d-ubyte%s", stem, i % 2 == 0 ? '-' : '.',
            dimension_count, endings[i / 2]);
        TRY(byte_file_open(&file->bytes, folder, name));
    }
    char content[FILE_CONTENT_BYTES];
    if (file->bytes.stream == NULL)
        return FAIL(STATUS_MISSING,
            "%s: found neither %s-idx%d-ubyte nor %s.idx%d-ubyte, plain or with .gz%s", folder,
            stem, dimension_count, stem, dimension_count, file_print_content(folder, content));
    Status status = read_header(file);
    if (status != STATUS_OK) idx_close(file);
    return status;
}
