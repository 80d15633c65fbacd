/* refused_reads.c - see refused_reads.h. The file's descriptor becomes one of this process's
 * memory, which has nothing at low addresses. */
#include "tests/support/refused_reads.h"
#include <check.h>
#include <fcntl.h>
#include <hdf5.h>
#include <unistd.h>

void refuse_reads(void) {
    hid_t file = -1;
    void *handle = NULL;
    int memory = open("/proc/self/mem", O_RDONLY);
    ck_assert_int_ge(memory, 0);
    ck_assert_int_eq(H5Fget_obj_ids((hid_t)H5F_OBJ_ALL, H5F_OBJ_FILE, 1, &file), 1);
    ck_assert_int_ge(H5Fget_vfd_handle(file, H5P_DEFAULT, &handle), 0);
    ck_assert_int_ge(dup2(memory, *(int *)handle), 0);
    close(memory);
}
