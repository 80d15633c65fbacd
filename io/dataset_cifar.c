/* dataset_cifar.c - CIFAR-10 and CIFAR-100, binary version, plain or .gz.
 *
 * CIFAR-10: data_batch_1.bin, 2, ... up to the first that is missing, and test_batch.bin; a record
 * is one label, 0 to 9, and the pixels. CIFAR-100: train.bin and test.bin; a coarse label, 0 to 19,
 * a fine one, 0 to 99, and the pixels; the fine label is taken. Pixels: 1,024 red, 1,024 green,
 * 1,024 blue, each plane row by row (Krizhevsky, "Learning Multiple Layers of Features from Tiny
 * Images", 2009). Which of the two a folder holds is told by its file names. The classes' names are
 * in batches.meta.txt and fine_label_names.txt, if these are there. */
#include "io/byte_file.h"
#include "io/dataset_format.h"
#include "io/file.h"
#include "io/file_kind.h"
#include <stdio.h>
#include <string.h>

enum { CHANNELS = 3, SIDE = 32, PIXEL_BYTES = CHANNELS * SIDE * SIDE };
enum { LABELS_MAX = 2, RECORD_BYTES_MAX = LABELS_MAX + PIXEL_BYTES, BATCHES_MAX = 1000 };

static const int64_t COUNT_MAX = 2147483647;

typedef struct Version {
    const char *name;
    int label_bytes, class_counts[LABELS_MAX]; /* of each label; the last is the one taken */
    const char *stems[2];                      /* train, test */
    int is_numbered;                           /* train: stem + number + ".bin" */
    const char *names_file;                    /* a class in each line */
} Version;

static const Version versions[] = {{.name = "CIFAR-10",
                                       .label_bytes = 1,
                                       .class_counts = {10},
                                       .stems = {"data_batch_", "test_batch.bin"},
                                       .is_numbered = 1,
                                       .names_file = "batches.meta.txt"},
    {.name = "CIFAR-100",
        .label_bytes = 2,
        .class_counts = {20, 100},
        .stems = {"train.bin", "test.bin"},
        .names_file = "fine_label_names.txt"}};

/* ---- records ---- */

static int record_bytes(const Version *version) {
    return version->label_bytes + PIXEL_BYTES;
}

/* Check the labels of record `index` of the file, which begins at byte `start`, of which there are
 * `bytes` bytes. */
static Status check_labels(const ByteFile *file, const Version *version,
    const unsigned char *record, int64_t bytes, int64_t index, int64_t start) {
    for (int i = 0; i < version->label_bytes; i++) {
        if (record[i] < version->class_counts[i]) continue;
        const char *what = start == 0 && i == 0 ? file_kind_recognize(record, (size_t)bytes) : NULL;
        if (what != NULL)
            return FAIL(STATUS_DATA, "%s: byte 0: found %s, expected %s, binary version",
                file->path, what, version->name);
        return FAIL(STATUS_DATA,
            "%s: byte %lld: record %lld has %slabel %d; %s has 0 to %d: is this its binary "
            "version?",
            file->path, (long long)start + i, (long long)index,
            version->label_bytes == 1 ? ""
            : i == 0                  ? "coarse "
                                      : "fine ",
            record[i], version->name, version->class_counts[i] - 1);
    }
    return STATUS_OK;
}

/* The next record; *is_end tells that there is none. */
static Status read_record(
    ByteFile *file, const Version *version, unsigned char *record, int *is_end) {
    int64_t start = file->offset, bytes = record_bytes(version), got = 0;
    TRY(byte_file_read(file, record, bytes, &got));
    *is_end = got == 0;
    if (got == 0) return STATUS_OK;
    if (start == 0 && got >= version->label_bytes)
        TRY(check_labels(file, version, record, got, 0, 0));
    if (got < bytes)
        return FAIL(STATUS_DATA,
            "%s: byte %lld: the file ends here, inside record %lld; a record of %s has %lld bytes",
            file->path, (long long)file->offset, (long long)(start / bytes), version->name,
            (long long)bytes);
    return check_labels(file, version, record, bytes, start / bytes, start);
}

/* Count the records of an open file, reading all of them. */
static Status count_records(ByteFile *file, const Version *version, int64_t *count) {
    unsigned char record[RECORD_BYTES_MAX];
    for (int is_end = 0;;) {
        TRY(read_record(file, version, record, &is_end));
        if (is_end && file->offset == 0)
            return FAIL(STATUS_DATA, "%s: byte 0: the file is empty", file->path);
        if (is_end) return STATUS_OK;
        if (++*count > COUNT_MAX)
            return FAIL(STATUS_DATA, "%s: byte %lld: more than %lld records in all", file->path,
                (long long)file->offset, (long long)COUNT_MAX);
    }
}

/* Read records [*done, count) from an open file, as far as it goes. */
static Status read_records(ByteFile *file, const Version *version, int64_t count, int64_t *done,
    uint8_t *images, int32_t *labels) {
    unsigned char record[RECORD_BYTES_MAX];
    for (int is_end = 0;;) {
        TRY(read_record(file, version, record, &is_end));
        if (is_end) return STATUS_OK;
        if (*done == count)
            return FAIL(STATUS_DATA,
                "%s: byte %lld: there were %lld records in all: the file "
                "changed while it was read",
                file->path, (long long)file->offset, (long long)count);
        labels[*done] = record[version->label_bytes - 1];
        memcpy(images + *done * PIXEL_BYTES, record + version->label_bytes, PIXEL_BYTES);
        ++*done;
    }
}

/* ---- files ---- */

/* File `index` (0, 1, ...) of a split; its stream is NULL when there is none. */
static Status open_part(
    ByteFile *file, const char *folder, const Version *version, DatasetSplit split, int index) {
    char name[32];
    *file = (ByteFile){.stream = NULL};
    if (split == DATASET_TEST || !version->is_numbered) {
        if (index > 0) return STATUS_OK;
        return byte_file_open_packed(file, folder, version->stems[split]);
    }
    if (index == BATCHES_MAX) return STATUS_OK;
    snprintf(name, sizeof name, "%s%d.bin", version->stems[split], index + 1);
    return byte_file_open_packed(file, folder, name);
}

static Status holds_version(const char *folder, const Version *version, int *is_there) {
    ByteFile file;
    *is_there = 0;
    for (DatasetSplit split = DATASET_TRAIN; split <= DATASET_TEST && !*is_there; split++) {
        TRY(open_part(&file, folder, version, split, 0));
        *is_there = file.stream != NULL;
        byte_file_close(&file);
    }
    return STATUS_OK;
}

static Status find_version(const char *folder, const Version **version) {
    char content[FILE_CONTENT_BYTES];
    int is_there[2];
    TRY(byte_file_check_folder(folder));
    for (int i = 0; i < 2; i++) TRY(holds_version(folder, &versions[i], &is_there[i]));
    if (is_there[0] && is_there[1])
        return FAIL(STATUS_DATA,
            "%s: holds files of CIFAR-10 and of CIFAR-100; give each a folder of its own", folder);
    if (!is_there[0] && !is_there[1])
        return FAIL(STATUS_MISSING,
            "%s: found neither data_batch_1.bin (CIFAR-10) nor train.bin (CIFAR-100), plain or "
            "with .gz; the binary version is wanted, not those for Python or Matlab%s",
            folder, file_print_content(folder, content));
    *version = &versions[is_there[0] ? 0 : 1];
    return STATUS_OK;
}

static Status tell_missing(const char *folder, const Version *version, DatasetSplit split) {
    return FAIL(STATUS_MISSING, "%s: found no %s%s, plain or with .gz", folder,
        version->stems[split], split == DATASET_TRAIN && version->is_numbered ? "1.bin" : "");
}

/* Part `missing` is not there: none after it may be, or samples would be left out silently. */
static Status check_later_parts(
    const char *folder, const Version *version, DatasetSplit split, int missing) {
    enum { PARTS_AHEAD = 4 };
    for (int i = missing + 1; i <= missing + PARTS_AHEAD; i++) {
        ByteFile file;
        TRY(open_part(&file, folder, version, split, i));
        if (file.stream == NULL) continue;
        byte_file_close(&file);
        return FAIL(STATUS_DATA,
            "%s: part %d of the training set is missing, and part %d is there: fetch it again, or "
            "take the later ones away",
            folder, missing + 1, i + 1);
    }
    return STATUS_OK;
}

static Status measure(const Job *job, DatasetSplit split, DatasetSizes *sizes) {
    const char *folder = job->data.path;
    const Version *version = NULL;
    ByteFile file;
    TRY(find_version(folder, &version));
    *sizes = (DatasetSizes){.channels = CHANNELS,
        .height = SIDE,
        .width = SIDE,
        .class_count = version->class_counts[version->label_bytes - 1],
        .element_bytes = 1};
    int part = 0;
    for (;; part++) {
        TRY(open_part(&file, folder, version, split, part));
        if (file.stream == NULL) break;
        Status status = count_records(&file, version, &sizes->count);
        byte_file_close(&file);
        if (status != STATUS_OK) return status;
    }
    if (part == 0) return tell_missing(folder, version, split);
    return check_later_parts(folder, version, split, part);
}

static Status fill(
    const Job *job, DatasetSplit split, const DatasetSizes *sizes, void *images, int32_t *labels) {
    const char *folder = job->data.path;
    const Version *version = NULL;
    ByteFile file;
    int64_t done = 0;
    TRY(find_version(folder, &version));
    for (int i = 0;; i++) {
        TRY(open_part(&file, folder, version, split, i));
        if (file.stream == NULL) break;
        Status status = read_records(&file, version, sizes->count, &done, images, labels);
        byte_file_close(&file);
        if (status != STATUS_OK) return status;
    }
    if (done == sizes->count) return STATUS_OK;
    return FAIL(STATUS_DATA, "%s: had %lld records and has %lld now: it changed while it was read",
        folder, (long long)sizes->count, (long long)done);
}

/* ---- names of the classes ---- */

enum { NAMES_BYTES_MAX = 1 << 14 };

/* The lines of `text` that hold something. */
static Status add_lines(NameList *names, char *text) {
    static const char line_ends[] = "\r\n";
    char *rest = NULL;
    for (char *line = strtok_r(text, line_ends, &rest); line != NULL;
         line = strtok_r(NULL, line_ends, &rest))
        TRY(name_list_add(names, line));
    return STATUS_OK;
}

static Status read_names(ByteFile *file, const Version *version, NameList *names) {
    char text[NAMES_BYTES_MAX + 1] = "";
    int64_t got = 0;
    size_t wanted = (size_t)version->class_counts[version->label_bytes - 1];
    TRY(byte_file_read(file, text, NAMES_BYTES_MAX, &got));
    TRY(add_lines(names, text));
    if (names->count == wanted && got < NAMES_BYTES_MAX) return STATUS_OK;
    return FAIL(STATUS_DATA,
        "%s: %zu lines found, %zu expected, the names of the classes of %s; without the file they "
        "are numbers",
        file->path, names->count, wanted, version->name);
}

static Status read_classes(const Job *job, NameList *names) {
    const Version *version = NULL;
    ByteFile file;
    TRY(find_version(job->data.path, &version));
    TRY(byte_file_open(&file, job->data.path, version->names_file));
    if (file.stream == NULL) return STATUS_OK;
    Status status = read_names(&file, version, names);
    byte_file_close(&file);
    return status;
}

const DatasetFormat dataset_cifar = {
    .measure = measure, .fill = fill, .read_classes = read_classes};
