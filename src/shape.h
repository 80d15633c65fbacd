/* shape.h - sizes of a parameter, or of one sample of an activation. */
#ifndef SRC_SHAPE_H
#define SRC_SHAPE_H

#include <stddef.h>
#include <stdint.h>

enum { SHAPE_DIMENSIONS_MAX = 5, SHAPE_TEXT_BYTES = 80 };

/* Outermost dimension first. A sample of an activation is [features] or [c, h, w]; its lanes (the
 * samples of a microbatch) are one more, innermost dimension that no Shape contains. */
typedef struct Shape {
    int dimension_count; /* 0: a scalar */
    int size[SHAPE_DIMENSIONS_MAX];
} Shape;

/* Local. Number of elements: the product of the sizes, 1 for a scalar. */
size_t shape_element_count(Shape shape);

/* Local. */
int shape_is_equal(Shape a, Shape b);

/* Local. Writes "[3, 32, 32]" into `text` and returns it. */
const char *shape_print(Shape shape, char text[SHAPE_TEXT_BYTES]);

#endif
