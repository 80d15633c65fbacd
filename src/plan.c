/* plan.c - see plan.h. The plan is made twice, to measure and to place. */
#include "src/plan.h"

/* Slots of gradients: one more than residuals are nested, plus two, so never many. */
enum { SLOTS_MAX = 64, ALIGNED_FLOATS = 16 };

typedef struct Plan {
    float *block; /* NULL: measure only */
    int lanes;
    size_t microbatches;
    size_t floats;                 /* taken for activations */
    size_t slot_floats[SLOTS_MAX]; /* of the largest gradient that a slot ever holds */
    float *slots[SLOTS_MAX];
    uint64_t slots_in_use;
} Plan;

static size_t stride_of(const Plan *plan, Shape shape) {
    size_t floats = shape_element_count(shape) * (size_t)plan->lanes;
    return (floats + ALIGNED_FLOATS - 1) / ALIGNED_FLOATS * ALIGNED_FLOATS;
}

static int holds_layers(const Layer *layer) {
    return layer->sequences[0] != NULL;
}

/* How many terms y of a layer that holds layers is the sum of. */
static int term_count(const Layer *layer) {
    int count = layer->adds_input;
    for (int list = 0; list < LAYER_LISTS_MAX; list++) count += layer->sequences[list] != NULL;
    return count;
}

/* ---- activations ---- */

static void take_activation(Plan *plan, Tensor *y) {
    y->data = plan->block == NULL ? NULL : plan->block + plan->floats;
    plan->floats += y->stride * plan->microbatches;
}

static int place_activations(Sequence *sequence, Plan *plan, const Tensor *input, int is_kept);

/* y of a layer that holds layers lies where its first sequence ends, unless that is kept there. */
static int place_inner_activations(
    Layer *layer, Plan *plan, const Tensor *x, int is_kept, Tensor *y) {
    int is_sum = term_count(layer) > 1, is_end_kept = 0;
    for (int list = LAYER_LISTS_MAX - 1; list >= 0; list--)
        if (layer->sequences[list] != NULL)
            is_end_kept = place_activations(layer->sequences[list], plan, x, is_kept || is_sum);
    y->data = sequence_output(layer->sequences[0])->data;
    if (!is_sum) return is_end_kept;
    if (is_end_kept) take_activation(plan, y);
    return layer->backward_reads_y;
}

/* The memory of a sequence's activations, the first of which is `input`. is_kept: it may not be
 * overwritten. Returns that of the last activation. */
static int place_activations(Sequence *sequence, Plan *plan, const Tensor *input, int is_kept) {
    sequence->activations[0].data = input->data;
    sequence->activations[0].stride = input->stride;
    for (int i = 0; i < sequence->layer_count; i++) {
        Layer *layer = &sequence->layers[i];
        Tensor *x = &sequence->activations[i], *y = x + 1;
        y->stride = stride_of(plan, y->shape);
        if (layer->is_view) {
            y->data = x->data;
        } else if (holds_layers(layer)) {
            is_kept = place_inner_activations(layer, plan, x, is_kept, y);
        } else {
            if (layer->type->is_in_place && !is_kept)
                y->data = x->data;
            else
                take_activation(plan, y);
            is_kept = layer->backward_reads_y;
        }
    }
    return is_kept;
}

/* ---- gradients ---- */

/* A gradient that backward is about to pass on. is_kept: somebody reads its slot later. */
typedef struct Gradient {
    int slot, is_kept;
} Gradient;

static int take_slot(Plan *plan) {
    int slot = 0;
    while (plan->slots_in_use >> slot & 1) slot++;
    REQUIRE(slot < SLOTS_MAX - 1);
    plan->slots_in_use |= (uint64_t)1 << slot;
    return slot;
}

static void release(Plan *plan, Gradient gradient) {
    if (!gradient.is_kept) plan->slots_in_use &= ~((uint64_t)1 << gradient.slot);
}

static void set_gradient(Plan *plan, Tensor *gradient, Shape shape, int slot) {
    gradient->shape = shape;
    gradient->stride = stride_of(plan, shape);
    gradient->data = plan->slots[slot];
    size_t floats = gradient->stride * plan->microbatches;
    if (floats > plan->slot_floats[slot]) plan->slot_floats[slot] = floats;
}

static Gradient place_gradients(Sequence *sequence, Plan *plan, Gradient dy);

/* Every sequence starts from dy, or dy through the layer's relu; the last reader may overwrite it.
 * dx lies where the first sequence's ends, unless that is where it started. */
static Gradient place_inner_gradients(Layer *layer, Plan *plan, Gradient dy) {
    int readers = term_count(layer);
    if (readers == 1) return place_gradients(layer->sequences[0], plan, dy);
    uint64_t in_use = plan->slots_in_use;
    Gradient read = dy, dx = {.is_kept = 1};
    if (layer->rectifies && dy.is_kept) read = (Gradient){.slot = take_slot(plan)};
    for (int list = 0; list < LAYER_LISTS_MAX; list++) {
        if (layer->sequences[list] == NULL) continue;
        Gradient start = {.slot = read.slot, .is_kept = --readers > 0 || read.is_kept};
        Gradient end = place_gradients(layer->sequences[list], plan, start);
        if (list == 0) dx = end;
    }
    if (dx.is_kept) dx = (Gradient){.slot = take_slot(plan)};
    plan->slots_in_use = in_use;
    release(plan, dy);
    plan->slots_in_use |= (uint64_t)1 << dx.slot;
    return dx;
}

/* The slots of a sequence's gradients, the last of which is `dy`. Returns that of the first. */
static Gradient place_gradients(Sequence *sequence, Plan *plan, Gradient dy) {
    for (int i = sequence->layer_count; i >= 0; i--) {
        set_gradient(plan, &sequence->gradients[i], sequence->activations[i].shape, dy.slot);
        if (i == 0) break;
        Layer *layer = &sequence->layers[i - 1];
        if (layer->is_view || (layer->type->is_in_place && !dy.is_kept)) continue;
        if (holds_layers(layer)) {
            dy = place_inner_gradients(layer, plan, dy);
        } else {
            Gradient dx = {.slot = take_slot(plan)};
            release(plan, dy);
            dy = dx;
        }
    }
    return dy;
}

/* ---- both ---- */

static void make(Plan *plan, Sequence *body) {
    Tensor *input = &body->activations[0];
    plan->floats = 0;
    input->stride = stride_of(plan, input->shape);
    take_activation(plan, input);
    place_activations(body, plan, input, 1);
    plan->slots_in_use = 0;
    place_gradients(body, plan, (Gradient){.slot = take_slot(plan)});
}

size_t plan_memory(Sequence *body, int lanes, int microbatches, float *block) {
    Plan plan = {.lanes = lanes, .microbatches = (size_t)microbatches};
    make(&plan, body);
    size_t floats = plan.floats;
    for (int slot = 0; slot < SLOTS_MAX; slot++) {
        if (block != NULL) plan.slots[slot] = block + floats;
        floats += plan.slot_floats[slot];
    }
    if (block == NULL) return floats;
    plan.block = block;
    make(&plan, body);
    return floats;
}
