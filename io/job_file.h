/* job_file.h - read a job file, and print a job as one.
 *
 * YAML through libyaml, checked against the tables of src/job.c and of the layers: strict types, no
 * unknown and no double keys. Every problem is collected and told once, as
 *   job.yaml:14:5: optimizer.momentun: unknown key; did you mean "momentum"?
 * with the source line and a caret under it. */
#ifndef IO_JOB_FILE_H
#define IO_JOB_FILE_H

#include "src/job.h"

/* Local. Read `path`, then apply `sets` ("optimizer.lr=0.01", values as YAML flow; `set_count` of
 * them), then the defaults. A NULL path gives the embedded default job. `*job` is zeroed first; the
 * caller frees with job_free, also after a failure. Fails with STATUS_MISSING (no such file),
 * STATUS_CONFIG (message: all problems, up to 20). */
MUST_CHECK Status job_file_read(Job *job, const char *path, char *const *sets, int set_count);

/* Local. Read a job from text; `name` stands for the file in messages. As job_file_read. */
MUST_CHECK Status job_file_parse(
    Job *job, const char *name, const char *text, char *const *sets, int set_count);

/* Local. The same for the text that `name`, a checkpoint, holds. Older versions stored the options
 * of all optimizers and schedules: those that are not in use count as not given. */
MUST_CHECK Status job_file_parse_stored(
    Job *job, const char *name, const char *text, char *const *sets, int set_count);

/* Local. The job as a job file with every option that the chosen optimizer and schedule use, which
 * job_file_parse reads back to the same job. with_docs: a comment for every key; those of other
 * optimizers and schedules are comments too. The caller frees `*text` with memory_free. */
MUST_CHECK Status job_file_print(const Job *job, int with_docs, char **text);

/* Local. All types of layers with their options, as comments for the end of a job file. The caller
 * frees `*text` with memory_free. */
MUST_CHECK Status job_file_print_layer_types(char **text);

/* Local. What differs between two printed jobs (job_file_print without docs), one line per option:
 * "optimizer.lr: 0.1 -> 0.01"; "" if nothing. is_same_run: whether no difference changes what is
 * trained: seed, data (but data.path), model, loss, optimizer.name, train.batch_size,
 * train.microbatch, train.shuffle; else the text holds such differences alone. The caller frees
 * `*text` with memory_free. */
MUST_CHECK Status job_file_compare(
    const Job *before, const Job *now, char **text, int *is_same_run);

#endif
