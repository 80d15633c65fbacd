/* loss.c - see loss.h. As torch.nn.CrossEntropyLoss and NLLLoss, reduction mean. */
#include "src/loss.h"
#include "src/job.h"
#include <math.h>

int loss_predicted_class(const float *output, int classes, int lanes, int s) {
    int best = 0;
    for (int k = 1; k < classes; k++)
        if (output[k * lanes + s] > output[best * lanes + s]) best = k;
    return best;
}

/* loss = log(sum over k of exp(x_k)) - x_label; gradient softmax(x) - onehot(label). */
static void cross_entropy(const float *output, const int *labels, int classes, int lanes,
    double global_samples, float *gradient, double *record) {
    for (int s = 0; s < lanes; s++) {
        int label = labels[s];
        for (int k = 0; gradient != NULL && label < 0 && k < classes; k++)
            gradient[k * lanes + s] = 0;
        if (label < 0) continue;
        int best = loss_predicted_class(output, classes, lanes, s);
        double largest = output[best * lanes + s], sum = 0;
        for (int k = 0; k < classes; k++) sum += exp(output[k * lanes + s] - largest);
        record[LOSS_SUM] += log(sum) + largest - output[label * lanes + s];
        record[LOSS_CORRECT] += best == label;
        for (int k = 0; gradient != NULL && k < classes; k++) {
            double probability = exp(output[k * lanes + s] - largest) / sum;
            gradient[k * lanes + s] = (float)((probability - (k == label)) / global_samples);
        }
    }
}

/* loss = -x_label of log-probabilities x. */
static void nll(const float *output, const int *labels, int classes, int lanes,
    double global_samples, float *gradient, double *record) {
    for (int s = 0; s < lanes; s++) {
        int label = labels[s];
        for (int k = 0; gradient != NULL && k < classes; k++)
            gradient[k * lanes + s] = k == label ? (float)(-1.0 / global_samples) : 0.0f;
        if (label < 0) continue;
        record[LOSS_SUM] -= output[label * lanes + s];
        record[LOSS_CORRECT] += loss_predicted_class(output, classes, lanes, s) == label;
    }
}

static const LossType types[] = {
    [LOSS_CROSS_ENTROPY] = {.name = "cross_entropy",
        .summary = "of logits: log-softmax and negative log-likelihood",
        .compute = cross_entropy},
    [LOSS_NLL] = {
        .name = "nll", .summary = "negative log-likelihood of log-probabilities", .compute = nll}};

const LossType *loss_type(int name) {
    REQUIRE(name >= 0 && name < (int)(sizeof types / sizeof *types));
    return &types[name];
}

typedef struct Call {
    const LossType *type;
    const Pass *pass;
    const Tensor *output;
    const int *labels;
    Tensor *gradient;
    double *records;
} Call;

static void compute_microbatch(void *context, int item, int thread) {
    (void)thread;
    const Call *call = context;
    int lanes = call->pass->batch->lanes;
    double *record = call->records + (size_t)item * LOSS_RECORD_LENGTH;
    for (int i = 0; i < LOSS_RECORD_LENGTH; i++) record[i] = 0;
    float *gradient = call->gradient->data == NULL ? NULL : layer_output(call->gradient, item).data;
    call->type->compute(layer_input(call->output, item).data, call->labels + (size_t)item * lanes,
        call->output->shape.size[0], lanes, (double)call->pass->batch->global_sample_count,
        gradient, record);
}

void loss_compute(const LossType *type, const Pass *pass, const Tensor *output, const int *labels,
    Tensor *gradient, double *records) {
    Call call = {.type = type,
        .pass = pass,
        .output = output,
        .labels = labels,
        .gradient = gradient,
        .records = records};
    threads_run(pass->threads, pass->batch->local_count, compute_microbatch, &call);
}
