/* idx_file.c - see idx_file.h. */
#include "io/idx_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { MAGIC_BYTES = 4, TYPE_UNSIGNED_BYTE = 8, CIFAR_RECORD_BYTES = 3073 };
enum { READ_CHUNK_BYTES = 1 << 26, BUFFER_BYTES = 1 << 15 };

/* Deflate makes at most 1032 bytes out of one (zlib's "maximum compression factor"). */
enum { DEFLATE_FACTOR_MAX = 1100 };

static const int64_t COUNT_MAX = 2147483647;

/* How other files start that turn up under these names. */
static const struct {
    const char *bytes;
    size_t length;
    const char *what;
} signatures[] = {
    {"\x89HDF", 4, "an HDF5 file"},
    {"<!", 2, "a web page, perhaps an error page that a download saved"},
    {"<htm", 4, "a web page, perhaps an error page that a download saved"},
    {"<HTM", 4, "a web page, perhaps an error page that a download saved"},
    {"<?xm", 4, "an XML page, perhaps an error page that a download saved"},
    {"vers", 4, "a Git LFS pointer, not the file it stands for"},
    {"\x1f\x8b", 2, "gzip inside gzip: unpack it once"},
    {"PK\x03\x04", 4, "a zip archive"},
    {"BZh", 3, "a bzip2 file"},
    {"\xfd"
     "7zX",
        4, "an xz file"},
    {"\x93NUM", 4, "a NumPy array (.npy)"},
    {"\x80\x02", 2, "a Python pickle"},
    {"\x89PNG", 4, "a PNG image"},
    {"\xff\xd8\xff", 3, "a JPEG image"},
    {"\x01\x08\x00\x00", 4, "IDX in the wrong byte order"},
    {"\x03\x08\x00\x00", 4, "IDX in the wrong byte order"},
};

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

static Status tell_stream_error(const IdxFile *file, int code, const char *text) {
    long long offset = file->offset;
    const char *reason = strstr(text, ">: "); /* zlib puts "<fd:3>: " before it */
    if (code == Z_ERRNO)
        return FAIL(
            STATUS_IO, "%s: byte %lld: cannot read: %s", file->path, offset, strerror(errno));
    if (code == Z_MEM_ERROR)
        return FAIL(STATUS_NO_MEMORY, "%s: no memory to unpack it", file->path);
    if (code == Z_BUF_ERROR)
        return FAIL(STATUS_DATA,
            "%s: byte %lld (unpacked): the gzip stream is cut off; the download is not complete",
            file->path, offset);
    return FAIL(STATUS_DATA, "%s: byte %lld (unpacked): the gzip stream is damaged: %s", file->path,
        offset, reason != NULL ? reason + 3 : text);
}

/* Read up to `bytes` bytes; fewer only at the end of the file. */
static Status read_some(IdxFile *file, void *data, int64_t bytes, int64_t *got) {
    *got = 0;
    while (*got < bytes) {
        int64_t left = bytes - *got;
        unsigned chunk = left < READ_CHUNK_BYTES ? (unsigned)left : READ_CHUNK_BYTES;
        errno = 0;
        if (status_fault_is_due()) {
            errno = EIO;
            return tell_stream_error(file, Z_ERRNO, "");
        }
        int n = gzread(file->stream, (char *)data + *got, chunk);
        if (n > 0) *got += n;
        if (n > 0) file->offset += n;
        if (n == (int)chunk) continue;
        int code = Z_OK;
        const char *text = gzerror(file->stream, &code);
        if (n < 0 || (code != Z_OK && code != Z_STREAM_END))
            return tell_stream_error(file, code, text);
        break;
    }
    return STATUS_OK;
}

Status idx_read(IdxFile *file, void *data, int64_t bytes) {
    int64_t got = 0;
    TRY(read_some(file, data, bytes, &got));
    if (got == bytes) return STATUS_OK;
    char content[80];
    return FAIL(STATUS_DATA,
        "%s: byte %lld: the file ends here, but its header promises %lld bytes (%s)", file->path,
        (long long)file->offset, (long long)idx_content_bytes(file), print_content(file, content));
}

Status idx_finish(IdxFile *file) {
    char byte;
    int64_t got = 0;
    char content[80];
    TRY(read_some(file, &byte, 1, &got));
    if (got == 0) return STATUS_OK;
    return FAIL(STATUS_DATA,
        "%s: byte %lld: the file goes on after the %lld bytes (%s) that its header "
        "promises",
        file->path, (long long)idx_content_bytes(file), (long long)idx_content_bytes(file),
        print_content(file, content));
}

void idx_close(IdxFile *file) {
    if (file->stream == NULL) return;
    gzclose(file->stream); /* what it could report, idx_read and idx_finish have reported */
    file->stream = NULL;
}

static Status check_magic(const IdxFile *file, const unsigned char magic[MAGIC_BYTES]) {
    const char *wanted = file->dimension_count == 3 ? "images" : "labels";
    for (size_t i = 0; i < sizeof signatures / sizeof signatures[0]; i++)
        if (memcmp(magic, signatures[i].bytes, signatures[i].length) == 0)
            return FAIL(STATUS_DATA, "%s: byte 0: found %s, expected IDX %s (magic 0x0000080%d)",
                file->path, signatures[i].what, wanted, file->dimension_count);
    if (magic[0] != 0 || magic[1] != 0)
        return FAIL(STATUS_DATA,
            "%s: byte 0: magic 0x%02x%02x%02x%02x found%s, 0x0000080%d (IDX %s) "
            "expected",
            file->path, magic[0], magic[1], magic[2], magic[3],
            !file->is_compressed && magic[0] < 10 && file->file_bytes % CIFAR_RECORD_BYTES == 0
                ? " (by its length the CIFAR-10 binary format)"
                : "",
            file->dimension_count, wanted);
    if (magic[2] != TYPE_UNSIGNED_BYTE)
        return FAIL(STATUS_DATA,
            "%s: byte 2: element type 0x%02x found, 0x08 (unsigned byte) expected", file->path,
            magic[2]);
    if (magic[3] != file->dimension_count)
        return FAIL(STATUS_DATA, "%s: byte 3: %d dimension%s found%s, %d (%s) expected", file->path,
            magic[3], magic[3] == 1 ? "" : "s",
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
            return FAIL(STATUS_DATA, "%s: byte %d: %s %lld found, 1 to %lld expected", file->path,
                MAGIC_BYTES * (1 + i), names[i], (long long)file->size[i], (long long)limit);
    }
    return STATUS_OK;
}

/* The sizes are within their limits, so none of these products overflows. */
static Status check_length(const IdxFile *file) {
    char content[80];
    long long promised = idx_content_bytes(file), found = file->file_bytes;
    print_content(file, content);
    if (file->is_compressed && (promised - 1) / DEFLATE_FACTOR_MAX >= found)
        return FAIL(STATUS_DATA,
            "%s: byte 4: the header promises %lld bytes (%s), more than %lld bytes of gzip can "
            "hold",
            file->path, promised, content, found);
    if (!file->is_compressed && found < promised)
        return FAIL(STATUS_DATA,
            "%s: byte %lld: the file ends here, but its header promises %lld bytes (%s)",
            file->path, found, promised, content);
    if (!file->is_compressed && found > promised)
        return FAIL(STATUS_DATA,
            "%s: byte %lld: the file goes on, to %lld bytes, after those (%s) that its header "
            "promises",
            file->path, promised, found, content);
    return STATUS_OK;
}

static Status read_header(IdxFile *file) {
    unsigned char bytes[MAGIC_BYTES * (1 + IDX_DIMENSIONS_MAX)] = {0};
    int64_t wanted = MAGIC_BYTES * (1 + file->dimension_count), got = 0;
    TRY(read_some(file, bytes, wanted, &got));
    if (got == 0) return FAIL(STATUS_DATA, "%s: byte 0: the file is empty", file->path);
    file->is_compressed = !gzdirect(file->stream);
    if (got >= MAGIC_BYTES) TRY(check_magic(file, bytes));
    if (got < wanted)
        return FAIL(STATUS_DATA,
            "%s: byte %lld: the file ends inside its header, which has %lld bytes", file->path,
            (long long)got, (long long)wanted);
    for (int i = 0; i < file->dimension_count; i++) {
        const unsigned char *p = bytes + MAGIC_BYTES * (1 + i);
        file->size[i] = (int64_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
    }
    TRY(check_sizes(file));
    return check_length(file);
}

/* Takes over `descriptor`. */
static Status attach_stream(IdxFile *file, int descriptor) {
    struct stat info;
    Status status = STATUS_OK;
    if (fstat(descriptor, &info) != 0)
        status = FAIL(STATUS_IO, "%s: cannot stat: %s", file->path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        status = FAIL(STATUS_DATA, "%s: not a regular file but a %s", file->path,
            S_ISDIR(info.st_mode) ? "directory" : "device, pipe or socket");
    else if ((file->stream = gzdopen(descriptor, "rb")) == NULL)
        status = FAIL(STATUS_NO_MEMORY, "%s: no memory to read it", file->path);
    if (status != STATUS_OK) {
        close(descriptor);
        return status;
    }
    file->file_bytes = info.st_size;
    gzbuffer(file->stream, BUFFER_BYTES); /* a refusal leaves zlib's own size */
    return STATUS_OK;
}

/* Leaves file->stream NULL where there is no such file. */
static Status open_path(IdxFile *file) {
    /* Non-blocking, or a named pipe would hold the program up for ever. */
    int descriptor = -1;
    errno = EIO;
    if (!status_fault_is_due()) descriptor = open(file->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (descriptor >= 0) return attach_stream(file, descriptor);
    if (errno == ENOENT) return STATUS_OK;
    return FAIL(STATUS_IO, "%s: cannot open: %s", file->path, strerror(errno));
}

static Status check_folder(const char *folder) {
    struct stat info;
    if (stat(folder, &info) != 0 && errno == ENOENT)
        return FAIL(STATUS_MISSING,
            "data.path: there is no folder '%s'; `jobs/get-data.sh mnist` fetches MNIST into "
            "data/mnist",
            folder);
    if (stat(folder, &info) != 0)
        return FAIL(STATUS_IO, "data.path: cannot look into '%s': %s", folder, strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return FAIL(
            STATUS_DATA, "data.path: '%s' is a file; the folder that holds it is expected", folder);
    return STATUS_OK;
}

Status idx_open(IdxFile *file, const char *folder, const char *stem, int dimension_count) {
    static const char *const endings[] = {"", ".gz"};
    *file = (IdxFile){.dimension_count = dimension_count};
    TRY(check_folder(folder));
    for (int i = 0; i < 4 && file->stream == NULL; i++) {
        int length = snprintf(file->path, sizeof file->path, "%s/%s%cidx%d-ubyte%s", folder, stem,
            i % 2 == 0 ? '-' : '.', dimension_count, endings[i / 2]);
        if (length >= (int)sizeof file->path)
            return FAIL(STATUS_CONFIG, "data.path: longer than %d bytes: %.60s...",
                IDX_PATH_BYTES - 1, folder);
        TRY(open_path(file));
    }
    if (file->stream == NULL)
        return FAIL(STATUS_MISSING,
            "%s: found neither %s-idx%d-ubyte nor %s.idx%d-ubyte, plain or with .gz", folder, stem,
            dimension_count, stem, dimension_count);
    Status status = read_header(file);
    if (status != STATUS_OK) idx_close(file);
    return status;
}
