/* loader.h - samples of a data set, bytes or floats, in; the network's input and labels out.
 *
 * A loader serves one part of a set (training, validation or test samples) in the order of an
 * epoch. Which samples a batch holds depends on the order and the position alone, never on ranks.
 */
#ifndef SRC_LOADER_H
#define SRC_LOADER_H

#include "src/augment.h"
#include "src/layer.h"
#include "src/prefetch.h"

/* Where a loader's samples are. Borrowed: must outlive the loader. */
typedef struct LoaderSource {
    const void *images;         /* [offset + count or more][features], channel after channel */
    const SampleSource *reader; /* reads the same when images is NULL */
    const int32_t *labels;      /* [offset + count or more] */
    int element_bytes;          /* 1: uint8, 4: float */
    Shape sample;               /* of the set: [channels, height, width] */
    int64_t offset, count;      /* the part: samples [offset, offset + count), count < 2^31 */
} LoaderSource;

typedef struct LoaderAugmentation LoaderAugmentation;

typedef struct Loader {
    LoaderSource source;
    int channels, channel_pixels, features;
    float *mean, *std;    /* [channels] */
    float (*table)[256];  /* [channels]: what a byte becomes */
    uint32_t *order;      /* [count]: sample of the part at each position of the epoch */
    uint32_t epoch;       /* whose order it is */
    const void **samples; /* [count]: its elements, [channels][height][width]; those of
                             the present batch only where they are read as needed */
    Prefetch *prefetch;   /* NULL: images in memory */
    int64_t begun_at;     /* position and count of what it reads; count 0: nothing of use */
    int begun_count;
    LoaderAugmentation *augmentation; /* NULL: samples are served as they are */
} Loader;

/* Local. How many of `count` samples are for training when the last `valid_split` share of them is
 * for validation: floor(count * (1 - valid_split)), safe against rounding. May be 0. */
int64_t loader_train_count(int64_t count, double valid_split);

/* Local. A loader in the set's own order. A byte v of channel c becomes (v/255 - mean [c]) / std
 * [c], a float v (v - mean [c]) / std [c], every step in float32, as torchvision's ToTensor and
 * Normalize compute it: bytes are scaled to [0, 1], floats are taken as they are. `mean` and `std`
 * have a number per channel, or one for all. The caller frees with loader_free, also after a
 * failure. Fails with STATUS_CONFIG (length of mean or std), STATUS_NO_MEMORY. */
MUST_CHECK Status loader_create(
    Loader **loader, const LoaderSource *source, const OptionFloats *mean, const OptionFloats *std);
void loader_free(Loader *loader);

/* Local. Change the samples at random from now on; nothing happens when the options ask for
 * nothing. loader_fill may then be called with microbatches of up to `lanes` lanes and with up to
 * `thread_count` threads. Fails with STATUS_NO_MEMORY. */
MUST_CHECK Status loader_augment(
    Loader *loader, const AugmentOptions *options, uint64_t seed, int lanes, int thread_count);

/* Local. Put the samples into the order of `epoch`: a permutation that depends on (seed, epoch,
 * count), or the set's own order without `shuffle`. */
void loader_set_order(Loader *loader, uint32_t epoch, int shuffle, uint64_t seed);

/* Local. Begin to read what loader_fill will want next with these arguments, where the samples are
 * not in memory. Only a hint: without it, or with a wrong one, loader_fill reads and waits. */
void loader_request(Loader *loader, const Batch *batch, int64_t first_position);

/* Local. Fill the local microbatches of `batch`, whose first global sample is at `first_position`
 * of the order: x [local_count][features][lanes] (0 in lanes without a sample), labels
 * [local_count][lanes] and sample_index [local_count * microbatch], the index in the data set (-1
 * in both where there is no sample). first_position + batch->global_sample_count <= count.
 * Fails as the source's read, or with STATUS_NO_MEMORY; then no lane holds a sample: zeros and -1.
 */
MUST_CHECK Status loader_fill(Loader *loader, const Batch *batch, int64_t first_position,
    const Kernels *kernels, Threads *threads, Tensor *x, int *labels, int64_t *sample_index);

#endif
