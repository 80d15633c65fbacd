/* file.c - see file.h. */
#include "io/file.h"
#include "io/utf8.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

Status file_open_to_read(int *descriptor, int64_t *size_bytes, const char *path) {
    struct stat found = {.st_mode = 0};
    *descriptor = status_fault_is_due() ? -1 : open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*descriptor < 0)
        return FAIL(errno == ENOENT || errno == ENOTDIR ? STATUS_MISSING : STATUS_IO,
            "%s: cannot open: %s", path, strerror(errno));
    if (fstat(*descriptor, &found) == 0 && S_ISREG(found.st_mode)) {
        *size_bytes = found.st_size;
        return STATUS_OK;
    }
    file_close(*descriptor);
    *descriptor = -1;
    return FAIL(STATUS_DATA, "%s: is not a regular file%s", path,
        S_ISDIR(found.st_mode) ? " but a folder" : "");
}

static int is_not_hidden(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

const char *file_print_content(const char *folder, char text[FILE_CONTENT_BYTES]) {
    enum { SHOWN = 4, NAME_BYTES = 48 };
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, is_not_hidden, alphasort), used = 0;
    text[0] = '\0';
    if (count == 0) snprintf(text, FILE_CONTENT_BYTES, "; it is empty");
    for (int i = 0; i < count && i < SHOWN; i++) {
        char name[NAME_BYTES];
        utf8_shorten(entries[i]->d_name, name, sizeof name);
        used += snprintf(text + used, FILE_CONTENT_BYTES - (size_t)used, "%s%s%s",
            i == 0 ? "; it holds " : ", ", name, entries[i]->d_type == DT_DIR ? "/" : "");
    }
    if (count > SHOWN) snprintf(text + used, FILE_CONTENT_BYTES - (size_t)used, ", ...");
    for (int i = 0; i < count; i++) free(entries[i]);
    free(entries);
    return text;
}

Status file_create(int *descriptor, const char *path) {
    *descriptor =
        status_fault_is_due() ? -1 : open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
    if (*descriptor >= 0) return STATUS_OK;
    int is_folder = errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == EPERM ||
                    errno == EROFS || errno == ENAMETOOLONG || errno == ELOOP;
    return FAIL(
        is_folder ? STATUS_CREATE : STATUS_IO, "%s: cannot create: %s", path, strerror(errno));
}

void file_close(int descriptor) {
    if (descriptor >= 0) close(descriptor);
}

Status file_read_at(int descriptor, const char *path, void *data, size_t bytes, int64_t offset) {
    char *next = data;
    while (bytes > 0) {
        ssize_t got = status_fault_is_due() ? -1 : pread(descriptor, next, bytes, offset);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return FAIL(STATUS_IO, "%s: cannot read: %s", path, strerror(errno));
        if (got == 0)
            return FAIL(
                STATUS_IO, "%s: ends at byte %lld while it is read", path, (long long)offset);
        next += got;
        bytes -= (size_t)got;
        offset += got;
    }
    return STATUS_OK;
}

Status file_write_at(
    int descriptor, const char *path, const void *data, size_t bytes, int64_t offset) {
    const char *next = data;
    while (bytes > 0) {
        ssize_t put = status_fault_is_due() ? -1 : pwrite(descriptor, next, bytes, offset);
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) return FAIL(STATUS_IO, "%s: cannot write: %s", path, strerror(errno));
        next += put;
        bytes -= (size_t)put;
        offset += put;
    }
    return STATUS_OK;
}

Status file_sync(int descriptor, const char *path) {
    if (!status_fault_is_due() && fsync(descriptor) == 0) return STATUS_OK;
    return FAIL(STATUS_IO, "%s: cannot bring it to the disk: %s", path, strerror(errno));
}

/* Some file systems know no such call for folders, and say so with EINVAL. */
static Status sync_folder(int descriptor, const char *path) {
    if (!status_fault_is_due() && (fsync(descriptor) == 0 || errno == EINVAL)) return STATUS_OK;
    return FAIL(STATUS_IO, "%s: cannot bring it to the disk: %s", path, strerror(errno));
}

Status file_rename(const char *folder, const char *from, const char *to) {
    int descriptor = status_fault_is_due() ? -1 : open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return FAIL(STATUS_IO, "%s: cannot open: %s", folder, strerror(errno));
    Status status = STATUS_OK;
    if (status_fault_is_due() || renameat(descriptor, from, descriptor, to) != 0)
        status =
            FAIL(STATUS_IO, "%s/%s: cannot rename to %s: %s", folder, from, to, strerror(errno));
    if (status == STATUS_OK) status = sync_folder(descriptor, folder);
    file_close(descriptor);
    return status;
}
