/* utf8.h - walk over UTF-8 text, and make any bytes fit to be shown in a message. */
#ifndef IO_UTF8_H
#define IO_UTF8_H

#include <stddef.h>
#include <stdint.h>

/* Local. Bytes of the code point at `text`, of which `bytes` are there, and the code point itself;
 * 0 if it is not valid UTF-8 (overlong forms and surrogates are not). */
size_t utf8_decode(const char *text, size_t bytes, uint32_t *code);

/* Local. True if all of `text` is valid UTF-8. */
int utf8_is_valid(const char *text);

/* Local. Write `text` to `out` [out_bytes] and return it: what would disturb a terminal becomes
 * '?', and what does not fit is cut, with "..." at the end. */
const char *utf8_shorten(const char *text, char *out, size_t out_bytes);

#endif
