/* job_file.c - see job_file.h. Defaults < file < command line. */
#include "io/job_file.h"
#include "io/job_overlay.h"
#include "io/job_reader.h"
#include "src/memory.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_BYTES_MAX = 1024 * 1024, ARGUMENT_NAME_BYTES = 24 };

static const char byte_order_mark[] = "\xef\xbb\xbf";

/* The job file, then each --set. */
typedef struct Sources {
    JobSource file;
    JobSource *arguments;
    char (*argument_names)[ARGUMENT_NAME_BYTES];
} Sources;

static Status name_arguments(Sources *sources, char *const *sets, int set_count) {
    TRY(MEMORY_ALLOCATE(&sources->arguments, (size_t)set_count, "--set"));
    TRY(MEMORY_ALLOCATE(&sources->argument_names, (size_t)set_count, "--set"));
    for (int i = 0; i < set_count; i++) {
        snprintf(sources->argument_names[i], ARGUMENT_NAME_BYTES, "--set #%d", i + 1);
        sources->arguments[i] = (JobSource){.name = sources->argument_names[i],
            .text = sets[i],
            .bytes = strlen(sets[i]),
            .order = i + 1,
            .is_argument = 1};
    }
    return STATUS_OK;
}

/* The tree of the file with the arguments over it; *root is NULL if there is no sense in going on.
 */
static Status read_tree(JobReader *reader, const Sources *sources, int set_count, YamlNode **root) {
    const JobSource *file = &sources->file;
    char found[JOB_FOUND_BYTES];
    TRY(yaml_tree_read(&reader->tree, file, file->text, file->bytes, &reader->problems, root));
    if (*root != NULL && yaml_tree_is_empty(*root))
        TRY(yaml_tree_add_node(&reader->tree, YAML_IS_MAP, (JobPlace){file, 1, 1}, root));
    if (*root != NULL && (*root)->kind != YAML_IS_MAP) {
        if ((*root)->kind != YAML_IS_REFUSED)
            job_problems_add(&reader->problems, (*root)->place, "",
                "a job file is a mapping of sections, got %s", job_value_found(*root, found));
        *root = NULL;
    }
    for (int i = 0; i < set_count && *root != NULL; i++)
        TRY(job_overlay_apply(&reader->tree, *root, &sources->arguments[i], &reader->problems));
    return STATUS_OK;
}

static Status fill_job(JobReader *reader, const YamlNode *root) {
    JobScope scope = {.table = job_options(),
        .values = reader->job,
        .prefix = "",
        .extra_keys = {"model.layers"},
        .place = root->place};
    const YamlNode *model = yaml_tree_find(root, "model");
    TRY(job_scope_read(reader, &scope, root));
    TRY(job_layers_read(reader, &reader->job->network.list, scope.extras[0], "model.layers",
        model == NULL ? root->place : model->key_place));
    return job_check(reader, &scope);
}

static Status read_sources(JobReader *reader, const Sources *sources, int set_count) {
    YamlNode *root = NULL;
    TRY(read_tree(reader, sources, set_count, &root));
    if (root != NULL) TRY(fill_job(reader, root));
    return job_problems_report(&reader->problems);
}

static Status parse_source(Job *job, JobSource file, char *const *sets, int set_count) {
    size_t mark_bytes = sizeof byte_order_mark - 1;
    JobReader *reader = NULL;
    *job = (Job){0};
    if (file.bytes > FILE_BYTES_MAX)
        return FAIL(
            STATUS_CONFIG, "%s: a job file has at most %d bytes", file.name, FILE_BYTES_MAX);
    if (file.bytes >= mark_bytes && memcmp(file.text, byte_order_mark, mark_bytes) == 0) {
        file.text += mark_bytes;
        file.bytes -= mark_bytes;
    }
    Sources sources = {.file = file};
    Status status = name_arguments(&sources, sets, set_count);
    if (status == STATUS_OK) status = MEMORY_ALLOCATE(&reader, 1, "job file");
    if (status == STATUS_OK) {
        reader->job = job;
        status = read_sources(reader, &sources, set_count);
        yaml_tree_free(&reader->tree);
    }
    memory_free(reader);
    memory_free(sources.argument_names);
    memory_free(sources.arguments);
    return status;
}

Status job_file_parse(
    Job *job, const char *name, const char *text, char *const *sets, int set_count) {
    JobSource file = {.name = name, .text = text, .bytes = strlen(text)};
    return parse_source(job, file, sets, set_count);
}

Status job_file_parse_stored(
    Job *job, const char *name, const char *text, char *const *sets, int set_count) {
    JobSource file = {.name = name, .text = text, .bytes = strlen(text), .is_stored = 1};
    return parse_source(job, file, sets, set_count);
}

/* What the person who named the path can do something about is "missing". */
static Status fail_to_open(const char *path, int error) {
    static const int of_the_path[] = {ENOENT, ENOTDIR, EISDIR, EACCES, ELOOP, ENAMETOOLONG};
    Status status = STATUS_IO;
    for (size_t i = 0; i < sizeof of_the_path / sizeof *of_the_path; i++)
        if (error == of_the_path[i]) status = STATUS_MISSING;
    return FAIL(status, "%s: cannot read the job file: %s", path, strerror(error));
}

/* Up to `capacity` bytes of a file; returns 0 or an errno. */
static int read_bytes(int file, char *text, size_t capacity, size_t *bytes) {
    *bytes = 0;
    while (*bytes < capacity) {
        ssize_t got = -1;
        if (status_fault_is_due())
            errno = EIO;
        else
            got = read(file, text + *bytes, capacity - *bytes);
        if (got < 0 && errno != EINTR) return errno;
        if (got == 0) break;
        if (got > 0) *bytes += (size_t)got;
    }
    return 0;
}

Status job_file_read(Job *job, const char *path, char *const *sets, int set_count) {
    *job = (Job){0};
    if (path == NULL)
        return job_file_parse(job, "the default job", job_default_text, sets, set_count);
    char *text = NULL;
    size_t bytes = 0;
    TRY(memory_allocate((void **)&text, FILE_BYTES_MAX + 1, 1, path));
    int file = -1, error = EIO;
    if (!status_fault_is_due()) {
        file = open(path, O_RDONLY | O_CLOEXEC);
        error = errno;
    }
    if (file >= 0) {
        error = read_bytes(file, text, FILE_BYTES_MAX + 1, &bytes);
        close(file);
    }
    JobSource source = {.name = path, .text = text, .bytes = bytes};
    Status status = file < 0 || error != 0 ? fail_to_open(path, error)
                                           : parse_source(job, source, sets, set_count);
    memory_free(text);
    return status;
}
