/* Escaping for JSON strings; see escape.h. */
#include "base/escape.h"

#include "base/utf8.h"

static void escape_byte(struct buf *out, uint8_t c)
{
    static const char names[] = "bfnrt", meant[] = "\b\f\n\r\t";
    const char *short_form = c ? strchr(meant, c) : NULL;
    if (c == '"' || c == '\\') {
        buf_append_byte(out, '\\');
        buf_append_byte(out, c);
    } else if (c >= 0x80) {
        buf_append_text(out, "\xef\xbf\xbd");
    } else if (short_form) {
        buf_append_byte(out, '\\');
        buf_append_byte(out, (uint8_t)names[short_form - meant]);
    } else {
        buf_printf(out, "\\u%04x", c);
    }
}

void escape_json(struct buf *out, struct slice text)
{
    size_t from = 0, i = 0; /* from .. i is good as it stands */
    while (i < text.n) {
        i += escape_plain_run(text.p + i, text.n - i);
        if (i == text.n)
            break;
        uint8_t c = (uint8_t)text.p[i];
        size_t size = c < 0x80 ? 0 : utf8_char_size((struct slice){text.p + i, text.n - i});
        if (size) {
            i += size;
            continue;
        }
        buf_append(out, text.p + from, i - from);
        escape_byte(out, c);
        from = ++i;
    }
    buf_append(out, text.p ? text.p + from : NULL, i - from);
}
