/*
 * Request records; see requests.h. The hot path is requests_put, twice a prompt: the dispatched one is three
 * inserts, the done one a replacement (the old record lends its expiry) and a delete.
 */
#include "store/requests.h"

#include <endian.h>
#include <string.h>

#include "base/bytes.h"
#include "store/table.h"

#define RECORD_VERSION 1

enum record_flags {
    HAS_ASYNC = 1,
    HAS_FINAL = 2,
    HAS_BATCH = 4,
    HAS_CHAT = 8,
    HAS_SUBMIT = 16,
    HAS_REFUSAL = 32,
    HAS_HELD = 64,
};

/* Where expires_s stands in a record: it is patched in place when an old one's is kept. */
#define EXPIRES_AT 4

/* Key of `expiry`: when, big-endian, and which. Its value is empty. */
struct expiry_key {
    uint8_t bytes[8 + REQUEST_KEY_SIZE];
};

static const struct uuid no_uuid;

static bool is_set(const struct uuid *id)
{
    return memcmp(id->bytes, no_uuid.bytes, sizeof(id->bytes)) != 0;
}

static struct slice key_slice(const uint8_t key[REQUEST_KEY_SIZE])
{
    return table_bytes(key, REQUEST_KEY_SIZE);
}

static struct slice expiry_slice(struct expiry_key *k, uint64_t expires_s,
                                 const uint8_t key[REQUEST_KEY_SIZE])
{
    bytes_store_be64(k->bytes, expires_s);
    memcpy(k->bytes + 8, key, REQUEST_KEY_SIZE);
    return table_bytes(k->bytes, sizeof(k->bytes));
}

static bool is_unfinished(enum request_state s)
{
    return s == REQUEST_QUEUED || s == REQUEST_DISPATCHED;
}

static void encode(struct buf *b, const struct request_record *r)
{
    uint8_t flags = (r->is_async ? HAS_ASYNC : 0) | (r->final ? HAS_FINAL : 0) |
                    (is_set(&r->batch_id) ? HAS_BATCH : 0) | (is_set(&r->chat_id) ? HAS_CHAT : 0) |
                    (r->submit.p ? HAS_SUBMIT : 0) | (r->refusal.p ? HAS_REFUSAL : 0) |
                    (r->state == REQUEST_DISPATCHED && r->held.picousd ? HAS_HELD : 0);
    bytes_put_u8(b, RECORD_VERSION);
    bytes_put_u8(b, (uint8_t)r->state);
    bytes_put_u8(b, flags);
    bytes_put_u8(b, r->repairs);
    bytes_put_u64(b, r->expires_s);
    bytes_put_u64(b, r->epoch);
    bytes_put_fixed(b, r->fingerprint, sizeof(r->fingerprint));
    if (flags & HAS_BATCH)
        bytes_put_fixed(b, r->batch_id.bytes, sizeof(r->batch_id.bytes));
    if (flags & HAS_CHAT)
        bytes_put_fixed(b, r->chat_id.bytes, sizeof(r->chat_id.bytes));
    if (flags & HAS_SUBMIT)
        bytes_put_text(b, r->submit);
    if (flags & HAS_REFUSAL)
        bytes_put_text(b, r->refusal);
    if (flags & HAS_HELD) {
        bytes_put_fixed(b, r->held.id, sizeof(r->held.id));
        bytes_put_u32(b, r->held.month);
        bytes_put_u64(b, r->held.picousd);
    }
}

static int decode(struct slice value, struct request_record *ret_record, struct err *e)
{
    struct bytes_reader r;
    struct request_record q = {0};
    bytes_reader_init(&r, value);
    uint8_t version = bytes_get_u8(&r);
    q.state = bytes_get_u8(&r);
    uint8_t flags = bytes_get_u8(&r);
    q.repairs = bytes_get_u8(&r);
    q.expires_s = bytes_get_u64(&r);
    q.epoch = bytes_get_u64(&r);
    bytes_get_fixed(&r, q.fingerprint, sizeof(q.fingerprint));
    q.is_async = flags & HAS_ASYNC;
    q.final = flags & HAS_FINAL;
    if (flags & HAS_BATCH)
        bytes_get_fixed(&r, q.batch_id.bytes, sizeof(q.batch_id.bytes));
    if (flags & HAS_CHAT)
        bytes_get_fixed(&r, q.chat_id.bytes, sizeof(q.chat_id.bytes));
    if (flags & HAS_SUBMIT)
        q.submit = bytes_get_text(&r);
    if (flags & HAS_REFUSAL)
        q.refusal = bytes_get_text(&r);
    if (flags & HAS_HELD) {
        bytes_get_fixed(&r, q.held.id, sizeof(q.held.id));
        q.held.month = bytes_get_u32(&r);
        q.held.picousd = bytes_get_u64(&r);
    }
    if (!bytes_done(&r) || version != RECORD_VERSION || q.state < REQUEST_QUEUED || q.state > REQUEST_DELETED)
        return err_set(e, ERR_CORRUPT, "A stored request record is damaged.");
    *ret_record = q;
    return 0;
}

/* As requests_get, but one that has expired is given too. ERR_NOT_FOUND without a sentence. */
static int get_any(struct store_read *r, const uint8_t key[REQUEST_KEY_SIZE],
                   struct request_record *ret_record, struct err *e)
{
    struct slice value;
    int rc = table_get(r, TABLE_REQUESTS, key_slice(key), &value, e);
    return rc ? rc : decode(value, ret_record, e);
}

int requests_get(struct store_read *r, const uint8_t key[REQUEST_KEY_SIZE], uint64_t now_s,
                 struct request_record *ret_record, struct err *e)
{
    struct request_record found;
    int rc = get_any(r, key, &found, e);
    if (rc == ERR_NOT_FOUND || (!rc && found.expires_s <= now_s))
        return err_set(e, ERR_NOT_FOUND, "There is no record of this request id.");
    if (!rc)
        *ret_record = found;
    return rc;
}

/* Replaces the record that `value` is and brings its expiry entry along. *ret_was_unfinished: what it was.
 * A record that cannot be decoded is replaced as if it had expired at 0: its entry in `expiry` is found and
 * dropped when its time comes. */
static int replace(struct store_write *w, const uint8_t key[REQUEST_KEY_SIZE], struct slice old_value,
                   struct buf *encoded, const struct request_record *record, uint64_t now_s,
                   bool *ret_was_unfinished, struct err *e)
{
    struct request_record old;
    struct expiry_key k;
    int rc = 0;
    if (decode(old_value, &old, NULL))
        old = (struct request_record){.state = REQUEST_DISPATCHED};
    *ret_was_unfinished = is_unfinished(old.state);
    bool runs_anew = is_unfinished(record->state) && !is_unfinished(old.state);
    if (old.expires_s > now_s && !runs_anew) {
        uint64_t kept = htole64(old.expires_s);
        memcpy(encoded->data + EXPIRES_AT, &kept, sizeof(kept));
    } else {
        rc = table_delete(w, TABLE_EXPIRY, expiry_slice(&k, old.expires_s, key), e);
        if (!rc)
            rc = table_put(w, TABLE_EXPIRY, expiry_slice(&k, record->expires_s, key), SLICE_LITERAL(""), e);
    }
    return rc ? rc : table_put(w, TABLE_REQUESTS, key_slice(key), buf_slice(encoded), e);
}

int requests_put(struct store_write *w, const uint8_t key[REQUEST_KEY_SIZE],
                 const struct request_record *record, uint64_t now_s, struct err *e)
{
    struct expiry_key k;
    struct slice old;
    bool was_unfinished = false, unfinished = is_unfinished(record->state);
    struct buf *b = table_scratch(w);
    encode(b, record);
    if (buf_failed(b))
        return err_set(e, ERR_NOMEM, "Out of memory.");
    int rc = table_insert(w, TABLE_REQUESTS, key_slice(key), buf_slice(b), &old, e);
    if (!rc)
        rc = table_put(w, TABLE_EXPIRY, expiry_slice(&k, record->expires_s, key), SLICE_LITERAL(""), e);
    else if (rc == ERR_EXISTS)
        rc = replace(w, key, old, b, record, now_s, &was_unfinished, e);
    if (!rc && unfinished && !was_unfinished)
        rc = table_put(w, TABLE_UNFINISHED, key_slice(key), SLICE_LITERAL(""), e);
    if (!rc && was_unfinished && !unfinished)
        rc = table_delete(w, TABLE_UNFINISHED, key_slice(key), e);
    return rc;
}

int requests_delete(struct store_write *w, const uint8_t key[REQUEST_KEY_SIZE], struct err *e)
{
    struct request_record old;
    struct expiry_key k;
    int rc = get_any(store_write_as_read(w), key, &old, e);
    if (rc == ERR_NOT_FOUND)
        return 0;
    if (!rc)
        rc = table_delete(w, TABLE_EXPIRY, expiry_slice(&k, old.expires_s, key), e);
    if (rc && rc != ERR_CORRUPT)
        return rc;
    rc = table_delete(w, TABLE_REQUESTS, key_slice(key), e);
    return rc ? rc : table_delete(w, TABLE_UNFINISHED, key_slice(key), e);
}

/* The first key of `unfinished` behind *at (or the first of all). */
static int next_unfinished(struct table_cursor *c, bool first, uint8_t at[REQUEST_KEY_SIZE], struct err *e)
{
    struct slice key, value;
    int rc = table_seek(c, first ? (struct slice){0} : key_slice(at), &key, &value, e);
    if (!rc && !first && slice_equal(key, key_slice(at)))
        rc = table_next(c, &key, &value, e);
    if (rc)
        return rc;
    if (key.n != REQUEST_KEY_SIZE)
        return err_set(e, ERR_CORRUPT, "The table of unfinished requests has a foreign key.");
    memcpy(at, key.p, REQUEST_KEY_SIZE);
    return 0;
}

int requests_unfinished(struct store_read *r, uint64_t epoch,
                        bool (*each)(void *arg, const uint8_t key[REQUEST_KEY_SIZE],
                                     const struct request_record *record),
                        void *arg, struct err *e)
{
    struct table_cursor c;
    struct request_record record;
    uint8_t key[REQUEST_KEY_SIZE];
    bool first = true, go_on = true;
    int rc = table_cursor_open(r, TABLE_UNFINISHED, &c, e);
    if (rc)
        return rc;
    while (go_on) {
        rc = next_unfinished(&c, first, key, e);
        first = false;
        if (rc)
            break;
        rc = get_any(r, key, &record, e);
        if (rc == ERR_NOT_FOUND)
            continue;
        if (rc)
            break;
        if (record.state == REQUEST_QUEUED || (record.state == REQUEST_DISPATCHED && record.epoch != epoch))
            go_on = each(arg, key, &record);
    }
    table_cursor_close(&c);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

int requests_scan(struct store_read *r, const uint8_t *after, uint32_t max_visited, uint64_t now_s,
                  int (*each)(void *arg, const uint8_t key[REQUEST_KEY_SIZE],
                              const struct request_record *record),
                  void *arg, uint8_t ret_last[REQUEST_KEY_SIZE], bool *ret_more, struct err *e)
{
    struct table_cursor c;
    struct request_record record;
    struct slice key, value;
    int rc = table_cursor_open(r, TABLE_REQUESTS, &c, e);
    if (rc)
        return rc;
    rc = table_seek(&c, after ? key_slice(after) : (struct slice){0}, &key, &value, e);
    if (!rc && after && slice_equal(key, key_slice(after)))
        rc = table_next(&c, &key, &value, e);
    for (; !rc && max_visited; max_visited--) {
        if (key.n != REQUEST_KEY_SIZE) {
            rc = err_set(e, ERR_CORRUPT, "The table of requests has a foreign key.");
            break;
        }
        if (!decode(value, &record, NULL) && record.expires_s > now_s)
            rc = each(arg, (const uint8_t *)key.p, &record);
        if (rc)
            break;
        memcpy(ret_last, key.p, REQUEST_KEY_SIZE);
        rc = table_next(&c, &key, &value, e);
    }
    table_cursor_close(&c);
    if (rc && rc != ERR_NOT_FOUND)
        return rc;
    *ret_more = !rc;
    return 0;
}

/* The earliest entry of `expiry`, if its time has come. */
static int next_expired(struct store_write *w, uint64_t now_s, struct expiry_key *ret_key, struct err *e)
{
    struct table_cursor c;
    struct slice key, value;
    int rc = table_cursor_open(store_write_as_read(w), TABLE_EXPIRY, &c, e);
    if (rc)
        return rc;
    rc = table_seek(&c, (struct slice){0}, &key, &value, e);
    table_cursor_close(&c);
    if (rc)
        return rc;
    if (key.n != sizeof(ret_key->bytes))
        return err_set(e, ERR_CORRUPT, "The table of expiry times has a foreign key.");
    if (bytes_load_be64((const uint8_t *)key.p) > now_s)
        return ERR_NOT_FOUND;
    memcpy(ret_key->bytes, key.p, sizeof(ret_key->bytes));
    return 0;
}

int requests_expire(struct store_write *w, uint64_t now_s, uint32_t max_records, uint32_t *ret_dropped,
                    struct err *e)
{
    struct expiry_key k;
    struct request_record record;
    uint32_t dropped = 0;
    int rc = 0;
    while (dropped < max_records) {
        rc = next_expired(w, now_s, &k, e);
        if (!rc)
            rc = table_delete(w, TABLE_EXPIRY, table_bytes(k.bytes, sizeof(k.bytes)), e);
        if (rc)
            break;
        /* An entry that a damaged record left behind may point to one that lives on. */
        rc = get_any(store_write_as_read(w), k.bytes + 8, &record, e);
        if (rc == ERR_NOT_FOUND || (!rc && record.expires_s > now_s))
            continue;
        rc = requests_delete(w, k.bytes + 8, e);
        if (rc)
            break;
        dropped++;
    }
    if (rc && rc != ERR_NOT_FOUND)
        return rc;
    *ret_dropped = dropped;
    return 0;
}
