/* number_text.c - see number_text.h. */
#include "io/number_text.h"
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *skip_digits(const char *text) {
    return text + strspn(text, "0123456789");
}

/* sign? digits* (. digits*)? (e sign? digits+)?, with a digit before the exponent. */
static int is_decimal(const char *text) {
    text += *text == '-' || *text == '+';
    const char *point = skip_digits(text);
    long digits = point - text;
    const char *end = point;
    if (*point == '.') {
        end = skip_digits(point + 1);
        digits += end - point - 1;
    }
    if (digits == 0) return 0;
    if (*end == 'e' || *end == 'E') {
        const char *exponent = end + 1;
        exponent += *exponent == '-' || *exponent == '+';
        end = skip_digits(exponent);
        if (end == exponent) return 0;
    }
    return *end == '\0';
}

/* The locale of the calling thread becomes "C", where the point is a point; returns the old one. */
static locale_t enter_c_locale(void) {
    static locale_t c_locale;
    if (c_locale == (locale_t)0) c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    return uselocale(c_locale);
}

NumberFault number_text_parse_float(const char *text, double *value) {
    if (!is_decimal(text)) return NUMBER_IS_NOT_ONE;
    locale_t before = enter_c_locale();
    *value = strtod(text, NULL);
    uselocale(before);
    return isfinite(*value) ? NUMBER_GOOD : NUMBER_IS_TOO_LARGE;
}

NumberFault number_text_parse_int(const char *text, int64_t *value) {
    const char *digits = text + (*text == '-' || *text == '+');
    if (*digits == '\0' || *skip_digits(digits) != '\0') return NUMBER_IS_NOT_ONE;
    if (digits[0] == '0' && digits[1] != '\0') return NUMBER_IS_NOT_ONE;
    errno = 0;
    *value = strtoll(text, NULL, 10);
    return errno == ERANGE ? NUMBER_IS_TOO_LARGE : NUMBER_GOOD;
}

/* YAML 1.1 wants a point in the mantissa: 1e-05 becomes 1.0e-5. */
static void write_as_yaml(const char *shortest, char text[NUMBER_TEXT_BYTES]) {
    const char *exponent = strchr(shortest, 'e');
    int mantissa_bytes = exponent == NULL ? (int)strlen(shortest) : (int)(exponent - shortest);
    const char *point = memchr(shortest, '.', (size_t)mantissa_bytes) == NULL ? ".0" : "";
    if (exponent == NULL) {
        snprintf(text, NUMBER_TEXT_BYTES, "%s%s", shortest, point);
        return;
    }
    const char *digits = exponent + 2 + strspn(exponent + 2, "0");
    snprintf(text, NUMBER_TEXT_BYTES, "%.*s%se%c%s", mantissa_bytes, shortest, point, exponent[1],
        digits);
}

const char *number_text_print(double value, char text[NUMBER_TEXT_BYTES]) {
    static const int precisions[] = {6, 9, 15, 17};
    if (isnan(value)) return strcpy(text, "null");
    locale_t before = enter_c_locale();
    char shortest[26] = ""; /* sign, 17 digits, point, e, sign, 3 digits */
    for (int i = 0; i < 4; i++) {
        snprintf(shortest, sizeof shortest, "%.*g", precisions[i], value);
        if (strtod(shortest, NULL) == value) break;
    }
    if (fabs(value) < 1e15 && value == floor(value))
        snprintf(text, NUMBER_TEXT_BYTES, "%.1f", value);
    else
        write_as_yaml(shortest, text);
    uselocale(before);
    return text;
}
