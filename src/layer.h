/* layer.h - what a layer is: one file in src/layers/ that ends in a `const LayerType`, and one line
 * in src/layers/registry.def.
 *
 * `configure` declares parameters, buffers and scratch memory; the network allocates all of it in
 * single blocks. Everything that can fail happens there: forward and backward return nothing. */
#ifndef SRC_LAYER_H
#define SRC_LAYER_H

#include "src/batch.h"
#include "src/kernels/kernels.h"
#include "src/option.h"
#include "src/reducer.h"
#include "src/rng.h"
#include "src/shape.h"
#include "src/threads.h"

enum { LAYER_NAME_BYTES = 64, LAYER_TENSORS_MAX = 8, LAYER_SCRATCHES_MAX = 8 };

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
typedef struct Layer {
    const LayerType *type;
    char label[LAYER_NAME_BYTES]; /* the job's name, or its index: the prefix of its tensors */
    uint32_t index;               /* position in the network: keys its random numbers */
    int lanes;
    int thread_count;
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
    double multiply_adds; /* of one sample's forward pass; for the summary */
} Layer;

struct LayerType {
    const char *name;      /* word used in job files: "linear" */
    const char *summary;   /* one line for the documentation */
    const char *example;   /* smallest useful options as YAML flow, or "": tests run it */
    const Option *options; /* NULL: takes none */
    size_t options_bytes;
    size_t state_bytes;
    int is_view;          /* y is x under another shape: no memory, no work */
    int is_in_place;      /* y may overwrite x: neither forward nor backward needs x afterwards */
    int backward_reads_y; /* backward needs y, so the next layer may not overwrite it */

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

/* Local; for configure. Ask for memory that lives as long as the network: `floats` once, or for
 * each local microbatch. Returns its index in self->scratch. */
int layer_add_scratch(Layer *self, size_t floats);
int layer_add_scratch_per_microbatch(Layer *self, size_t floats);
/* The same, with no gap between one microbatch's memory and the next: for records (reducer.h). */
int layer_add_scratch_contiguous(Layer *self, size_t floats);

/* Local. Scratch memory `scratch` of local microbatch m (0 where there is one for all). */
float *layer_scratch(const Layer *self, int scratch, int m);

/* Local; for backward. Where the gradient of parameter `tensor` goes for node `node` of the batch,
 * and the node's first local microbatch. */
float *layer_gradient(const Layer *self, const Pass *pass, int tensor, int node);
int layer_node_begin(const Pass *pass, int node);

/* Local; for backward. The gradient of a small parameter from what each local microbatch adds to
 * it: leaves [local_count][stride], destroyed; merged along the tree for every node. */
void layer_fold_gradient(
    const Layer *self, const Pass *pass, int tensor, float *leaves, size_t stride);

/* Local. How many of a matrix's rows make one item of threads_run: all of them for one thread, else
 * a multiple of LAYER_ROWS_TOGETHER that gives every thread two items. */
enum { LAYER_ROWS_TOGETHER = 24 };
int layer_rows_per_item(const Pass *pass, int rows);

/* Local. Microbatch m of activations as the kernels want it. */
KernelInput layer_input(const Tensor *x, int m);
KernelOutput layer_output(Tensor *y, int m);

#endif
