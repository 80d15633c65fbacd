/* run_folder.h - the folder that one training run writes into:
 *   job.yaml (resolved), metrics.jsonl, log.txt, lock, checkpoints/. */
#ifndef IO_RUN_FOLDER_H
#define IO_RUN_FOLDER_H

#include "src/status.h"

enum { RUN_FOLDER_PATH_BYTES = 4096 };

/* Local. Create `folder` with its parents, and `folder`/checkpoints; both may exist.
 * `*is_new`: `folder` did not. Fails with STATUS_CREATE, naming the part that cannot be created or
 * written to. */
MUST_CHECK Status run_folder_create(const char *folder, int *is_new);

/* Local. Remove a folder whose run never began; one that holds a checkpoint stays as it is. */
void run_folder_remove(const char *folder);

/* Local. Write `folder`/`name` whole or not at all. Fails with STATUS_CREATE, STATUS_IO. */
MUST_CHECK Status run_folder_write(const char *folder, const char *name, const char *text);

/* Local. The folder for a job file when none is given: "runs/" and the file's name without its
 * ending; "runs/default" for the embedded job. */
void run_folder_default(const char *job_path, char folder[RUN_FOLDER_PATH_BYTES]);

#endif
