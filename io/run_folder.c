/* run_folder.c - see run_folder.h. */
#include "io/run_folder.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static Status create_one(const char *path) {
    struct stat found;
    if (mkdir(path, 0777) == 0) return STATUS_OK;
    int error = errno;
    if (error == EEXIST && stat(path, &found) == 0 && S_ISDIR(found.st_mode)) return STATUS_OK;
    if (error == EEXIST)
        return FAIL(STATUS_CREATE, "%s: is not a folder; choose another --out", path);
    return FAIL(STATUS_CREATE, "%s: cannot create the folder: %s", path, strerror(error));
}

static Status create_with_parents(const char *folder) {
    char path[RUN_FOLDER_PATH_BYTES + 16];
    snprintf(path, sizeof path, "%s", folder);
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        TRY(create_one(path));
        *slash = '/';
    }
    return create_one(path);
}

Status run_folder_create(const char *folder, int *is_new) {
    char path[RUN_FOLDER_PATH_BYTES + 16];
    *is_new = access(folder, F_OK) != 0;
    if (strlen(folder) + 64 > RUN_FOLDER_PATH_BYTES)
        return FAIL(STATUS_CREATE, "--out: a path of %zu characters is too long", strlen(folder));
    snprintf(path, sizeof path, "%s/checkpoints", folder);
    TRY(create_with_parents(path));
    if (access(path, W_OK | X_OK) != 0 || access(folder, W_OK | X_OK) != 0)
        return FAIL(
            STATUS_CREATE, "%s: cannot write into this folder: %s", folder, strerror(errno));
    return STATUS_OK;
}

void run_folder_remove(const char *folder) {
    static const char *const files[] = {"log.txt", "job.yaml", "metrics.jsonl", "lock"};
    char path[RUN_FOLDER_PATH_BYTES + 16];
    snprintf(path, sizeof path, "%s/checkpoints", folder);
    if (rmdir(path) != 0) return;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        unlink(path);
    }
    rmdir(folder);
}

Status run_folder_write(const char *folder, const char *name, const char *text) {
    char path[RUN_FOLDER_PATH_BYTES], temporary[RUN_FOLDER_PATH_BYTES + 8];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(temporary, sizeof temporary, "%s.new", path);
    FILE *file = fopen(temporary, "w");
    if (file == NULL)
        return FAIL(STATUS_CREATE, "%s: cannot create: %s", temporary, strerror(errno));
    int failed = fputs(text, file) < 0 || fflush(file) != 0 || fsync(fileno(file)) != 0;
    int error = errno;
    failed |= fclose(file) != 0;
    if (!failed && rename(temporary, path) == 0) return STATUS_OK;
    unlink(temporary);
    return FAIL(STATUS_IO, "%s: cannot write: %s", path, strerror(failed ? error : errno));
}

void run_folder_default(const char *job_path, char folder[RUN_FOLDER_PATH_BYTES]) {
    const char *name = job_path == NULL ? "default" : strrchr(job_path, '/');
    if (name == NULL) name = job_path;
    if (*name == '/') name++;
    const char *ending = strrchr(name, '.');
    int length = ending != NULL && ending > name ? (int)(ending - name) : (int)strlen(name);
    snprintf(folder, RUN_FOLDER_PATH_BYTES, "runs/%.*s", length, name);
}
