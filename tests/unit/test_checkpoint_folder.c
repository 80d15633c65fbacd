/* test_checkpoint_folder.c - the order of a run's checkpoints, what is removed, links, the lock. */
#include "src/memory.h"
#include "tests/support/checkpoint_sample.h"
#include "tests/support/unit_check.h"
#include <fcntl.h>
#include <hdf5.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void tear_down(void) {
    ck_assert_int_eq(H5Fget_obj_count((hid_t)H5F_OBJ_ALL, H5F_OBJ_ALL), 0);
    scratch_tear_down();
}

static void write_step(const char *name, int64_t step) {
    Sample sample;
    sample_create(&sample, SAMPLE_SMALL, 3);
    sample.content.step = step;
    sample_write(&sample, name);
    sample_free(&sample);
}

static void damage(const char *name) {
    scratch_write(name, "not a checkpoint", 16);
}

static int exists(const char *name) {
    struct stat found;
    return lstat(scratch_path(name), &found) == 0;
}

/* The list, its names separated by blanks. */
static const char *list_names(void) {
    static char text[1024];
    char **names = NULL;
    int count = 0;
    size_t used = 0;
    text[0] = '\0';
    ck_assert_int_eq(checkpoint_list(scratch_folder(), &names, &count), STATUS_OK);
    for (int i = 0; i < count; i++)
        used +=
            (size_t)snprintf(text + used, sizeof text - used, "%s%s", i > 0 ? " " : "", names[i]);
    memory_free(names);
    return text;
}

/* ---- the list ---- */

START_TEST(the_step_orders_the_list_and_not_the_time) {
    const struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    write_step("step-00000300.h5", 300);
    write_step("epoch-0001.h5", 100);
    write_step("step-00000200.h5", 200);
    write_step("epoch-0002.h5", 200);
    ck_assert_int_eq(utimensat(AT_FDCWD, scratch_path("step-00000300.h5"), old, 0), 0);
    ck_assert_str_eq(list_names(), "step-00000300.h5 epoch-0002.h5 step-00000200.h5 epoch-0001.h5");
}
END_TEST

START_TEST(unreadable_ones_come_first_and_others_are_no_checkpoints) {
    write_step("epoch-0001.h5", 100);
    damage("epoch-0000.h5");
    ck_assert_int_eq(mkdir(scratch_path("folder.h5"), 0755), 0);
    ck_assert_int_eq(mkfifo(scratch_path("pipe.h5"), 0644), 0);
    damage(".epoch-0003.h5.tmp.1");
    damage(".hidden.h5");
    damage("notes.txt");
    damage(".h5");
    ck_assert_str_eq(list_names(), "epoch-0000.h5 folder.h5 pipe.h5 epoch-0001.h5");
}
END_TEST

START_TEST(a_folder_that_is_not_there_holds_nothing) {
    char **names = NULL;
    int count = -1;
    ck_assert_int_eq(checkpoint_list(scratch_path("no"), &names, &count), STATUS_OK);
    ck_assert_int_eq(count, 0);
    memory_free(names);
    damage("file");
    ck_assert_int_eq(checkpoint_list(scratch_path("file"), &names, &count), STATUS_IO);
}
END_TEST

START_TEST(forty_checkpoints_are_listed) {
    char name[32], **names = NULL;
    int count = 0;
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "epoch-%04d.h5", i);
        write_step(name, i * 7 % 40);
    }
    ck_assert_int_eq(checkpoint_list(scratch_folder(), &names, &count), STATUS_OK);
    ck_assert_int_eq(count, 40);
    for (int i = 0; i < count; i++) ck_assert_int_eq(atoi(names[i] + 6) * 7 % 40, 39 - i);
    memory_free(names);
}
END_TEST

/* A folder that cannot be read to its end must not pass for one with fewer checkpoints; a file that
 * cannot be read is listed all the same. */
START_TEST(every_step_of_listing_may_fail) {
    long failed = 0;
    write_step("epoch-0001.h5", 100);
    write_step("epoch-0002.h5", 200);
    for (long n = 1;; n++) {
        char **names = NULL;
        int count = 0;
        status_arm_fault(n, 0);
        Status status = checkpoint_list(scratch_folder(), &names, &count);
        int was_due = status_fault_points_seen() >= n;
        status_arm_fault(0, 0);
        ck_assert_int_eq(count, status == STATUS_OK ? 2 : 0);
        memory_free(names);
        ck_assert_uint_eq(memory_in_use(), 0);
        failed += status != STATUS_OK;
        if (!was_due) break;
    }
    ck_assert_int_ge(failed, 4);
}
END_TEST

/* ---- removal ---- */

START_TEST(the_newest_and_the_best_are_kept) {
    for (int i = 1; i <= 6; i++) {
        char name[32];
        snprintf(name, sizeof name, "epoch-%04d.h5", i);
        write_step(name, 100 * i);
    }
    ck_assert_int_eq(checkpoint_prune(scratch_folder(), 3, "epoch-0002.h5"), STATUS_OK);
    ck_assert_str_eq(list_names(), "epoch-0006.h5 epoch-0005.h5 epoch-0004.h5 epoch-0002.h5");
    ck_assert_int_eq(checkpoint_prune(scratch_folder(), 2, "epoch-0006.h5"), STATUS_OK);
    ck_assert_str_eq(list_names(), "epoch-0006.h5 epoch-0005.h5");
    ck_assert_int_eq(checkpoint_prune(scratch_folder(), 2, NULL), STATUS_OK);
    ck_assert_str_eq(list_names(), "epoch-0006.h5 epoch-0005.h5");
}
END_TEST

START_TEST(unreadable_ones_are_neither_removed_nor_counted) {
    for (int i = 1; i <= 4; i++) {
        char name[32];
        snprintf(name, sizeof name, "epoch-%04d.h5", i);
        write_step(name, 100 * i);
    }
    damage("epoch-0004.h5");
    damage("epoch-0001.h5");
    ck_assert_int_eq(checkpoint_prune(scratch_folder(), 2, ""), STATUS_OK);
    ck_assert_str_eq(list_names(), "epoch-0001.h5 epoch-0004.h5 epoch-0003.h5 epoch-0002.h5");
}
END_TEST

static pid_t start_sleeper(void) {
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0)
        for (;;) pause();
    return child;
}

static void end_child(pid_t child) {
    ck_assert_int_eq(kill(child, SIGKILL), 0);
    ck_assert_int_eq(waitpid(child, NULL, 0), child);
}

START_TEST(only_what_dead_processes_left_is_removed) {
    char living[64], dead[64], own[64];
    pid_t sleeper = start_sleeper(), gone = start_sleeper();
    end_child(gone);
    snprintf(living, sizeof living, ".epoch-0001.h5.tmp.%ld", (long)sleeper);
    snprintf(dead, sizeof dead, ".epoch-0001.h5.tmp.%ld", (long)gone);
    snprintf(own, sizeof own, ".epoch-0001.h5.tmp.%ld", (long)getpid());
    damage(living);
    damage(dead);
    damage(own);
    damage(".epoch-0001.h5.tmp.");
    damage(".epoch-0001.h5.tmp.12x");
    damage("notes.tmp.1999999999");
    ck_assert_int_eq(checkpoint_prune(scratch_folder(), 2, NULL), STATUS_OK);
    ck_assert(exists(living) && exists(own) && !exists(dead));
    ck_assert_int_eq(scratch_count(), 5);
    end_child(sleeper);
    ck_assert_int_eq(checkpoint_prune(scratch_folder(), 2, NULL), STATUS_OK);
    ck_assert(!exists(living));
}
END_TEST

/* A signal to it is not allowed, which is an answer. */
START_TEST(a_living_process_of_another_user_is_not_taken_for_dead) {
    char living[64];
    const struct passwd *nobody = getpwnam("nobody");
    if (getuid() != 0) return; /* only root can become another user */
    pid_t sleeper = start_sleeper();
    snprintf(living, sizeof living, ".epoch-0001.h5.tmp.%ld", (long)sleeper);
    damage(living);
    ck_assert_ptr_nonnull(nobody);
    ck_assert_int_eq(chmod(scratch_folder(), 0777), 0);
    ck_assert_int_eq(setresuid(nobody->pw_uid, nobody->pw_uid, 0), 0);
    Status status = checkpoint_prune(scratch_folder(), 2, NULL);
    ck_assert_int_eq(setresuid(0, 0, 0), 0);
    end_child(sleeper);
    ck_assert_int_eq(status, STATUS_OK);
    ck_assert(exists(living));
}
END_TEST

START_TEST(what_cannot_be_removed_is_told) {
    for (int i = 1; i <= 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "epoch-%04d.h5", i);
        write_step(name, i);
    }
    long points = 0;
    status_arm_fault(0, 0);
    ck_assert_str_eq(list_names(), "epoch-0003.h5 epoch-0002.h5 epoch-0001.h5");
    points = status_fault_points_seen(); /* of the list and of its copy: one more than its own */
    status_arm_fault(points, 0);
    ck_assert_int_eq(checkpoint_prune(scratch_folder(), 2, NULL), STATUS_IO);
    status_arm_fault(0, 0);
    ck_assert_ptr_nonnull(strstr(status_message(), "epoch-0001.h5: cannot remove"));
    ck_assert_int_eq(scratch_count(), 3);
}
END_TEST

/* ---- links ---- */

START_TEST(a_link_is_replaced_and_read) {
    char target[CHECKPOINT_PATH_BYTES];
    checkpoint_read_link(scratch_folder(), "latest.h5", target);
    ck_assert_str_eq(target, "");
    ck_assert_int_eq(checkpoint_link(scratch_folder(), "latest.h5", "a/1.h5"), STATUS_OK);
    checkpoint_read_link(scratch_folder(), "latest.h5", target);
    ck_assert_str_eq(target, "a/1.h5");
    ck_assert_int_eq(checkpoint_link(scratch_folder(), "latest.h5", "a/2.h5"), STATUS_OK);
    checkpoint_read_link(scratch_folder(), "latest.h5", target);
    ck_assert_str_eq(target, "a/2.h5");
    ck_assert_int_eq(scratch_count(), 1);
    damage("file.h5");
    checkpoint_read_link(scratch_folder(), "file.h5", target);
    ck_assert_str_eq(target, "");
    ck_assert_int_eq(checkpoint_link(scratch_path("no"), "latest.h5", "a"), STATUS_IO);
}
END_TEST

/* At no moment is there no link, whatever fails. */
START_TEST(every_step_of_linking_may_fail) {
    char target[CHECKPOINT_PATH_BYTES];
    ck_assert_int_eq(checkpoint_link(scratch_folder(), "latest.h5", "old"), STATUS_OK);
    for (long n = 1;; n++) {
        status_arm_fault(n, 0);
        Status status = checkpoint_link(scratch_folder(), "latest.h5", "new");
        status_arm_fault(0, 0);
        checkpoint_read_link(scratch_folder(), "latest.h5", target);
        ck_assert_int_eq(scratch_count(), 1);
        if (status == STATUS_OK) {
            ck_assert_str_eq(target, "new");
            ck_assert_int_eq(n, 5); /* create, open the folder, rename, sync: all failed once */
            break;
        }
        ck_assert_int_eq(status, STATUS_IO);
        ck_assert_str_eq(target, n < 4 ? "old" : "new");
    }
}
END_TEST

/* Fork: the child replaces the link over and over, and the parent always finds one. */
START_TEST(the_link_is_there_at_every_moment) {
    char target[CHECKPOINT_PATH_BYTES];
    int state = 0;
    ck_assert_int_eq(checkpoint_link(scratch_folder(), "latest.h5", "1"), STATUS_OK);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        for (int i = 0; i < 300; i++)
            if (checkpoint_link(scratch_folder(), "latest.h5", i % 2 == 0 ? "2" : "1") != STATUS_OK)
                _exit(1);
        _exit(0);
    }
    while (waitpid(child, &state, WNOHANG) == 0) {
        checkpoint_read_link(scratch_folder(), "latest.h5", target);
        ck_assert(strcmp(target, "1") == 0 || strcmp(target, "2") == 0);
    }
    ck_assert(WIFEXITED(state) && WEXITSTATUS(state) == 0);
}
END_TEST

/* ---- the lock ---- */

/* A child that takes the lock, says so, and lives until it is ended. */
static pid_t start_holder(void) {
    int ready[2];
    char byte = 0;
    ck_assert_int_eq(pipe(ready), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        CheckpointLock *lock = NULL;
        Status status = checkpoint_lock(&lock, scratch_folder(), 0);
        byte = status == STATUS_OK ? 'y' : 'n';
        if (write(ready[1], &byte, 1) == 1)
            for (;;) pause();
        _exit(1);
    }
    ck_assert_int_eq(read(ready[0], &byte, 1), 1);
    ck_assert_int_eq(byte, 'y');
    close(ready[0]);
    close(ready[1]);
    return child;
}

START_TEST(a_second_holder_is_refused_and_told_who_is_the_first) {
    CheckpointLock *lock = NULL;
    char process[64];
    pid_t holder = start_holder();
    ck_assert_int_eq(checkpoint_lock(&lock, scratch_folder(), 0), STATUS_CREATE);
    ck_assert_ptr_null(lock);
    snprintf(process, sizeof process, "process %ld on ", (long)holder);
    ck_assert_msg(strstr(status_message(), process) != NULL, "%s", status_message());
    ck_assert_ptr_nonnull(strstr(status_message(), "another job writes here"));
    end_child(holder);
    ck_assert_int_eq(checkpoint_lock(&lock, scratch_folder(), 0), STATUS_OK);
    checkpoint_unlock(lock);
    end_child(start_holder()); /* an unlocked folder is free */
}
END_TEST

START_TEST(waiting_outlasts_a_dying_holder) {
    CheckpointLock *lock = NULL;
    pid_t holder = start_holder();
    pid_t ender = fork();
    ck_assert_int_ge(ender, 0);
    if (ender == 0) {
        usleep(300000);
        kill(holder, SIGKILL);
        _exit(0);
    }
    ck_assert_int_eq(checkpoint_lock(&lock, scratch_folder(), 60), STATUS_OK);
    checkpoint_unlock(lock);
    ck_assert_int_eq(waitpid(holder, NULL, 0), holder);
    ck_assert_int_eq(waitpid(ender, NULL, 0), ender);
}
END_TEST

START_TEST(a_lock_that_cannot_be_made_is_told) {
    CheckpointLock *lock = NULL;
    ck_assert_int_eq(checkpoint_lock(&lock, scratch_path("no"), 0), STATUS_CREATE);
    ck_assert_int_eq(symlink("elsewhere", scratch_path("lock")), 0); /* is not followed */
    ck_assert_int_eq(checkpoint_lock(&lock, scratch_folder(), 0), STATUS_CREATE);
    ck_assert(!exists("elsewhere"));
    ck_assert_int_eq(unlink(scratch_path("lock")), 0);
    status_arm_fault(2, 0);
    ck_assert_int_eq(checkpoint_lock(&lock, scratch_folder(), 0), STATUS_NO_MEMORY);
    status_arm_fault(0, 0);
    end_child(start_holder());
}
END_TEST

int main(void) {
    Suite *suite = suite_create("checkpoint_folder");
    TCase *tests = unit_check_case(suite, "folder");
    tcase_add_checked_fixture(tests, scratch_set_up, tear_down);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, the_step_orders_the_list_and_not_the_time);
    tcase_add_test(tests, unreadable_ones_come_first_and_others_are_no_checkpoints);
    tcase_add_test(tests, a_folder_that_is_not_there_holds_nothing);
    tcase_add_test(tests, forty_checkpoints_are_listed);
    tcase_add_test(tests, every_step_of_listing_may_fail);
    tcase_add_test(tests, the_newest_and_the_best_are_kept);
    tcase_add_test(tests, unreadable_ones_are_neither_removed_nor_counted);
    tcase_add_test(tests, only_what_dead_processes_left_is_removed);
    tcase_add_test(tests, a_living_process_of_another_user_is_not_taken_for_dead);
    tcase_add_test(tests, what_cannot_be_removed_is_told);
    tcase_add_test(tests, a_link_is_replaced_and_read);
    tcase_add_test(tests, every_step_of_linking_may_fail);
    tcase_add_test(tests, the_link_is_there_at_every_moment);
    tcase_add_test(tests, a_second_holder_is_refused_and_told_who_is_the_first);
    tcase_add_test(tests, waiting_outlasts_a_dying_holder);
    tcase_add_test(tests, a_lock_that_cannot_be_made_is_told);
    return unit_check_run(suite);
}
