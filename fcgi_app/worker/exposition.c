/* Prometheus's text format; see exposition.h. */
#include "worker/exposition.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/utf8.h"

#define REPLACEMENT "\xef\xbf\xbd"

/* quoted: a label's value, else a help text. */
static void escape(struct buf *out, struct slice text, bool quoted)
{
    while (text.n) {
        size_t n = utf8_char_size(text);
        if (!n)
            buf_append_text(out, REPLACEMENT);
        else if (*text.p == '\\')
            buf_append_text(out, "\\\\");
        else if (*text.p == '\n')
            buf_append_text(out, "\\n");
        else if (*text.p == '"' && quoted)
            buf_append_text(out, "\\\"");
        else
            buf_append(out, text.p, n);
        n += !n;
        text = (struct slice){text.p + n, text.n - n};
    }
}

void exposition_family(struct exposition *x, const char *name, enum metric_type type, const char *help)
{
    static const char *const types[] = {
        [METRIC_COUNTER] = "counter", [METRIC_GAUGE] = "gauge", [METRIC_HISTOGRAM] = "histogram"};
    x->family = name;
    buf_printf(x->out, "# HELP %s ", name);
    escape(x->out, slice_of(help), false);
    buf_printf(x->out, "\n# TYPE %s %s\n", name, types[type]);
}

void exposition_begin(struct exposition *x, const char *suffix)
{
    buf_append_text(x->out, x->family);
    buf_append_text(x->out, suffix);
    x->labelled = false;
}

void exposition_label(struct exposition *x, const char *name, struct slice value)
{
    buf_append_text(x->out, x->labelled ? "," : "{");
    buf_append_text(x->out, name);
    buf_append_text(x->out, "=\"");
    escape(x->out, value, true);
    buf_append_text(x->out, "\"");
    x->labelled = true;
}

static void end(struct exposition *x, const char *value)
{
    buf_append_text(x->out, x->labelled ? "} " : " ");
    buf_append_text(x->out, value);
    buf_append_text(x->out, "\n");
}

void exposition_u64(struct exposition *x, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof(text), "%" PRIu64, value);
    end(x, text);
}

void exposition_double(struct exposition *x, double value)
{
    char text[32];
    if (isnan(value))
        strcpy(text, "NaN");
    else if (isinf(value))
        strcpy(text, value > 0 ? "+Inf" : "-Inf");
    else
        for (int digits = 15; digits <= 17; digits++) {
            snprintf(text, sizeof(text), "%.*g", digits, value);
            if (strtod(text, NULL) == value)
                break;
        }
    end(x, text);
}

void exposition_us(struct exposition *x, uint64_t us)
{
    char text[40];
    int n = snprintf(text, sizeof(text), "%llu.%06llu", us / US_PER_S, us % US_PER_S);
    while (text[n - 1] == '0')
        n--;
    n -= text[n - 1] == '.';
    text[n] = 0;
    end(x, text);
}
