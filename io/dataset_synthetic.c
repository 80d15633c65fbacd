/* dataset_synthetic.c - the digits 0-9, drawn here: training needs no download.
 *
 * A digit is a table of pen strokes in the unit square. Each sample picks a style of its digit,
 * bends, slants, turns, scales and shifts it, draws it with a pen of random width and ink, and adds
 * noise. Everything is a function of (seed, split, sample index): sample i is the same in a set of
 * any size. Only + - * / sqrt are used and the compiler may not contract them (see CMakeLists.txt),
 * so the bytes are the same on every machine. */
#include "io/dataset_format.h"
#include "src/memory.h"
#include <math.h>

enum { CLASS_COUNT = 10, STYLE_COUNT = 2, LINE_PIECES = 4, GRID_SIDE = 4 };

/* Streams of RNG_SYNTHETIC. */
enum { STREAM_SHAPE, STREAM_NOISE, STREAM_LABEL };

/* x right, y down. Angles in sixteenths of a turn: 0 right, 4 down, 8 left, 12 up. */
typedef enum StrokeKind {
    STROKE_END,
    STROKE_MOVE,
    STROKE_LINE,
    STROKE_ARC,
    STROKE_CURVE
} StrokeKind;
typedef struct Stroke {
    StrokeKind kind; /* a curve is an arc that a line joins to where the pen is */
    double x, y;     /* the point, or the arc's centre */
    double radius_x, radius_y;
    int from, to;
} Stroke;

#define MOVE(x_, y_)                                                                               \
    { .kind = STROKE_MOVE, .x = x_, .y = y_ }
#define LINE(x_, y_)                                                                               \
    { .kind = STROKE_LINE, .x = x_, .y = y_ }
#define ARC(x_, y_, rx_, ry_, from_, to_)                                                          \
    { STROKE_ARC, x_, y_, rx_, ry_, from_, to_ }
#define CURVE(x_, y_, rx_, ry_, from_, to_)                                                        \
    { STROKE_CURVE, x_, y_, rx_, ry_, from_, to_ }
#define END                                                                                        \
    { .kind = STROKE_END }

static const Stroke round_zero[] = {ARC(.50, .50, .26, .38, 0, 16), END};
static const Stroke narrow_zero[] = {ARC(.50, .50, .18, .39, 0, 16), END};
static const Stroke plain_one[] = {MOVE(.50, .11), LINE(.50, .89), END};
static const Stroke flagged_one[] = {MOVE(.34, .30), LINE(.54, .12), LINE(.54, .88), END};
static const Stroke straight_two[] = {
    ARC(.50, .33, .24, .21, 8, 18), LINE(.26, .88), LINE(.77, .88), END};
static const Stroke looped_two[] = {
    ARC(.48, .32, .22, .20, 9, 19), CURVE(.37, .77, .11, .10, 13, 2), LINE(.78, .86), END};
static const Stroke round_three[] = {
    ARC(.48, .30, .22, .19, 9, 20), ARC(.48, .69, .25, .20, 12, 23), END};
static const Stroke flat_three[] = {
    MOVE(.28, .14), LINE(.70, .14), LINE(.48, .44), CURVE(.47, .66, .25, .22, 12, 23), END};
static const Stroke closed_four[] = {
    MOVE(.62, .88), LINE(.60, .12), LINE(.24, .62), LINE(.79, .62), END};
static const Stroke open_four[] = {
    MOVE(.30, .14), LINE(.27, .54), LINE(.74, .52), MOVE(.68, .12), LINE(.64, .88), END};
static const Stroke round_five[] = {
    MOVE(.72, .13), LINE(.35, .13), LINE(.31, .45), CURVE(.48, .64, .24, .24, 10, 23), END};
static const Stroke steep_five[] = {
    MOVE(.70, .16), LINE(.40, .12), LINE(.38, .44), CURVE(.44, .66, .22, .22, 12, 22), END};
static const Stroke curved_six[] = {
    ARC(.72, .64, .46, .52, 12, 8), CURVE(.50, .66, .24, .22, 8, 24), END};
static const Stroke straight_six[] = {
    MOVE(.56, .11), LINE(.30, .62), CURVE(.50, .68, .20, .20, 8, 24), END};
static const Stroke plain_seven[] = {MOVE(.24, .14), LINE(.76, .14), LINE(.42, .88), END};
static const Stroke barred_seven[] = {
    MOVE(.26, .16), LINE(.74, .14), LINE(.46, .88), MOVE(.38, .50), LINE(.72, .50), END};
static const Stroke plain_eight[] = {
    ARC(.50, .30, .20, .18, 4, 20), ARC(.50, .68, .24, .20, 12, 28), END};
static const Stroke wide_eight[] = {
    ARC(.51, .31, .23, .20, 4, 20), ARC(.49, .69, .20, .18, 12, 28), END};
static const Stroke straight_nine[] = {ARC(.48, .34, .22, .22, 0, 16), LINE(.66, .89), END};
static const Stroke curved_nine[] = {
    ARC(.50, .33, .23, .21, 0, 16), CURVE(.30, .40, .43, .49, 0, 4), END};

static const Stroke *const digits[CLASS_COUNT][STYLE_COUNT] = {{round_zero, narrow_zero},
    {plain_one, flagged_one}, {straight_two, looped_two}, {round_three, flat_three},
    {closed_four, open_four}, {round_five, steep_five}, {curved_six, straight_six},
    {plain_seven, barred_seven}, {plain_eight, wide_eight}, {straight_nine, curved_nine}};

/* Cosine and sine of sixteenths of a turn. */
#define C1 0.9238795325112867
#define C2 0.7071067811865476
#define C3 0.3826834323650898
static const double circle[16][2] = {{1, 0}, {C1, C3}, {C2, C2}, {C3, C1}, {0, 1}, {-C3, C1},
    {-C2, C2}, {-C1, C3}, {-1, 0}, {-C1, -C3}, {-C2, -C2}, {-C3, -C1}, {0, -1}, {C3, -C1},
    {C2, -C2}, {C1, -C3}};

/* Numbers of one sample, in the order in which they are asked for. */
typedef struct Draws {
    Rng rng;
    uint32_t when;
    uint64_t sample;
    uint32_t used;
    uint32_t bits[4];
} Draws;

/* Uniform in [minimum, maximum). */
static double draw_between(Draws *draws, double minimum, double maximum) {
    if (draws->used % 4 == 0)
        rng_draw(draws->rng, draws->when, draws->sample, draws->used, draws->bits);
    double unit = draws->bits[draws->used++ % 4] * 0x1p-32;
    return minimum + (maximum - minimum) * unit;
}

/* How one sample bends and places the unit square, in pixels. */
typedef struct Placement {
    double bend[GRID_SIDE][GRID_SIDE][2]; /* displacement at grid points, linear between them */
    double matrix[2][2];
    double shift[2];
    double size;
} Placement;

static void draw_placement(Placement *placement, Draws *draws, int size) {
    for (int i = 0; i < GRID_SIDE * GRID_SIDE * 2; i++)
        placement->bend[i / 2 / GRID_SIDE][i / 2 % GRID_SIDE][i % 2] =
            draw_between(draws, -.06, .06);
    double scale_x = draw_between(draws, .60, 1.05), scale_y = draw_between(draws, .65, 1.02);
    double slant = draw_between(draws, -.35, .35);
    double t = draw_between(draws, -.13, .13); /* tangent of half the angle: 15 degrees */
    double cosine = (1 - t * t) / (1 + t * t), sine = 2 * t / (1 + t * t);
    placement->matrix[0][0] = cosine * scale_x;
    placement->matrix[0][1] = cosine * slant * scale_y - sine * scale_y;
    placement->matrix[1][0] = sine * scale_x;
    placement->matrix[1][1] = sine * slant * scale_y + cosine * scale_y;
    for (int i = 0; i < 2; i++) placement->shift[i] = .5 + draw_between(draws, -.08, .08);
    placement->size = size;
}

static double bend_at(const Placement *placement, double x, double y, int axis) {
    double u = x * (GRID_SIDE - 1), v = y * (GRID_SIDE - 1);
    int column = (int)u, row = (int)v;
    u -= column;
    v -= row;
    double upper =
        placement->bend[row][column][axis] * (1 - u) + placement->bend[row][column + 1][axis] * u;
    double lower = placement->bend[row + 1][column][axis] * (1 - u) +
                   placement->bend[row + 1][column + 1][axis] * u;
    return upper * (1 - v) + lower * v;
}

/* Pixel coordinates, the centre of pixel (0, 0) at 0, of a point strictly inside the unit square.
 */
static void place(const Placement *placement, double x, double y, double pixel[2]) {
    double p = x - .5 + bend_at(placement, x, y, 0);
    double q = y - .5 + bend_at(placement, x, y, 1);
    for (int i = 0; i < 2; i++) {
        double value = placement->matrix[i][0] * p + placement->matrix[i][1] * q;
        pixel[i] = (value + placement->shift[i]) * placement->size - .5;
    }
}

typedef struct Canvas {
    Placement placement;
    int size;
    double radius;    /* of the pen, in pixels */
    double *distance; /* [size][size]: squared, from the nearest stroke; FAR beyond its reach */
    double pen[2];    /* in the unit square */
} Canvas;

static const double FAR = 1e30;

static int clamp_to_canvas(double value, int size) {
    if (value < 0) return 0;
    return value > size - 1 ? size - 1 : (int)value;
}

static void draw_segment(Canvas *canvas, const double a[2], const double b[2]) {
    double reach = canvas->radius + 1;
    double dx = b[0] - a[0], dy = b[1] - a[1];
    double length = dx * dx + dy * dy;
    double inverse = length > 0 ? 1 / length : 0;
    int left = clamp_to_canvas((dx < 0 ? b[0] : a[0]) - reach, canvas->size);
    int right = clamp_to_canvas((dx < 0 ? a[0] : b[0]) + reach, canvas->size);
    int top = clamp_to_canvas((dy < 0 ? b[1] : a[1]) - reach, canvas->size);
    int bottom = clamp_to_canvas((dy < 0 ? a[1] : b[1]) + reach, canvas->size);
    for (int y = top; y <= bottom; y++) {
        double *row = canvas->distance + (size_t)y * (size_t)canvas->size;
        for (int x = left; x <= right; x++) {
            double px = x - a[0], py = y - a[1];
            double t = (px * dx + py * dy) * inverse;
            t = t < 0 ? 0 : t > 1 ? 1 : t;
            px -= t * dx;
            py -= t * dy;
            double squared = px * px + py * py;
            if (squared < row[x]) row[x] = squared;
        }
    }
}

static void draw_line(Canvas *canvas, double x, double y, int pieces) {
    double from[2], to[2], x0 = canvas->pen[0], y0 = canvas->pen[1];
    place(&canvas->placement, x0, y0, from);
    for (int i = 1; i <= pieces; i++) {
        double part = (double)i / pieces;
        place(&canvas->placement, x0 + (x - x0) * part, y0 + (y - y0) * part, to);
        draw_segment(canvas, from, to);
        from[0] = to[0];
        from[1] = to[1];
    }
    canvas->pen[0] = x;
    canvas->pen[1] = y;
}

static void draw_stroke(Canvas *canvas, const Stroke *stroke) {
    if (stroke->kind == STROKE_LINE) draw_line(canvas, stroke->x, stroke->y, LINE_PIECES);
    if (stroke->kind == STROKE_MOVE) {
        canvas->pen[0] = stroke->x;
        canvas->pen[1] = stroke->y;
    }
    if (stroke->kind != STROKE_ARC && stroke->kind != STROKE_CURVE) return;
    int step = stroke->to > stroke->from ? 1 : -1;
    for (int k = stroke->from; k != stroke->to + step; k += step) {
        double x = stroke->x + stroke->radius_x * circle[k % 16][0];
        double y = stroke->y + stroke->radius_y * circle[k % 16][1];
        if (k == stroke->from && stroke->kind == STROKE_ARC) {
            canvas->pen[0] = x;
            canvas->pen[1] = y;
        }
        draw_line(canvas, x, y, 1);
    }
}

/* About normal with variance 1: the sum of four bytes, minus its mean, over its deviation. */
static double noise_of(uint32_t bits) {
    int sum = (int)((bits & 255) + (bits >> 8 & 255) + (bits >> 16 & 255) + (bits >> 24));
    return (sum - 510) * (1 / 147.80054127);
}

/* Ink where the pen was, noise everywhere. */
static void develop(
    const Canvas *canvas, Draws noise_draws, double ink, double noise, uint8_t *image) {
    int pixel_count = canvas->size * canvas->size;
    for (int i = 0; i < pixel_count; i++) {
        double value = 0;
        if (canvas->distance[i] < FAR) {
            double cover = canvas->radius + .5 - sqrt(canvas->distance[i]);
            value = ink * (cover < 0 ? 0 : cover > 1 ? 1 : cover);
        }
        if (i % 4 == 0)
            rng_draw(noise_draws.rng, noise_draws.when, noise_draws.sample, (uint32_t)i,
                noise_draws.bits);
        value = 255 * (value + noise * noise_of(noise_draws.bits[i % 4]));
        image[i] = value < 0 ? 0 : value > 255 ? 255 : (uint8_t)(value + .5);
    }
}

static void draw_sample(
    Canvas *canvas, const Job *job, DatasetSplit split, int64_t sample, int label, uint8_t *image) {
    uint64_t seed = (uint64_t)job->seed;
    Draws draws = {.rng = rng_stream(seed, RNG_SYNTHETIC, STREAM_SHAPE),
        .when = split,
        .sample = (uint64_t)sample};
    for (int i = 0; i < canvas->size * canvas->size; i++) canvas->distance[i] = FAR;
    draw_placement(&canvas->placement, &draws, canvas->size);
    canvas->radius = draw_between(&draws, .022, .055) * canvas->size;
    double ink = draw_between(&draws, .55, 1);
    int style = (int)draw_between(&draws, 0, STYLE_COUNT);
    for (const Stroke *stroke = digits[label][style]; stroke->kind != STROKE_END; stroke++)
        draw_stroke(canvas, stroke);
    draws.rng = rng_stream(seed, RNG_SYNTHETIC, STREAM_NOISE);
    develop(canvas, draws, ink, job->data.noise, image);
}

/* Each ten consecutive samples are the ten digits in an order of their own. */
static int draw_label(const Job *job, DatasetSplit split, int64_t sample) {
    uint32_t order[CLASS_COUNT];
    Rng rng = rng_stream((uint64_t)job->seed, RNG_SYNTHETIC, STREAM_LABEL);
    rng_permute(rng, (uint32_t)(sample / CLASS_COUNT * 2) + split, order, CLASS_COUNT);
    return (int)order[sample % CLASS_COUNT];
}

static Status measure(const Job *job, DatasetSplit split, DatasetSizes *sizes) {
    *sizes = (DatasetSizes){
        .count = split == DATASET_TRAIN ? job->data.train_count : job->data.test_count,
        .channels = 1,
        .height = job->data.image_size,
        .width = job->data.image_size,
        .class_count = CLASS_COUNT,
        .element_bytes = 1};
    return STATUS_OK;
}

static Status fill(
    const Job *job, DatasetSplit split, const DatasetSizes *sizes, void *images, int32_t *labels) {
    Canvas canvas = {.size = (int)sizes->width};
    int64_t pixel_count = sizes->height * sizes->width;
    TRY(MEMORY_ALLOCATE(&canvas.distance, (size_t)pixel_count, "canvas of the synthetic set"));
    for (int64_t i = 0; i < sizes->count; i++) {
        labels[i] = draw_label(job, split, i);
        draw_sample(&canvas, job, split, i, labels[i], (uint8_t *)images + i * pixel_count);
    }
    memory_free(canvas.distance);
    return STATUS_OK;
}

const DatasetFormat dataset_synthetic = {.measure = measure, .fill = fill};
