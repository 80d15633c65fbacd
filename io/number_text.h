/* number_text.h - numbers as job files write them, whatever the locale says. */
#ifndef IO_NUMBER_TEXT_H
#define IO_NUMBER_TEXT_H

#include <stdint.h>

enum { NUMBER_TEXT_BYTES = 64 };

/* What is wrong with a text that should be a number. */
typedef enum NumberFault { NUMBER_GOOD, NUMBER_IS_NOT_ONE, NUMBER_IS_TOO_LARGE } NumberFault;

/* Local. The whole text as a decimal number: no spaces, no hexadecimal, no inf, no nan; a whole
 * number has no superfluous zero in front. */
NumberFault number_text_parse_float(const char *text, double *value);
NumberFault number_text_parse_int(const char *text, int64_t *value);

/* Local. Write the shortest of a few forms that reads back as the same number, and that YAML 1.1
 * takes for a float (1.0e-5, 10000000.0); "null" for NaN. Returns `text`. */
const char *number_text_print(double value, char text[NUMBER_TEXT_BYTES]);

#endif
