/* byte_file.c - see byte_file.h. */
#include "io/byte_file.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { READ_CHUNK_BYTES = 1 << 26, BUFFER_BYTES = 1 << 15 };

int64_t byte_file_bytes_max(const ByteFile *file) {
    return file->is_compressed ? file->file_bytes * BYTE_FILE_DEFLATE_FACTOR_MAX : file->file_bytes;
}

static Status tell_stream_error(const ByteFile *file, int code, const char *text) {
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

Status byte_file_read(ByteFile *file, void *data, int64_t bytes, int64_t *got) {
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

void byte_file_close(ByteFile *file) {
    if (file->stream == NULL) return;
    gzclose(file->stream); /* what it could report, byte_file_read has reported */
    file->stream = NULL;
}

/* Takes over `descriptor`. */
static Status attach_stream(ByteFile *file, int descriptor) {
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
    file->is_compressed = !gzdirect(file->stream);
    return STATUS_OK;
}

/* Leaves file->stream NULL where there is no such file. */
static Status open_path(ByteFile *file) {
    /* Non-blocking, or a named pipe would hold the program up for ever. */
    int descriptor = -1;
    errno = EIO;
    if (!status_fault_is_due()) descriptor = open(file->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (descriptor >= 0) return attach_stream(file, descriptor);
    if (errno == ENOENT) return STATUS_OK;
    return FAIL(STATUS_IO, "%s: cannot open: %s", file->path, strerror(errno));
}

Status byte_file_open(ByteFile *file, const char *folder, const char *name) {
    *file = (ByteFile){.stream = NULL};
    int length = snprintf(file->path, sizeof file->path, "%s/%s", folder, name);
    if (length >= (int)sizeof file->path)
        return FAIL(STATUS_CONFIG, "data.path: longer than %d bytes: %.60s...",
            BYTE_FILE_PATH_BYTES - 1, folder);
    return open_path(file);
}

Status byte_file_open_packed(ByteFile *file, const char *folder, const char *stem) {
    char name[256];
    REQUIRE(strlen(stem) + 4 < sizeof name);
    TRY(byte_file_open(file, folder, stem));
    if (file->stream != NULL) return STATUS_OK;
    snprintf(name, sizeof name, "%s.gz", stem);
    return byte_file_open(file, folder, name);
}

Status byte_file_check_folder(const char *folder) {
    struct stat info;
    if (stat(folder, &info) != 0 && errno == ENOENT)
        return FAIL(STATUS_MISSING,
            "data.path: there is no folder '%s'; `jobs/get-data.sh mnist` and `jobs/get-data.sh "
            "cifar10` fetch these sets into data/",
            folder);
    if (stat(folder, &info) != 0)
        return FAIL(STATUS_IO, "data.path: cannot look into '%s': %s", folder, strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return FAIL(STATUS_DATA,
            "data.path: '%s' is a file; the folder that holds it is expected (only format hdf5 "
            "reads a single file)",
            folder);
    return STATUS_OK;
}
