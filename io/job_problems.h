/* job_problems.h - what is wrong with a job file, collected, sorted by place and told at once. */
#ifndef IO_JOB_PROBLEMS_H
#define IO_JOB_PROBLEMS_H

#include "src/job.h"
#include <stddef.h>

/* Where text came from. Outlives what points to it. */
typedef struct JobSource {
    const char *name; /* "job.yaml", or "--set #2" */
    const char *text;
    size_t bytes;
    int order;       /* problems of lower orders come first */
    int is_argument; /* of the command line: one short text, named without line and column */
    int is_stored;   /* of a checkpoint: the program's own, and maybe an older version's */
} JobSource;

/* Counted from 1; columns in code points. */
typedef struct JobPlace {
    const JobSource *source;
    size_t line, column;
} JobPlace;

enum { JOB_PROBLEMS_SHOWN = 20, JOB_PROBLEM_BYTES = 640 };

typedef struct JobProblem {
    JobPlace place;
    char text[JOB_PROBLEM_BYTES];
} JobProblem;

/* Start with {0}. Needs no memory but its own, so telling a problem cannot fail. */
typedef struct JobProblems {
    int count; /* all that were added */
    JobProblem shown[JOB_PROBLEMS_SHOWN];
} JobProblems;

/* Local. Add "path: message"; `path` may be "". */
void job_problems_add(JobProblems *problems, JobPlace place, const char *path, const char *format,
    ...) PRINTF_LIKE(4, 5);

/* Local. "job.yaml:3:5", or the name alone of an argument; of a long name the end. */
void job_problems_print_place(const JobPlace *place, char out[JOB_ORIGIN_BYTES]);

/* Local. The place of byte `offset` of a source, for messages that know no better. */
JobPlace job_problems_place(const JobSource *source, size_t offset);

/* Local. STATUS_OK if there is no problem, else STATUS_CONFIG with a message of all of them, each
 * with its source line and a caret; "and N more" for those that find no room. */
MUST_CHECK Status job_problems_report(const JobProblems *problems);

#endif
