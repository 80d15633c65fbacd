/* group_norm.c - normalization of every sample by itself: groups [begin, end) of one microbatch
 * x [groups][rows][lanes], each lane of a group with its own mean and deviation. A weight belongs
 * to `rows_per_weight` consecutive rows.
 *
 * WIDTH lanes are taken at a time, a vector per row. Fewer lanes lie in pieces: then a vector holds
 * several rows, and what is found for each piece is added up in the end.
 *
 * As in batch_norm_sums.c a rough mean is taken out first, and only the few dozen terms of an item
 * of a vector in one block of rows are added up in float, all further sums of a lane in double. */
#include "src/kernels/sums.h"

enum { BLOCK = 8 * CHAINS }; /* vectors, at most: eight terms for each of its sums */

/* The same number of rows WIDTH lanes or fewer wide. */
typedef struct Statistics {
    Vector mean, inverse_std, shift; /* xhat = (x - mean) * inverse_std + shift: the shift holds the
                                        rest of the mean */
    VectorInt is_valid;              /* of the lane */
} Statistics;

INLINE Vector normalized(Vector x, const Statistics *of) {
    return (x - of->mean) * of->inverse_std + of->shift;
}

typedef enum Kind { TOTAL, MOMENTS, GRADIENT } Kind;

/* What is summed: for TOTAL x, for MOMENTS d = x - mean and d², else dy and dy * xhat. */
INLINE Terms terms_of(const Kind kind, Vector x, Vector dy, const Statistics *of) {
    if (kind == TOTAL) return (Terms){x, x};
    Vector difference = x - of->mean;
    if (kind == MOMENTS) return (Terms){difference, difference * difference};
    return (Terms){masked(dy, of->is_valid), masked(dy * normalized(x, of), of->is_valid)};
}

/* The terms of the last rows, fewer than a vector's. */
INLINE Terms last_terms(
    const Kind kind, const float *x, const float *dy, int part, const Statistics *of) {
    Vector last_x = load_part(x, part), last_dy = last_x;
    if (kind == GRADIENT) last_dy = load_part(dy, part);
    return first_terms(terms_of(kind, last_x, last_dy, of), part);
}

/* The sums over vectors [begin, end), at most a block. */
INLINE Terms sum_block(const Kind kind, const float *x, const float *dy, const Lines *lines,
    int begin, int end, const Statistics *of) {
    Terms sums[CHAINS] = {{.first = {0}}};
    int i = begin, whole = end < lines->whole ? end : lines->whole;
    for (; i + CHAINS <= whole; i += CHAINS) {
        UNROLL
        for (int chain = 0; chain < CHAINS; chain++) {
            size_t at = (size_t)(i + chain) * lines->step;
            sums[chain] = sum_of(sums[chain], terms_of(kind, load(x + at), load(dy + at), of));
        }
    }
    for (; i < whole; i++) {
        size_t at = (size_t)i * lines->step;
        sums[0] = sum_of(sums[0], terms_of(kind, load(x + at), load(dy + at), of));
    }
    if (i < end) {
        size_t at = (size_t)i * lines->step;
        sums[1] = sum_of(sums[1], last_terms(kind, x + at, dy + at, lines->part, of));
    }
    return sum_of(sum_of(sums[0], sums[1]), sum_of(sums[2], sums[3]));
}

typedef struct DoubleTerms {
    Sums first, second;
} DoubleTerms;

INLINE void add_terms(DoubleTerms *sums, Terms terms) {
    add_to(&sums->first, terms.first);
    add_to(&sums->second, terms.second);
}

/* The sums over the first `count` vectors. Where there is no gradient, dy is x. */
INLINE DoubleTerms sum_lines(const Kind kind, const float *x, const float *dy, const Lines *lines,
    int count, const Statistics *of) {
    DoubleTerms sums = {.first = {{{0}}}};
    for (int begin = 0; begin < count; begin += BLOCK) {
        int end = count - begin < BLOCK ? count : begin + BLOCK;
        add_terms(&sums, sum_block(kind, x, dy, lines, begin, end, of));
    }
    return sums;
}

/* ---- statistics ---- */

INLINE DoubleVector inverse_roots(DoubleVector v) {
    DoubleVector result = {0};
    for (int i = 0; i < HALF; i++) result[i] = 1.0 / __builtin_sqrt(v[i]);
    return result;
}

INLINE VectorInt valid_lanes(int lane, const KernelGroupNorm *norm) {
    VectorInt lanes = (VectorInt){COUNT_UP};
    if (norm->lanes < WIDTH) lanes &= (VectorInt){REPEAT(norm->lanes - 1)};
    return lanes < (VectorInt){REPEAT(norm->valid - lane)};
}

/* Of the first quarter of the vectors, at least: no further from the mean than the square root of 3
 * times the deviation. */
INLINE Vector rough_mean(const float *x, const Lines *lines, const KernelGroupNorm *norm) {
    int count = (lines->count + 3) / 4, pieces = norm->lanes < WIDTH ? WIDTH / norm->lanes : 1;
    int rows = count > lines->whole ? norm->rows : count * pieces;
    Sums total = sum_pieces(sum_lines(TOTAL, x, x, lines, count, NULL).first, norm->lanes);
    for (int h = 0; h < 2; h++) total.half[h] *= 1.0 / rows;
    return narrowed(total);
}

/* Of the lanes from `lane` on; all 0 where there is no sample. */
INLINE Statistics take_statistics(
    const float *x, const Lines *lines, const KernelGroupNorm *norm, int lane) {
    Statistics result = {.mean = rough_mean(x, lines, norm), .is_valid = valid_lanes(lane, norm)};
    DoubleTerms sums = sum_lines(MOMENTS, x, x, lines, lines->count, &result);
    Sums first = sum_pieces(sums.first, norm->lanes), second = sum_pieces(sums.second, norm->lanes);
    Sums mean = widened(result.mean), inverse, shift;
    double share = 1.0 / norm->rows;
    for (int h = 0; h < 2; h++) {
        DoubleVector correction = first.half[h] * share;
        DoubleVector m2 = corrected_squares(first.half[h], second.half[h], correction);
        mean.half[h] += correction;
        inverse.half[h] = inverse_roots(m2 * share + norm->eps);
    }
    result.mean = narrowed(mean);
    Sums rounded_mean = widened(result.mean);
    for (int h = 0; h < 2; h++)
        shift.half[h] = (rounded_mean.half[h] - mean.half[h]) * inverse.half[h];
    result.mean = masked(result.mean, result.is_valid);
    result.inverse_std = masked(narrowed(inverse), result.is_valid);
    result.shift = masked(narrowed(shift), result.is_valid);
    return result;
}

/* Those of the lanes from `lane` on. */
INLINE float *statistics_of(const KernelGroupNorm *norm, int group, int lane) {
    return norm->statistics + (size_t)group * 3 * norm->lanes + lane;
}

INLINE void store_statistics(
    const Statistics *of, const KernelGroupNorm *norm, int group, int lane) {
    float *p = statistics_of(norm, group, lane);
    size_t lanes = norm->lanes, count = lanes < WIDTH ? lanes : WIDTH;
    store_up_to(p, 0, count, of->mean);
    store_up_to(p + lanes, 0, count, of->inverse_std);
    store_up_to(p + 2 * lanes, 0, count, of->shift);
}

INLINE Vector load_lanes(const float *p, int lanes) {
    return lanes < WIDTH ? load_repeated(p, lanes) : load(p);
}

INLINE Statistics load_statistics(const KernelGroupNorm *norm, int group, int lane) {
    const float *p = statistics_of(norm, group, lane);
    int lanes = norm->lanes;
    return (Statistics){.mean = load_lanes(p, lanes),
        .inverse_std = load_lanes(p + lanes, lanes),
        .shift = load_lanes(p + 2 * lanes, lanes),
        .is_valid = valid_lanes(lane, norm)};
}

/* ---- passes over the rows of weights [0, count), each with `floats` floats in these lanes ---- */

/* Pointers are to the first of the group's rows in the first of the lanes; dy, weight and bias may
 * be NULL. */
typedef struct Sweep {
    const float *x, *dy, *weight, *bias;
    float *out;
    int count;
    size_t floats; /* from one weight's rows to the next's */
    Lines lines;   /* of one weight */
    Statistics statistics;
    Vector mean_dy, mean_product; /* of weight * dy, and of weight * dy * xhat */
} Sweep;

typedef enum Direction { FORWARD, BACKWARD } Direction;

INLINE Vector result_of(const Direction direction, const Sweep *sweep, Vector x, Vector dy,
    Vector weight, Vector bias) {
    Vector xhat = normalized(x, &sweep->statistics);
    if (direction == FORWARD) return xhat * weight + bias;
    Vector mean = xhat * sweep->mean_product + sweep->mean_dy;
    Vector dx = (dy * weight - mean) * sweep->statistics.inverse_std;
    return masked(dx, sweep->statistics.is_valid);
}

/* The vector at float `at`, or what of it is below `end`. */
INLINE void sweep_vector(const Direction direction, const Sweep *sweep, size_t at, size_t end,
    Vector weight, Vector bias) {
    Vector x = load_up_to(sweep->x, at, end), dy = x;
    if (direction == BACKWARD) dy = load_up_to(sweep->dy, at, end);
    store_up_to(sweep->out, at, end, result_of(direction, sweep, x, dy, weight, bias));
}

INLINE void sweep_lines(const Direction direction, const Sweep *sweep) {
    Lines lines = sweep->lines;
    for (int k = 0; k < sweep->count; k++) {
        Vector weight = broadcast(sweep->weight ? sweep->weight[k] : 1.0f);
        Vector bias = broadcast(sweep->bias ? sweep->bias[k] : 0.0f);
        size_t at = k * sweep->floats;
        for (int i = 0; i < lines.whole; i++, at += lines.step)
            sweep_vector(direction, sweep, at, at + WIDTH, weight, bias);
        if (lines.part > 0) sweep_vector(direction, sweep, at, at + lines.part, weight, bias);
    }
}

/* Numbers k.. of the weights, as far as there are any; `other` where there are none at all. */
INLINE Vector load_weights(const float *p, int k, int count, float other) {
    return p ? load_up_to(p, (size_t)k, (size_t)count) : broadcast(other);
}

INLINE int sweep_pieces(const int floats, const Direction direction, const Sweep *sweep) {
    size_t end = (size_t)sweep->count * floats;
    for (int k = 0; k < sweep->count; k += WIDTH) {
        Vector weight = load_weights(sweep->weight, k, sweep->count, 1.0f);
        Vector bias = load_weights(sweep->bias, k, sweep->count, 0.0f);
        UNROLL
        for (int j = 0; j < floats; j++)
            sweep_vector(direction, sweep, (size_t)k * floats + (size_t)j * WIDTH, end,
                spread(floats, weight, j), spread(floats, bias, j));
    }
    return 0;
}

INLINE void sweep_all(const Direction direction, const Sweep *sweep) {
    if (is_piece(sweep->floats))
        WITH_LANES(sweep->floats, sweep_pieces, direction, sweep);
    else
        sweep_lines(direction, sweep);
}

/* What the group has from `lane` on. */
INLINE Sweep sweep_of(const KernelGroupNorm *norm, int group, int lane, const float *x,
    const float *dy, float *out, const float *weight, const float *bias) {
    int count = norm->rows / norm->rows_per_weight, first = group * count;
    size_t at = (size_t)group * norm->rows * norm->lanes + lane;
    return (Sweep){.x = x + at,
        .dy = dy ? dy + at : NULL,
        .out = out ? out + at : NULL,
        .weight = weight ? weight + first : NULL,
        .bias = bias ? bias + first : NULL,
        .count = count,
        .floats = (size_t)norm->rows_per_weight * norm->lanes,
        .lines = lines_of(norm->rows_per_weight, norm->lanes)};
}

void KERNEL(group_norm_forward)(const float *x, float *y, const KernelGroupNorm *norm,
    const float *weight, const float *bias, int begin, int end) {
    Lines lines = lines_of(norm->rows, norm->lanes);
    for (int group = begin; group < end; group++) {
        for (int lane = 0; lane < norm->lanes; lane += WIDTH) {
            Sweep sweep = sweep_of(norm, group, lane, x, NULL, y, weight, bias);
            sweep.statistics = take_statistics(sweep.x, &lines, norm, lane);
            store_statistics(&sweep.statistics, norm, group, lane);
            sweep_all(FORWARD, &sweep);
        }
    }
}

/* ---- sums of the gradient ---- */

/* The sums over the rows of weight k. */
INLINE Terms sum_weight(const int is_single, const Sweep *sweep, int k) {
    const float *x = sweep->x + k * sweep->floats, *dy = sweep->dy + k * sweep->floats;
    const Lines *lines = &sweep->lines;
    const Statistics *of = &sweep->statistics;
    if (is_single) return terms_of(GRADIENT, load(x), load(dy), of);
    if (lines->count <= BLOCK) return sum_block(GRADIENT, x, dy, lines, 0, lines->count, of);
    DoubleTerms sums = sum_lines(GRADIENT, x, dy, lines, lines->count, of);
    return (Terms){narrowed(sums.first), narrowed(sums.second)};
}

/* The sums of up to WIDTH weights from k on: `of_weights` one weight's in each item; adds those of
 * the lanes, each weight's times the weight, to `of_lanes`. */
INLINE Terms sum_weights(const int is_single, const Sweep *sweep, int k, DoubleTerms *of_lanes) {
    Vector first[WIDTH], second[WIDTH];
    Terms weighted = {.first = {0}};
    for (int r = 0; r < WIDTH; r++) {
        Terms sums = {.first = {0}};
        if (k + r < sweep->count) {
            Vector weight = broadcast(sweep->weight ? sweep->weight[k + r] : 1.0f);
            sums = sum_weight(is_single, sweep, k + r);
            weighted = sum_of(weighted, (Terms){sums.first * weight, sums.second * weight});
        }
        first[r] = sums.first;
        second[r] = sums.second;
    }
    add_terms(of_lanes, weighted);
    return (Terms){sum_neighbours(WIDTH, 1, first), sum_neighbours(WIDTH, 1, second)};
}

INLINE Terms sum_pieces_of_weights(
    const int floats, const Sweep *sweep, int k, DoubleTerms *of_lanes) {
    Vector first[WIDTH], second[WIDTH];
    Vector weight = load_weights(sweep->weight, k, sweep->count, 1.0f);
    Terms weighted = {.first = {0}};
    size_t end = (size_t)sweep->count * floats;
    UNROLL
    for (int j = 0; j < floats; j++) {
        size_t at = (size_t)k * floats + (size_t)j * WIDTH;
        Terms terms = terms_of(GRADIENT, load_up_to(sweep->x, at, end),
            load_up_to(sweep->dy, at, end), &sweep->statistics);
        Vector factor = spread(floats, weight, j);
        weighted = sum_of(weighted, (Terms){terms.first * factor, terms.second * factor});
        first[j] = terms.first;
        second[j] = terms.second;
    }
    add_terms(of_lanes, weighted);
    return (Terms){sum_neighbours(floats, 1, first), sum_neighbours(floats, 1, second)};
}

/* Sets p [k].., as far as below p [count], or adds to them. */
INLINE void store_sums(float *p, int k, int count, Vector v, int adds) {
    if (!p) return;
    if (adds) v += load_up_to(p, (size_t)k, (size_t)count);
    store_up_to(p, (size_t)k, (size_t)count, v);
}

/* dweight and dbias, to which lanes after the first add; returns the lanes' sums. */
INLINE DoubleTerms take_sums(const Sweep *sweep, float *dweight, float *dbias, int adds) {
    DoubleTerms of_lanes = {.first = {{{0}}}};
    int is_single = sweep->lines.count == 1 && sweep->lines.part == 0;
    for (int k = 0; k < sweep->count; k += WIDTH) {
        Terms of_weights;
        if (is_piece(sweep->floats))
            of_weights = WITH_LANES(sweep->floats, sum_pieces_of_weights, sweep, k, &of_lanes);
        else if (is_single)
            of_weights = sum_weights(1, sweep, k, &of_lanes);
        else
            of_weights = sum_weights(0, sweep, k, &of_lanes);
        store_sums(dbias, k, sweep->count, of_weights.first, adds);
        store_sums(dweight, k, sweep->count, of_weights.second, adds);
    }
    return of_lanes;
}

INLINE Vector mean_of_lanes(Sums sums, const KernelGroupNorm *norm) {
    sums = sum_pieces(sums, norm->lanes);
    for (int h = 0; h < 2; h++) sums.half[h] *= 1.0 / norm->rows;
    return narrowed(sums);
}

void KERNEL(group_norm_backward)(const float *dy, const float *x, float *dx,
    const KernelGroupNorm *norm, const float *weight, float *dweight, float *dbias, int begin,
    int end) {
    for (int group = begin; group < end; group++) {
        for (int lane = 0; lane < norm->lanes; lane += WIDTH) {
            Sweep sweep = sweep_of(norm, group, lane, x, dy, dx, weight, NULL);
            size_t first = (size_t)group * sweep.count;
            sweep.statistics = load_statistics(norm, group, lane);
            DoubleTerms sums = take_sums(
                &sweep, dweight ? dweight + first : NULL, dbias ? dbias + first : NULL, lane > 0);
            sweep.mean_dy = mean_of_lanes(sums.first, norm);
            sweep.mean_product = mean_of_lanes(sums.second, norm);
            if (dx) sweep_all(BACKWARD, &sweep);
        }
    }
}
