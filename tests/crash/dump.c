/*
 * Prints a storage directory as JSON lines, for the history checker (history.js) and for people: the epoch,
 * every request record, every chat with the answer a client gets for it, and the keys of the two tables that
 * refer to records. Reads only, through lib/store, also beside a coordinator that runs.
 *
 *   dump DIR            the store
 *   dump --keys         request keys for the lines "family TAB API key (empty: keyless) TAB request id" of
 * stdin
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "store/cache.h"
#include "store/chats.h"
#include "store/meta.h"
#include "store/requests.h"
#include "store/table.h"
#include "json/write.h"

#define LINE_MAX_BYTES (128u << 20)
#define HEX_SIZE(n)    (2 * (n) + 1)

static const char *const state_names[] = {
    [REQUEST_QUEUED] = "queued", [REQUEST_DISPATCHED] = "dispatched", [REQUEST_DONE] = "done",
    [REQUEST_FAILED] = "failed", [REQUEST_UNKNOWN] = "unknown",       [REQUEST_DELETED] = "deleted"};

/* What a line is written with. */
struct line {
    struct buf text;
    struct json_writer w;
};

static struct json_writer *begin(struct line *l, const char *kind)
{
    buf_clear(&l->text);
    json_writer_init(&l->w, &l->text);
    json_object_begin(&l->w);
    json_field_cstr(&l->w, "kind", kind);
    return &l->w;
}

static void end(struct line *l)
{
    json_object_end(&l->w);
    if (buf_failed(&l->text)) {
        fprintf(stderr, "dump: out of memory.\n");
        exit(1);
    }
    fwrite(l->text.data, 1, l->text.len, stdout);
    putchar('\n');
}

static void field_hex(struct json_writer *w, const char *name, const void *bytes, size_t n)
{
    char hex[HEX_SIZE(64)];
    json_field_cstr(w, name, sodium_bin2hex(hex, sizeof(hex), bytes, n));
}

static void field_uuid(struct json_writer *w, const char *name, const struct uuid *id)
{
    static const struct uuid none;
    char text[UUID_TEXT_SIZE];
    json_key(w, name);
    if (!memcmp(id, &none, sizeof(none)))
        json_null(w);
    else {
        uuid_format(id, text);
        json_text(w, slice_of(text));
    }
}

/* A record that does not decode: the checker has a word on that. */
static void print_damage(struct line *l, const char *table, struct slice key, const char *why)
{
    struct json_writer *w = begin(l, "damaged");
    json_field_cstr(w, "table", table);
    field_hex(w, "key", key.p, key.n < 64 ? key.n : 64);
    json_field_cstr(w, "why", why);
    end(l);
}

static void write_submit(struct json_writer *w, struct slice payload)
{
    struct wire_submit s;
    json_key(w, "submit");
    if (!payload.p || wire_submit_decode(payload, &s)) {
        json_null(w);
        return;
    }
    json_object_begin(w);
    json_field_text(w, "request_id", s.request_id);
    json_field_cstr(w, "endpoint", endpoint_path(s.endpoint));
    json_field_text(w, "prompt", s.prompt);
    json_field_u64(w, "wait_ms", s.wait_ms);
    json_field_bool(w, "caller_key", s.caller_key.p != NULL);
    json_object_end(w);
}

static void write_refusal(struct json_writer *w, struct slice payload)
{
    struct wire_refusal r;
    json_key(w, "refusal");
    if (!payload.p || wire_refusal_decode(payload, &r)) {
        json_null(w);
        return;
    }
    json_object_begin(w);
    json_field_u64(w, "status", r.status);
    json_field_text(w, "error_code", r.error_code);
    json_field_text(w, "message", r.message);
    json_object_end(w);
}

static void print_request(struct line *l, struct slice key, const struct request_record *r)
{
    struct json_writer *w = begin(l, "request");
    field_hex(w, "key", key.p, key.n);
    json_field_cstr(w, "state", state_names[r->state]);
    json_field_bool(w, "async", r->is_async);
    json_field_bool(w, "final", r->final);
    json_field_u64(w, "repairs", r->repairs);
    field_hex(w, "fingerprint", r->fingerprint, sizeof(r->fingerprint));
    json_field_u64(w, "epoch", r->epoch);
    json_field_u64(w, "expires_s", r->expires_s);
    field_uuid(w, "batch_id", &r->batch_id);
    field_uuid(w, "chat_id", &r->chat_id);
    write_submit(w, r->submit);
    write_refusal(w, r->refusal);
    end(l);
}

/* The answer of POST /v1/query, written here once more rather than by the worker's code: two hands that
 * agree. */
static void render_answer(struct buf *out, const struct chat *c)
{
    struct json_writer w;
    char completed[CLOCK_RFC3339_SIZE];
    json_writer_init(&w, out);
    json_object_begin(&w);
    json_field_text(&w, "request_id", c->request_id);
    json_field_text(&w, "username", c->username);
    json_field_text(&w, "text", c->text);
    json_field_u64(&w, "tokens_used", c->prompt_tokens + c->completion_tokens);
    json_key(&w, "latency_ms");
    json_us_as_ms(&w, c->latency_us);
    json_field_text(&w, "created_at", c->created_at);
    clock_format_rfc3339(c->time_us, completed);
    json_field_cstr(&w, "completed_at", completed);
    json_field_text(&w, "model", c->model);
    json_field_bool(&w, "cached", c->cached);
    field_uuid(&w, "batch_id", &c->batch_id);
    json_field_cstr(&w, "priority", conf_priority_name(c->priority));
    if (c->metadata.p) {
        json_key(&w, "metadata");
        json_raw(&w, c->metadata);
    }
    json_object_end(&w);
}

static bool print_chat(void *arg, const struct chat *c)
{
    struct line *l = arg;
    struct buf answer;
    buf_init(&answer, LINE_MAX_BYTES);
    render_answer(&answer, c);
    struct json_writer *w = begin(l, "chat");
    field_uuid(w, "id", &c->id);
    field_hex(w, "key", c->key, sizeof(c->key));
    json_field_text(w, "request_id", c->request_id);
    json_field_cstr(w, "endpoint", endpoint_path(c->endpoint));
    field_uuid(w, "batch_id", &c->batch_id);
    json_field_text(w, "prompt", c->prompt);
    json_field_text(w, "text", c->text);
    json_field_u64(w, "retries", c->retries);
    json_field_bool(w, "cached", c->cached);
    json_field_text(w, "answer", buf_slice(&answer));
    end(l);
    buf_fini(&answer);
    return true;
}

/* Calls print for every record of a table. */
static int each_record(struct store_read *r, struct line *l, enum table t,
                       int (*print)(struct store_read *r, struct line *l, struct slice key, struct err *e),
                       struct err *e)
{
    struct table_cursor c;
    struct slice key, value;
    int rc = table_cursor_open(r, t, &c, e);
    if (rc)
        return rc;
    rc = table_seek(&c, (struct slice){0}, &key, &value, e);
    while (!rc) {
        rc = print(r, l, key, e);
        if (!rc)
            rc = table_next(&c, &key, &value, e);
    }
    table_cursor_close(&c);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

static int print_record(struct store_read *r, struct line *l, struct slice key, struct err *e)
{
    struct request_record record;
    int rc = key.n == REQUEST_KEY_SIZE ? requests_get(r, (const uint8_t *)key.p, 0, &record, e)
                                       : err_set(e, ERR_CORRUPT, "A key of another size.");
    if (rc)
        print_damage(l, "requests", key, e->text);
    else
        print_request(l, key, &record);
    return 0;
}

static int print_unfinished(struct store_read *r, struct line *l, struct slice key, struct err *e)
{
    (void)r, (void)e;
    field_hex(begin(l, "unfinished"), "key", key.p, key.n < 64 ? key.n : 64);
    end(l);
    return 0;
}

/* The key is a time in front of a request's key. */
static int print_expiry(struct store_read *r, struct line *l, struct slice key, struct err *e)
{
    (void)r, (void)e;
    if (key.n != 8 + REQUEST_KEY_SIZE) {
        print_damage(l, "expiry", key, "A key of another size.");
        return 0;
    }
    struct json_writer *w = begin(l, "expiry");
    json_field_u64(w, "at_s", bytes_load_be64((const uint8_t *)key.p));
    field_hex(w, "key", key.p + 8, REQUEST_KEY_SIZE);
    end(l);
    return 0;
}

static int print_cache(struct store_read *r, struct line *l, struct slice key, struct err *e)
{
    struct slice value;
    struct bytes_reader b;
    uint8_t cache_key[CACHE_KEY_SIZE];
    struct uuid chat_id;
    int rc = table_get(r, TABLE_CACHE, key, &value, e);
    if (rc)
        return rc;
    bytes_reader_init(&b, value);
    uint8_t version = bytes_get_u8(&b);
    uint64_t expires_s = bytes_get_u64(&b);
    bytes_get_fixed(&b, cache_key, sizeof(cache_key));
    if (!bytes_done(&b) || version != 1 || key.n != sizeof(chat_id)) {
        print_damage(l, "cache", key, "An entry of another form.");
        return 0;
    }
    struct json_writer *w = begin(l, "cache");
    memcpy(chat_id.bytes, key.p, sizeof(chat_id.bytes));
    field_hex(w, "key", (const char *)cache_key, sizeof(cache_key));
    json_field_u64(w, "expires_s", expires_s);
    field_uuid(w, "chat_id", &chat_id);
    end(l);
    return 0;
}

static int print_meta(struct store_read *r, struct line *l, struct err *e)
{
    uint64_t epoch = 0, chats = 0, by_request = 0;
    int rc = meta_epoch(r, &epoch, e);
    if (!rc)
        rc = table_count(r, TABLE_CHATS, &chats, e);
    if (!rc)
        rc = table_count(r, TABLE_CHATS_BY_REQUEST, &by_request, e);
    if (rc)
        return rc;
    struct json_writer *w = begin(l, "meta");
    json_field_u64(w, "epoch", epoch);
    json_field_u64(w, "chats", chats);
    json_field_u64(w, "chats_by_request", by_request);
    end(l);
    return 0;
}

static int print_chats(struct store_read *r, struct line *l, struct err *e)
{
    struct chats_filter all = {0};
    struct uuid at = {0};
    bool more = true;
    int rc = 0;
    while (!rc && more)
        rc = chats_scan(r, &all, &at, 1000, print_chat, l, &at, &more, e);
    if (rc != ERR_CORRUPT)
        return rc;
    print_damage(l, "chats", table_bytes(&at, sizeof(at)), e->text);
    return 0;
}

/* All of it from one transaction. */
static int print_store(const char *dir, struct err *e)
{
    struct store_options options = {.access = STORE_READER};
    struct store *s = NULL;
    struct store_read *r = NULL;
    struct line l;
    buf_init(&l.text, LINE_MAX_BYTES);
    int rc = store_open(dir, &options, &s, e);
    if (!rc)
        rc = store_read_begin(s, &r, e);
    if (!rc)
        rc = print_meta(r, &l, e);
    if (!rc)
        rc = each_record(r, &l, TABLE_REQUESTS, print_record, e);
    if (!rc)
        rc = each_record(r, &l, TABLE_UNFINISHED, print_unfinished, e);
    if (!rc)
        rc = each_record(r, &l, TABLE_EXPIRY, print_expiry, e);
    if (!rc)
        rc = each_record(r, &l, TABLE_CACHE, print_cache, e);
    if (!rc)
        rc = print_chats(r, &l, e);
    store_read_end(r);
    store_close(s);
    buf_fini(&l.text);
    return rc;
}

static enum family family_of(const char *name)
{
    return !strcmp(name, "invoke") ? FAMILY_INVOKE : !strcmp(name, "openai") ? FAMILY_OPENAI : FAMILY_QUERY;
}

/* The trust group of an API key is the front of its hash; all keyless callers are one group. */
static void print_key(const char *family, const char *api_key, const char *request_id)
{
    uint8_t hash[32] = {0}, key[REQUEST_KEY_SIZE];
    char hex[HEX_SIZE(sizeof(key))];
    if (*api_key)
        crypto_generichash(hash, sizeof(hash), (const unsigned char *)api_key, strlen(api_key), NULL, 0);
    wire_request_key(hash, family_of(family), slice_of(request_id), key);
    puts(sodium_bin2hex(hex, sizeof(hex), key, sizeof(key)));
}

static void print_keys(void)
{
    char *text = NULL;
    size_t cap = 0;
    while (getline(&text, &cap, stdin) > 0) {
        char *rest = text, *family = strsep(&rest, "\t"), *api_key = strsep(&rest, "\t");
        char *id = strsep(&rest, "\n");
        print_key(family, api_key ? api_key : "", id ? id : "");
    }
    free(text);
}

int main(int argc, char **argv)
{
    struct err e = {0};
    if (sodium_init() < 0 || argc != 2) {
        fprintf(stderr, "Usage: dump DIR | dump --keys\n");
        return 2;
    }
    if (!strcmp(argv[1], "--keys"))
        print_keys();
    else if (print_store(argv[1], &e)) {
        fprintf(stderr, "dump: %s\n", e.text);
        return 1;
    }
    return 0;
}
