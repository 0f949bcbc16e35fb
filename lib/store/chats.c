/* Chat records, their tables and the scan; see chats.h. Deleting is in chats_delete.c. */
#include "store/chats.h"

#include <string.h>

#include "base/bytes.h"
#include "store/chats_private.h"

/* 2 has a response at its end; without one a record is written as 1. */
#define CHAT_VERSION               1
#define CHAT_VERSION_WITH_RESPONSE 2

enum chat_flags { CHAT_CACHED = 1, CHAT_RATE_LIMITED = 2 };

void chat_encode(struct buf *out, const struct chat *c)
{
    bytes_put_u8(out, c->response.p ? CHAT_VERSION_WITH_RESPONSE : CHAT_VERSION);
    bytes_put_u8(out, (uint8_t)c->endpoint);
    bytes_put_u8(out, (uint8_t)c->priority);
    bytes_put_u8(out, (c->cached ? CHAT_CACHED : 0) | (c->rate_limited ? CHAT_RATE_LIMITED : 0));
    bytes_put_fixed(out, c->id.bytes, sizeof(c->id.bytes));
    bytes_put_fixed(out, c->batch_id.bytes, sizeof(c->batch_id.bytes));
    bytes_put_fixed(out, c->key, sizeof(c->key));
    bytes_put_u32(out, c->retries);
    bytes_put_u64(out, c->time_us);
    bytes_put_u64(out, c->latency_us);
    bytes_put_u64(out, c->upstream_us);
    bytes_put_u64(out, c->prompt_tokens);
    bytes_put_u64(out, c->completion_tokens);
    bytes_put_double(out, c->confidence);
    bytes_put_text(out, c->request_id);
    bytes_put_text(out, c->username);
    bytes_put_text(out, c->prompt);
    bytes_put_text(out, c->system_prompt);
    bytes_put_text(out, c->created_at);
    bytes_put_text(out, c->metadata);
    bytes_put_text(out, c->model);
    bytes_put_text(out, c->text);
    bytes_put_text(out, c->finish_reason);
    if (c->response.p)
        bytes_put_text(out, c->response);
}

int chat_decode(struct slice record, struct chat *ret_chat)
{
    struct bytes_reader r;
    struct chat c = {0};
    bytes_reader_init(&r, record);
    uint8_t version = bytes_get_u8(&r);
    if (version != CHAT_VERSION && version != CHAT_VERSION_WITH_RESPONSE)
        return ERR_CORRUPT;
    c.endpoint = bytes_get_u8(&r);
    c.priority = bytes_get_u8(&r);
    uint8_t flags = bytes_get_u8(&r);
    c.cached = flags & CHAT_CACHED;
    c.rate_limited = flags & CHAT_RATE_LIMITED;
    bytes_get_fixed(&r, c.id.bytes, sizeof(c.id.bytes));
    bytes_get_fixed(&r, c.batch_id.bytes, sizeof(c.batch_id.bytes));
    bytes_get_fixed(&r, c.key, sizeof(c.key));
    c.retries = bytes_get_u32(&r);
    c.time_us = bytes_get_u64(&r);
    c.latency_us = bytes_get_u64(&r);
    c.upstream_us = bytes_get_u64(&r);
    c.prompt_tokens = bytes_get_u64(&r);
    c.completion_tokens = bytes_get_u64(&r);
    c.confidence = bytes_get_double(&r);
    c.request_id = bytes_get_text(&r);
    c.username = bytes_get_text(&r);
    c.prompt = bytes_get_text(&r);
    c.system_prompt = bytes_get_text(&r);
    c.created_at = bytes_get_text(&r);
    c.metadata = bytes_get_text(&r);
    c.model = bytes_get_text(&r);
    c.text = bytes_get_text(&r);
    c.finish_reason = bytes_get_text(&r);
    if (version == CHAT_VERSION_WITH_RESPONSE)
        c.response = bytes_get_text(&r);
    if (!bytes_done(&r) || c.priority >= PRIORITIES || c.endpoint < ENDPOINT_QUERY ||
        c.endpoint > ENDPOINT_COMPLETIONS)
        return ERR_CORRUPT;
    *ret_chat = c;
    return 0;
}

struct slice chat_index_key(struct chat_index *k, struct slice name, const struct uuid *id)
{
    if (name.n)
        memcpy(k->bytes, name.p, name.n);
    k->bytes[name.n] = 0;
    memcpy(k->bytes + name.n + 1, id->bytes, sizeof(id->bytes));
    return table_bytes(k->bytes, name.n + 1 + sizeof(id->bytes));
}

bool chat_index_match(struct slice key, struct slice name, bool *ret_behind)
{
    size_t head = name.n + 1;
    *ret_behind = key.n < head || (name.n && memcmp(key.p, name.p, name.n) != 0) || key.p[name.n] != 0;
    return !*ret_behind && key.n == head + sizeof(((struct uuid *)0)->bytes);
}

int chats_append(struct store_write *w, const struct chat *c, struct slice record, struct err *e)
{
    struct chat_index k;
    if (c->username.n > CHAT_NAME_MAX || c->request_id.n > CHAT_NAME_MAX)
        return err_set(e, ERR_INVAL, "A username or request id of a chat is longer than %d bytes.",
                       CHAT_NAME_MAX);
    int rc = table_append(w, TABLE_CHATS, table_bytes(c->id.bytes, sizeof(c->id.bytes)), record, e);
    if (rc == ERR_EXISTS)
        return err_set(e, rc, "A chat of this id is stored already.");
    if (!rc && c->username.p)
        rc = table_put(w, TABLE_CHATS_BY_USER, chat_index_key(&k, c->username, &c->id), SLICE_LITERAL(""), e);
    if (!rc && c->request_id.p)
        rc = table_put(w, TABLE_CHATS_BY_REQUEST, chat_index_key(&k, c->request_id, &c->id),
                       table_bytes(c->key, sizeof(c->key)), e);
    return rc;
}

int chats_get(struct store_read *r, const struct uuid *id, struct slice *ret_record, struct err *e)
{
    int rc = table_get(r, TABLE_CHATS, table_bytes(id->bytes, sizeof(id->bytes)), ret_record, e);
    return rc == ERR_NOT_FOUND ? err_set(e, rc, "There is no such chat.") : rc;
}

int chats_last_id(struct store_read *r, struct uuid *ret_id, struct err *e)
{
    struct table_cursor c;
    struct slice key, value;
    int rc = table_cursor_open(r, TABLE_CHATS, &c, e);
    if (rc)
        return rc;
    rc = table_last(&c, &key, &value, e);
    if (!rc && key.n != sizeof(ret_id->bytes))
        rc = err_set(e, ERR_CORRUPT, "The table of chats has a foreign key.");
    if (!rc)
        memcpy(ret_id->bytes, key.p, sizeof(ret_id->bytes));
    table_cursor_close(&c);
    return rc;
}

int chats_count(struct store_read *r, uint64_t *ret_count, struct err *e)
{
    return table_count(r, TABLE_CHATS, ret_count, e);
}

/* ---- the scan ---- */

/* A walk over chats in id order or against it, either through the table itself or through a user's part of
 * the index. */
struct walk {
    struct store_read *r;
    struct table_cursor cursor;
    const struct chats_filter *filter;
    struct uuid id;      /* where it is */
    struct slice record; /* of that chat; absent when only the index has it */
};

/* The time part of a version 7 UUID (RFC 9562, 5.7), in microseconds. */
static uint64_t id_us(const struct uuid *id)
{
    return (bytes_load_be64(id->bytes) >> 16) * 1000;
}

static void id_at(uint64_t us, struct uuid *ret_id)
{
    memset(ret_id, 0, sizeof(*ret_id));
    bytes_store_be64(ret_id->bytes, us / 1000 << 16);
}

static int walk_step(struct walk *k, struct slice *ret_key, struct slice *ret_value, struct err *e)
{
    return k->filter->newest_first ? table_previous(&k->cursor, ret_key, ret_value, e)
                                   : table_next(&k->cursor, ret_key, ret_value, e);
}

/* Whether no chat from here on can be within the times asked for. */
static bool walk_past(const struct walk *k)
{
    const struct chats_filter *f = k->filter;
    if (f->newest_first)
        return id_us(&k->id) + CHAT_ID_SLACK_US < f->from_us;
    return f->to_us && id_us(&k->id) > f->to_us + CHAT_ID_SLACK_US;
}

/* Takes in the index entry or record under the cursor. ERR_NOT_FOUND behind the last one. */
static int walk_take(struct walk *k, struct slice key, struct slice value, struct err *e)
{
    struct slice name = k->filter->username;
    if (!name.p) {
        if (key.n != sizeof(k->id.bytes))
            return err_set(e, ERR_CORRUPT, "The table of chats has a foreign key.");
        memcpy(k->id.bytes, key.p, sizeof(k->id.bytes));
        k->record = value;
        return 0;
    }
    bool behind = false;
    while (!chat_index_match(key, name, &behind)) {
        int rc = behind ? ERR_NOT_FOUND : walk_step(k, &key, &value, e);
        if (rc)
            return rc;
    }
    memcpy(k->id.bytes, key.p + name.n + 1, sizeof(k->id.bytes));
    int rc = table_get(k->r, TABLE_CHATS, table_bytes(k->id.bytes, sizeof(k->id.bytes)), &k->record, e);
    if (rc == ERR_NOT_FOUND)
        k->record = (struct slice){0};
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int walk_next(struct walk *k, struct err *e)
{
    struct slice key, value;
    int rc = walk_step(k, &key, &value, e);
    if (!rc)
        rc = walk_take(k, key, value, e);
    return !rc && walk_past(k) ? ERR_NOT_FOUND : rc;
}

/* The newest chat before *after, or of all, that can pass the filter. */
static int walk_start_newest(struct walk *k, const struct uuid *after, struct err *e)
{
    static const struct uuid none;
    struct uuid end, to;
    struct chat_index index;
    struct slice key, value;
    memset(&end, 0xff, sizeof(end)); /* no version 7 UUID */
    if (memcmp(after->bytes, none.bytes, sizeof(none.bytes)) != 0)
        end = *after;
    if (k->filter->to_us) {
        id_at(k->filter->to_us + CHAT_ID_SLACK_US, &to);
        if (memcmp(to.bytes, end.bytes, sizeof(to.bytes)) < 0)
            end = to;
    }
    struct slice seek = k->filter->username.p ? chat_index_key(&index, k->filter->username, &end)
                                              : table_bytes(end.bytes, sizeof(end.bytes));
    int rc = table_seek(&k->cursor, seek, &key, &value, e);
    if (!rc)
        rc = table_previous(&k->cursor, &key, &value, e);
    else if (rc == ERR_NOT_FOUND)
        rc = table_last(&k->cursor, &key, &value, e);
    if (!rc)
        rc = walk_take(k, key, value, e);
    return !rc && walk_past(k) ? ERR_NOT_FOUND : rc;
}

/* The first chat behind *after that can pass the filter. */
static int walk_start(struct walk *k, const struct uuid *after, struct err *e)
{
    struct uuid start = *after;
    struct chat_index index;
    struct slice key, value;
    if (k->filter->from_us > CHAT_ID_SLACK_US) {
        struct uuid from;
        id_at(k->filter->from_us - CHAT_ID_SLACK_US, &from);
        if (memcmp(from.bytes, start.bytes, sizeof(from.bytes)) > 0)
            start = from;
    }
    struct slice seek = k->filter->username.p ? chat_index_key(&index, k->filter->username, &start)
                                              : table_bytes(start.bytes, sizeof(start.bytes));
    int rc = table_seek(&k->cursor, seek, &key, &value, e);
    if (!rc)
        rc = walk_take(k, key, value, e);
    if (!rc && memcmp(k->id.bytes, after->bytes, sizeof(after->bytes)) == 0)
        return walk_next(k, e);
    return !rc && walk_past(k) ? ERR_NOT_FOUND : rc;
}

static bool passes(const struct chats_filter *f, const struct chat *c)
{
    return (!f->by_priority || f->priority == c->priority) && c->time_us >= f->from_us &&
           (!f->to_us || c->time_us < f->to_us);
}

static int visit(struct walk *k, bool (*each)(void *arg, const struct chat *c), void *arg, bool *ret_go_on,
                 struct err *e)
{
    struct chat c;
    *ret_go_on = true;
    if (!k->record.p)
        return 0;
    if (chat_decode(k->record, &c))
        return err_set(e, ERR_CORRUPT, "A stored chat is damaged.");
    if (passes(k->filter, &c))
        *ret_go_on = each(arg, &c);
    return 0;
}

int chats_scan(struct store_read *r, const struct chats_filter *filter, const struct uuid *after,
               uint32_t max_visited, bool (*each)(void *arg, const struct chat *c), void *arg,
               struct uuid *ret_last, bool *ret_more, struct err *e)
{
    struct walk k = {.r = r, .filter = filter};
    struct uuid last = *after;
    bool go_on = true;
    if (filter->username.n > CHAT_NAME_MAX)
        return err_set(e, ERR_INVAL, "A username has at most %d bytes.", CHAT_NAME_MAX);
    int rc = table_cursor_open(r, filter->username.p ? TABLE_CHATS_BY_USER : TABLE_CHATS, &k.cursor, e);
    if (rc)
        return rc;
    rc = filter->newest_first ? walk_start_newest(&k, after, e) : walk_start(&k, after, e);
    for (uint32_t n = 0; !rc && go_on && n < max_visited; n++) {
        rc = visit(&k, each, arg, &go_on, e);
        last = k.id;
        if (!rc)
            rc = walk_next(&k, e);
    }
    table_cursor_close(&k.cursor);
    if (rc && rc != ERR_NOT_FOUND)
        return rc;
    *ret_last = last;
    *ret_more = !rc;
    return 0;
}
