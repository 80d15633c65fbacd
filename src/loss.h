/* loss.h - losses and accuracy of a batch. */
#ifndef SRC_LOSS_H
#define SRC_LOSS_H

#include "src/layer.h"

/* What is summed over microbatches, in double. */
enum { LOSS_SUM, LOSS_CORRECT, LOSS_STOP, LOSS_FAILED, LOSS_RECORD_LENGTH };

typedef struct LossType {
    const char *name;
    const char *summary;
    /* Local. One microbatch: output [classes][lanes], labels [lanes] (-1: no sample). Adds up the
     * loss over the samples in record[LOSS_SUM] and the samples whose largest output is that of
     * their label in record[LOSS_CORRECT]. gradient [classes][lanes], unless NULL: of the loss sum
     * divided by `global_samples`; 0 where there is no sample. */
    void (*compute)(const float *output, const int *labels, int classes, int lanes,
        double global_samples, float *gradient, double *record);
} LossType;

/* Local. By LossName (job.h). */
const LossType *loss_type(int name);

/* Local. All local microbatches: output, labels [local_count][lanes], gradient (data may be NULL),
 * records [local_count][LOSS_RECORD_LENGTH], overwritten (LOSS_STOP, LOSS_FAILED with 0). */
void loss_compute(const LossType *type, const Pass *pass, const Tensor *output, const int *labels,
    Tensor *gradient, double *records);

/* Local. The class with the largest output in lane s; the lowest of equals. */
int loss_predicted_class(const float *output, int classes, int lanes, int s);

#endif
