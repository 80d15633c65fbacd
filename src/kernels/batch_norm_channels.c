/* batch_norm_channels.c - what batch norm does once per channel, whatever the pixels. */
#include "src/kernels/kernel.h"

void KERNEL(norm_merge)(double *left, const double *right, int length) {
    int channels = (length - 1) / 2;
    double count = left[0] + right[0];
    if (right[0] == 0) return;
    double share = right[0] / count, weight = left[0] * share;
    double *mean = left + 1, *m2 = mean + channels;
    const double *right_mean = right + 1, *right_m2 = right_mean + channels;
    for (int c = 0; c < channels; c++) {
        double delta = right_mean[c] - mean[c];
        mean[c] += delta * share;
        m2[c] += right_m2[c] + delta * delta * weight;
    }
    left[0] = count;
}

INLINE void set_scale(float *restrict high, float *restrict low, float *restrict inverse_std,
    float *restrict scale, float *restrict shift, const double *restrict mean,
    const double *restrict variance_sum, double share, double eps, const float *restrict weight,
    const float *restrict bias, int channels) {
    for (int c = 0; c < channels; c++) {
        double inverse = 1.0 / __builtin_sqrt(variance_sum[c] * share + eps);
        double factor = weight ? inverse * weight[c] : inverse;
        high[c] = (float)mean[c];
        double rest = mean[c] - high[c];
        low[c] = (float)rest;
        inverse_std[c] = (float)inverse;
        scale[c] = (float)factor;
        shift[c] = (float)((bias ? bias[c] : 0.0) - rest * factor);
    }
}

void KERNEL(norm_set_scale)(KernelNorm norm, const double *mean, const double *variance_sum,
    double count, double eps, const float *weight, const float *bias, int channels) {
    double share = 1.0 / count;
    if (weight && bias)
        set_scale(norm.mean, norm.mean_low, norm.inverse_std, norm.scale, norm.shift, mean,
            variance_sum, share, eps, weight, bias, channels);
    else
        set_scale(norm.mean, norm.mean_low, norm.inverse_std, norm.scale, norm.shift, mean,
            variance_sum, share, eps, NULL, NULL, channels);
}

INLINE void set_slope(float *restrict slope, float *restrict offset, const float *restrict low,
    const float *restrict inverse_std, const float *restrict scale, const double *restrict sum_dy,
    const double *restrict sum_dy_xhat, double share, int channels) {
    for (int c = 0; c < channels; c++) {
        slope[c] = (float)(sum_dy_xhat[c] * share * inverse_std[c] * -scale[c]);
        offset[c] = (float)(sum_dy[c] * share * -scale[c]) - low[c] * slope[c];
    }
}

void KERNEL(norm_set_slope)(
    KernelNorm norm, const double *sum_dy, const double *sum_dy_xhat, double count, int channels) {
    set_slope(norm.slope, norm.offset, norm.mean_low, norm.inverse_std, norm.scale, sum_dy,
        sum_dy_xhat, 1.0 / count, channels);
}
