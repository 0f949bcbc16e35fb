/*
 * GET /v1/chat and DELETE /v1/chat/{request_id}. The list is streamed: a piece is rendered inside a short
 * read transaction and sent after its end, so memory is bounded by a piece and one record, and no transaction
 * waits for a slow reader.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/chat_json.h"
#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/path.h"
#include "worker/state.h"
#include "json/write.h"

#define LIMIT_MAX       1000
#define PIECE_RECORDS   100
#define PIECE_BYTES     (32 * 1024)
#define DELETE_LIMIT_US (30 * US_PER_S)

/* A list on its way out. Invariant: count chats were rendered, the last of them or of those passed over is
 * after. */
struct listing {
    struct exchange *x;
    struct chats_filter filter;
    uint64_t limit; /* 0: all */
    struct uuid after;
    struct json_writer writer;
    uint64_t count;
    bool more;
};

static bool each_chat(void *arg, const struct chat *c)
{
    struct listing *l = arg;
    chat_write_json(&l->writer, c);
    l->count++;
    const struct buf *body = &l->x->response.body;
    return body->len < PIECE_BYTES && !buf_failed(body) && (!l->limit || l->count < l->limit);
}

/* Renders the next piece. */
static int render_piece(struct listing *l, struct err *e)
{
    struct store_read *r = NULL;
    struct uuid last = l->after;
    int rc = worker_read(l->x->worker, &r, e);
    l->more = false;
    if (!rc && r)
        rc = chats_scan(r, &l->filter, &l->after, PIECE_RECORDS, each_chat, l, &last, &l->more, e);
    l->after = last;
    store_read_end(r);
    return rc;
}

static bool bad_parameter(struct exchange *x, const char *name, const char *rule)
{
    problem_respond(x, PROBLEM_INVALID_PARAMETER, name, "%s %s", name, rule);
    return false;
}

/* False: answered. */
static bool parameter(struct exchange *x, const char *name, struct slice *ret_text)
{
    struct err e = {0};
    if (!query_get(x->query, name, &x->arena, ret_text, &e))
        return true;
    problem_respond(x, PROBLEM_INVALID_PARAMETER, name, "%s", e.text);
    return false;
}

static bool time_parameter(struct exchange *x, const char *name, uint64_t *ret_us)
{
    struct slice text;
    if (!parameter(x, name, &text))
        return false;
    if (text.p && !clock_parse_rfc3339(text, ret_us))
        return bad_parameter(x, name, "must be a date such as 2026-02-01 or a date-time of RFC 3339.");
    return true;
}

static bool read_filter(struct exchange *x, struct listing *l)
{
    struct slice limit, cursor, order, priority;
    if (!parameter(x, "limit", &limit) || !parameter(x, "cursor", &cursor) ||
        !parameter(x, "order", &order) || !parameter(x, "priority", &priority) ||
        !parameter(x, "username", &l->filter.username) || !time_parameter(x, "from", &l->filter.from_us) ||
        !time_parameter(x, "to", &l->filter.to_us))
        return false;
    if (limit.p) {
        if (limit.n && limit.n <= 4 && strspn(limit.p, "0123456789") == limit.n)
            l->limit = strtoul(limit.p, NULL, 10);
        if (l->limit < 1 || l->limit > LIMIT_MAX)
            return bad_parameter(x, "limit", "must be a whole number from 1 to 1000.");
    }
    if (l->filter.username.n > CHAT_NAME_MAX)
        return bad_parameter(x, "username", "must be at most 128 bytes long.");
    if (cursor.p && !uuid_parse(cursor, &l->after))
        return bad_parameter(x, "cursor", "must be a next_cursor of an answer before.");
    if (order.p && !slice_is(order, "oldest") && !slice_is(order, "newest"))
        return bad_parameter(x, "order", "must be oldest or newest: what comes first.");
    l->filter.newest_first = order.p && slice_is(order, "newest");
    if (priority.p) {
        static const char *const numbers[PRIORITIES] = {"0", "1", "2"};
        l->filter.by_priority = true;
        for (int i = 0; i < PRIORITIES; i++)
            if (slice_is(priority, numbers[i])) {
                l->filter.priority = (enum priority)i;
                return true;
            }
        if (conf_priority_parse(priority.p, &l->filter.priority))
            return bad_parameter(x, "priority", "must be HIGH, MEDIUM or LOW, or 2, 1 or 0.");
    }
    return true;
}

static void finish(struct listing *l)
{
    char cursor[UUID_TEXT_SIZE];
    struct json_writer *w = &l->writer;
    json_array_end(w);
    json_field_u64(w, "count", l->count);
    if (l->limit) {
        uuid_format(&l->after, cursor);
        json_field_cstr(w, "next_cursor", l->more ? cursor : NULL);
    }
    json_object_end(w);
}

void api_chats_get(struct exchange *x)
{
    struct listing l = {.x = x};
    struct err e = {0};
    bool go_on = true;
    if (!read_filter(x, &l))
        return;
    json_writer_init(&l.writer, &x->response.body);
    json_object_begin(&l.writer);
    json_key(&l.writer, "chats");
    json_array_begin(&l.writer);
    while (go_on) {
        int rc = render_piece(&l, &e);
        if (rc && !x->response.begun) {
            problem_respond_err(x, &e);
            return;
        }
        if (rc) {
            /* The document stays open at its end, which no JSON reader takes for a whole list. */
            log_write(LOG_LEVEL_ERROR, exchange_id(x), "A list of chats was cut short: %s", e.text);
            return;
        }
        go_on = l.more && (!l.limit || l.count < l.limit);
        if (!go_on)
            finish(&l);
        /* A list that fits into one piece goes out with its length. */
        if ((go_on || x->response.begun) && !exchange_stream(x))
            return;
    }
}

void api_chats_delete(struct exchange *x)
{
    struct json_writer w;
    struct wire_frame frame;
    struct wire_refusal refusal;
    struct err e = {0};
    if (!request_id_valid(x->path_id)) {
        problem_respond(x, PROBLEM_INVALID_REQUEST_ID, "request_id",
                        "A request_id is 1 to 128 characters of A-Z, a-z, 0-9 and . _ : -");
        return;
    }
    exchange_set_prompt_id(x, x->path_id);
    int rc = link_ask(&x->link, LINK_AUTOSTART, WIRE_CHAT_DELETE, x->path_id,
                      clock_mono_us() + DELETE_LIMIT_US, &frame, &e);
    if (rc)
        problem_respond(x, rc == ERR_NOMEM ? PROBLEM_OUT_OF_MEMORY : PROBLEM_COORDINATOR_DOWN, NULL, "%s",
                        e.text);
    else if (frame.type == WIRE_DONE) {
        json_writer_init(&w, &x->response.body);
        json_object_begin(&w);
        json_field_text(&w, "request_id", x->path_id);
        json_field_bool(&w, "deleted", true);
        json_object_end(&w);
    } else if (frame.type == WIRE_REFUSAL && !wire_refusal_decode(frame.payload, &refusal))
        problem_respond_refusal(x, &refusal);
    else {
        link_close(&x->link);
        problem_respond(x, PROBLEM_INTERNAL, NULL, "The coordinator's answer cannot be read.");
    }
}
