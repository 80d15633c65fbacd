/* command_bench_kernels.c - lockstep bench kernels: what one thread makes of this machine.
 *
 * Lanes are a microbatch's samples. A batch of 64 passes by, as in training on one rank; few lanes
 * are also measured with no more samples than these, as for small batches or on many ranks.
 *
 * Each case is a network of one layer, so that what is measured is what training does. A layer that
 * multiplies is compared with the peak of multiply-adds, the others with a copy: as if each of
 * their values were moved once, forward x and y, backward x, dy and dx. A convolution that saves
 * multiplications (Winograd) is counted as if it did not, and may pass the peak. */
#include "io/job_file.h"
#include "src/bench.h"
#include "src/command.h"
#include "src/memory.h"
#include <stdio.h>
#include <string.h>

enum { SAMPLES_MAX = 64, FLAT_FLOATS = 1 << 16, DETAIL_BYTES = 96, JOB_BYTES = 256 };

static const struct {
    const char *layer, *input, *options;
    int is_product; /* compared with multiply-adds, else with a copy */
} cases[] = {
    {"linear", "[784]", "{out: 512}", 1},
    {"linear", "[512]", "{out: 256}", 1},
    {"linear", "[784]", "{out: 128}", 1},
    {"conv2d", "[3, 32, 32]", "{out: 6, kernel: 5}", 1},
    {"conv2d", "[6, 14, 14]", "{out: 16, kernel: 5}", 1},
    {"conv2d", "[3, 32, 32]", "{out: 16, kernel: 3, padding: 1}", 1},
    {"conv2d", "[16, 32, 32]", "{out: 16, kernel: 3, padding: 1}", 1},
    {"conv2d", "[64, 8, 8]", "{out: 64, kernel: 3, padding: 1, algorithm: direct}", 1},
    {"conv2d", "[256, 8, 8]", "{out: 256, kernel: 3, padding: 1, algorithm: direct}", 1},
    {"conv2d", "[64, 8, 8]", "{out: 64, kernel: 3, padding: 1, algorithm: winograd}", 1},
    {"conv2d", "[64, 16, 16]", "{out: 128, kernel: 1}", 1},
    {"conv2d", "[64, 16, 16]", "{out: 128, kernel: 1, stride: 2}", 1},
    {"conv2d", "[16, 32, 32]", "{out: 32, kernel: 3, padding: 1, stride: 2}", 1},
    {"conv2d", "[64, 16, 16]", "{out: 64, kernel: 3, padding: 1, groups: 64}", 1},
    {"conv2d", "[64, 16, 16]", "{out: 64, kernel: 3, padding: 1, stride: 2, groups: 64}", 1},
    {"conv2d", "[64, 16, 16]", "{out: 64, kernel: 3, padding: 1, groups: 4}", 1},
    {"batch_norm", "[512]", "{}", 0},
    {"batch_norm", "[16, 8, 8]", "{}", 0},
    {"relu", "[16, 8, 8]", "{}", 0},
    {"gelu", "[16, 8, 8]", "{}", 0},
    {"dropout", "[16, 8, 8]", "{}", 0},
    {"max_pool2d", "[16, 8, 8]", "{kernel: 2}", 0},
    {"max_pool2d", "[16, 8, 8]", "{kernel: 3, stride: 2, padding: 1}", 0},
    {"avg_pool2d", "[16, 8, 8]", "{kernel: 2}", 0},
    {"adaptive_avg_pool2d", "[16, 8, 8]", "{out: 1}", 0},
    {"leaky_relu", "[16, 8, 8]", "{}", 0},
    {"sigmoid", "[16, 8, 8]", "{}", 0},
    {"tanh", "[16, 8, 8]", "{}", 0},
    {"dropout2d", "[16, 8, 8]", "{}", 0},
    {"group_norm", "[16, 8, 8]", "{groups: 4}", 0},
    {"layer_norm", "[512]", "{}", 0},
    {"layer_norm", "[16, 8, 8]", "{}", 0},
    {"softmax", "[10]", "{}", 0},
    {"softmax", "[512]", "{}", 0},
    {"log_softmax", "[10]", "{}", 0},
    {"log_softmax", "[512]", "{}", 0},
    {"residual", "[16, 8, 8]", "{layers: [relu]}", 0},
    {"residual", "[16, 8, 8]", "{layers: [relu], projection: [relu]}", 0},
};
enum { CASE_COUNT = sizeof cases / sizeof *cases };
static const struct {
    int lanes, samples;
} batches[] = {{16, SAMPLES_MAX}, {4, SAMPLES_MAX}, {4, 4}, {32, SAMPLES_MAX}};
enum { WIDEST = 16 }; /* lanes that any vector divides: the peak is that of the widest */

/* ---- a network of one layer ---- */

typedef struct LayerBench {
    char detail[DETAIL_BYTES];
    int lanes, samples;
    Job job;
    Network *network;
    Batch batch;
    Batch nodeless; /* the same without nodes: nobody wants the parameters' gradients */
    Pass forward, input_gradient, weight_gradient, backward;
    Tensor dx;
    float *parameters, *gradient;
    int64_t sample_index[SAMPLES_MAX];
} LayerBench;

static Status read_layer(LayerBench *bench, int number) {
    char text[JOB_BYTES];
    snprintf(text, sizeof text, "model: {input: %s, layers: [{%s: %s}]}", cases[number].input,
        cases[number].layer, cases[number].options);
    snprintf(bench->detail, sizeof bench->detail, "%s %s, %d lanes, batch %d", cases[number].input,
        cases[number].options, bench->lanes, bench->samples);
    return job_file_parse(&bench->job, "bench", text, NULL, 0);
}

static void fill(float *data, size_t floats) {
    for (size_t i = 0; i < floats; i++) data[i] = (float)(i * 2654435761u % 1024) / 512 - 1;
}

static void plan_passes(LayerBench *bench, const Kernels *kernels) {
    batch_plan(&bench->batch, bench->samples, bench->lanes, 0, 1);
    REQUIRE(bench->batch.lanes == bench->lanes && bench->batch.node_count == 1);
    bench->nodeless = bench->batch;
    bench->nodeless.node_count = 0;
    bench->forward = (Pass){.batch = &bench->batch,
        .kernels = kernels,
        .reducer = reducer_of_one_rank(),
        .gradients = &bench->gradient,
        .sample_index = bench->sample_index,
        .is_training = 1,
        .uses_batch_statistics = 1};
    bench->weight_gradient = bench->backward = bench->forward;
    bench->backward.input_gradient = &bench->dx;
    bench->input_gradient = bench->backward;
    bench->input_gradient.batch = &bench->nodeless;
}

static Status create(LayerBench *bench, int number, const Kernels *kernels) {
    TRY(read_layer(bench, number));
    plan_passes(bench, kernels);
    TRY(network_create(
        &bench->network, &bench->job.network, bench->lanes, bench->batch.local_count, 1));
    size_t floats = bench->network->parameter_block_floats;
    TRY(MEMORY_ALLOCATE(&bench->parameters, floats, "parameters"));
    TRY(MEMORY_ALLOCATE(&bench->gradient, floats, "gradient"));
    network_attach(bench->network, bench->parameters);
    network_initialize(bench->network, 1, 1);
    Tensor x = *network_input(bench->network), dy = network_output_gradient(bench->network);
    fill(x.data, x.stride * (size_t)bench->batch.local_count);
    fill(dy.data, dy.stride * (size_t)bench->batch.local_count);
    for (int s = 0; s < bench->samples; s++) bench->sample_index[s] = s;
    return STATUS_OK;
}

static void destroy(LayerBench *bench) {
    network_free(bench->network);
    memory_free(bench->parameters);
    memory_free(bench->gradient);
    job_free(&bench->job);
}

static void run_forward(void *context) {
    LayerBench *bench = context;
    network_forward(bench->network, &bench->forward);
}

static void run_input_gradient(void *context) {
    LayerBench *bench = context;
    network_backward(bench->network, &bench->input_gradient);
}

static void run_weight_gradient(void *context) {
    LayerBench *bench = context;
    network_backward(bench->network, &bench->weight_gradient);
}

static void run_backward(void *context) {
    LayerBench *bench = context;
    network_backward(bench->network, &bench->backward);
}

/* ---- figures ---- */

static void report(const BenchOptions *options, const char *subject, const char *direction,
    const char *detail, double rate, double yardstick, int is_product) {
    char name[64];
    snprintf(name, sizeof name, "%s%s%s", subject, direction[0] != '\0' ? " " : "", direction);
    BenchFigure figure = {.name = name,
        .detail = detail,
        .value = rate * 1e-9,
        .unit = is_product ? "GFLOP/s" : "GB/s",
        .share = rate / yardstick,
        .share_of = is_product ? "FMA peak" : "copy"};
    bench_print(&figure, options);
}

static void measure_product(LayerBench *bench, const BenchOptions *options) {
    double operations = 2 * bench->network->layers[0]->multiply_adds * bench->samples, rates[4];
    const char *layer = bench->network->layers[0]->type->name;
    BenchPeak peak;
    BenchWork works[4] = {bench_peak(&peak, kernels_find(bench->forward.kernels->isa, WIDEST)),
        {run_forward, bench, operations}, {run_input_gradient, bench, operations},
        {run_weight_gradient, bench, operations}};
    bench_measure(works, 4, options->repeats, rates);
    report(options, layer, "forward", bench->detail, rates[1], rates[0], 1);
    report(options, layer, "input gradient", bench->detail, rates[2], rates[0], 1);
    report(options, layer, "weight gradient", bench->detail, rates[3], rates[0], 1);
}

static Status measure_stream(LayerBench *bench, const BenchOptions *options) {
    size_t count = (size_t)bench->batch.local_count;
    const Network *network = bench->network;
    size_t x_bytes = network_input(bench->network)->stride * count * sizeof(float), y_bytes, *copy;
    y_bytes = network_output(network)->stride * count * sizeof(float);
    const char *layer = network->layers[0]->type->name;
    double rates[3];
    TRY(memory_allocate((void **)&copy, x_bytes, 1, "copy"));
    BenchCopy yardstick = {
        .from = network_input(bench->network)->data, .to = copy, .bytes = x_bytes};
    BenchWork works[3] = {bench_copy(&yardstick), {run_forward, bench, (double)(x_bytes + y_bytes)},
        {run_backward, bench, (double)(2 * x_bytes + y_bytes)}};
    bench_measure(works, 3, options->repeats, rates);
    memory_free(copy);
    report(options, layer, "forward", bench->detail, rates[1], rates[0], 0);
    report(options, layer, "backward", bench->detail, rates[2], rates[0], 0);
    return STATUS_OK;
}

static Status measure_layer(int number, int batch, const char *isa, const BenchOptions *options) {
    int lanes = batches[batch].lanes;
    LayerBench bench = {.lanes = lanes, .samples = batches[batch].samples};
    Status status = create(&bench, number, kernels_find(isa, lanes));
    if (status == STATUS_OK) {
        if (cases[number].is_product)
            measure_product(&bench, options);
        else
            status = measure_stream(&bench, options);
    }
    destroy(&bench);
    return status;
}

/* ---- kernels that see no lanes, on blocks of FLAT_FLOATS ---- */

enum { FLAT_BLOCKS = 4 };
typedef struct FlatBench {
    const Kernels *kernels;
    float *blocks[FLAT_BLOCKS];
} FlatBench;

static void run_add(void *context) {
    FlatBench *bench = context;
    bench->kernels->add(bench->blocks[0], bench->blocks[1], FLAT_FLOATS);
}

static void run_sgd(void *context) {
    FlatBench *bench = context;
    float **blocks = bench->blocks;
    bench->kernels->sgd(
        blocks[0], blocks[1], blocks[2], FLAT_FLOATS, 1e-6f, 0.9f, 0.0f, 1e-4f, 0, 0);
}

static void run_adam(void *context) {
    FlatBench *bench = context;
    float **blocks = bench->blocks;
    bench->kernels->adam(blocks[0], blocks[1], blocks[2], blocks[3], FLAT_FLOATS, 1e-6f, 0.9, 0.999,
        1e-8f, 0.0f, 0, 1e-6f, 0.5f);
}

static void measure_flat(FlatBench *bench, const BenchOptions *options) {
    static const struct {
        const char *name;
        void (*run)(void *context);
        int floats_moved; /* read or written for each float of a block */
    } kernels[] = {{"add", run_add, 3}, {"sgd momentum", run_sgd, 5}, {"adam", run_adam, 7}};
    size_t bytes = FLAT_FLOATS * sizeof(float);
    BenchCopy yardstick = {.from = bench->blocks[1], .to = bench->blocks[0], .bytes = bytes};
    char detail[DETAIL_BYTES];
    snprintf(detail, sizeof detail, "%d floats", FLAT_FLOATS);
    for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
        double rates[2];
        BenchWork works[2] = {bench_copy(&yardstick),
            {kernels[i].run, bench, (double)kernels[i].floats_moved * (double)bytes}};
        for (int b = 0; b < 2; b++) fill(bench->blocks[b], FLAT_FLOATS);
        bench_measure(works, 2, options->repeats, rates);
        report(options, kernels[i].name, "", detail, rates[1], rates[0], 0);
    }
}

static Status bench_flat(const char *isa, const BenchOptions *options) {
    FlatBench bench = {.kernels = kernels_find(isa, WIDEST)};
    Status status = STATUS_OK;
    for (int b = 0; b < FLAT_BLOCKS && status == STATUS_OK; b++)
        status = MEMORY_ALLOCATE(&bench.blocks[b], FLAT_FLOATS, "block");
    if (status == STATUS_OK) measure_flat(&bench, options);
    for (int b = 0; b < FLAT_BLOCKS; b++) memory_free(bench.blocks[b]);
    return status;
}

/* ---- all of it ---- */

/* The yardsticks by themselves. */
static void bench_machine(const Kernels *kernels, const BenchOptions *options) {
    static char from[FLAT_FLOATS * sizeof(float)], to[sizeof from];
    BenchPeak peak;
    BenchCopy copy = {.from = from, .to = to, .bytes = sizeof from};
    BenchWork works[2] = {bench_peak(&peak, kernels), bench_copy(&copy)};
    double rates[2];
    bench_measure(works, 2, options->repeats, rates);
    BenchFigure figures[2] = {{.name = "FMA peak", .value = rates[0] * 1e-9, .unit = "GFLOP/s"},
        {.name = "copy", .value = rates[1] * 1e-9, .unit = "GB/s"}};
    char detail[2][DETAIL_BYTES];
    snprintf(detail[0], DETAIL_BYTES, "%s, one thread", kernels->isa);
    snprintf(detail[1], DETAIL_BYTES, "%zu bytes", sizeof from);
    for (int i = 0; i < 2; i++) {
        figures[i].detail = detail[i];
        bench_print(&figures[i], options);
    }
}

static Status run(Comm *comm, const CommandLine *line) {
    (void)comm;
    const char *isa = line->train.engine.isa;
    bench_machine(kernels_find(isa, WIDEST), &line->bench);
    TRY(bench_flat(isa, &line->bench));
    for (int i = 0; i < CASE_COUNT; i++)
        for (size_t b = 0; b < sizeof batches / sizeof *batches; b++)
            TRY(measure_layer(i, (int)b, isa, &line->bench));
    return STATUS_OK;
}

const Command command_bench_kernels = {
    .name = "bench kernels",
    .usage = "[--repeats N] [--json] [--isa NAME]",
    .summary = "speed of one thread: layers and kernels beside multiply-add peak and copy",
    .examples = "  lockstep bench kernels\n"
                "  lockstep bench kernels --isa avx2 --repeats 31\n",
    .options = "nji",
    .run = run,
};
