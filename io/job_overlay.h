/* job_overlay.h - changes from the command line, laid over the tree of a job file. */
#ifndef IO_JOB_OVERLAY_H
#define IO_JOB_OVERLAY_H

#include "io/yaml_tree.h"

/* Local. Put "a.b=value", the text of `source`, over the mapping `root`: a value replaces what is
 * there, a mapping is merged. A number in the path is an index into a list; behind the index of a
 * layer the layer's own word may be left out. What is wrong goes to `problems`.
 * Fails with STATUS_NO_MEMORY only. */
MUST_CHECK Status job_overlay_apply(
    YamlTree *tree, YamlNode *root, const JobSource *source, JobProblems *problems);

#endif
