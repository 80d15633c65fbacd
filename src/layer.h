/* layer.h - what a layer is: one file in src/layers/ that ends in a `const LayerType`, and one line
 * in src/layers/registry.def.
 *
 * `configure` declares parameters, buffers, scratch memory and the layers within this one; the
 * network allocates all of it in single blocks. Everything that can fail happens there: forward and
 * backward return nothing. */
#ifndef SRC_LAYER_H
#define SRC_LAYER_H

#include "src/batch.h"
#include "src/kernels/kernels.h"
#include "src/option.h"
#include "src/profile.h"
#include "src/reducer.h"
#include "src/rng.h"
#include "src/shape.h"
#include "src/threads.h"

enum {
    LAYER_NAME_BYTES = 64,
    LAYER_PATH_BYTES = 256, /* names of nested layers, joined by dots */
    LAYER_TENSORS_MAX = 8,
    LAYER_SCRATCHES_MAX = 8,
    LAYER_LISTS_MAX = 2
};

/* Activations of the local microbatches: data [local_count][shape...][lanes]. */
typedef struct Tensor {
    Shape shape;
    float *data;
    size_t stride; /* floats from one microbatch to the next; a multiple of 16 */
} Tensor;

/* One pass over a batch. */
typedef struct Pass {
    const Batch *batch;
    const Kernels *kernels;
    Threads *threads;
    Reducer *reducer;
    Profile *profile; /* NULL: nobody asks where the time goes */
    float *const
        *gradients; /* [batch->node_count]: a block of all parameters' gradients per node */
    uint64_t seed;
    uint32_t epoch;
    uint32_t step;               /* since the start of the run */
    const int64_t *sample_index; /* [local_count * microbatch]: index in the data set */
    Tensor *input_gradient;      /* backward sets it to the input's gradient; NULL: not wanted */
    int is_training;             /* update running statistics, and so on */
    int uses_batch_statistics;   /* act as in training (in it, or asked for): batch norm uses the
                                    batch's statistics, dropout drops */
} Pass;

/* How a parameter starts. */
typedef enum InitRule {
    INIT_CONSTANT, /* value */
    INIT_UNIFORM   /* uniform in [minimum, maximum) */
} InitRule;

typedef struct Init {
    InitRule rule;
    double value;
    double minimum, maximum;
} Init;

typedef enum TensorKind { TENSOR_PARAMETER, TENSOR_BUFFER, TENSOR_COUNTER } TensorKind;

/* A parameter (trained, float), a buffer (saved, float) or a counter (saved, one int64). */
typedef struct LayerTensor {
    char name[LAYER_NAME_BYTES]; /* "weight" */
    TensorKind kind;
    Shape shape;
    Init init;
    size_t offset;   /* in the block of its kind; a multiple of 16 */
    float *data;     /* parameter, buffer; set when the network has allocated */
    int64_t counter; /* counter */
} LayerTensor;

/* Memory of a layer: one piece, or a piece for each local microbatch, aligned or without gaps. */
typedef enum ScratchLayout {
    SCRATCH_ONCE,
    SCRATCH_PER_MICROBATCH,
    SCRATCH_CONTIGUOUS
} ScratchLayout;

typedef struct LayerType LayerType;
typedef struct LayerSpec LayerSpec;
typedef struct Sequence Sequence; /* see sequence.h */
typedef struct SequenceSetup SequenceSetup;

/* Layers as the job lists them, first to last. */
typedef struct LayerList {
    int count;
    LayerSpec *layers;
} LayerList;

/* One layer as the job describes it. */
struct LayerSpec {
    const LayerType *type;
    char label[LAYER_NAME_BYTES];     /* given name, or "" for its index */
    void *options;                    /* of type->options_bytes, filled from type->options */
    LayerList lists[LAYER_LISTS_MAX]; /* as type->lists; count 0: not given */
};

typedef struct Layer {
    const LayerType *type;
    const LayerSpec *spec;
    char label[LAYER_PATH_BYTES]; /* the job's names, or indices, down to it: its tensors' prefix */
    uint32_t index;             /* position in the network, depth first: keys its random numbers */
    const struct Layer *parent; /* the layer that holds it, or NULL */
    Shape in, out;
    int lanes;
    int microbatches_max; /* local ones in any batch */
    int thread_count;
    /* The type's, unless configure sets something else. */
    int is_view, backward_reads_y;
    void *options; /* parsed, of type->options_bytes; owned by the layer's definition */
    void *state;   /* of type->state_bytes, zeroed before configure */
    int tensor_count;
    LayerTensor tensors[LAYER_TENSORS_MAX];
    int scratch_count;
    struct {
        size_t floats; /* asked for */
        ScratchLayout layout;
        float *data;
        size_t stride; /* of one microbatch, where per microbatch */
    } scratch[LAYER_SCRATCHES_MAX];
    /* The layers within: its lists, NULL where not given. y is the sum of what each of them makes
     * of x, and of x itself where adds_input. */
    Sequence *sequences[LAYER_LISTS_MAX];
    int adds_input;
    /* Work of its neighbours that it does along with its own, where its type takes it. */
    int rectifies;        /* the relu next to it; set before configure */
    const Tensor *addend; /* y gets this added, before a relu; dy then comes from behind the relu */
    SequenceSetup *setup; /* for layer_add_sequence */
    double multiply_adds; /* of one sample's forward pass; for the summary */
} Layer;

/* A list of layers among the options of a layer. */
typedef struct LayerListOption {
    const char *key;    /* "layers"; NULL: no more */
    const char *prefix; /* of its layers' names: "layers.", or "" */
    int is_optional;
    const char *doc;
} LayerListOption;

struct LayerType {
    const char *name;      /* word used in job files: "linear" */
    const char *summary;   /* one line for the documentation */
    const char *example;   /* smallest useful options as YAML flow, or "": tests run it */
    const Option *options; /* NULL: takes none */
    size_t options_bytes;
    size_t state_bytes;
    LayerListOption lists[LAYER_LISTS_MAX + 1]; /* what it may hold: all empty for most */
    int is_view;          /* y is x under another shape: no memory, no work, and no call */
    int is_in_place;      /* y may overwrite x, and dx dy: nobody here needs x afterwards */
    int backward_reads_y; /* backward needs y, so the next layer may not overwrite it */
    /* What saves passes over memory: a relu with such a neighbour becomes a view, and the neighbour
     * has Layer.rectifies set: its forward takes max(x, 0) for x, or gives max(y, 0) for y, and its
     * backward goes through that as well. A type takes at most one of the two. */
    int is_relu;
    int takes_relu_before, takes_relu_after;
    int takes_addend; /* its forward adds Layer.addend, where that is set */

    /* Declare tensors and scratch, check the input's shape and give the output's. */
    Status (*configure)(Layer *self, Shape in, Shape *out);
    /* Overwrite y. */
    void (*forward)(Layer *self, const Pass *pass, const Tensor *x, Tensor *y);
    /* Overwrite dx, unless dx->data is NULL (nobody wants it), and the parameters' gradients. */
    void (*backward)(Layer *self, const Pass *pass, const Tensor *x, const Tensor *y,
        const Tensor *dy, Tensor *dx);
};

/* Local. The registry, in the order of registry.def, NULL-terminated; and one of it by name or
 * NULL. */
const LayerType *const *layer_types(void);
const LayerType *layer_type_find(const char *name);

/* Local; for configure. Declare a tensor; returns its index in self->tensors. */
int layer_add_parameter(Layer *self, const char *name, Shape shape, Init init);
int layer_add_buffer(Layer *self, const char *name, Shape shape, float value);
int layer_add_counter(Layer *self, const char *name);

/* Local; for configure. Two numbers, for height and width, from an option of one or two; `missing`
 * [2] stands for null (NULL: the option has no null). Fails with STATUS_CONFIG where there are
 * more.
 */
MUST_CHECK Status layer_read_pair(
    const Layer *self, const char *key, const OptionInts *given, const int *missing, int pair[2]);

/* Local; for configure. Ask for memory that lives as long as the network: `floats` once, or for
 * each local microbatch. Returns its index in self->scratch. */
int layer_add_scratch(Layer *self, size_t floats);
int layer_add_scratch_per_microbatch(Layer *self, size_t floats);
/* The same, with no gap between one microbatch's memory and the next: for records (reducer.h). */
int layer_add_scratch_contiguous(Layer *self, size_t floats);

/* Local. Scratch memory `scratch` of local microbatch m (0 where there is one for all). */
float *layer_scratch(const Layer *self, int scratch, int m);

/* Local; for configure. Set up the layers of list `list` for input `in` as self->sequences[list];
 * the network runs through their tensors and scratch memory as through this layer's own. */
MUST_CHECK Status layer_add_sequence(Layer *self, int list, Shape in, Shape *out);

/* Local; for backward. Where the gradient of parameter `tensor` goes for node `node` of the batch,
 * and the node's first local microbatch. */
float *layer_gradient(const Layer *self, const Pass *pass, int tensor, int node);
int layer_node_begin(const Pass *pass, int node);

/* How a value of each microbatch becomes one for a node of the batch. */
typedef struct LayerFold {
    /* Write the value of local microbatch m into `slot`. */
    void (*put)(const void *context, int m, float *slot);
    const void *context;
    size_t count;  /* floats of a value */
    float *result; /* slot 0 */
    float *stack;  /* slots 1 to layer_fold_levels, `stride` floats from one to the next */
    size_t stride;
} LayerFold;

/* Local. Slots that a fold over a node's microbatches needs beside the result. */
int layer_fold_levels(const Layer *self);

/* Local; for backward. Merge the values of a node's microbatches along the tree by adding them. */
void layer_fold(const Pass *pass, int node, const LayerFold *fold);

/* Local; for backward. The gradient of a small parameter from what each local microbatch adds to
 * it: leaves [local_count][stride], destroyed; merged along the tree for every node. */
void layer_fold_gradient(
    const Layer *self, const Pass *pass, int tensor, float *leaves, size_t stride);

/* Local. How many of a matrix's rows make one item of threads_run: all of them for one thread, else
 * a multiple of LAYER_ROWS_TOGETHER that gives every thread two items. */
enum { LAYER_ROWS_TOGETHER = 24 };
int layer_rows_per_item(const Pass *pass, int rows);

/* Collective: Reducer.combine of the pass (see reducer.h), over groups of `group` microbatches. */
void layer_combine(const Pass *pass, int group, int length, ReducerMerge merge, double *records,
    double *grouped, double *total);

/* Local. y = a + b, or max(a + b, 0) if rectifies, for all local microbatches; y may be a or b. */
void layer_sum(const Pass *pass, const Tensor *a, const Tensor *b, Tensor *y, int rectifies);

/* Local. Microbatch m of activations as the kernels want it. */
KernelInput layer_input(const Tensor *x, int m);
KernelOutput layer_output(Tensor *y, int m);

#endif
