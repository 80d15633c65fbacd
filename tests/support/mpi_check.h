/* mpi_check.h - Check under MPI: one suite run by all ranks in step.
 *
 * A plain assertion that fails on one rank leaves the others waiting for it, so the ranks agree
 * first and then all fail. */
#ifndef TESTS_SUPPORT_MPI_CHECK_H
#define TESTS_SUPPORT_MPI_CHECK_H

#include "mpi/comm.h"
#include <check.h>

/* Collective. Fail on all ranks if `condition` is false on any; the ranks where it is say so. */
#define ASSERT_ON_ALL(condition)                                                                   \
    ck_assert_msg(mpi_check_agree((condition) != 0, #condition, __FILE__, __LINE__),               \
        "on a rank: %s", #condition)

/* Collective. Whether `holds` on all ranks. */
int mpi_check_agree(int holds, const char *condition, const char *file, int line);

/* Local. The ranks of this test program. */
Comm *mpi_check_comm(void);

/* Collective. For main: start the ranks, run the suite without forking, check that no allocation is
 * left; returns the exit code. */
int mpi_check_run(int argc, char **argv, Suite *suite);

#endif
