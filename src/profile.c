/* profile.c - see profile.h. */
#include "src/profile.h"
#include "src/memory.h"
#include <time.h>

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

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
