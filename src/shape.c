/* shape.c - see shape.h. */
#include "src/shape.h"
#include <stdio.h>

size_t shape_element_count(Shape shape) {
    size_t count = 1;
    for (int d = 0; d < shape.dimension_count; d++) count *= (size_t)shape.size[d];
    return count;
}

int shape_is_equal(Shape a, Shape b) {
    if (a.dimension_count != b.dimension_count) return 0;
    for (int d = 0; d < a.dimension_count; d++)
        if (a.size[d] != b.size[d]) return 0;
    return 1;
}

const char *shape_print(Shape shape, char text[SHAPE_TEXT_BYTES]) {
    int used = snprintf(text, SHAPE_TEXT_BYTES, "[");
    for (int d = 0; d < shape.dimension_count && used < SHAPE_TEXT_BYTES; d++)
        used += snprintf(text + used, (size_t)(SHAPE_TEXT_BYTES - used), "%s%d", d > 0 ? ", " : "",
            shape.size[d]);
    if (used < SHAPE_TEXT_BYTES) snprintf(text + used, (size_t)(SHAPE_TEXT_BYTES - used), "]");
    return text;
}
