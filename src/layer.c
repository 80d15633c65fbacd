/* layer.c - see layer.h. */
#include "src/layer.h"
#include <stdio.h>
#include <string.h>

#define LAYER(name) extern const LayerType layer_##name;
#include "src/layers/registry.def"
#undef LAYER

#define LAYER(name) &layer_##name,
static const LayerType *const types[] = {
#include "src/layers/registry.def"
    NULL};
#undef LAYER

const LayerType *const *layer_types(void) {
    return types;
}

const LayerType *layer_type_find(const char *name) {
    for (const LayerType *const *type = types; *type != NULL; type++)
        if (strcmp((*type)->name, name) == 0) return *type;
    return NULL;
}

static LayerTensor *add_tensor(Layer *self, const char *name, TensorKind kind) {
    REQUIRE(self->tensor_count < LAYER_TENSORS_MAX);
    LayerTensor *tensor = &self->tensors[self->tensor_count++];
    *tensor = (LayerTensor){.kind = kind};
    snprintf(tensor->name, sizeof tensor->name, "%s", name);
    return tensor;
}

int layer_add_parameter(Layer *self, const char *name, Shape shape, Init init) {
    LayerTensor *tensor = add_tensor(self, name, TENSOR_PARAMETER);
    tensor->shape = shape;
    tensor->init = init;
    return self->tensor_count - 1;
}

int layer_add_buffer(Layer *self, const char *name, Shape shape, float value) {
    LayerTensor *tensor = add_tensor(self, name, TENSOR_BUFFER);
    tensor->shape = shape;
    tensor->init = (Init){.rule = INIT_CONSTANT, .value = value};
    return self->tensor_count - 1;
}

int layer_add_counter(Layer *self, const char *name) {
    add_tensor(self, name, TENSOR_COUNTER);
    return self->tensor_count - 1;
}

Status layer_read_pair(
    const Layer *self, const char *key, const OptionInts *given, const int *missing, int pair[2]) {
    if (given->count > 2 || (given->count == 0 && missing == NULL))
        return FAIL(STATUS_CONFIG,
            "%s '%s': %s wants one number or two, [height, width], got %d numbers",
            self->type->name, self->label, key, given->count);
    for (int d = 0; d < 2; d++) {
        int64_t value = given->values[given->count == 2 ? d : 0];
        pair[d] = given->count == 0 || (value < 0 && missing != NULL) ? missing[d] : (int)value;
    }
    return STATUS_OK;
}

int layer_fold_levels(const Layer *self) {
    int levels = 1;
    while ((int64_t)1 << levels < self->microbatches_max) levels++;
    return levels;
}

static int add_scratch(Layer *self, size_t floats, ScratchLayout layout) {
    REQUIRE(self->scratch_count < LAYER_SCRATCHES_MAX);
    self->scratch[self->scratch_count].floats = floats;
    self->scratch[self->scratch_count].layout = layout;
    return self->scratch_count++;
}

int layer_add_scratch(Layer *self, size_t floats) {
    return add_scratch(self, floats, SCRATCH_ONCE);
}

int layer_add_scratch_per_microbatch(Layer *self, size_t floats) {
    return add_scratch(self, floats, SCRATCH_PER_MICROBATCH);
}

int layer_add_scratch_contiguous(Layer *self, size_t floats) {
    return add_scratch(self, floats, SCRATCH_CONTIGUOUS);
}

float *layer_scratch(const Layer *self, int scratch, int m) {
    return self->scratch[scratch].data + (size_t)m * self->scratch[scratch].stride;
}

float *layer_gradient(const Layer *self, const Pass *pass, int tensor, int node) {
    return pass->gradients[node] + self->tensors[tensor].offset;
}

int layer_node_begin(const Pass *pass, int node) {
    return (int)(pass->batch->nodes[node].begin - pass->batch->local_begin);
}

KernelInput layer_input(const Tensor *x, int m) {
    return (KernelInput){.data = x->data + (size_t)m * x->stride, .stride = x->stride};
}

KernelOutput layer_output(Tensor *y, int m) {
    return (KernelOutput){.data = y->data + (size_t)m * y->stride, .stride = y->stride};
}

static float *slot_of(const LayerFold *fold, int slot) {
    return slot == 0 ? fold->result : fold->stack + (size_t)(slot - 1) * fold->stride;
}

/* Add slot `top` into the one below, `merges` times. */
static void merge_slots(const Pass *pass, const LayerFold *fold, int top, int merges) {
    for (; merges > 0; merges--, top--)
        pass->kernels->add(slot_of(fold, top - 1), slot_of(fold, top), fold->count);
}

void layer_fold(const Pass *pass, int node, const LayerFold *fold) {
    int first = layer_node_begin(pass, node);
    TreeFold tree;
    tree_fold_begin(&tree);
    for (int64_t leaf = 0; leaf < pass->batch->nodes[node].count; leaf++) {
        int top = tree.depth;
        fold->put(fold->context, first + (int)leaf, slot_of(fold, top));
        merge_slots(pass, fold, top, tree_fold_push(&tree, (TreeNode){.begin = leaf, .count = 1}));
    }
    int top = tree.depth - 1;
    merge_slots(pass, fold, top, tree_fold_finish(&tree));
}

/* Values that are there already; a slot of the stack may be the value's own place. */
typedef struct Leaves {
    const float *data;
    size_t count, stride;
} Leaves;

static void put_leaf(const void *context, int m, float *slot) {
    const Leaves *leaves = context;
    const float *leaf = leaves->data + (size_t)m * leaves->stride;
    if (slot != leaf) memcpy(slot, leaf, leaves->count * sizeof *slot);
}

void layer_fold_gradient(
    const Layer *self, const Pass *pass, int tensor, float *leaves, size_t stride) {
    Leaves values = {leaves, shape_element_count(self->tensors[tensor].shape), stride};
    for (int node = 0; node < pass->batch->node_count; node++) {
        size_t begin = (size_t)layer_node_begin(pass, node);
        LayerFold fold = {.put = put_leaf,
            .context = &values,
            .count = values.count,
            .result = layer_gradient(self, pass, tensor, node),
            .stack = leaves + (begin + 1) * stride,
            .stride = stride};
        layer_fold(pass, node, &fold);
    }
}

void layer_combine(const Pass *pass, int group, int length, ReducerMerge merge, double *records,
    double *grouped, double *total) {
    int before = profile_switch(pass->profile, PROFILE_COMBINE);
    pass->reducer->combine(
        pass->reducer, pass->batch, group, length, merge, records, grouped, total);
    profile_switch(pass->profile, before);
}

/* What the threads add. */
typedef struct Sum {
    const Pass *pass;
    const Tensor *a, *b;
    Tensor *y;
    int rectifies;
} Sum;

static void sum_microbatch(void *context, int item, int thread) {
    (void)thread;
    const Sum *sum = context;
    sum->pass->kernels->sum(layer_input(sum->a, item).data, layer_input(sum->b, item).data,
        layer_output(sum->y, item).data,
        shape_element_count(sum->y->shape) * (size_t)sum->pass->batch->lanes, sum->rectifies);
}

void layer_sum(const Pass *pass, const Tensor *a, const Tensor *b, Tensor *y, int rectifies) {
    Sum sum = {.pass = pass, .a = a, .b = b, .y = y, .rectifies = rectifies};
    threads_run(pass->threads, pass->batch->local_count, sum_microbatch, &sum);
}

int layer_rows_per_item(const Pass *pass, int rows) {
    int threads = threads_count(pass->threads);
    if (threads == 1) return rows;
    int share = (rows + 2 * threads - 1) / (2 * threads);
    return (share + LAYER_ROWS_TOGETHER - 1) / LAYER_ROWS_TOGETHER * LAYER_ROWS_TOGETHER;
}
