/* seal.c - see seal.h. */
#include "io/seal.h"
#include "io/file.h"
#include "src/memory.h"
#include <endian.h>
#include <string.h>
#include <xxhash.h>

static const char MAGIC[8] = {'L', 'O', 'C', 'K', 'S', 'T', 'E', 'P'};
enum { SEAL_VERSION = 1, CHUNK_BYTES = 1 << 17, HASH_BYTES = 16 };

typedef struct Seal {
    char magic[8];
    uint32_t version, zero;
    uint64_t file_bytes, step;
    uint8_t hash[HASH_BYTES];
    uint8_t rest[SEAL_BYTES - 48];
} Seal;
_Static_assert(sizeof(Seal) == SEAL_BYTES, "the seal fills the user block");

/* The hash of a file whose first bytes are those of `seal`, with its hash taken as zero. */
static Status hash_file(int descriptor, const char *path, const Seal *seal, int64_t size_bytes,
    uint8_t hash[HASH_BYTES]) {
    Seal blank = *seal;
    char *chunk = NULL;
    memset(blank.hash, 0, HASH_BYTES);
    TRY(memory_allocate((void **)&chunk, CHUNK_BYTES, 1, "checksum"));
    XXH3_state_t *state = XXH3_createState();
    Status status = STATUS_OK;
    if (state == NULL || XXH3_128bits_reset(state) != XXH_OK ||
        XXH3_128bits_update(state, &blank, sizeof blank) != XXH_OK)
        status = FAIL(STATUS_NO_MEMORY, "%s: no memory for the checksum", path);
    for (int64_t at = SEAL_BYTES; status == STATUS_OK && at < size_bytes; at += CHUNK_BYTES) {
        size_t bytes = size_bytes - at < CHUNK_BYTES ? (size_t)(size_bytes - at) : CHUNK_BYTES;
        status = file_read_at(descriptor, path, chunk, bytes, at);
        if (status == STATUS_OK) XXH3_128bits_update(state, chunk, bytes);
    }
    if (status == STATUS_OK) {
        XXH128_canonical_t canonical;
        XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
        memcpy(hash, canonical.digest, HASH_BYTES);
    }
    XXH3_freeState(state);
    memory_free(chunk);
    return status;
}

void seal_put(void *file, size_t size_bytes, int64_t step) {
    XXH128_canonical_t canonical;
    Seal seal = {.version = htole32(SEAL_VERSION),
        .file_bytes = htole64((uint64_t)size_bytes),
        .step = htole64((uint64_t)step)};
    REQUIRE(size_bytes >= SEAL_BYTES && step >= 0);
    memcpy(seal.magic, MAGIC, sizeof MAGIC);
    memcpy(file, &seal, sizeof seal);
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(file, size_bytes));
    memcpy(seal.hash, canonical.digest, HASH_BYTES);
    memcpy(file, &seal, sizeof seal);
}

static Status read_seal(int descriptor, const char *path, int64_t size_bytes, Seal *seal) {
    if (size_bytes < SEAL_BYTES)
        return FAIL(STATUS_DATA, "%s: %lld bytes are too few for a checkpoint", path,
            (long long)size_bytes);
    TRY(file_read_at(descriptor, path, seal, sizeof *seal, 0));
    if (memcmp(seal->magic, MAGIC, sizeof MAGIC) != 0)
        return FAIL(STATUS_DATA,
            "%s: has no seal of lockstep: not a checkpoint, or rewritten by another tool", path);
    if (le32toh(seal->version) != SEAL_VERSION)
        return FAIL(STATUS_DATA, "%s: seal version %u is not known; a newer lockstep wrote it",
            path, le32toh(seal->version));
    if (le64toh(seal->file_bytes) != (uint64_t)size_bytes)
        return FAIL(STATUS_DATA, "%s: has %lld bytes, was sealed with %llu: cut off or extended",
            path, (long long)size_bytes, (unsigned long long)le64toh(seal->file_bytes));
    if (le64toh(seal->step) >= INT64_MAX)
        return FAIL(STATUS_DATA, "%s: is damaged: its seal holds no step", path);
    return STATUS_OK;
}

static Status compare_hash(int descriptor, const char *path, const Seal *seal, int64_t size_bytes) {
    uint8_t hash[HASH_BYTES];
    TRY(hash_file(descriptor, path, seal, size_bytes, hash));
    if (memcmp(hash, seal->hash, HASH_BYTES) == 0) return STATUS_OK;
    return FAIL(STATUS_DATA, "%s: is damaged: its content does not match its checksum", path);
}

static Status check(const char *path, int64_t *step, int is_whole) {
    int descriptor = -1;
    int64_t size_bytes = 0;
    Seal seal;
    *step = -1;
    TRY(file_open_to_read(&descriptor, &size_bytes, path));
    Status status = read_seal(descriptor, path, size_bytes, &seal);
    if (status == STATUS_OK && is_whole) status = compare_hash(descriptor, path, &seal, size_bytes);
    if (status == STATUS_OK) *step = (int64_t)le64toh(seal.step);
    file_close(descriptor);
    return status;
}

Status seal_check(const char *path, int64_t *step) {
    return check(path, step, 1);
}

Status seal_read_step(const char *path, int64_t *step) {
    return check(path, step, 0);
}
