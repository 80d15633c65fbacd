/* snapshot.h - a whole training run to a checkpoint file and back, on any number of ranks. */
#ifndef SRC_SNAPSHOT_H
#define SRC_SNAPSHOT_H

#include "src/trainer.h"

/* Collective. Write the run's state to FOLDER/checkpoints/`name`, point latest.h5 (and best.h5, if
 * is_best) to it, remove what is beyond checkpoint.keep_last. Rank 0 writes.
 * Fails, agreed, with STATUS_IO or STATUS_CREATE (the run can go on), STATUS_DIVERGED when a
 * parameter is not finite (nothing is written), STATUS_NO_MEMORY. */
MUST_CHECK Status snapshot_save(Trainer *trainer, const char *name, int is_best);

/* Collective. Continue from the newest checkpoint of the run's folder that is whole; one that is
 * not is named in a warning and the one before is taken. `*found` is 0 when the folder has none at
 * all. Fails, agreed, with STATUS_DATA when all are bad, STATUS_IO when the disk refused one of
 * them, STATUS_CONFIG when the job is another one. */
MUST_CHECK Status snapshot_resume(Trainer *trainer, int *found);

/* Collective. Fill an engine's network from the checkpoint at `path`, on every rank. */
MUST_CHECK Status snapshot_load_model(Engine *engine, const char *path);

#endif
