/* UTF-8; see utf8.h. The byte ranges are table 3-7 of the Unicode Standard. */
#include "base/utf8.h"

#include <stdint.h>

static bool continues(uint8_t byte)
{
    return (byte & 0xc0) == 0x80;
}

size_t utf8_char_size(struct slice s)
{
    const uint8_t *p = (const uint8_t *)s.p;
    if (s.n == 0)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4 || s.n < 2 || !continues(p[1]))
        return 0;
    if (p[0] < 0xe0)
        return 2;
    if (s.n < 3 || !continues(p[2]))
        return 0;
    if (p[0] < 0xf0) /* e0: overlong; ed: surrogates */
        return (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ? 0 : 3;
    if (s.n < 4 || !continues(p[3])) /* f0: overlong; f4: above U+10FFFF */
        return 0;
    return (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f) ? 0 : 4;
}

/* How many of the leading bytes are ASCII, in steps of eight. */
static size_t ascii_words(const char *p, size_t n)
{
    size_t i = 0;
    for (uint64_t word; n - i >= sizeof(word); i += sizeof(word)) {
        memcpy(&word, p + i, sizeof(word));
        if (word & 0x8080808080808080ull)
            break;
    }
    return i;
}

size_t utf8_valid_prefix(struct slice s)
{
    size_t i = 0;
    while (i < s.n) {
        size_t size = utf8_char_size((struct slice){s.p + i, s.n - i});
        if (!size)
            break;
        i += size;
        if (size == 1)
            i += ascii_words(s.p + i, s.n - i);
    }
    return i;
}

struct slice utf8_truncate(struct slice s, size_t max_bytes)
{
    if (s.n <= max_bytes)
        return s;
    size_t n = max_bytes;
    while (n > 0 && continues((uint8_t)s.p[n]))
        n--;
    return (struct slice){s.p, n};
}
