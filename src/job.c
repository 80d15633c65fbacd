/* job.c - the table of the job file's options; see job.h. */
#include "src/job.h"
#include "src/memory.h"
#include <string.h>

static const char *const data_formats[] = {"idx", "synthetic", "cifar", "npy", "hdf5", NULL};
static const char *const layouts[] = {"auto", "nchw", "nhwc", NULL};
static const char *const standardize_words[] = {"none", "train", NULL};
static const char *const losses[] = {"cross_entropy", "nll", NULL};
static const char *const optimizers[] = {"sgd", "adam", "adamw", NULL};
static const char *const schedules[] = {"constant", "step", "cosine", "linear", NULL};
static const char *const best_metrics[] = {
    "none", "valid_accuracy", "valid_loss", "train_loss", NULL};

#define AT(field) offsetof(Job, field)
#define COUNT_MAX 2147483647.0
#define OF_FORMAT(words) .chooser = "data.format", .chosen = (words)
#define OF_OPTIMIZER(words) .chooser = "optimizer.name", .chosen = (words)
#define OF_SCHEDULE(words) .chooser = "schedule.name", .chosen = (words)
enum { DRAWN = 1u << DATA_SYNTHETIC, ARRAYS = 1u << DATA_NPY | 1u << DATA_HDF5 };
enum { STORED = ARRAYS | 1u << DATA_IDX | 1u << DATA_CIFAR };
enum { SGD = 1u << OPTIMIZER_SGD, ADAMS = 1u << OPTIMIZER_ADAM | 1u << OPTIMIZER_ADAMW };
enum { STEP = 1u << SCHEDULE_STEP, TO_FINAL = 1u << SCHEDULE_COSINE | 1u << SCHEDULE_LINEAR };

static const Option options[] = {
    {"seed", OPTION_INT, AT(seed), "1", .minimum = 0, .maximum = 9007199254740991.0,
        .doc = "start of every random number: weights, shuffling, synthetic data"},

    {"data.format", OPTION_ENUM, AT(data.format), "synthetic", .words = data_formats,
        .doc =
            "idx: the four files of MNIST and its kin, plain or .gz; synthetic: drawn here; cifar: "
            "CIFAR-10 or CIFAR-100, binary version, plain or .gz; npy: train_images.npy, "
            "train_labels.npy, test_images.npy, test_labels.npy (or x_train, y_train, ...), plain "
            "or "
            ".gz; hdf5: one file with images and "
            "labels in /train and /test, or test_images, test_labels, read as needed"},
    {"data.path", OPTION_STRING, AT(data.path), "\"\"", OF_FORMAT(STORED),
        .doc = "folder of the data set (hdf5: file); ${NAME} stands for an environment variable"},
    {"data.layout", OPTION_ENUM, AT(data.layout), "auto", .words = layouts, OF_FORMAT(ARRAYS),
        .doc = "order of an image's dimensions; auto finds 1, 3 or 4 channels"},
    {"data.valid_split", OPTION_FLOAT, AT(data.valid_split), "0", .minimum = 0, .maximum = 0.9,
        .doc = "share of the training samples, the last ones, kept for validation"},
    {"data.normalize.mean", OPTION_FLOATS, AT(data.mean), "[0]",
        .doc = "subtracted from pixels in [0, 1], or from floats as they are: one number per "
               "channel, or one for all"},
    {"data.normalize.std", OPTION_FLOATS, AT(data.std), "[1]", .minimum = 0, .maximum = 1e6,
        .is_minimum_exclusive = 1, .doc = "what the difference is divided by"},
    {"data.standardize", OPTION_ENUM, AT(data.standardize), "none", .words = standardize_words,
        .doc = "train: normalize by mean and std of the training samples, which are stored"},
    {"data.resize", OPTION_INTS, AT(data.transforms.resize), "null", .minimum = 1,
        .maximum = TRANSFORM_SIDE_MAX, .is_null_allowed = 1,
        .doc = "[height, width] that images get, bilinear with antialiasing, as by Pillow"},
    {"data.pad", OPTION_INT, AT(data.transforms.pad), "0", .minimum = 0,
        .maximum = TRANSFORM_SIDE_MAX,
        .doc = "zeros on every side, at most the larger side, after resize"},
    {"data.center_crop", OPTION_INTS, AT(data.transforms.center_crop), "null", .minimum = 1,
        .maximum = TRANSFORM_SIDE_MAX, .is_null_allowed = 1,
        .doc = "[height, width] cut out of the middle, after resize and pad"},
    {"data.augment.random_crop", OPTION_INT, AT(data.augment.random_crop), "0", .minimum = 0,
        .maximum = TRANSFORM_SIDE_MAX,
        .doc =
            "training: zeros around the sample, fewer than its smaller side, out of which its size "
            "is cut at random"},
    {"data.augment.flip", OPTION_BOOL, AT(data.augment.flip), "false",
        .doc = "training: exchange left and right of every other sample, at random"},
    {"data.augment.cutout", OPTION_INT, AT(data.augment.cutout), "0", .minimum = 0,
        .maximum = TRANSFORM_SIDE_MAX,
        .doc =
            "training: side of a square at a random place that is set to 0 (normalised), less than "
            "the sample's larger side"},
    {"data.train_count", OPTION_INT, AT(data.train_count), "8192", .minimum = 1,
        .maximum = COUNT_MAX, OF_FORMAT(DRAWN), .doc = "training samples"},
    {"data.test_count", OPTION_INT, AT(data.test_count), "2048", .minimum = 1, .maximum = COUNT_MAX,
        OF_FORMAT(DRAWN), .doc = "test samples"},
    {"data.image_size", OPTION_INT, AT(data.image_size), "28", .minimum = 12, .maximum = 256,
        OF_FORMAT(DRAWN), .doc = "height and width in pixels"},
    {"data.noise", OPTION_FLOAT, AT(data.noise), "0.15", .minimum = 0, .maximum = 1,
        OF_FORMAT(DRAWN), .doc = "standard deviation of the noise on a pixel in [0, 1]"},

    {"model.input", OPTION_INTS, AT(input), "[1, 28, 28]", .minimum = 1, .maximum = COUNT_MAX,
        .doc = "shape of one sample: [channels, height, width], or [features]"},

    {"loss", OPTION_ENUM, AT(loss), "cross_entropy", .words = losses,
        .doc = "cross_entropy of logits, or nll of log-probabilities (after log_softmax)"},

    {"optimizer.name", OPTION_ENUM, AT(optimizer.name), "sgd", .words = optimizers,
        .doc = "as torch.optim.SGD, Adam, AdamW"},
    {"optimizer.lr", OPTION_FLOAT, AT(optimizer.lr), "0.01", .minimum = 0, .maximum = 1e6,
        .is_minimum_exclusive = 1, .doc = "learning rate"},
    {"optimizer.momentum", OPTION_FLOAT, AT(optimizer.momentum), "0", .minimum = 0, .maximum = 1,
        OF_OPTIMIZER(SGD), .doc = "momentum"},
    {"optimizer.dampening", OPTION_FLOAT, AT(optimizer.dampening), "0", .minimum = 0, .maximum = 1,
        OF_OPTIMIZER(SGD), .doc = "dampening of momentum"},
    {"optimizer.nesterov", OPTION_BOOL, AT(optimizer.nesterov), "false", OF_OPTIMIZER(SGD),
        .doc = "Nesterov momentum; needs momentum > 0 and dampening 0"},
    {"optimizer.weight_decay", OPTION_FLOAT, AT(optimizer.weight_decay), "0", .minimum = 0,
        .maximum = 1e6, .doc = "L2 penalty (sgd, adam), or decoupled decay (adamw)"},
    {"optimizer.betas", OPTION_FLOATS, AT(optimizer.betas), "[0.9, 0.999]", .minimum = 0,
        .maximum = 0.9999999, OF_OPTIMIZER(ADAMS), .doc = "decay of the two moment averages"},
    {"optimizer.eps", OPTION_FLOAT, AT(optimizer.eps), "1.0e-8", .minimum = 0, .maximum = 1,
        OF_OPTIMIZER(ADAMS), .doc = "added to the denominator"},
    {"optimizer.clip_norm", OPTION_FLOAT, AT(optimizer.clip_norm), "0", .minimum = 0,
        .maximum = 1e30, .doc = "largest norm of the whole gradient; 0: no clipping"},

    {"schedule.name", OPTION_ENUM, AT(schedule.name), "constant", .words = schedules,
        .doc = "learning rate over the run"},
    {"schedule.warmup_epochs", OPTION_FLOAT, AT(schedule.warmup_epochs), "0", .minimum = 0,
        .maximum = 1e6, .doc = "linear rise from 0 to lr over these first epochs, with any name"},
    {"schedule.step_epochs", OPTION_INT, AT(schedule.step_epochs), "30", .minimum = 1,
        .maximum = COUNT_MAX, OF_SCHEDULE(STEP), .doc = "epochs between two drops"},
    {"schedule.gamma", OPTION_FLOAT, AT(schedule.gamma), "0.1", .minimum = 0, .maximum = 1,
        .is_minimum_exclusive = 1, OF_SCHEDULE(STEP), .doc = "factor of a drop"},
    {"schedule.final_lr", OPTION_FLOAT, AT(schedule.final_lr), "0", .minimum = 0, .maximum = 1e6,
        OF_SCHEDULE(TO_FINAL), .doc = "learning rate after the last step"},

    {"train.epochs", OPTION_INT, AT(train.epochs), "10", .minimum = 1, .maximum = 1e6,
        .doc = "passes over the training samples"},
    {"train.batch_size", OPTION_INT, AT(train.batch_size), "64", .minimum = 1, .maximum = 1e9,
        .doc = "samples of one optimizer step, over all ranks"},
    {"train.microbatch", OPTION_INT, AT(train.microbatch), "16", .minimum = 1, .maximum = 65536,
        .doc = "samples computed together; batch_size / microbatch bounds the number of ranks"},
    {"train.shuffle", OPTION_BOOL, AT(train.shuffle), "true",
        .doc = "a new order each epoch, from seed and epoch alone"},

    {"checkpoint.every_epochs", OPTION_INT, AT(checkpoint.every_epochs), "1", .minimum = 0,
        .maximum = 1e6, .doc = "epochs between checkpoints; 0: only at the end and when stopped"},
    {"checkpoint.every_steps", OPTION_INT, AT(checkpoint.every_steps), "0", .minimum = 0,
        .maximum = COUNT_MAX, .doc = "steps between checkpoints within an epoch; 0: none"},
    {"checkpoint.keep_last", OPTION_INT, AT(checkpoint.keep_last), "3", .minimum = 2,
        .maximum = 1e6, .doc = "newest checkpoints kept, beside the best"},
    {"checkpoint.keep_best", OPTION_ENUM, AT(checkpoint.keep_best), "none", .words = best_metrics,
        .doc = "also keep the checkpoint with the best value of this, linked as best.h5"},

    {"log.every_seconds", OPTION_FLOAT, AT(log.every_seconds), "5", .minimum = 0, .maximum = 1e6,
        .doc = "seconds between progress lines"},
    {"log.every_steps", OPTION_INT, AT(log.every_steps), "0", .minimum = 0, .maximum = COUNT_MAX,
        .doc = "steps between records in metrics.jsonl; 0: one per epoch"},
    {.key = NULL}};

const Option *job_options(void) {
    return options;
}

int job_microbatch(const Job *job) {
    int64_t size = job->train.microbatch, batch = job->train.batch_size;
    return (int)(size < batch ? size : batch);
}

Status job_locate(const Job *job, Status status) {
    const char *message = status_message();
    for (int i = 0; status != STATUS_OK && i < job->origin_count; i++) {
        const JobOrigin *origin = &job->origins[i];
        size_t length = strlen(origin->key);
        if (strncmp(message, origin->key, length) == 0 && message[length] == ':')
            return FAIL(status, "%s: %s", origin->place, message);
    }
    return status;
}

static void free_layers(LayerList *list) {
    for (int i = 0; i < list->count; i++) {
        LayerSpec *layer = &list->layers[i];
        for (int inner = 0; inner < LAYER_LISTS_MAX; inner++) free_layers(&layer->lists[inner]);
        if (layer->type != NULL) option_free_values(layer->type->options, layer->options);
        memory_free(layer->options);
    }
    memory_free(list->layers);
}

void job_free(Job *job) {
    option_free_values(options, job);
    free_layers(&job->network.list);
    memory_free(job->origins);
    job->origins = NULL;
    job->origin_count = 0;
    job->network = (NetworkSpec){.list = {.count = 0}};
}
