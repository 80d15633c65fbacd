/* test_rng.c - counter-based random numbers. */
#include "src/rng.h"
#include "tests/support/unit_check.h"
#include <stdlib.h>
#include <string.h>

/* Known answers of Random123's kat_vectors, philox4x32 10. */
START_TEST(philox_gives_the_known_answers) {
    static const struct {
        uint32_t key[2], counter[4], answer[4];
    } cases[] = {
        {{0, 0}, {0, 0, 0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
            {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0xa4093822, 0x299f31d0}, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
            {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t counter[4];
        memcpy(counter, cases[i].counter, sizeof counter);
        rng_philox(cases[i].key, counter);
        ck_assert_mem_eq(counter, cases[i].answer, sizeof counter);
    }
}
END_TEST

START_TEST(draws_differ_by_every_part_of_what_they_are_for) {
    uint32_t draws[8][4];
    Rng rng = rng_stream(1, RNG_DROPOUT, 3);
    rng_draw(rng, 5, 7, 9, draws[0]);
    rng_draw(rng, 6, 7, 9, draws[1]);
    rng_draw(rng, 5, 8, 9, draws[2]);
    rng_draw(rng, 5, 7 + ((uint64_t)1 << 32), 9, draws[3]);
    rng_draw(rng, 5, 7, 10, draws[4]);
    rng_draw(rng_stream(1 + ((uint64_t)1 << 32), RNG_DROPOUT, 3), 5, 7, 9, draws[5]);
    rng_draw(rng_stream(1, RNG_SHUFFLE, 3), 5, 7, 9, draws[6]);
    rng_draw(rng_stream(1, RNG_DROPOUT, 4), 5, 7, 9, draws[7]);
    for (int i = 0; i < 8; i++)
        for (int k = 0; k < i; k++) ck_assert_mem_ne(draws[i], draws[k], sizeof draws[i]);
}
END_TEST

START_TEST(the_same_draw_is_the_same_again) {
    uint32_t first[4], again[4];
    rng_draw(rng_stream(42, RNG_WEIGHTS, 1), 2, 3, 4, first);
    rng_draw(rng_stream(42, RNG_WEIGHTS, 1), 2, 3, 4, again);
    ck_assert_mem_eq(first, again, sizeof first);
}
END_TEST

START_TEST(uniform_numbers_lie_in_0_to_1) {
    ck_assert(rng_uniform(0) == 0);
    ck_assert(rng_uniform(0xffffffff) < 1);
    ck_assert(rng_uniform(0x80000000) == 0.5f);
}
END_TEST

START_TEST(uniform_numbers_are_spread_evenly) {
    int counts[10] = {0};
    Rng rng = rng_stream(7, RNG_WEIGHTS, 0);
    for (uint32_t i = 0; i < 25000; i++) {
        uint32_t bits[4];
        rng_draw(rng, 0, 0, i, bits);
        for (int k = 0; k < 4; k++) counts[(int)(rng_uniform(bits[k]) * 10)]++;
    }
    for (int i = 0; i < 10; i++) ck_assert(counts[i] > 9500 && counts[i] < 10500); /* 5 sigma */
}
END_TEST

enum { ORDER_MAX = 1000 };

static int is_permutation(const uint32_t *order, uint32_t count) {
    char seen[ORDER_MAX] = {0};
    for (uint32_t i = 0; i < count; i++) {
        if (order[i] >= count || seen[order[i]]) return 0;
        seen[order[i]] = 1;
    }
    return 1;
}

START_TEST(an_order_is_a_permutation) {
    static uint32_t order[ORDER_MAX];
    for (uint32_t count = 0; count <= ORDER_MAX; count += 1 + count / 7) {
        rng_permute(rng_stream(3, RNG_SHUFFLE, 0), 0, order, count);
        ck_assert(is_permutation(order, count));
    }
}
END_TEST

START_TEST(an_order_changes_with_epoch_and_seed_only) {
    static uint32_t orders[4][ORDER_MAX];
    rng_permute(rng_stream(3, RNG_SHUFFLE, 0), 0, orders[0], ORDER_MAX);
    rng_permute(rng_stream(3, RNG_SHUFFLE, 0), 0, orders[1], ORDER_MAX);
    rng_permute(rng_stream(3, RNG_SHUFFLE, 0), 1, orders[2], ORDER_MAX);
    rng_permute(rng_stream(4, RNG_SHUFFLE, 0), 0, orders[3], ORDER_MAX);
    ck_assert_mem_eq(orders[0], orders[1], sizeof orders[0]);
    ck_assert_mem_ne(orders[0], orders[2], sizeof orders[0]);
    ck_assert_mem_ne(orders[0], orders[3], sizeof orders[0]);
}
END_TEST

START_TEST(every_order_of_three_comes_about_equally_often) {
    int counts[27] = {0};
    for (uint32_t epoch = 0; epoch < 6000; epoch++) {
        uint32_t order[3];
        rng_permute(rng_stream(11, RNG_SHUFFLE, 0), epoch, order, 3);
        counts[order[0] * 9 + order[1] * 3 + order[2]]++;
    }
    for (int i = 0; i < 27; i++) ck_assert(counts[i] == 0 || (counts[i] > 850 && counts[i] < 1150));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("rng");
    TCase *cases = unit_check_case(suite, "rng");
    tcase_add_test(cases, philox_gives_the_known_answers);
    tcase_add_test(cases, draws_differ_by_every_part_of_what_they_are_for);
    tcase_add_test(cases, the_same_draw_is_the_same_again);
    tcase_add_test(cases, uniform_numbers_lie_in_0_to_1);
    tcase_add_test(cases, uniform_numbers_are_spread_evenly);
    tcase_add_test(cases, an_order_is_a_permutation);
    tcase_add_test(cases, an_order_changes_with_epoch_and_seed_only);
    tcase_add_test(cases, every_order_of_three_comes_about_equally_often);
    return unit_check_run(suite);
}
