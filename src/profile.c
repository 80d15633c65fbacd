/* profile.c - see profile.h. */
#include "src/profile.h"
#include "src/memory.h"
#include <time.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

const char *const profile_part_names[PROFILE_LAYERS] = {[PROFILE_OTHER] = "other",
    [PROFILE_LOADING] = "loading",
    [PROFILE_LOSS] = "loss",
    [PROFILE_COMBINE] = "batch-norm communication",
    [PROFILE_UPDATE] = "exchange and optimizer"};

Status profile_create(Profile **profile_out, int layer_count) {
    Profile *profile = NULL;
    *profile_out = NULL;
    TRY(MEMORY_ALLOCATE(&profile, 1, "profile"));
    *profile_out = profile;
    profile->since = now();
    return MEMORY_ALLOCATE(&profile->seconds, PROFILE_LAYERS + 2 * (size_t)layer_count, "profile");
}

void profile_free(Profile *profile) {
    if (profile == NULL) return;
    memory_free(profile->seconds);
    memory_free(profile);
}

int profile_read_clock(Profile *profile, int slot) {
    double time = now();
    int before = profile->slot;
    profile->seconds[before] += time - profile->since;
    profile->since = time;
    profile->slot = slot;
    return before;
}

void profile_reset(Profile *profile, int layer_count) {
    int end = profile_slot((uint32_t)layer_count, PROFILE_FORWARD);
    for (int slot = 0; slot < end; slot++) profile->seconds[slot] = 0;
    profile->steps = 0;
}
