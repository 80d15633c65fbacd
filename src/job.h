/* job.h - a training job: the sections of a job file, their options, and the network. */
#ifndef SRC_JOB_H
#define SRC_JOB_H

#include "src/augment.h"
#include "src/network.h"
#include "src/transform.h"

typedef enum DataFormat { DATA_IDX, DATA_SYNTHETIC, DATA_CIFAR, DATA_NPY, DATA_HDF5 } DataFormat;
typedef enum LayoutName { LAYOUT_AUTO, LAYOUT_NCHW, LAYOUT_NHWC } LayoutName;
typedef enum Standardize { STANDARDIZE_NONE, STANDARDIZE_TRAIN } Standardize;
typedef enum LossName { LOSS_CROSS_ENTROPY, LOSS_NLL } LossName;
typedef enum OptimizerName { OPTIMIZER_SGD, OPTIMIZER_ADAM, OPTIMIZER_ADAMW } OptimizerName;
typedef enum ScheduleName {
    SCHEDULE_CONSTANT,
    SCHEDULE_STEP,
    SCHEDULE_COSINE,
    SCHEDULE_LINEAR
} ScheduleName;
typedef enum BestMetric {
    BEST_NONE,
    BEST_VALID_ACCURACY,
    BEST_VALID_LOSS,
    BEST_TRAIN_LOSS
} BestMetric;

typedef struct JobData {
    int format;             /* DataFormat */
    char *path;             /* folder (hdf5: file) of the set; unused by synthetic */
    int layout;             /* LayoutName; npy, hdf5 */
    double valid_split;     /* share of the training samples, the last ones, kept for validation */
    OptionFloats mean, std; /* per channel, of pixels in [0, 1] or floats; one for all */
    int standardize;        /* Standardize: takes mean and std from the training samples */
    TransformOptions transforms;
    AugmentOptions augment; /* of training samples */
    int64_t train_count;    /* synthetic: training samples */
    int64_t test_count;     /* synthetic: test samples */
    int64_t image_size;     /* synthetic: height and width */
    double noise;           /* synthetic: standard deviation of the added noise, 1 is full scale */
} JobData;

typedef struct JobOptimizer {
    int name; /* OptimizerName */
    double lr, momentum, dampening, weight_decay;
    int nesterov;
    OptionFloats betas;
    double eps;
    double clip_norm; /* 0: no clipping */
} JobOptimizer;

typedef struct JobSchedule {
    int name; /* ScheduleName */
    double warmup_epochs;
    int64_t step_epochs; /* step: every so many epochs */
    double gamma;        /* step: times this */
    double final_lr;     /* cosine, linear: lr at the end */
} JobSchedule;

typedef struct JobTrain {
    int64_t epochs, batch_size, microbatch;
    int shuffle;
} JobTrain;

typedef struct JobCheckpoint {
    int64_t every_epochs; /* 0: only at the end and when stopped */
    int64_t every_steps;  /* 0: never in the middle of an epoch */
    int64_t keep_last;    /* at least 2 */
    int keep_best;        /* BestMetric */
} JobCheckpoint;

typedef struct JobLog {
    double every_seconds; /* a line (or the bar) at least this often */
    int64_t every_steps;  /* metrics.jsonl: a record each so many steps; 0: per epoch only */
} JobLog;

/* Where something of the job was given, for what only the data shows to be wrong. */
enum { JOB_ORIGIN_BYTES = 328 };
typedef struct JobOrigin {
    const char *key;              /* of the table of options, or "model.layers": the last layer */
    char place[JOB_ORIGIN_BYTES]; /* "job.yaml:3:5", "--set #1" */
} JobOrigin;

typedef struct Job {
    int64_t seed;
    JobData data;
    OptionInts input; /* model.input */
    NetworkSpec network;
    int loss; /* LossName */
    JobOptimizer optimizer;
    JobSchedule schedule;
    JobTrain train;
    JobCheckpoint checkpoint;
    JobLog log;
    Shape output;       /* of the network for one sample; job_file.h finds it */
    JobOrigin *origins; /* [origin_count], by job_file.h */
    int origin_count;
} Job;

/* Local. The options of a Job but for model.layers, whose options each layer type has. */
const Option *job_options(void);

/* Local. Samples of a whole microbatch: train.microbatch, or all of a batch that has fewer. */
int job_microbatch(const Job *job);

/* Local. Passes `status` on. The message of a failure that begins with a key of the job, "KEY: ",
 * gets the place before it where the key was given. */
MUST_CHECK Status job_locate(const Job *job, Status status);

/* Local. Free what the job holds, not the struct. */
void job_free(Job *job);

#endif
