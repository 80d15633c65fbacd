/* profile.h - where the time of training steps goes, on this rank.
 *
 * One clock runs, for one thing at a time: switching it on for another stops it for the one before,
 * so the parts add up to the whole and a layer's time does not hold that of layers within it. */
#ifndef SRC_PROFILE_H
#define SRC_PROFILE_H

#include "src/status.h"
#include <stddef.h>
#include <stdint.h>

/* What the clock runs for: one of these, or a layer and a direction (profile_slot). */
enum {
    PROFILE_OUTSIDE, /* of a training step */
    PROFILE_OTHER,
    PROFILE_LOADING,
    PROFILE_LOSS,
    PROFILE_COMBINE, /* statistics of layers, combined over microbatches and ranks */
    PROFILE_UPDATE,  /* exchange of losses and gradients, optimizer */
    PROFILE_LAYERS
};
enum { PROFILE_FORWARD, PROFILE_BACKWARD };

/* What to call the parts of a step that are no layers: [PROFILE_OTHER] to [PROFILE_UPDATE]. */
extern const char *const profile_part_names[PROFILE_LAYERS];

typedef struct Profile {
    double *seconds; /* [PROFILE_LAYERS + 2 * layer_count]; owned */
    int slot;        /* what the clock runs for */
    double since;
    int64_t steps; /* counted by the caller */
} Profile;

/* Local. For a network of `layer_count` layers. The caller frees with profile_free, also after a
 * failure. Fails with STATUS_NO_MEMORY. */
MUST_CHECK Status profile_create(Profile **profile, int layer_count);
void profile_free(Profile *profile);

/* Local. Forget what was measured so far. */
void profile_reset(Profile *profile, int layer_count);

/* Local. The slot of the layer with this Layer.index. */
static inline int profile_slot(uint32_t layer_index, int direction) {
    return PROFILE_LAYERS + 2 * (int)layer_index + direction;
}

/* Local. Run the clock for `slot`; returns what it ran for before. NULL profile: nothing. */
int profile_read_clock(Profile *profile, int slot);
static inline int profile_switch(Profile *profile, int slot) {
    return profile == NULL ? PROFILE_OUTSIDE : profile_read_clock(profile, slot);
}

#endif
