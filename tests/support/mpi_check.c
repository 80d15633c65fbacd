/* mpi_check.c - see mpi_check.h. */
#include "tests/support/mpi_check.h"
#include "src/memory.h"
#include "src/subnormals.h"
#include <stdio.h>
#include <stdlib.h>

static Comm *ranks;

Comm *mpi_check_comm(void) {
    return ranks;
}

int mpi_check_agree(int holds, const char *condition, const char *file, int line) {
    if (!holds)
        fprintf(stderr, "rank %d of %d: %s:%d: does not hold: %s\n", comm_rank(ranks),
            comm_size(ranks), file, line, condition);
    return comm_min(ranks, holds ? 1 : 0) > 0;
}

int mpi_check_run(int argc, char **argv, Suite *suite) {
    if (comm_start(&ranks, &argc, &argv) != STATUS_OK) {
        fprintf(stderr, "cannot start: %s\n", status_message());
        comm_finish(ranks);
        return EXIT_FAILURE;
    }
    subnormals_flush();
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, CK_NOFORK);
    srunner_run_all(runner, comm_is_root(ranks) ? CK_ENV : CK_SILENT);
    int failed = comm_max(ranks, srunner_ntests_failed(runner)) > 0;
    srunner_free(runner);
    comm_finish(ranks);
    ranks = NULL;
    if (!failed && memory_in_use() != 0) {
        fprintf(stderr, "%zu allocations are left\n", memory_in_use());
        failed = 1;
    }
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
