/* checkpoint_folder.c - the checkpoints of a run: links, list, removal of old ones, the lock. */
#include "io/checkpoint.h"
#include "io/file.h"
#include "io/seal.h"
#include "src/memory.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { NAME_BYTES = 256 };

/* Stands for the step of a file whose seal cannot be read: listed first, so that it is tried, named
 * in a warning and passed over; never removed. */
static const int64_t UNREADABLE = INT64_MAX;

/* ---- links ---- */

Status checkpoint_link(const char *folder, const char *link, const char *target) {
    char temporary[NAME_BYTES], path[CHECKPOINT_PATH_BYTES];
    snprintf(temporary, sizeof temporary, ".%.200s.tmp.%ld", link, (long)getpid());
    snprintf(path, sizeof path, "%s/%s", folder, temporary);
    unlink(path);
    if (status_fault_is_due() || symlink(target, path) != 0)
        return FAIL(STATUS_IO, "%s: cannot create the link: %s", path, strerror(errno));
    Status status = file_rename(folder, temporary, link);
    if (status != STATUS_OK) unlink(path);
    return status;
}

void checkpoint_read_link(
    const char *folder, const char *link, char target[CHECKPOINT_PATH_BYTES]) {
    char path[CHECKPOINT_PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, link);
    ssize_t length = readlink(path, target, CHECKPOINT_PATH_BYTES - 1);
    target[length > 0 ? length : 0] = '\0';
}

/* ---- the list ---- */

typedef struct Entry {
    int64_t step;
    char name[NAME_BYTES];
} Entry;

typedef struct Entries {
    Entry *items;
    int count, capacity;
} Entries;

static int has_ending(const char *name, const char *ending) {
    size_t length = strlen(name), wanted = strlen(ending);
    return length > wanted && strcmp(name + length - wanted, ending) == 0;
}

static Status add_entry(Entries *entries, const char *name, int64_t step) {
    if (entries->count == entries->capacity) {
        Entry *more = NULL;
        int capacity = entries->capacity > 0 ? 2 * entries->capacity : 16;
        TRY(MEMORY_ALLOCATE(&more, (size_t)capacity, "list of checkpoints"));
        if (entries->count > 0) memcpy(more, entries->items, (size_t)entries->count * sizeof *more);
        memory_free(entries->items);
        entries->items = more;
        entries->capacity = capacity;
    }
    Entry *entry = &entries->items[entries->count++];
    entry->step = step;
    snprintf(entry->name, sizeof entry->name, "%s", name);
    return STATUS_OK;
}

/* Highest step first; of equal steps, the name that an epoch's end gives ("epoch" < "step"). */
static int compare_entries(const void *a, const void *b) {
    const Entry *left = a, *right = b;
    if (left->step != right->step) return left->step < right->step ? 1 : -1;
    return strcmp(left->name, right->name);
}

static int is_checkpoint_name(const char *name) {
    return has_ending(name, ".h5") && name[0] != '.' && strlen(name) < NAME_BYTES;
}

static Status collect(const char *folder, DIR *opened, Entries *entries) {
    char path[CHECKPOINT_PATH_BYTES];
    for (;;) {
        int64_t step = UNREADABLE;
        errno = 0;
        struct dirent *found = status_fault_is_due() ? NULL : readdir(opened);
        if (found == NULL && errno != 0)
            return FAIL(STATUS_IO, "%s: cannot list: %s", folder, strerror(errno));
        if (found == NULL) return STATUS_OK;
        if (!is_checkpoint_name(found->d_name)) continue;
        snprintf(path, sizeof path, "%s/%s", folder, found->d_name);
        Status status = seal_read_step(path, &step);
        TRY(add_entry(entries, found->d_name, status == STATUS_OK ? step : UNREADABLE));
    }
}

static Status list(const char *folder, Entries *entries) {
    *entries = (Entries){.items = NULL};
    DIR *opened = status_fault_is_due() ? NULL : opendir(folder);
    if (opened == NULL && errno == ENOENT) return STATUS_OK;
    if (opened == NULL) return FAIL(STATUS_IO, "%s: cannot list: %s", folder, strerror(errno));
    Status status = collect(folder, opened, entries);
    closedir(opened);
    if (status != STATUS_OK) {
        memory_free(entries->items);
        *entries = (Entries){.items = NULL};
    }
    if (entries->count > 1)
        qsort(entries->items, (size_t)entries->count, sizeof *entries->items, compare_entries);
    return status;
}

Status checkpoint_list(const char *folder, char ***names, int *count) {
    Entries entries;
    *names = NULL;
    *count = 0;
    TRY(list(folder, &entries));
    size_t pointers = (size_t)entries.count * sizeof(char *);
    Status status = memory_allocate(
        (void **)names, pointers + (size_t)entries.count * NAME_BYTES, 1, "list of checkpoints");
    if (status == STATUS_OK) {
        char *text = (char *)*names + pointers;
        for (int i = 0; i < entries.count; i++, text += NAME_BYTES) {
            memcpy(text, entries.items[i].name, NAME_BYTES);
            (*names)[i] = text;
        }
        *count = entries.count;
    }
    memory_free(entries.items);
    return status;
}

Status checkpoint_peek_step(const char *path, int64_t *step) {
    return seal_read_step(path, step);
}

/* ---- removal ---- */

static Status remove_file(const char *folder, const char *name) {
    char path[CHECKPOINT_PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!status_fault_is_due() && (unlink(path) == 0 || errno == ENOENT)) return STATUS_OK;
    return FAIL(STATUS_IO, "%s: cannot remove: %s", path, strerror(errno));
}

/* The temporaries ".NAME.tmp.PID" of processes that are gone. The run's lock keeps other hosts out.
 */
static void remove_dead_temporaries(const char *folder) {
    DIR *opened = opendir(folder);
    if (opened == NULL) return;
    for (struct dirent *found = readdir(opened); found != NULL; found = readdir(opened)) {
        const char *mark = strstr(found->d_name, ".tmp.");
        if (found->d_name[0] != '.' || mark == NULL) continue;
        char *end = NULL;
        long process = strtol(mark + strlen(".tmp."), &end, 10);
        if (*end != '\0' || process <= 0 || process == (long)getpid()) continue;
        if (kill((pid_t)process, 0) != 0 && errno == ESRCH)
            unlinkat(dirfd(opened), found->d_name, 0);
    }
    closedir(opened);
}

Status checkpoint_prune(const char *folder, int keep, const char *best) {
    Entries entries;
    REQUIRE(keep >= 2);
    remove_dead_temporaries(folder);
    TRY(list(folder, &entries));
    Status status = STATUS_OK;
    int kept = 0;
    for (int i = 0; i < entries.count && status == STATUS_OK; i++) {
        int is_best = best != NULL && strcmp(entries.items[i].name, best) == 0;
        int is_readable = entries.items[i].step != UNREADABLE;
        if (is_readable && kept < keep) {
            kept++;
            continue;
        }
        if (!is_best && is_readable) status = remove_file(folder, entries.items[i].name);
    }
    memory_free(entries.items);
    return status;
}

/* ---- the lock ---- */

struct CheckpointLock {
    int descriptor;
};

static void describe_holder(int descriptor, char text[NAME_BYTES]) {
    ssize_t length = pread(descriptor, text, NAME_BYTES - 1, 0);
    text[length > 0 ? length : 0] = '\0';
    text[strcspn(text, "\n")] = '\0';
}

static void write_holder(int descriptor) {
    char host[NAME_BYTES] = "", text[2 * NAME_BYTES], started[32];
    time_t now = time(NULL);
    struct tm parts;
    gethostname(host, sizeof host - 1);
    gmtime_r(&now, &parts);
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &parts);
    int length =
        snprintf(text, sizeof text, "process %ld on %s since %s\n", (long)getpid(), host, started);
    /* Only for the message of the one that is refused: a failure does no harm. */
    if (ftruncate(descriptor, 0) != 0 || pwrite(descriptor, text, (size_t)length, 0) < 0) return;
}

static Status take_lock(int descriptor, const char *path, double wait_seconds) {
    const struct timespec pause = {.tv_nsec = 100000000};
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char holder[NAME_BYTES];
    for (double waited = 0;; waited += 0.1) {
        if (fcntl(descriptor, F_SETLK, &lock) == 0) return STATUS_OK;
        if (errno != EACCES && errno != EAGAIN) {
            /* A file system without locks: go on, as HDF5 does. */
            if (errno == ENOLCK || errno == ENOSYS || errno == EOPNOTSUPP) return STATUS_OK;
            return FAIL(STATUS_CREATE, "%s: cannot lock: %s", path, strerror(errno));
        }
        if (waited >= wait_seconds) break;
        nanosleep(&pause, NULL);
    }
    describe_holder(descriptor, holder);
    return FAIL(STATUS_CREATE, "%s: another job writes here (%s): end it, or choose another --out",
        path, holder[0] != '\0' ? holder : "unknown");
}

Status checkpoint_lock(CheckpointLock **lock_out, const char *folder, double wait_seconds) {
    CheckpointLock *lock = NULL;
    char path[CHECKPOINT_PATH_BYTES];
    *lock_out = NULL;
    snprintf(path, sizeof path, "%s/lock", folder);
    int descriptor =
        status_fault_is_due() ? -1 : open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (descriptor < 0) return FAIL(STATUS_CREATE, "%s: cannot create: %s", path, strerror(errno));
    Status status = take_lock(descriptor, path, wait_seconds);
    if (status == STATUS_OK) status = MEMORY_ALLOCATE(&lock, 1, "lock");
    if (status != STATUS_OK) {
        file_close(descriptor);
        return status;
    }
    write_holder(descriptor);
    lock->descriptor = descriptor;
    *lock_out = lock;
    return STATUS_OK;
}

void checkpoint_unlock(CheckpointLock *lock) {
    if (lock == NULL) return;
    file_close(lock->descriptor);
    memory_free(lock);
}
