/* reference.c - see reference.h. Reads in two passes over the text: count, then fill. */
#include "tests/support/reference.h"
#include "src/memory.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where a pass over the text is, and what it has found. */
typedef struct Scan {
    const char *path;
    int line;
    int array_count;
    size_t number_count;
    size_t wanted; /* numbers that the current array still lacks */
} Scan;

static Status read_text(const char *path, char **text) {
    *text = NULL;
    FILE *file = fopen(path, "rb");
    if (file == NULL) return FAIL(STATUS_MISSING, "%s: cannot open", path);
    long bytes = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    Status status = bytes < 0 ? FAIL(STATUS_IO, "%s: cannot measure", path) : STATUS_OK;
    if (status == STATUS_OK) status = MEMORY_ALLOCATE(text, (size_t)bytes + 1, "reference text");
    if (status == STATUS_OK) {
        rewind(file);
        if (fread(*text, 1, (size_t)bytes, file) != (size_t)bytes)
            status = FAIL(STATUS_IO, "%s: cannot read", path);
    }
    fclose(file);
    return status;
}

/* "name 3 4": fill `array`, whose numbers come next. */
static Status parse_header(Scan *scan, char *line, ReferenceArray *array) {
    if (scan->wanted > 0)
        return FAIL(STATUS_DATA, "%s:%d: the array before lacks %zu numbers", scan->path,
            scan->line, scan->wanted);
    size_t length = strcspn(line, " ");
    if (length >= REFERENCE_NAME_BYTES)
        return FAIL(STATUS_DATA, "%s:%d: name too long", scan->path, scan->line);
    *array = (ReferenceArray){.count = 0};
    memcpy(array->name, line, length);
    char *rest = line + length;
    while (*rest == ' ' && array->shape.dimension_count < SHAPE_DIMENSIONS_MAX) {
        char *end = NULL;
        long size = strtol(rest, &end, 10);
        if (size <= 0 || size > 1000000) break;
        array->shape.size[array->shape.dimension_count++] = (int)size;
        rest = end;
    }
    if (*rest != '\0')
        return FAIL(STATUS_DATA, "%s:%d: bad shape of '%s'", scan->path, scan->line, array->name);
    array->count = shape_element_count(array->shape);
    scan->wanted = array->count;
    scan->array_count++;
    return STATUS_OK;
}

/* A line of numbers, put into `numbers` unless it is NULL. */
static Status parse_numbers(Scan *scan, const char *line, float *numbers) {
    for (const char *at = line; *at != '\0';) {
        char *end = NULL;
        float value = strtof(at, &end);
        if (end == at || (*end != ' ' && *end != '\0'))
            return FAIL(STATUS_DATA, "%s:%d: not a number: '%.20s'", scan->path, scan->line, at);
        if (scan->wanted == 0)
            return FAIL(
                STATUS_DATA, "%s:%d: more numbers than the array holds", scan->path, scan->line);
        if (numbers != NULL) numbers[scan->number_count] = value;
        scan->number_count++;
        scan->wanted--;
        at = *end == ' ' ? end + 1 : end;
    }
    return STATUS_OK;
}

/* One pass: into `reference` where it has memory already, else only counting. */
static Status scan_text(Scan *scan, const char *text, Reference *reference) {
    char line[1024];
    ReferenceArray counted;
    for (const char *at = text; *at != '\0';) {
        size_t length = strcspn(at, "\n");
        scan->line++;
        if (length >= sizeof line)
            return FAIL(STATUS_DATA, "%s:%d: line too long", scan->path, scan->line);
        memcpy(line, at, length);
        line[length] = '\0';
        at += length + (at[length] == '\n');
        if (isalpha((unsigned char)line[0])) {
            ReferenceArray *array =
                reference->arrays != NULL ? &reference->arrays[scan->array_count] : &counted;
            TRY(parse_header(scan, line, array));
            if (reference->numbers != NULL) array->data = reference->numbers + scan->number_count;
        } else {
            TRY(parse_numbers(scan, line, reference->numbers));
        }
    }
    if (scan->wanted > 0 || scan->array_count == 0)
        return FAIL(STATUS_DATA, "%s: ends too early", scan->path);
    return STATUS_OK;
}

static Status fill(Reference *reference, const char *path, const char *text) {
    Scan count = {.path = path};
    TRY(scan_text(&count, text, reference));
    TRY(MEMORY_ALLOCATE(&reference->arrays, (size_t)count.array_count, "reference arrays"));
    TRY(MEMORY_ALLOCATE(&reference->numbers, count.number_count, "reference numbers"));
    Scan again = {.path = path};
    TRY(scan_text(&again, text, reference));
    reference->array_count = again.array_count;
    return STATUS_OK;
}

Status reference_read(Reference *reference, const char *path) {
    *reference = (Reference){.array_count = 0};
    char *text = NULL;
    Status status = read_text(path, &text);
    if (status == STATUS_OK) status = fill(reference, path, text);
    memory_free(text);
    return status;
}

Status reference_open(Reference *reference, const char *name) {
    const char *source = getenv("LOCKSTEP_SOURCE");
    char path[4096];
    snprintf(path, sizeof path, "%s/tests/reference/%s.txt", source != NULL ? source : ".", name);
    return reference_read(reference, path);
}

void reference_free(Reference *reference) {
    memory_free(reference->arrays);
    memory_free(reference->numbers);
    *reference = (Reference){.array_count = 0};
}

const ReferenceArray *reference_find(const Reference *reference, const char *name) {
    for (int i = 0; i < reference->array_count; i++)
        if (strcmp(reference->arrays[i].name, name) == 0) return &reference->arrays[i];
    return NULL;
}

const float *reference_data(const Reference *reference, const char *name, size_t count) {
    const ReferenceArray *array = reference_find(reference, name);
    if (array != NULL && array->count == count) return array->data;
    fprintf(stderr, "reference array '%s': wanted %zu numbers, the file has %zu\n", name, count,
        array == NULL ? 0 : array->count);
    return NULL;
}
