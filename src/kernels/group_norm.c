/* group_norm.c - normalization of every sample by itself: groups [begin, end) of one microbatch
 * x [groups][rows][lanes], each lane of a group with its own mean and deviation.
 *
 * Sums are taken in double, row by row, HALF lanes at a time: values far from zero keep their
 * digits. A weight belongs to `rows_per_weight` consecutive rows. */
#include "src/kernels/sums.h"

INLINE DoubleVector inverse_roots(DoubleVector v) {
    DoubleVector result = {0};
    for (int i = 0; i < HALF; i++) result[i] = 1.0 / __builtin_sqrt(v[i]);
    return result;
}

/* Mean and 1 / sqrt(variance + eps) of every lane, the latter 0 where there is no sample. */
INLINE void take_statistics(const float *x, const KernelGroupNorm *norm, int group) {
    float *high = norm->statistics + (size_t)group * 3 * norm->lanes;
    float *low = high + norm->lanes, *inverse_std = low + norm->lanes;
    double share = 1.0 / norm->rows;
    for (int lane = 0; lane < norm->lanes; lane += HALF) {
        DoubleVector mean =
            sum_powers(x + lane, norm->rows, norm->lanes, (DoubleVector){0}, 1) * share;
        DoubleVector m2 = sum_powers(x + lane, norm->rows, norm->lanes, mean, 2);
        DoubleVector inverse = inverse_roots(m2 * share + norm->eps);
        HalfVector rounded_mean = __builtin_convertvector(mean, HalfVector);
        store_half(high + lane, rounded_mean);
        mean -= __builtin_convertvector(rounded_mean, DoubleVector);
        store_half(low + lane, __builtin_convertvector(mean, HalfVector));
        inverse = keep_valid_doubles(inverse, lane, norm->valid);
        store_half(inverse_std + lane, __builtin_convertvector(inverse, HalfVector));
    }
}

/* Where `group`'s weights begin, among those of all groups. */
INLINE int first_weight(const KernelGroupNorm *norm, int group) {
    return group * (norm->rows / norm->rows_per_weight);
}

INLINE void normalize(
    const float *x, float *y, const KernelGroupNorm *norm, int group, float weight, float bias) {
    const float *high = norm->statistics + (size_t)group * 3 * norm->lanes;
    const float *low = high + norm->lanes, *inverse_std = low + norm->lanes;
    for (int row = 0; row < norm->rows_per_weight; row++) {
        for (int lane = 0; lane < norm->lanes; lane += WIDTH) {
            size_t i = (size_t)row * norm->lanes + lane;
            Vector centered = load(x + i) - load(high + lane) - load(low + lane);
            Vector xhat = centered * load(inverse_std + lane);
            store(y + i, xhat * broadcast(weight) + broadcast(bias));
        }
    }
}

void KERNEL(group_norm_forward)(const float *x, float *y, const KernelGroupNorm *norm,
    const float *weight, const float *bias, int begin, int end) {
    size_t block = (size_t)norm->rows_per_weight * norm->lanes;
    for (int group = begin; group < end; group++) {
        int first = first_weight(norm, group), last = first_weight(norm, group + 1);
        take_statistics(x + (size_t)group * norm->rows * norm->lanes, norm, group);
        for (int k = first; k < last; k++)
            normalize(x + k * block, y + k * block, norm, group, weight ? weight[k] : 1.0f,
                bias ? bias[k] : 0.0f);
    }
}

/* The sums of dy and dy * (x - mean) over the rows of one weight, of the HALF lanes at `lane`. */
INLINE void add_products(const float *dy, const float *x, DoubleVector mean, int rows, int lanes,
    DoubleVector *sum, DoubleVector *product) {
    *sum = *product = (DoubleVector){0};
    for (int row = 0; row < rows; row++) {
        DoubleVector gradient = load_doubles(dy + (size_t)row * lanes);
        *sum += gradient;
        *product += gradient * (load_doubles(x + (size_t)row * lanes) - mean);
    }
}

/* dweight and dbias of weight k; adds weight * sums to the lanes' sums [2][lanes]. */
INLINE void take_sums(const float *dy, const float *x, const KernelGroupNorm *norm, int group,
    float weight, double *sums, double *dweight, double *dbias) {
    const float *high = norm->statistics + (size_t)group * 3 * norm->lanes;
    const float *low = high + norm->lanes, *inverse_std = low + norm->lanes;
    DoubleVector of_dy = {0}, of_product = {0};
    for (int lane = 0; lane < norm->lanes; lane += HALF) {
        DoubleVector mean = load_doubles(high + lane) + load_doubles(low + lane), sum, product;
        add_products(dy + lane, x + lane, mean, norm->rows_per_weight, norm->lanes, &sum, &product);
        sum = keep_valid_doubles(sum, lane, norm->valid);
        product = keep_valid_doubles(product * load_doubles(inverse_std + lane), lane, norm->valid);
        of_dy += sum;
        of_product += product;
        for (int i = 0; i < HALF; i++) {
            sums[lane + i] += (double)weight * sum[i];
            sums[norm->lanes + lane + i] += (double)weight * product[i];
        }
    }
    *dbias = sum_double_lanes(of_dy);
    *dweight = sum_double_lanes(of_product);
}

/* means [2][lanes]: of weight * dy and weight * dy * xhat over the group. */
INLINE void input_gradient(const float *dy, const float *x, float *dx, const KernelGroupNorm *norm,
    int group, float weight, const float *means) {
    const float *high = norm->statistics + (size_t)group * 3 * norm->lanes;
    const float *low = high + norm->lanes, *inverse_std = low + norm->lanes;
    for (int row = 0; row < norm->rows_per_weight; row++) {
        for (int lane = 0; lane < norm->lanes; lane += WIDTH) {
            size_t i = (size_t)row * norm->lanes + lane;
            Vector xhat = load(x + i) - load(high + lane) - load(low + lane);
            xhat *= load(inverse_std + lane);
            Vector gradient = load(dy + i) * broadcast(weight) - load(means + lane);
            gradient -= xhat * load(means + norm->lanes + lane);
            store(dx + i, keep_valid(gradient * load(inverse_std + lane), lane, norm->valid));
        }
    }
}

void KERNEL(group_norm_backward)(const float *dy, const float *x, float *dx,
    const KernelGroupNorm *norm, const float *weight, float *dweight, float *dbias, int begin,
    int end) {
    size_t block = (size_t)norm->rows_per_weight * norm->lanes;
    for (int group = begin; group < end; group++) {
        int first = first_weight(norm, group), last = first_weight(norm, group + 1);
        double *sums = norm->sums + (size_t)group * 2 * norm->lanes;
        float *means = norm->means + (size_t)group * 2 * norm->lanes;
        for (int i = 0; i < 2 * norm->lanes; i++) sums[i] = 0;
        for (int k = first; k < last; k++) {
            double of_weight, of_bias;
            take_sums(dy + k * block, x + k * block, norm, group, weight ? weight[k] : 1.0f, sums,
                &of_weight, &of_bias);
            if (dweight) dweight[k] = (float)of_weight;
            if (dbias) dbias[k] = (float)of_bias;
        }
        for (int i = 0; i < 2 * norm->lanes; i++) means[i] = (float)(sums[i] / norm->rows);
        for (int k = first; dx && k < last; k++)
            input_gradient(dy + k * block, x + k * block, dx + k * block, norm, group,
                weight ? weight[k] : 1.0f, means);
    }
}
