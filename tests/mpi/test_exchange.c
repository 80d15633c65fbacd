/* test_exchange.c - gradients summed and parameters updated over ranks, bit for bit those of one
 * process. */
#include "mpi/exchange.h"
#include "src/memory.h"
#include "src/network.h"
#include "tests/support/mpi_check.h"
#include "tests/support/plain_kernels.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGE_FLOATS = 801 * NETWORK_BLOCK_FLOATS }; /* slices of more than one message */

static float *new_floats(size_t count) {
    float *floats = NULL;
    if (MEMORY_ALLOCATE(&floats, count, "floats") != STATUS_OK) abort();
    return floats;
}

/* Gradient of one microbatch at one place of the block, different in every step. */
static float leaf_gradient(int64_t leaf, size_t i, int step) {
    uint32_t mixed =
        (uint32_t)(leaf * 7919 + step * 104729 + 1) * 2654435761u ^ (uint32_t)i * 40503u;
    mixed = (mixed ^ mixed >> 15) * 2246822519u;
    return (float)(int32_t)(mixed ^ mixed >> 13) * 0x1p-31f;
}

/* The sum of the leaves [begin, end) of a batch of `total`, straight from the tree's definition:
 * node (level, index) is its left child plus its right, where that has leaves. */
static float sum_node(int level, int64_t index, int64_t total, size_t i, int step) {
    if (level == 0) return leaf_gradient(index, i, step);
    float left = sum_node(level - 1, 2 * index, total, i, step);
    int64_t right_begin = (2 * index + 1) << (level - 1);
    return right_begin >= total ? left : left + sum_node(level - 1, 2 * index + 1, total, i, step);
}

static float sum_of_batch(int64_t total, size_t i, int step) {
    int level = 0;
    while (((int64_t)1 << level) < total) level++;
    return sum_node(level, 0, total, i, step);
}

/* Momentum SGD; also remembers how it was called. */
typedef struct Sgd {
    size_t slice_begin, next;
    float *momentum; /* [slice] */
    int out_of_order;
} Sgd;

static void step_sgd(float *parameter, float *momentum, float gradient) {
    *momentum = 0.9f * *momentum + gradient;
    *parameter -= 0.1f * *momentum;
}

static void update_sgd(
    void *context, size_t begin, size_t count, float *parameters, const float *gradient) {
    Sgd *sgd = context;
    sgd->out_of_order += begin != sgd->next || count == 0 || begin % NETWORK_BLOCK_FLOATS != 0 ||
                         count % NETWORK_BLOCK_FLOATS != 0;
    sgd->next = begin + count;
    for (size_t i = 0; i < count; i++)
        step_sgd(&parameters[i], &sgd->momentum[begin - sgd->slice_begin + i], gradient[i]);
}

/* A training run of a few steps, by the ranks and by plain loops. */
typedef struct Run {
    Exchange *exchange;
    size_t floats;
    int full_samples, microbatch;
    Sgd sgd;
    float *parameters, *momentum, *gradient; /* of the plain run, all of the block */
} Run;

static void begin_run(Run *run, size_t floats, int full_samples, int microbatch) {
    Comm *comm = mpi_check_comm();
    Batch full;
    *run = (Run){.floats = floats, .full_samples = full_samples, .microbatch = microbatch};
    batch_plan(&full, full_samples, microbatch, comm_position(comm), comm_size(comm));
    ASSERT_ON_ALL(
        exchange_create(&run->exchange, comm, plain_kernels(), floats, &full) == STATUS_OK);
    size_t count;
    exchange_slice(run->exchange, &run->sgd.slice_begin, &count);
    run->sgd.momentum = new_floats(count);
    run->parameters = new_floats(floats);
    run->momentum = new_floats(floats);
    run->gradient = new_floats(floats);
    for (size_t i = 0; i < floats; i++) run->parameters[i] = (float)(i % 1001) * 0.01f;
    if (comm_is_root(comm))
        memcpy(exchange_parameters(run->exchange), run->parameters, floats * sizeof(float));
    exchange_broadcast_parameters(run->exchange);
}

static void end_run(Run *run) {
    exchange_free(run->exchange);
    memory_free(run->sgd.momentum);
    memory_free(run->parameters);
    memory_free(run->momentum);
    memory_free(run->gradient);
}

/* What backward does: each gradient block is the sum of one subtree of this rank. */
static void fill_gradients(Run *run, const Batch *batch, int step) {
    for (int n = 0; n < batch->node_count; n++) {
        TreeNode node = batch->nodes[n];
        float *block = exchange_gradients(run->exchange)[n];
        for (size_t i = 0; i < run->floats; i++)
            block[i] =
                sum_node(node.level, node.begin >> node.level, node.begin + node.count, i, step);
    }
}

/* The norm as defined: blocks' sums of squares, merged over the tree over the blocks. */
static double plain_norm(const Run *run) {
    size_t blocks = run->floats / NETWORK_BLOCK_FLOATS;
    double *sums = NULL;
    if (MEMORY_ALLOCATE(&sums, blocks, "sums") != STATUS_OK) abort();
    for (size_t b = 0; b < blocks; b++)
        sums[b] = plain_kernels()->sum_of_squares(
            run->gradient + b * NETWORK_BLOCK_FLOATS, NETWORK_BLOCK_FLOATS);
    reducer_fold_leaves((int64_t)blocks, 1, reducer_merge_sum, sums);
    double norm = sqrt(sums[0]);
    memory_free(sums);
    return norm;
}

static double plain_step(Run *run, int64_t total, int step, double max_norm) {
    for (size_t i = 0; i < run->floats; i++) run->gradient[i] = sum_of_batch(total, i, step);
    double norm = max_norm > 0 ? plain_norm(run) : 0;
    float factor = max_norm > 0 ? (float)(max_norm / (norm + 1e-6)) : 1;
    for (size_t i = 0; i < run->floats; i++) {
        if (factor < 1) run->gradient[i] *= factor;
        step_sgd(&run->parameters[i], &run->momentum[i], run->gradient[i]);
    }
    return norm;
}

/* One step of `samples` samples both ways; whether they agree in every bit. */
static int step_is_equal(Run *run, int samples, int step, double max_norm) {
    const Comm *comm = mpi_check_comm();
    Batch batch;
    size_t count;
    batch_plan(&batch, samples, run->microbatch, comm_position(comm), comm_size(comm));
    fill_gradients(run, &batch, step);
    exchange_slice(run->exchange, &run->sgd.slice_begin, &count);
    run->sgd.next = run->sgd.slice_begin;
    double norm = exchange_finish(run->exchange, &batch, max_norm, update_sgd, &run->sgd);
    double expected = plain_step(run, batch.global_microbatch_count, step, max_norm);
    return norm == expected && run->sgd.out_of_order == 0 &&
           run->sgd.next == run->sgd.slice_begin + count &&
           memcmp(exchange_parameters(run->exchange), run->parameters,
               run->floats * sizeof(float)) == 0 &&
           memcmp(run->sgd.momentum, run->momentum + run->sgd.slice_begin, count * sizeof(float)) ==
               0;
}

START_TEST(any_batch_and_block_size_has_the_bits_of_one_process) {
    static const size_t blocks[] = {1, 2, 3, 5, 9};
    for (int b = 0; b < 5; b++)
        for (int count = 1; count <= 20; count += b == 2 ? 1 : 4) {
            Run run;
            int wrong = 0;
            begin_run(&run, blocks[b] * NETWORK_BLOCK_FLOATS, count, 1);
            wrong += !step_is_equal(&run, count, 0, 0);
            wrong += !step_is_equal(&run, count, 1, 1.0);
            wrong += !step_is_equal(&run, count, 2, 1e9);
            ASSERT_ON_ALL(wrong == 0);
            end_run(&run);
        }
}
END_TEST

START_TEST(smaller_batches_follow_larger_ones) {
    Run run;
    int wrong = 0;
    begin_run(&run, 7 * NETWORK_BLOCK_FLOATS, 4 * 13 - 1, 4);
    for (int samples = 4 * 13 - 1, step = 0; samples > 0; samples -= 3, step++)
        wrong += !step_is_equal(&run, samples, step, step % 3 == 1 ? 0.5 : 0);
    wrong += !step_is_equal(&run, 4 * 13 - 1, 100, 0);
    ASSERT_ON_ALL(wrong == 0);
    end_run(&run);
}
END_TEST

START_TEST(slices_of_several_messages_have_the_bits_of_one_process) {
    Run run;
    int wrong = 0;
    begin_run(&run, LARGE_FLOATS, 6, 1);
    wrong += !step_is_equal(&run, 6, 0, 0);
    wrong += !step_is_equal(&run, 5, 1, 3.0);
    wrong += !step_is_equal(&run, 1, 2, 0);
    ASSERT_ON_ALL(wrong == 0);
    end_run(&run);
}
END_TEST

START_TEST(slices_cover_the_block_once) {
    const Comm *comm = mpi_check_comm();
    for (size_t blocks = 0; blocks < 11; blocks++) {
        Batch full;
        Exchange *exchange = NULL;
        size_t floats = blocks * NETWORK_BLOCK_FLOATS, begin, count, own_begin, own_count, sum = 0;
        batch_plan(&full, 5, 1, comm_position(comm), comm_size(comm));
        ASSERT_ON_ALL(exchange_create(&exchange, mpi_check_comm(), plain_kernels(), floats,
                          &full) == STATUS_OK);
        int wrong = 0;
        for (int rank = 0; rank < comm_size(comm); rank++) {
            exchange_slice_of(exchange, rank, &begin, &count);
            wrong += begin % NETWORK_BLOCK_FLOATS != 0 || count % NETWORK_BLOCK_FLOATS != 0;
            wrong += count / NETWORK_BLOCK_FLOATS > blocks / (size_t)comm_size(comm) + 1;
            for (int other = 0; other < rank; other++) {
                size_t other_begin, other_count;
                exchange_slice_of(exchange, other, &other_begin, &other_count);
                wrong += other_begin < begin + count && begin < other_begin + other_count;
            }
            sum += count;
        }
        exchange_slice(exchange, &own_begin, &own_count);
        exchange_slice_of(exchange, comm_rank(comm), &begin, &count);
        wrong += own_begin != begin || own_count != count || sum != floats;
        ASSERT_ON_ALL(wrong == 0);
        exchange_free(exchange);
    }
}
END_TEST

START_TEST(a_sharded_array_goes_to_rank_0_and_back) {
    const Comm *comm = mpi_check_comm();
    Run run;
    begin_run(&run, 7 * NETWORK_BLOCK_FLOATS, 5, 1);
    size_t begin, count;
    exchange_slice(run.exchange, &begin, &count);
    float *whole = comm_is_root(comm) ? new_floats(run.floats) : NULL;
    int wrong = 0;
    for (size_t i = 0; i < count; i++) run.sgd.momentum[i] = (float)(begin + i);
    exchange_gather(run.exchange, run.sgd.momentum, whole);
    for (size_t i = 0; whole != NULL && i < run.floats; i++) {
        wrong += whole[i] != (float)i;
        whole[i] *= -2;
    }
    exchange_scatter(run.exchange, whole, run.sgd.momentum);
    for (size_t i = 0; i < count; i++) wrong += run.sgd.momentum[i] != -2 * (float)(begin + i);
    ASSERT_ON_ALL(wrong == 0);
    memory_free(whole);
    end_run(&run);
}
END_TEST

START_TEST(a_gradient_that_is_not_a_number_reaches_the_norm_of_all_ranks) {
    const Comm *comm = mpi_check_comm();
    Run run;
    Batch batch;
    begin_run(&run, 5 * NETWORK_BLOCK_FLOATS, 8, 1);
    batch_plan(&batch, 8, 1, comm_position(comm), comm_size(comm));
    fill_gradients(&run, &batch, 0);
    if (comm_is_root(comm)) exchange_gradients(run.exchange)[0][3000] = NAN;
    run.sgd.next = run.sgd.slice_begin;
    double norm = exchange_finish(run.exchange, &batch, 1.0, update_sgd, &run.sgd);
    ASSERT_ON_ALL(isnan(norm));
    ASSERT_ON_ALL(isnan(exchange_parameters(run.exchange)[0]));
    end_run(&run);
}
END_TEST

START_TEST(bytes_are_those_of_other_nodes_and_other_ranks) {
    const Comm *comm = mpi_check_comm();
    Run run;
    int size = comm_size(comm);
    size_t begin, count;
    begin_run(&run, (size_t)size * NETWORK_BLOCK_FLOATS, size, 1);
    exchange_slice(run.exchange, &begin, &count);
    double sent = comm_sum(comm, (double)exchange_bytes_sent(run.exchange));
    double shared = comm_sum(comm, (double)exchange_bytes_shared(run.exchange));
    ASSERT_ON_ALL((sent > 0) == (comm_node_count(comm) > 1));
    ASSERT_ON_ALL((shared > 0) == (comm_max(comm, comm_node_size(comm)) > 1));
    if (comm_node_count(comm) == 1)
        ASSERT_ON_ALL(
            exchange_bytes_shared(run.exchange) == (size_t)(size - 1) * count * sizeof(float));
    if (comm_node_count(comm) == size) /* the sums of one microbatch out, one slice to all */
        ASSERT_ON_ALL(exchange_bytes_sent(run.exchange) ==
                      (run.floats - count + (size_t)(size - 1) * count) * sizeof(float));
    end_run(&run);
}
END_TEST

START_TEST(every_allocation_that_fails_fails_on_all_ranks) {
    const Comm *comm = mpi_check_comm();
    Batch full;
    batch_plan(&full, 9, 1, comm_position(comm), comm_size(comm));
    size_t before = memory_in_use();
    for (int failing = 0; failing < comm_size(comm); failing++) {
        Status status = STATUS_NO_MEMORY;
        for (int n = 1; status != STATUS_OK; n++) {
            Exchange *exchange = NULL;
            status_arm_fault(comm_rank(comm) == failing ? n : 0, 0);
            status = exchange_create(
                &exchange, mpi_check_comm(), plain_kernels(), 4 * NETWORK_BLOCK_FLOATS, &full);
            status_arm_fault(0, 0);
            ASSERT_ON_ALL(n < 100 && (n > 10 || status == STATUS_NO_MEMORY));
            exchange_free(exchange);
            ASSERT_ON_ALL(memory_in_use() == before);
        }
    }
}
END_TEST

int main(int argc, char **argv) {
    Suite *suite = suite_create("exchange");
    TCase *cases = tcase_create("exchange");
    tcase_add_test(cases, any_batch_and_block_size_has_the_bits_of_one_process);
    tcase_add_test(cases, smaller_batches_follow_larger_ones);
    tcase_add_test(cases, slices_of_several_messages_have_the_bits_of_one_process);
    tcase_add_test(cases, slices_cover_the_block_once);
    tcase_add_test(cases, a_sharded_array_goes_to_rank_0_and_back);
    tcase_add_test(cases, a_gradient_that_is_not_a_number_reaches_the_norm_of_all_ranks);
    tcase_add_test(cases, bytes_are_those_of_other_nodes_and_other_ranks);
    tcase_add_test(cases, every_allocation_that_fails_fails_on_all_ranks);
    suite_add_tcase(suite, cases);
    return mpi_check_run(argc, argv, suite);
}
