/*
 * carpoolctl export: chats or the audit trail, oldest first, in constant memory. A piece is rendered inside a
 * short read transaction and written after its end, so no transaction waits for whoever reads the output.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/csv.h"
#include "ctl/ctl.h"
#include "store/audit.h"
#include "store/chat_json.h"

#define PIECE_RECORDS 200
#define PIECE_BYTES   (256u << 10)
#define PIECE_MAX     (512u << 20) /* one record may be large, and escaped larger */

/* Invariant: what was rendered up to the places is in piece, or written already. */
struct export
{
    struct ctl *t;
    struct buf piece;
    bool csv, more;
    struct chats_filter filter; /* the times are those of the trail, too */
    struct uuid after;
    struct audit_place place;
};

static void comma(struct export *x)
{
    buf_append_byte(&x->piece, ',');
}

static void cell(struct export *x, struct slice text)
{
    comma(x);
    csv_text(&x->piece, text);
}

/* ---- chats ---- */

static const char chats_head[] = "request_id,username,priority,endpoint,prompt,system_prompt,text,model,"
                                 "prompt_tokens,completion_tokens,latency_ms,"
                                 "created_at,completed_at,cached,retries,finish_reason,batch_id,metadata\r\n";

static void chat_row(struct export *x, const struct chat *c)
{
    char completed[CLOCK_RFC3339_SIZE], batch[UUID_TEXT_SIZE];
    struct buf *out = &x->piece;
    clock_format_rfc3339(c->time_us, completed);
    uuid_format(&c->batch_id, batch);
    csv_text(out, c->request_id);
    cell(x, c->username);
    cell(x, slice_of(conf_priority_name(c->priority)));
    cell(x, slice_of(endpoint_path(c->endpoint)));
    cell(x, c->prompt);
    cell(x, c->system_prompt);
    cell(x, c->text);
    cell(x, c->model);
    buf_printf(out, ",%llu,%llu,%.3f", (unsigned long long)c->prompt_tokens,
               (unsigned long long)c->completion_tokens, (double)c->latency_us / 1e3);
    cell(x, c->created_at);
    cell(x, slice_of(completed));
    buf_printf(out, ",%s,%u", c->cached ? "true" : "false", c->retries);
    cell(x, c->finish_reason);
    cell(x, slice_of(batch));
    cell(x, c->metadata);
    buf_append_text(out, "\r\n");
}

static bool each_chat(void *arg, const struct chat *c)
{
    struct export *x = arg;
    struct json_writer w;
    if (x->csv) {
        chat_row(x, c);
    } else {
        json_writer_init(&w, &x->piece);
        chat_write_json(&w, c);
        buf_append_byte(&x->piece, '\n');
    }
    return x->piece.len < PIECE_BYTES && !buf_failed(&x->piece);
}

static int chats_piece(struct export *x, struct store_read *r, struct err *e)
{
    struct uuid last = x->after;
    int rc = chats_scan(r, &x->filter, &x->after, PIECE_RECORDS, each_chat, x, &last, &x->more, e);
    x->after = last;
    return rc;
}

/* ---- the audit trail ---- */

static const char audit_head[] = "time,actor,action,details\r\n";

static int each_entry(void *arg, const struct audit_entry *a)
{
    struct export *x = arg;
    struct json_writer w;
    char time[CLOCK_RFC3339_SIZE];
    if (a->at_us < x->filter.from_us || (x->filter.to_us && a->at_us >= x->filter.to_us))
        return 0;
    clock_format_rfc3339(a->at_us, time);
    if (x->csv) {
        csv_text(&x->piece, slice_of(time));
        cell(x, a->actor);
        cell(x, a->action);
        cell(x, a->details);
        buf_append_text(&x->piece, "\r\n");
    } else {
        json_writer_init(&w, &x->piece);
        json_object_begin(&w);
        json_field_cstr(&w, "time", time);
        json_field_text(&w, "actor", a->actor);
        json_field_text(&w, "action", a->action);
        json_key(&w, "details");
        json_raw(&w, a->details);
        json_object_end(&w);
        buf_append_byte(&x->piece, '\n');
    }
    return x->piece.len >= PIECE_BYTES || buf_failed(&x->piece);
}

static int audit_piece(struct export *x, struct store_read *r, struct err *e)
{
    int rc = audit_scan(r, &x->place, PIECE_RECORDS, each_entry, x, &x->more, e);
    return rc < 0 ? rc : 0;
}

/* ---- pieces ---- */

static int render(struct export *x, int (*piece)(struct export *x, struct store_read *r, struct err *e),
                  struct err *e)
{
    struct store_read *r = NULL;
    int rc = ctl_read(x->t, &r, e);
    x->more = false;
    if (!rc && r)
        rc = piece(x, r, e);
    store_read_end(r);
    if (!rc && buf_failed(&x->piece))
        rc = err_set(e, ERR_NOMEM, "There is not enough memory for a record.");
    return rc;
}

static enum ctl_exit
pour(struct export *x, int (*piece)(struct export *x, struct store_read *r, struct err *e), const char *head)
{
    struct err e = {0};
    enum ctl_exit code = CTL_DONE;
    buf_init(&x->piece, PIECE_MAX);
    if (x->csv)
        buf_append_text(&x->piece, head);
    do {
        if (render(x, piece, &e))
            code = ctl_say(CTL_FAILED, "%s What was written so far is not all.", e.text);
        else if (ctl_write(buf_slice(&x->piece).p, x->piece.len))
            code = ctl_say(CTL_FAILED, "The records could not be written to standard output.");
        if (x->piece.cap > 4 * PIECE_BYTES)
            buf_fini(&x->piece); /* after a large record */
        else
            buf_clear(&x->piece);
    } while (code == CTL_DONE && x->more);
    buf_fini(&x->piece);
    return code;
}

enum ctl_exit export_run(struct ctl *t)
{
    const struct args *a = t->args;
    const char *what = a->words_n > 1 ? a->words[1] : "chats";
    struct export x = {.t = t, .csv = a->format == FORMAT_CSV};
    x.filter.from_us = a->from_us;
    x.filter.to_us = (a->given & ARG_TO) && !a->to_us ? 1 : a->to_us; /* 0 would be no end */
    if (a->format != FORMAT_JSONL && a->format != FORMAT_CSV)
        return ctl_say(CTL_USAGE, "--format must be jsonl or csv here.");
    if (a->json && x.csv)
        return ctl_say(CTL_USAGE, "--json and --format csv exclude each other.");
    if (!strcmp(what, "audit")) {
        if (a->given & (ARG_USERNAME | ARG_PRIORITY))
            return ctl_say(CTL_USAGE, "--username and --priority are about chats.");
        return pour(&x, audit_piece, audit_head);
    }
    if (strcmp(what, "chats") != 0)
        return ctl_say(CTL_USAGE, "There is nothing called \"%.40s\" to export: chats, or audit.", what);
    x.filter.username = slice_of(a->username);
    x.filter.by_priority = a->given & ARG_PRIORITY;
    x.filter.priority = a->priority;
    return pour(&x, chats_piece, chats_head);
}
