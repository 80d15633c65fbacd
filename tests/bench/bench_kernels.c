/* bench_kernels.c - speed of the kernels on one core, beside the peak of fused multiply-adds and
 * OpenBLAS measured in the same run. One line per figure:
 *
 *   kernel shape lanes count GFLOP/s share-of-peak [OpenBLAS GFLOP/s]   products
 *   kernel elements lanes count ns-per-element                          the others
 *
 * bench_kernels [--isa NAME] [--shape INxOUT]; NAME may be "all". */
#include "src/kernels/kernels.h"
#include "src/memory.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 25, SAMPLES = 64 };
static const double round_seconds = 1e-3;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

/* ---- the peak: chains of multiply-adds that never leave the registers ---- */

enum { PEAK_CHAINS = 12, PEAK_STEPS = 4000 };
static const float peak_start[PEAK_CHAINS] = {0.5f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 12")
#endif

/* The chains start from different numbers: equal ones would be computed once. */
#define MAKE_PEAK(name, target_attribute, vector_bytes)                                            \
    target_attribute __attribute__((noinline)) static double name(const float *start) {            \
        typedef float Vector __attribute__((vector_size(vector_bytes)));                           \
        Vector sum[PEAK_CHAINS], factor = {start[0]}, term = {start[1]};                           \
        for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = (Vector){start[i]};                         \
        for (int step = 0; step < PEAK_STEPS; step++) {                                            \
            UNROLL                                                                                 \
            for (int i = 0; i < PEAK_CHAINS; i++) sum[i] = sum[i] * factor + term;                 \
        }                                                                                          \
        for (int i = 1; i < PEAK_CHAINS; i++) sum[0] += sum[i];                                    \
        volatile float result = sum[0][0];                                                         \
        (void)result;                                                                              \
        return 2.0 * PEAK_STEPS * PEAK_CHAINS * sizeof(Vector) / sizeof(float);                    \
    }

#if defined(__x86_64__)
MAKE_PEAK(peak_avx512_16, __attribute__((target("avx512f,avx512vl,fma"))), 64)
MAKE_PEAK(peak_avx512_8, __attribute__((target("avx2,fma"))), 32)
MAKE_PEAK(peak_avx512_4, __attribute__((target("avx2,fma"))), 16)
#define peak_avx2_8 peak_avx512_8
#define peak_avx2_4 peak_avx512_4
#endif
MAKE_PEAK(peak_plain_4, , 16)

/* Floating-point operations of one call. */
typedef double Peak(const float *start);

static Peak *find_peak(const Kernels *kernels) {
#if defined(__x86_64__)
    int wide = strcmp(kernels->isa, "avx512") == 0, middle = strcmp(kernels->isa, "avx2") == 0;
    if (wide && kernels->width == 16) return peak_avx512_16;
    if ((wide || middle) && kernels->width == 8) return peak_avx512_8;
    if (wide || middle) return peak_avx512_4;
#endif
    (void)kernels;
    return peak_plain_4;
}

/* ---- OpenBLAS, where it is installed ---- */

typedef void Sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
    const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
enum { ROW_MAJOR = 101, NO_TRANSPOSE = 111, TRANSPOSE = 112 };
static Sgemm *sgemm;

static void find_openblas(void) {
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    if (!library) return;
    void (*set_threads)(int);
    *(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
    *(void **)&sgemm = dlsym(library, "cblas_sgemm");
    if (set_threads) set_threads(1);
}

/* ---- what is measured ---- */

typedef struct Case {
    const Kernels *kernels;
    int in, out, lanes, count;
    size_t xt_row;
    float *weight, *bias, *x, *y, *xt, *dweight;
    float *exp_avg, *exp_avg_sq;
    double *moments;
    uint8_t *bytes;
    float (*table)[256];
} Case;

static KernelInput input(const Case *c, const float *data, int features) {
    return (KernelInput){data, (size_t)features * c->lanes};
}

static KernelOutput output(const Case *c, float *data, int features) {
    return (KernelOutput){data, (size_t)features * c->lanes};
}

static void forward(Case *c) {
    c->kernels->linear_forward(c->weight, c->bias, input(c, c->x, c->in), output(c, c->y, c->out),
        c->in, c->out, c->lanes, c->count, 0, c->out);
}

static void input_gradient(Case *c) {
    c->kernels->linear_input_gradient(c->weight, input(c, c->y, c->out), output(c, c->x, c->in),
        c->in, c->out, c->lanes, c->count, 0, c->in);
}

static void weight_gradient(Case *c) {
    KernelInput xt = {c->xt, c->xt_row * c->lanes};
    c->kernels->linear_weight_gradient(input(c, c->y, c->out), xt, c->xt_row, c->dweight, c->in,
        c->out, c->lanes, c->count, 0, c->out);
}

static void blas_forward(Case *c) {
    for (int m = 0; m < c->count; m++)
        sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, c->out, c->lanes, c->in, 1, c->weight, c->in,
            c->x + (size_t)m * c->in * c->lanes, c->lanes, 0, c->y + (size_t)m * c->out * c->lanes,
            c->lanes);
}

static void blas_input_gradient(Case *c) {
    for (int m = 0; m < c->count; m++)
        sgemm(ROW_MAJOR, TRANSPOSE, NO_TRANSPOSE, c->in, c->lanes, c->out, 1, c->weight, c->in,
            c->y + (size_t)m * c->out * c->lanes, c->lanes, 0, c->x + (size_t)m * c->in * c->lanes,
            c->lanes);
}

static void blas_weight_gradient(Case *c) {
    for (int m = 0; m < c->count; m++)
        sgemm(ROW_MAJOR, NO_TRANSPOSE, TRANSPOSE, c->out, c->in, c->lanes, 1,
            c->y + (size_t)m * c->out * c->lanes, c->lanes, c->x + (size_t)m * c->in * c->lanes,
            c->lanes, m > 0, c->dweight, c->in);
}

static void transpose(Case *c) {
    for (int m = 0; m < c->count; m++)
        c->kernels->transpose(c->x + (size_t)m * c->in * c->lanes, c->xt + m * c->xt_row * c->lanes,
            c->xt_row, c->in, c->lanes);
}

static void row_sums(Case *c) {
    c->kernels->row_sums(input(c, c->x, c->in), c->bias, c->lanes, c->count, 0, c->in);
}

static void norm_moments(Case *c) {
    for (int m = 0; m < c->count; m++)
        c->kernels->norm_moments(c->x + (size_t)m * c->in * c->lanes, 1, c->lanes, c->lanes, 0,
            c->in, c->moments, c->moments + c->in);
}

static KernelNorm norm(const Case *c) {
    return (KernelNorm){c->bias, c->bias, c->bias, c->bias, c->bias, 0};
}

static void norm_forward(Case *c) {
    for (int m = 0; m < c->count; m++) {
        float *x = c->x + (size_t)m * c->in * c->lanes, *y = c->xt + (size_t)m * c->in * c->lanes;
        c->kernels->norm_forward(x, NULL, y, norm(c), 1, c->lanes, 0, c->in);
    }
}

static void norm_sums(Case *c) {
    for (int m = 0; m < c->count; m++) {
        float *x = c->x + (size_t)m * c->in * c->lanes, *dy = c->xt + (size_t)m * c->in * c->lanes;
        c->kernels->norm_sums(
            dy, x, norm(c), 1, c->lanes, c->lanes, 0, c->in, c->moments, c->moments + c->in);
    }
}

static void norm_input_gradient(Case *c) {
    for (int m = 0; m < c->count; m++) {
        float *x = c->x + (size_t)m * c->in * c->lanes, *dy = c->xt + (size_t)m * c->in * c->lanes;
        c->kernels->norm_input_gradient(
            dy, x, dy, norm(c), c->bias, c->bias, 1, c->lanes, c->lanes, 0, c->in);
    }
}

/* The same values as few channels of many pixels, as after a convolution. */
static void norm_moments_pixels(Case *c) {
    for (int m = 0; m < c->count; m++)
        c->kernels->norm_moments(c->x + (size_t)m * c->in * c->lanes, c->in / 4, c->lanes, c->lanes,
            0, 4, c->moments, c->moments + c->in);
}

static void load_bytes(Case *c) {
    const uint8_t *samples[SAMPLES];
    for (int s = 0; s < c->lanes; s++) samples[s] = c->bytes + (size_t)s * c->in;
    for (int m = 0; m < c->count; m++)
        c->kernels->load_bytes(samples, (const float(*)[256])c->table, c->in, c->in, c->lanes,
            c->lanes, c->x + (size_t)m * c->in * c->lanes);
}

static void relu(Case *c) {
    c->kernels->relu_forward(c->x, c->x, (size_t)c->in * SAMPLES);
}

static void all_finite(Case *c) {
    c->moments[0] = c->kernels->all_finite(c->x, (size_t)c->in * SAMPLES);
}

static void sum_of_squares(Case *c) {
    c->moments[0] = c->kernels->sum_of_squares(c->x, (size_t)c->in * SAMPLES);
}

static void sgd(Case *c) {
    c->kernels->sgd(
        c->weight, c->dweight, c->exp_avg, (size_t)c->in * c->out, 1e-6f, 0.9f, 0.0f, 1e-4f, 0, 0);
}

static void adam(Case *c) {
    c->kernels->adam(c->weight, c->dweight, c->exp_avg, c->exp_avg_sq, (size_t)c->in * c->out,
        1e-6f, 0.9, 0.999, 1e-8f, 0.0f, 0, 1e-6f, 0.5f);
}

/* ---- measuring ---- */

typedef void Work(Case *c);

static double seconds_per_call(Work *work, Case *c, int calls) {
    double start = now();
    for (int i = 0; i < calls; i++) work(c);
    return (now() - start) / calls;
}

static int calls_per_round(Work *work, Case *c) {
    double once = seconds_per_call(work, c, 2);
    return once > round_seconds ? 1 : 1 + (int)(round_seconds / once);
}

static int compare_doubles(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values) {
    qsort(values, ROUNDS, sizeof(double), compare_doubles);
    return values[ROUNDS / 2];
}

static void measure_product(const char *name, Work *work, Work *blas, Case *c) {
    double ours[ROUNDS], theirs[ROUNDS], peak[ROUNDS];
    double operations = 2.0 * c->in * c->out * c->lanes * c->count;
    int calls = calls_per_round(work, c), blas_calls = sgemm ? calls_per_round(blas, c) : 0;
    for (int round = 0; round < ROUNDS; round++) {
        double start = now();
        double peak_operations = 0;
        while (now() < start + round_seconds / 4)
            peak_operations += find_peak(c->kernels)(peak_start);
        peak[round] = peak_operations / (now() - start);
        ours[round] = operations / seconds_per_call(work, c, calls);
        theirs[round] = sgemm ? operations / seconds_per_call(blas, c, blas_calls) : 0;
    }
    double rate = median(ours), best = median(peak);
    printf("%-24s %4dx%-4d %2d %2d %7.1f %5.1f%%", name, c->in, c->out, c->lanes, c->count,
        1e-9 * rate, 100 * rate / best);
    if (sgemm) printf(" [%6.1f]", 1e-9 * median(theirs));
    printf("\n");
}

static void measure_stream(const char *name, Work *work, Case *c, size_t elements) {
    double seconds[ROUNDS];
    int calls = calls_per_round(work, c);
    for (int round = 0; round < ROUNDS; round++) seconds[round] = seconds_per_call(work, c, calls);
    printf("%-24s %9zu %2d %2d %7.3f ns\n", name, elements, c->lanes, c->count,
        1e9 * median(seconds) / elements);
}

static Status fill_random(float **data, size_t n) {
    TRY(MEMORY_ALLOCATE(data, n, "benchmark"));
    for (size_t i = 0; i < n; i++) (*data)[i] = (float)rand() / RAND_MAX - 0.5f;
    return STATUS_OK;
}

static Status case_begin(Case *c) {
    size_t features = c->in > c->out ? c->in : c->out, weights = (size_t)c->in * c->out;
    c->xt_row = ((size_t)c->in + 15) / 16 * 16;
    TRY(fill_random(&c->weight, weights));
    TRY(fill_random(&c->dweight, weights));
    TRY(fill_random(&c->exp_avg, weights));
    TRY(MEMORY_ALLOCATE(&c->exp_avg_sq, weights, "benchmark"));
    TRY(fill_random(&c->bias, features));
    TRY(fill_random(&c->x, features * SAMPLES));
    TRY(fill_random(&c->y, features * SAMPLES));
    TRY(fill_random(&c->xt, c->xt_row * SAMPLES));
    TRY(MEMORY_ALLOCATE(&c->moments, 2 * features, "benchmark"));
    TRY(MEMORY_ALLOCATE(&c->bytes, (size_t)c->in * SAMPLES, "benchmark"));
    for (size_t i = 0; i < (size_t)c->in * SAMPLES; i++) c->bytes[i] = rand() & 255;
    TRY(MEMORY_ALLOCATE(&c->table, 1, "benchmark"));
    for (int i = 0; i < 256; i++) c->table[0][i] = i / 255.0f;
    return STATUS_OK;
}

static void case_finish(Case *c) {
    void *blocks[] = {c->weight, c->dweight, c->exp_avg, c->exp_avg_sq, c->bias, c->x, c->y, c->xt,
        c->moments, c->bytes, c->table};
    for (size_t i = 0; i < sizeof(blocks) / sizeof(blocks[0]); i++) memory_free(blocks[i]);
}

static void measure_products(Case *c) {
    measure_product("linear_forward", forward, blas_forward, c);
    measure_product("linear_input_gradient", input_gradient, blas_input_gradient, c);
    measure_product("linear_weight_gradient", weight_gradient, blas_weight_gradient, c);
}

static void measure_streams(Case *c) {
    size_t n = (size_t)c->in * SAMPLES;
    measure_stream("load_bytes", load_bytes, c, n);
    measure_stream("transpose", transpose, c, n);
    measure_stream("row_sums", row_sums, c, n);
    measure_stream("norm_moments", norm_moments, c, n);
    measure_stream("norm_moments (pixels)", norm_moments_pixels, c, n);
    measure_stream("norm_forward", norm_forward, c, n);
    measure_stream("norm_sums", norm_sums, c, n);
    measure_stream("norm_input_gradient", norm_input_gradient, c, n);
    measure_stream("relu_forward", relu, c, n);
    measure_stream("all_finite", all_finite, c, n);
    measure_stream("sum_of_squares", sum_of_squares, c, n);
    measure_stream("sgd", sgd, c, (size_t)c->in * c->out);
    measure_stream("adam", adam, c, (size_t)c->in * c->out);
}

static Status bench_isa(const char *isa, int only_in, int only_out) {
    static const int shapes[][2] = {
        {784, 512}, {512, 256}, {256, 10}, {784, 128}, {128, 64}, {64, 10}};
    static const int lanes[] = {16, 64};
    if (!kernels_find(isa, 16)) return FAIL(STATUS_USAGE, "this CPU has no '%s'", isa);
    printf("# %s\n", kernels_find(isa, 16)->isa);
    for (size_t i = 0; i < 2 * sizeof(shapes) / sizeof(shapes[0]); i++) {
        Case c = {.in = shapes[i / 2][0], .out = shapes[i / 2][1], .lanes = lanes[i % 2]};
        if (only_in && (c.in != only_in || c.out != only_out)) continue;
        c.count = SAMPLES / c.lanes;
        c.kernels = kernels_find(isa, c.lanes);
        Status status = case_begin(&c);
        if (status == STATUS_OK) measure_products(&c);
        if (status == STATUS_OK && c.in == 784 && c.out == 512) measure_streams(&c);
        case_finish(&c);
        TRY(status);
    }
    return STATUS_OK;
}

static Status bench(int count, char **arguments) {
    const char *isa = NULL;
    int in = 0, out = 0;
    for (int i = 1; i < count; i++) {
        int has_value = i + 1 < count;
        if (strcmp(arguments[i], "--isa") == 0 && has_value)
            isa = arguments[++i];
        else if (strcmp(arguments[i], "--shape") == 0 && has_value &&
                 sscanf(arguments[i + 1], "%dx%d", &in, &out) == 2)
            i++;
        else
            return FAIL(STATUS_USAGE, "usage: bench_kernels [--isa NAME] [--shape INxOUT]");
    }
    if (!isa || strcmp(isa, "all") != 0) return bench_isa(isa, in, out);
    for (const char *const *name = kernels_isa_names(); *name; name++) {
        if (kernels_find(*name, 16)) TRY(bench_isa(*name, in, out));
    }
    return STATUS_OK;
}

int main(int count, char **arguments) {
    find_openblas();
    Status status = bench(count, arguments);
    if (status != STATUS_OK) fprintf(stderr, "%s\n", status_message());
    return status_exit_code(status);
}
