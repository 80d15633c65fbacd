/* thin_out.h - what dropout and dropout2d share (Srivastava et al., JMLR 2014). */
#ifndef SRC_LAYERS_THIN_OUT_H
#define SRC_LAYERS_THIN_OUT_H

#include "src/layers/microbatch.h"

typedef struct ThinOutOptions {
    double p;
} ThinOutOptions;

typedef struct ThinOutState {
    int rows, pixels; /* x [rows][pixels][lanes]: a row is kept or dropped whole */
    int factors;      /* scratch per microbatch: [rows][lanes] */
    int samples;      /* scratch per microbatch: uint32_t [2][lanes], halves of indices */
    int drops;        /* what forward did, for backward */
} ThinOutState;

extern const Option thin_out_options[];

/* Local. Configure with `rows` rows in each sample of shape `in`; and both passes. */
void thin_out_configure(Layer *self, Shape in, int rows);
void thin_out_forward(Layer *self, const Pass *pass, const Tensor *x, Tensor *y);
void thin_out_backward(
    Layer *self, const Pass *pass, const Tensor *x, const Tensor *y, const Tensor *dy, Tensor *dx);

#endif
