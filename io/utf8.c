/* utf8.c - see utf8.h. */
#include "io/utf8.h"
#include <string.h>

size_t utf8_decode(const char *text, size_t bytes, uint32_t *code) {
    static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *byte = (const unsigned char *)text;
    if (bytes == 0) return 0;
    *code = byte[0];
    if (byte[0] < 0x80) return 1;
    size_t length = byte[0] >= 0xf0 ? 4 : byte[0] >= 0xe0 ? 3 : 2;
    if (byte[0] < 0xc2 || byte[0] > 0xf4 || bytes < length) return 0;
    uint32_t value = byte[0] & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((byte[i] & 0xc0) != 0x80) return 0;
        value = value << 6 | (byte[i] & 0x3f);
    }
    if (value < smallest[length] || value > 0x10ffff) return 0;
    if (value >= 0xd800 && value <= 0xdfff) return 0;
    *code = value;
    return length;
}

int utf8_is_valid(const char *text) {
    uint32_t code = 0;
    for (size_t left = strlen(text), step = 0; left > 0; left -= step, text += step) {
        step = utf8_decode(text, left, &code);
        if (step == 0) return 0;
    }
    return 1;
}

const char *utf8_shorten(const char *text, char *out, size_t out_bytes) {
    size_t left = strlen(text), used = 0;
    while (left > 0) {
        uint32_t code = 0;
        size_t step = utf8_decode(text, left, &code);
        size_t needed = step == left ? step : step + sizeof "...";
        if (used + needed + 1 > out_bytes) {
            memcpy(out + used, "...", sizeof "...");
            return out;
        }
        if (step == 0 || code < 0x20 || (code >= 0x7f && code < 0xa0)) {
            out[used++] = '?';
            step = step == 0 ? 1 : step;
        } else {
            memcpy(out + used, text, step);
            used += step;
        }
        text += step;
        left -= step;
    }
    out[used] = '\0';
    return out;
}
