/* update.c - optimizer rules. No sum is left with two products, of which a compiler may fuse
 * either: every element gets the same roundings, wherever it stands. */
#include "src/kernels/kernel.h"

INLINE Vector square_roots(Vector v) {
    float item[WIDTH];
    store(item, v);
    for (int i = 0; i < WIDTH; i++) item[i] = __builtin_sqrtf(item[i]);
    return load(item);
}

/* torch/optim/sgd.py, _single_tensor_sgd. */
void KERNEL(sgd)(float *parameter, const float *gradient, float *momentum_buffer, size_t n,
    float lr, float momentum, float dampening, float weight_decay, int nesterov, int first) {
    Vector rate = broadcast(lr), decay = broadcast(weight_decay), keep = broadcast(momentum);
    Vector take = broadcast(1.0f - dampening);
    for (size_t i = 0; i < n; i += WIDTH) {
        Vector p = load(parameter + i), g = load(gradient + i);
        if (weight_decay != 0.0f) g += decay * p;
        if (momentum_buffer) {
            Vector buffer = g;
            if (!first) buffer = keep * load(momentum_buffer + i) + rounded(take * g);
            store(momentum_buffer + i, buffer);
            g = nesterov ? g + keep * buffer : buffer;
        }
        store(parameter + i, p - rate * g);
    }
}

/* torch/optim/adam.py, _single_tensor_adam; Loshchilov and Hutter 2019 where decoupled. */
void KERNEL(adam)(float *parameter, const float *gradient, float *exp_avg, float *exp_avg_sq,
    size_t n, float lr, double beta1, double beta2, float eps, float weight_decay, int decoupled,
    float step_size, float correction) {
    Vector take_m = broadcast((float)(1.0 - beta1)), take_v = broadcast((float)(1.0 - beta2));
    Vector keep_v = broadcast((float)beta2), decay = broadcast(weight_decay);
    Vector shrink = broadcast(decoupled ? 1.0f - lr * weight_decay : 1.0f);
    Vector step = broadcast(step_size), eps_v = broadcast(eps);
    Vector inverse_correction = broadcast(1.0f / correction);
    int adds_decay = !decoupled && weight_decay != 0.0f;
    for (size_t i = 0; i < n; i += WIDTH) {
        Vector p = rounded(load(parameter + i) * shrink), g = load(gradient + i);
        if (adds_decay) g += decay * p;
        Vector m = load(exp_avg + i), v = rounded(keep_v * load(exp_avg_sq + i));
        m += take_m * (g - m);
        v += rounded(take_v * g) * g;
        store(exp_avg + i, m);
        store(exp_avg_sq + i, v);
        Vector divisor = square_roots(v) * inverse_correction + eps_v;
        store(parameter + i, p - step * (m / divisor));
    }
}
