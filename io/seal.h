/* seal.h - the first 512 bytes of a checkpoint: they tell whether every byte is as it was written.
 *
 * The block is HDF5's user block, which HDF5 leaves alone. Little-endian:
 *   0  8 bytes  "LOCKSTEP"
 *   8  uint32   version of the seal, 1
 *  12  uint32   0
 *  16  uint64   length of the file in bytes
 *  24  int64    optimizer step
 *  32  16 bytes XXH3-128 (canonical form) of the whole file, these 16 bytes taken as zero
 *  48  464      zero */
#ifndef IO_SEAL_H
#define IO_SEAL_H

#include "src/status.h"
#include <stddef.h>
#include <stdint.h>

enum { SEAL_BYTES = 512 };

/* Local. Put the seal of a finished file, all of it in memory, into its first SEAL_BYTES. */
void seal_put(void *file, size_t size_bytes, int64_t step);

/* Local. Check a file against its seal; `*step` is the step in it.
 * Fails with STATUS_MISSING, STATUS_DATA (no seal, another length, a changed byte), STATUS_IO. */
MUST_CHECK Status seal_check(const char *path, int64_t *step);

/* Local. The step in the seal of a file of the sealed length, without looking at the rest. */
MUST_CHECK Status seal_read_step(const char *path, int64_t *step);

#endif
