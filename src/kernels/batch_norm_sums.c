/* batch_norm_sums.c - the sums of batch norm over one microbatch x [channels][pixels][lanes].
 *
 * A mean is first taken roughly and rounded to float; x minus that has no common part left that
 * would cost digits; of a long row a part is enough. The second pass sums these differences d and
 * their squares, and corrects: mean += sum(d) / n, m2 = sum(d²) - sum(d)² / n (Chan, Golub &
 * LeVeque, Stanford STAN-CS-79-773). Where values lie so close together that the rough
 * mean is as far from them as they are from each other, they have few digits, and d and d² are
 * exact. Only the few dozen terms of an item of a vector in one block of a row are added up in
 * float, all further sums are in double.
 *
 * WIDTH channels of short rows are taken together: as columns of floats, one of each row, where
 * the rows divide a vector; or the items of their vectors are added up side by side. */
#include "src/kernels/batch_norm.h"
#include "src/kernels/sums.h"
#include <string.h>

/* Floats, at most: of a short row, and of a block, eight terms for each of its sums. */
enum { SHORT_ROW = 8 * WIDTH, BLOCK = 8 * CHAINS * WIDTH };

typedef enum Kind { TOTAL, MOMENTS, GRADIENT, GRADIENT_OF_RELU } Kind;

/* Rows from x [0] on, and the numbers of their channels. Where there is no gradient, dy is x. */
typedef struct Rows {
    const float *x, *dy;
    const float *mean, *scale, *shift;
    size_t floats;
    int lanes, valid, count;
} Rows;

/* What is summed: for TOTAL x, for MOMENTS d = x - mean and d², else dy and dy * d. */
INLINE Terms terms_of(const Kind kind, Vector x, Vector dy, Channel channel) {
    if (kind == TOTAL) return (Terms){x, x};
    Vector difference = x - channel.mean;
    if (kind == MOMENTS) return (Terms){difference, difference * difference};
    if (kind == GRADIENT_OF_RELU) dy = passed(dy, x, channel);
    return (Terms){dy, dy * difference};
}

/* Those of items that hold samples, in the vector at float i of a row; 0 for the others. */
INLINE Terms valid_terms(const Kind kind, const int is_full, const Rows *rows, Vector x, Vector dy,
    size_t i, Channel channel) {
    Terms terms = terms_of(kind, x, dy, channel);
    if (is_full) return terms;
    VectorInt kept = valid_items(i, rows->lanes, rows->valid);
    return (Terms){masked(terms.first, kept), masked(terms.second, kept)};
}

/* The terms of a row's last floats, fewer than a vector's. */
INLINE Terms last_terms(const Kind kind, const int is_full, const Rows *rows, const float *x,
    const float *dy, size_t i, int count, Channel channel) {
    Vector last_x = load_part(x + i, count), last_dy = last_x;
    if (kind >= GRADIENT) last_dy = load_part(dy + i, count);
    return first_terms(valid_terms(kind, is_full, rows, last_x, last_dy, i, channel), count);
}

INLINE Terms rounded_terms(Terms terms) {
    return (Terms){rounded(terms.first), rounded(terms.second)};
}

/* The sums over floats [begin, end) of a row, at most a block. */
INLINE Terms sum_block(const Kind kind, const int is_full, const Rows *rows, const float *x,
    const float *dy, size_t begin, size_t end, Channel channel) {
    Terms sums[CHAINS] = {{.first = {0}}};
    size_t i = begin;
    for (; i + CHAINS * WIDTH <= end; i += CHAINS * WIDTH) {
        UNROLL
        for (size_t chain = 0; chain < CHAINS; chain++) {
            size_t at = i + chain * WIDTH;
            sums[chain] = sum_of(sums[chain],
                valid_terms(kind, is_full, rows, load(x + at), load(dy + at), at, channel));
        }
    }
    for (; i + WIDTH <= end; i += WIDTH)
        sums[0] = sum_of(
            sums[0], valid_terms(kind, is_full, rows, load(x + i), load(dy + i), i, channel));
    if (i < end)
        sums[1] =
            sum_of(sums[1], last_terms(kind, is_full, rows, x, dy, i, (int)(end - i), channel));
    UNROLL
    for (int chain = 0; chain < CHAINS; chain++) sums[chain] = rounded_terms(sums[chain]);
    Terms first = sum_of(sums[0], sums[1]);
    return end - begin < CHAINS * WIDTH ? first : sum_of(first, sum_of(sums[2], sums[3]));
}

INLINE Channel channel_of(const Kind kind, const Rows *rows, int r) {
    Channel channel = {.mean = {0}};
    if (kind != TOTAL) channel.mean = broadcast(rows->mean[r]);
    if (kind != GRADIENT_OF_RELU) return channel;
    channel.scale = broadcast(rows->scale[r]);
    channel.shift = broadcast(rows->shift[r]);
    return channel;
}

/* ---- short rows: up to WIDTH of them side by side ---- */

typedef struct RowSums {
    Sums first, second; /* of one row in each item */
} RowSums;

#if KERNEL_WIDTH == 16
#define EVERY_SECOND(i) i, i + 2, i + 4, i + 6, i + 8, i + 10, i + 12, i + 14
#elif KERNEL_WIDTH == 8
#define EVERY_SECOND(i) i, i + 2, i + 4, i + 6
#else
#define EVERY_SECOND(i) i, i + 2
#endif
enum { IN_DOUBLE = 4 }; /* vectors whose items are added up in double */

/* The sums of the WIDTH rows that lie in as many vectors. */
INLINE Sums sum_side_by_side(Vector *v) {
    DoubleVector d[2 * IN_DOUBLE];
    int count = IN_DOUBLE;
    sum_neighbours(WIDTH, IN_DOUBLE, v);
    UNROLL
    for (int k = 0; k < IN_DOUBLE; k++) {
        Sums both = widened(v[k]);
        d[2 * k] = both.half[0];
        d[2 * k + 1] = both.half[1];
    }
    UNROLL
    for (; count > 1; count /= 2) {
        UNROLL
        for (int k = 0; k < count; k++)
            d[k] = __builtin_shufflevector(d[2 * k], d[2 * k + 1], EVERY_SECOND(0)) +
                   __builtin_shufflevector(d[2 * k], d[2 * k + 1], EVERY_SECOND(1));
    }
    return (Sums){{d[0], d[1]}};
}

INLINE RowSums sum_rows_of(
    const Kind kind, const int is_full, const Rows *rows, const size_t floats) {
    Vector first[WIDTH], second[WIDTH];
    for (int r = 0; r < WIDTH; r++) {
        Terms sums = {.first = {0}};
        const float *x = rows->x + r * floats, *dy = rows->dy + r * floats;
        if (r < rows->count)
            sums = sum_block(kind, is_full, rows, x, dy, 0, floats, channel_of(kind, rows, r));
        first[r] = sums.first;
        second[r] = sums.second;
    }
    return (RowSums){sum_side_by_side(first), sum_side_by_side(second)};
}

/* Two vectors, as of 32 lanes after a linear layer, are compiled apart: they need no loop. */
INLINE RowSums sum_rows(const Kind kind, const int is_full, const Rows *rows) {
    if (rows->floats == 2 * WIDTH) return sum_rows_of(kind, is_full, rows, 2 * WIDTH);
    return sum_rows_of(kind, is_full, rows, rows->floats);
}

/* columns [j] = float j of WIDTH rows. */
INLINE void take_columns(const int floats, const float *rows, Vector *columns) {
    Vector zigzag[WIDTH];
    UNROLL
    for (int j = 0; j < floats; j++) columns[j] = load(rows + j * WIDTH);
    UNROLL
    for (int done = 1; done < floats; done *= 2) {
        UNROLL
        for (int k = 0; k < floats / 2; k++) {
            zigzag[k] = unzipped(1, columns[2 * k], columns[2 * k + 1], 0);
            zigzag[k + floats / 2] = unzipped(1, columns[2 * k], columns[2 * k + 1], 1);
        }
        UNROLL
        for (int j = 0; j < floats; j++) columns[j] = zigzag[j];
    }
}

INLINE RowSums sum_columns(const int floats, const Kind kind, const int is_full, const Rows *rows,
    const Vector *x, const Vector *dy, Channel channel) {
    Terms chains[CHAINS] = {{.first = {0}}};
    UNROLL
    for (int j = 0; j < floats; j++) {
        if (!is_full && (j & (rows->lanes - 1)) >= rows->valid) continue;
        Terms terms = terms_of(kind, x[j], dy[j], channel);
        chains[j % CHAINS] = j < CHAINS ? terms : sum_of(chains[j % CHAINS], terms);
    }
    RowSums sums = {.first = {{{0}}}};
    const int chain_count = floats < CHAINS ? floats : CHAINS;
    UNROLL
    for (int chain = 0; chain < chain_count; chain += 2) {
        Terms both = rounded_terms(chains[chain]);
        if (chain + 1 < chain_count) both = sum_of(both, rounded_terms(chains[chain + 1]));
        add_to(&sums.first, both.first);
        add_to(&sums.second, both.second);
    }
    return sums;
}

INLINE int divides_vector(size_t floats) {
    return floats == WIDTH || is_piece(floats);
}

#define WITH_COLUMNS(floats, function, ...)                                                        \
    ((floats) == WIDTH ? function(WIDTH, __VA_ARGS__) : WITH_LANES(floats, function, __VA_ARGS__))

/* Fewer than WIDTH rows, in arrays of WIDTH. */
typedef struct Padded {
    float x[WIDTH * WIDTH], dy[WIDTH * WIDTH], mean[WIDTH], scale[WIDTH], shift[WIDTH];
} Padded;

INLINE Rows pad_rows(const Kind kind, const Rows *rows, Padded *padded) {
    size_t numbers = (size_t)rows->count * sizeof(float);
    memset(padded, 0, sizeof *padded);
    memcpy(padded->x, rows->x, rows->floats * numbers);
    if (kind != TOTAL) memcpy(padded->mean, rows->mean, numbers);
    if (kind >= GRADIENT) memcpy(padded->dy, rows->dy, rows->floats * numbers);
    if (kind == GRADIENT_OF_RELU) {
        memcpy(padded->scale, rows->scale, numbers);
        memcpy(padded->shift, rows->shift, numbers);
    }
    Rows all = *rows;
    all.x = padded->x;
    all.dy = padded->dy;
    all.mean = padded->mean;
    all.scale = padded->scale;
    all.shift = padded->shift;
    return all;
}

INLINE void store_doubles(double *p, Sums v, int count) {
    memcpy(p, &v, count < WIDTH ? (size_t)count * sizeof *p : sizeof v);
}

/* ---- long rows ---- */

typedef struct LongSums {
    double first, second;
} LongSums;

/* Over the first `floats` of row r. */
INLINE LongSums sum_long_row(
    const Kind kind, const int is_full, const Rows *rows, int r, size_t floats, Channel channel) {
    const float *x = rows->x + r * rows->floats, *dy = rows->dy + r * rows->floats;
    Sums first = {{{0}}}, second = {{{0}}};
    for (size_t begin = 0; begin < floats; begin += BLOCK) {
        size_t end = floats - begin < BLOCK ? floats : begin + BLOCK;
        Terms block = sum_block(kind, is_full, rows, x, dy, begin, end, channel);
        add_to(&first, block.first);
        add_to(&second, block.second);
    }
    return (LongSums){sum_double_lanes(first.half[0] + first.half[1]),
        sum_double_lanes(second.half[0] + second.half[1])};
}

/* ---- moments ---- */

INLINE Vector rough_means(RowSums total, double share) {
    for (int h = 0; h < 2; h++) total.first.half[h] *= share;
    return narrowed(total.first);
}

/* Mean and m2 of the sums of the differences from the rough means. */
INLINE RowSums corrected(Vector rough, RowSums sums, double share) {
    Sums means = widened(rough);
    for (int h = 0; h < 2; h++) {
        DoubleVector correction = sums.first.half[h] * share;
        sums.second.half[h] =
            corrected_squares(sums.first.half[h], sums.second.half[h], correction);
        sums.first.half[h] = means.half[h] + correction;
    }
    return sums;
}

INLINE RowSums moments_of_columns(
    const int floats, const int is_full, const Rows *rows, double share) {
    Vector x[WIDTH];
    Channel channel = {.mean = {0}};
    take_columns(floats, rows->x, x);
    channel.mean = rough_means(sum_columns(floats, TOTAL, is_full, rows, x, x, channel), share);
    return corrected(
        channel.mean, sum_columns(floats, MOMENTS, is_full, rows, x, x, channel), share);
}

INLINE RowSums short_moments(const int is_full, Rows rows, double share) {
    if (divides_vector(rows.floats)) {
        Padded padded;
        if (rows.count < WIDTH) rows = pad_rows(TOTAL, &rows, &padded);
        return WITH_COLUMNS(rows.floats, moments_of_columns, is_full, &rows, share);
    }
    Vector rough = rough_means(sum_rows(TOTAL, is_full, &rows), share);
    float means[WIDTH];
    store(means, rough);
    rows.mean = means;
    return corrected(rough, sum_rows(MOMENTS, is_full, &rows), share);
}

/* Of the first quarter of a row's pixels: no further from the mean than the square root of 3 times
 * the deviation of the row, so that the correction of m2 costs at most two bits. */
INLINE float rough_mean(const int is_full, const Rows *rows, int r) {
    size_t pixels = (rows->floats / rows->lanes + 3) / 4;
    Channel none = {.mean = {0}};
    double sum = sum_long_row(TOTAL, is_full, rows, r, pixels * rows->lanes, none).first;
    return (float)(sum / (double)(pixels * rows->valid));
}

/* The next row's first pass begins before this one's second: neither waits for the other. */
INLINE void long_moments(const int is_full, Rows rows, double share, double *mean, double *m2) {
    float next = rough_mean(is_full, &rows, 0);
    for (int r = 0; r < rows.count; r++) {
        float rough = next;
        if (r + 1 < rows.count) next = rough_mean(is_full, &rows, r + 1);
        Channel channel = {.mean = broadcast(rough), .scale = {0}, .shift = {0}};
        LongSums sums = sum_long_row(MOMENTS, is_full, &rows, r, rows.floats, channel);
        double squares = sums.second - sums.first * (sums.first * share);
        mean[r] = rough + sums.first * share;
        m2[r] = squares < 0 ? 0 : squares;
    }
}

INLINE void moments(const int is_full, Rows rows, double share, double *mean, double *m2) {
    if (rows.floats > SHORT_ROW) {
        long_moments(is_full, rows, share, mean, m2);
        return;
    }
    for (int left = rows.count; left > 0; left -= WIDTH) {
        rows.count = left < WIDTH ? left : WIDTH;
        RowSums sums = short_moments(is_full, rows, share);
        store_doubles(mean, sums.first, rows.count);
        store_doubles(m2, sums.second, rows.count);
        rows.dy = rows.x += WIDTH * rows.floats;
        mean += WIDTH;
        m2 += WIDTH;
    }
}

void KERNEL(norm_moments)(const float *x, int pixels, int lanes, int valid, int begin, int end,
    double *mean, double *m2) {
    size_t floats = (size_t)pixels * lanes;
    Rows rows = {.x = x + begin * floats,
        .dy = x + begin * floats,
        .floats = floats,
        .lanes = lanes,
        .valid = valid,
        .count = end - begin};
    double share = 1.0 / ((double)pixels * valid);
    if (begin == end) return;
    if (valid == lanes)
        moments(1, rows, share, mean + begin, m2 + begin);
    else
        moments(0, rows, share, mean + begin, m2 + begin);
}

/* ---- sums of the gradient ---- */

INLINE RowSums gradient_of_columns(
    const int floats, const Kind kind, const int is_full, const Rows *rows) {
    Vector x[WIDTH], dy[WIDTH];
    Channel channel = {.mean = load(rows->mean), .scale = {0}, .shift = {0}};
    if (kind == GRADIENT_OF_RELU) {
        channel.scale = load(rows->scale);
        channel.shift = load(rows->shift);
    }
    take_columns(floats, rows->x, x);
    take_columns(floats, rows->dy, dy);
    return sum_columns(floats, kind, is_full, rows, x, dy, channel);
}

INLINE RowSums short_gradient(const Kind kind, const int is_full, Rows rows) {
    if (!divides_vector(rows.floats)) return sum_rows(kind, is_full, &rows);
    Padded padded;
    if (rows.count < WIDTH) rows = pad_rows(kind, &rows, &padded);
    return WITH_COLUMNS(rows.floats, gradient_of_columns, kind, is_full, &rows);
}

INLINE void gradient_sums(
    const Kind kind, const int is_full, Rows rows, double *sum_dy, double *sum_product) {
    if (rows.floats > SHORT_ROW) {
        for (int r = 0; r < rows.count; r++) {
            LongSums sums =
                sum_long_row(kind, is_full, &rows, r, rows.floats, channel_of(kind, &rows, r));
            sum_dy[r] = sums.first;
            sum_product[r] = sums.second;
        }
        return;
    }
    for (int left = rows.count, r = 0; left > 0; left -= WIDTH, r += WIDTH) {
        rows.count = left < WIDTH ? left : WIDTH;
        RowSums sums = short_gradient(kind, is_full, rows);
        store_doubles(sum_dy + r, sums.first, rows.count);
        store_doubles(sum_product + r, sums.second, rows.count);
        rows.x += WIDTH * rows.floats;
        rows.dy += WIDTH * rows.floats;
        rows.mean += WIDTH;
        rows.scale += WIDTH;
        rows.shift += WIDTH;
    }
}

void KERNEL(norm_sums)(const float *dy, const float *x, KernelNorm norm, int pixels, int lanes,
    int valid, int begin, int end, double *sum_dy, double *sum_dy_xhat) {
    size_t floats = (size_t)pixels * lanes;
    Rows rows = {.x = x + begin * floats,
        .dy = dy + begin * floats,
        .mean = norm.mean + begin,
        .scale = norm.scale + begin,
        .shift = norm.shift + begin,
        .floats = floats,
        .lanes = lanes,
        .valid = valid,
        .count = end - begin};
    double *sum_product = sum_dy_xhat + begin;
    if (valid == lanes && norm.rectifies)
        gradient_sums(GRADIENT_OF_RELU, 1, rows, sum_dy + begin, sum_product);
    else if (valid == lanes)
        gradient_sums(GRADIENT, 1, rows, sum_dy + begin, sum_product);
    else if (norm.rectifies)
        gradient_sums(GRADIENT_OF_RELU, 0, rows, sum_dy + begin, sum_product);
    else
        gradient_sums(GRADIENT, 0, rows, sum_dy + begin, sum_product);
    for (int c = begin; c < end; c++)
        sum_dy_xhat[c] = (sum_dy_xhat[c] - sum_dy[c] * norm.mean_low[c]) * norm.inverse_std[c];
}
