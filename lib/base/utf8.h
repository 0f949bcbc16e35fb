/* UTF-8 as RFC 3629 has it: no surrogates, no overlong forms, nothing above U+10FFFF. */
#ifndef CARPOOL_BASE_UTF8_H
#define CARPOOL_BASE_UTF8_H

#include <stddef.h>

#include "base/slice.h"

/* The size of the character at the front of s (1 to 4 bytes), or 0 when there is none that is valid. */
size_t utf8_char_size(struct slice s);
/* The number of leading bytes that are valid UTF-8: s.n when all are. */
size_t utf8_valid_prefix(struct slice s);
/* The longest prefix of at most max_bytes that does not cut a character. s must be valid. */
struct slice utf8_truncate(struct slice s, size_t max_bytes);

#endif
