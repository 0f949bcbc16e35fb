/* carpoolctl audit: who changed which setting or key, the newest first. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/ctl.h"
#include "store/audit.h"
#include "json/write.h"

#define OUTPUT_MAX (64u << 20) /* bytes */
#define ROWS       50          /* unless --limit says so */

struct output {
    struct buf bytes;
    bool json;
    uint32_t left;
    size_t n;
};

static void write_json(struct buf *out, const struct audit_entry *entry, const char *time)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_object_begin(&w);
    json_field_cstr(&w, "time", time);
    json_field_text(&w, "actor", entry->actor);
    json_field_text(&w, "action", entry->action);
    json_key(&w, "details");
    json_raw(&w, entry->details);
    json_object_end(&w);
}

/* Control characters, with which a terminal could be made to show something else. */
static void append_plain(struct buf *out, struct slice text)
{
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = (uint8_t)text.p[i];
        bool high = c == 0xc2 && i + 1 < text.n && (uint8_t)text.p[i + 1] < 0xa0;
        if (c < 0x20 || c == 0x7f || high)
            buf_append_byte(out, '?');
        else
            buf_append_byte(out, c);
        i += high;
    }
}

static int show(void *arg, const struct audit_entry *entry)
{
    struct output *o = arg;
    char time[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(entry->at_us, time);
    if (o->json) {
        buf_append_text(&o->bytes, o->n ? ",\n" : "\n");
        write_json(&o->bytes, entry, time);
    } else {
        buf_printf(&o->bytes, "%s  ", time);
        append_plain(&o->bytes, entry->action);
        buf_append_text(&o->bytes, "  ");
        append_plain(&o->bytes, entry->actor);
        buf_append_text(&o->bytes, "\n    ");
        append_plain(&o->bytes, entry->details);
        buf_append_text(&o->bytes, "\n");
    }
    o->n++;
    return --o->left == 0 || buf_failed(&o->bytes);
}

enum ctl_exit audit_show(struct ctl *t)
{
    struct store_read *r = NULL;
    struct err e = {0};
    struct output o = {.json = t->args->json, .left = t->args->limit ? t->args->limit : ROWS};
    int rc = ctl_read(t, &r, &e);
    buf_init(&o.bytes, OUTPUT_MAX);
    if (o.json)
        buf_append_text(&o.bytes, "{\"entries\":[");
    if (!rc && r)
        rc = audit_each(r, show, &o, &e);
    store_read_end(r);
    if (o.json)
        buf_append_text(&o.bytes, "\n]}\n");
    enum ctl_exit code = CTL_DONE;
    if (rc < 0)
        code = ctl_say(CTL_FAILED, "%s", e.text);
    else if (buf_failed(&o.bytes))
        code = ctl_say(CTL_FAILED, "There is not enough memory for so many entries: give a --limit.");
    else if (ctl_write(o.bytes.data ? o.bytes.data : "", o.bytes.len))
        code = ctl_say(CTL_FAILED, "The entries could not be written to standard output.");
    else if (!o.n && !o.json)
        ctl_say(code, "Nothing was changed yet.");
    buf_fini(&o.bytes);
    return code;
}
