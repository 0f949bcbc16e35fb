/* Comma-separated values; see csv.h. */
#include "ctl/csv.h"

#include <string.h>

static bool begins(struct slice s, const char *with)
{
    size_t n = strlen(with);
    return s.n >= n && !memcmp(s.p, with, n);
}

/* Bytes of the blank that s begins with; 0: it is none. As JavaScript's \s. */
static size_t blank(struct slice s)
{
    static const char *const blanks[] = {" ",
                                         "\t",
                                         "\n",
                                         "\v",
                                         "\f",
                                         "\r",
                                         "\xc2\xa0",
                                         "\xe1\x9a\x80",
                                         "\xe2\x80\xa8",
                                         "\xe2\x80\xa9",
                                         "\xe2\x80\xaf",
                                         "\xe2\x81\x9f",
                                         "\xe3\x80\x80",
                                         "\xef\xbb\xbf"};
    for (size_t i = 0; i < ARRAY_LEN(blanks); i++)
        if (begins(s, blanks[i]))
            return strlen(blanks[i]);
    /* U+2000 to U+200A */
    return begins(s, "\xe2\x80") && s.n > 2 && (unsigned char)s.p[2] >= 0x80 && (unsigned char)s.p[2] <= 0x8a
               ? 3
               : 0;
}

static bool is_formula(struct slice s)
{
    static const char *const signs[] = {
        "=", "+", "-", "@", "\xef\xbc\x9d", "\xef\xbc\x8b", "\xef\xbc\x8d", "\xef\xbc\xa0"};
    if (s.n && (s.p[0] == '\t' || s.p[0] == '\r' || s.p[0] == '\n'))
        return true;
    for (size_t n; (n = blank(s)) > 0;)
        s = (struct slice){s.p + n, s.n - n};
    for (size_t i = 0; i < ARRAY_LEN(signs); i++)
        if (begins(s, signs[i]))
            return true;
    return false;
}

void csv_text(struct buf *out, struct slice text)
{
    /* Spreadsheets divide at semicolons and tabs, too, and what stood behind one would begin a cell. */
    static const char special[] = ",;\t\"\r\n";
    bool quoted = false;
    for (size_t i = 0; i < text.n && !quoted; i++)
        quoted = text.p[i] && strchr(special, text.p[i]);
    if (quoted)
        buf_append_byte(out, '"');
    if (is_formula(text))
        buf_append_byte(out, '\'');
    for (const char *at = text.p, *end = text.p + text.n; at && at < end;) {
        const char *quote = memchr(at, '"', (size_t)(end - at));
        size_t n = (size_t)((quote ? quote + 1 : end) - at);
        buf_append(out, at, n);
        if (quote)
            buf_append_byte(out, '"');
        at += n;
    }
    if (quoted)
        buf_append_byte(out, '"');
}
