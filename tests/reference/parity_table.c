/* parity_table.c - run the layers of a file that parity_cases.py wrote, each as a network of its
 * own, with those it holds, and compare all they give with what PyTorch computed.
 *
 *   parity_table FILE [ISA]    prints a line per kind of layer; exit code 0 if all agree
 *
 * The file, little-endian: "LSPARITY", int32 count of cases; each case: layer, its item in a job
 * file, shape of one sample (texts: int32 length, then bytes), int32 samples, microbatch,
 * is_training, int32 count of arrays; each array: name (text), int64 count, float32 numbers.
 * Arrays: x, dy, y, dx; set.NAME: parameters and buffers at the start; gradient.NAME; after.NAME:
 * buffers after forward; kept: the factor of what dropout keeps. */
#include "tests/support/harness.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES = 1024, ARRAYS_MAX = 128, KINDS_MAX = 64 };
static const double tolerance = 1e-5; /* of max(1, largest number of the array) */

/* ---- the file ---- */

typedef struct Array {
    char name[TEXT_BYTES];
    int64_t count;
    float *data;
} Array;

typedef struct Case {
    char layer[TEXT_BYTES], item[TEXT_BYTES], shape[TEXT_BYTES];
    int32_t samples, microbatch, is_training, array_count;
    Array arrays[ARRAYS_MAX];
} Case;

static void read_bytes(FILE *file, void *data, size_t bytes) {
    if (fread(data, 1, bytes, file) == bytes) return;
    fprintf(stderr, "parity_table: the file ends too early\n");
    exit(EXIT_FAILURE);
}

static void read_text(FILE *file, char text[TEXT_BYTES]) {
    int32_t length;
    read_bytes(file, &length, sizeof length);
    REQUIRE(length >= 0 && length < TEXT_BYTES);
    read_bytes(file, text, (size_t)length);
    text[length] = '\0';
}

static void read_case(FILE *file, Case *one) {
    read_text(file, one->layer);
    read_text(file, one->item);
    read_text(file, one->shape);
    read_bytes(file, &one->samples, 4 * sizeof one->samples);
    REQUIRE(one->array_count >= 0 && one->array_count <= ARRAYS_MAX);
    for (int i = 0; i < one->array_count; i++) {
        Array *array = &one->arrays[i];
        read_text(file, array->name);
        read_bytes(file, &array->count, sizeof array->count);
        REQUIRE(array->count >= 0 && array->count < 1 << 28);
        array->data = malloc((size_t)array->count * sizeof *array->data + 1);
        REQUIRE(array->data != NULL);
        read_bytes(file, array->data, (size_t)array->count * sizeof *array->data);
    }
}

static void case_free(Case *one) {
    for (int i = 0; i < one->array_count; i++) free(one->arrays[i].data);
}

static const Array *find(const Case *one, const char *name) {
    for (int i = 0; i < one->array_count; i++)
        if (strcmp(one->arrays[i].name, name) == 0) return &one->arrays[i];
    return NULL;
}

static const float *data_of(const Case *one, const char *name, size_t count) {
    const Array *array = find(one, name);
    if (array != NULL && (size_t)array->count == count) return array->data;
    fprintf(stderr, "parity_table: %s of %s: %s has another shape than ours, of %zu numbers\n",
        one->item, one->shape, name, count);
    exit(EXIT_FAILURE);
}

/* ---- the comparison ---- */

/* What was found for one kind of layer. */
typedef struct Kind {
    char name[TEXT_BYTES];
    int cases, is_known, failures;
    double worst; /* largest distance, in units of max(1, largest number) */
} Kind;

static void compare(Kind *kind, const Case *one, const char *name, const float *ours) {
    const Array *theirs = find(one, name);
    if (theirs == NULL) return;
    double size = 1, distance = 0;
    for (int64_t i = 0; i < theirs->count; i++) {
        double gap = fabs((double)ours[i] - theirs->data[i]);
        size = fmax(size, fabs((double)theirs->data[i]));
        distance = fmax(distance, isnan(gap) ? INFINITY : gap);
    }
    kind->worst = fmax(kind->worst, distance / size);
    if (distance <= tolerance * size) return;
    kind->failures++;
    printf("FAILED: %s on %s, %d samples in microbatches of %d: %s differs by %g of %g\n",
        one->item, one->shape, one->samples, one->microbatch, name, distance, size);
}

/* Call `use` for each tensor of the layer that the case has an array PREFIX.NAME for. */
typedef void (*TensorUse)(
    Kind *kind, const Case *one, Harness *harness, LayerTensor *tensor, const char *array);

static void for_tensors(
    Kind *kind, const Case *one, Harness *harness, const char *prefix, TensorUse use) {
    size_t bytes = strlen(prefix);
    for (int i = 0; i < one->array_count; i++) {
        const char *array = one->arrays[i].name;
        if (strncmp(array, prefix, bytes) != 0) continue;
        char name[TEXT_BYTES + 2];
        snprintf(name, sizeof name, "0.%s", array + bytes);
        use(kind, one, harness, harness_tensor(harness, name), array);
    }
}

static void set_tensor(
    Kind *kind, const Case *one, Harness *harness, LayerTensor *tensor, const char *array) {
    (void)kind;
    (void)harness;
    size_t count = shape_element_count(tensor->shape);
    const float *values = data_of(one, array, count);
    if (tensor->kind == TENSOR_COUNTER)
        tensor->counter = (int64_t)values[0];
    else
        memcpy(tensor->data, values, count * sizeof *values);
}

static void compare_tensor(
    Kind *kind, const Case *one, Harness *harness, LayerTensor *tensor, const char *array) {
    (void)harness;
    float counter = (float)tensor->counter;
    data_of(one, array, shape_element_count(tensor->shape));
    compare(kind, one, array, tensor->kind == TENSOR_COUNTER ? &counter : tensor->data);
}

static void compare_gradient(
    Kind *kind, const Case *one, Harness *harness, LayerTensor *tensor, const char *array) {
    data_of(one, array, shape_element_count(tensor->shape));
    compare(kind, one, array, harness->gradients[0] + tensor->offset);
}

static void run_layer(Kind *kind, const Case *one, Harness *harness, float *y, float *dx) {
    size_t samples = (size_t)one->samples;
    size_t in = samples * shape_element_count(harness->network->input);
    size_t out = samples * shape_element_count(harness->network->output);
    for_tensors(kind, one, harness, "set.", set_tensor);
    harness_forward(harness, data_of(one, "x", in), one->is_training);
    harness_output(harness, y);
    data_of(one, "y", out);
    compare(kind, one, "y", y);
    for_tensors(kind, one, harness, "after.", compare_tensor);
    if (!one->is_training) return;
    harness_backward(harness, data_of(one, "dy", out));
    harness_input_gradient(harness, dx);
    data_of(one, "dx", in);
    compare(kind, one, "dx", dx);
    for_tensors(kind, one, harness, "gradient.", compare_gradient);
}

/* Our mask is what an input of ones becomes: PyTorch's numbers, and the products with it. */
static void run_dropout(Kind *kind, const Case *one, Harness *harness, float *y, float *dx) {
    size_t n = (size_t)one->samples * shape_element_count(harness->network->input);
    const float *x = data_of(one, "x", n), *dy = data_of(one, "dy", n);
    float kept = data_of(one, "kept", 1)[0];
    float *mask = malloc(n * sizeof *mask);
    REQUIRE(mask != NULL);
    for (size_t i = 0; i < n; i++) mask[i] = 1;
    harness_forward(harness, mask, 1);
    harness_output(harness, mask);
    harness_forward(harness, x, 1);
    harness_output(harness, y);
    harness_backward(harness, dy);
    harness_input_gradient(harness, dx);
    int wrong = 0;
    for (size_t i = 0; i < n; i++)
        wrong +=
            (mask[i] != 0 && mask[i] != kept) || y[i] != x[i] * mask[i] || dx[i] != dy[i] * mask[i];
    free(mask);
    if (wrong == 0) return;
    kind->failures++;
    printf("FAILED: %s on %s: %d of %zu numbers\n", one->item, one->shape, wrong, n);
}

static void run_case(Kind *kind, const Case *one, const char *isa) {
    char layers[TEXT_BYTES + 2];
    Harness harness;
    snprintf(layers, sizeof layers, "[%s]", one->item);
    harness_create(&harness, &(HarnessOptions){.input = one->shape,
                                 .layers = layers,
                                 .isa = isa,
                                 .samples = one->samples,
                                 .microbatch = one->microbatch,
                                 .threads = 1 + one->samples % 2});
    size_t samples = (size_t)one->samples;
    float *y = calloc(samples * shape_element_count(harness.network->output), sizeof *y);
    float *dx = calloc(samples * shape_element_count(harness.network->input), sizeof *dx);
    REQUIRE(y != NULL && dx != NULL);
    (find(one, "kept") != NULL ? run_dropout : run_layer)(kind, one, &harness, y, dx);
    free(y);
    free(dx);
    harness_free(&harness);
}

/* ---- the program ---- */

static Kind *kind_of(Kind *kinds, const char *layer) {
    Kind *kind = kinds;
    while (kind->name[0] != '\0' && strcmp(kind->name, layer) != 0) kind++;
    REQUIRE(kind < kinds + KINDS_MAX);
    snprintf(kind->name, sizeof kind->name, "%s", layer);
    kind->is_known = layer_type_find(layer) != NULL;
    return kind;
}

/* Returns the number of failures. */
static int print_kinds(const Kind *kinds) {
    int compared = 0, skipped = 0, failures = 0;
    for (const Kind *kind = kinds; kind->name[0] != '\0'; kind++) {
        if (kind->is_known)
            printf(
                "%-20s %4d cases, largest difference %.1e\n", kind->name, kind->cases, kind->worst);
        else
            printf("%-20s %4d cases skipped: not in the registry\n", kind->name, kind->cases);
        *(kind->is_known ? &compared : &skipped) += kind->cases;
        failures += kind->failures;
    }
    printf("%d cases, %d compared, %d skipped, %d failures\n", compared + skipped, compared,
        skipped, failures);
    return failures;
}

int main(int argc, char **argv) {
    static Kind kinds[KINDS_MAX + 1];
    char magic[8];
    int32_t count;
    FILE *file = argc == 2 || argc == 3 ? fopen(argv[1], "rb") : NULL;
    const char *isa = argc == 3 ? argv[2] : kernels_best_isa();
    if (file == NULL || kernels_find(isa, 1) == NULL) {
        fprintf(stderr, "usage: parity_table FILE [ISA]\n");
        return EXIT_FAILURE;
    }
    read_bytes(file, magic, sizeof magic);
    REQUIRE(memcmp(magic, "LSPARITY", sizeof magic) == 0);
    read_bytes(file, &count, sizeof count);
    for (int32_t i = 0; i < count; i++) {
        static Case one;
        read_case(file, &one);
        Kind *kind = kind_of(kinds, one.layer);
        kind->cases++;
        if (kind->is_known) run_case(kind, &one, isa);
        case_free(&one);
    }
    fclose(file);
    return print_kinds(kinds) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
