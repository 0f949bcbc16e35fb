/* Answers that may be given again; see cache.h. */
#include "store/cache.h"

#include <string.h>

#include "base/bytes.h"
#include "store/table.h"

#define ENTRY_VERSION 1

struct entry {
    uint64_t expires_s;
    uint8_t key[CACHE_KEY_SIZE];
};

/* One that this version cannot read is as good as none. */
static bool decode(struct slice id, struct slice value, struct entry *ret_entry)
{
    struct bytes_reader r;
    bytes_reader_init(&r, value);
    uint8_t version = bytes_get_u8(&r);
    ret_entry->expires_s = bytes_get_u64(&r);
    bytes_get_fixed(&r, ret_entry->key, sizeof(ret_entry->key));
    return bytes_done(&r) && version == ENTRY_VERSION && id.n == sizeof(struct uuid);
}

int cache_append(struct store_write *w, const struct uuid *chat_id, const uint8_t key[CACHE_KEY_SIZE],
                 uint64_t expires_s, struct err *e)
{
    struct buf *b = table_scratch(w);
    bytes_put_u8(b, ENTRY_VERSION);
    bytes_put_u64(b, expires_s);
    bytes_put_fixed(b, key, CACHE_KEY_SIZE);
    if (buf_failed(b))
        return err_set(e, ERR_NOMEM, "Out of memory.");
    int rc =
        table_append(w, TABLE_CACHE, table_bytes(chat_id->bytes, sizeof(chat_id->bytes)), buf_slice(b), e);
    return rc == ERR_EXISTS ? 0 : rc;
}

int cache_newest(struct store_read *r, uint64_t now_s,
                 bool (*each)(void *arg, const struct uuid *chat_id, const uint8_t key[CACHE_KEY_SIZE],
                              uint64_t expires_s),
                 void *arg, struct err *e)
{
    struct table_cursor c;
    struct slice id, value;
    struct entry found;
    struct uuid chat_id;
    int rc = table_cursor_open(r, TABLE_CACHE, &c, e);
    if (rc)
        return rc;
    for (rc = table_last(&c, &id, &value, e); !rc; rc = table_previous(&c, &id, &value, e)) {
        if (!decode(id, value, &found) || found.expires_s <= now_s)
            continue;
        memcpy(chat_id.bytes, id.p, sizeof(chat_id.bytes));
        if (!each(arg, &chat_id, found.key, found.expires_s))
            break;
    }
    table_cursor_close(&c);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* The key of the oldest entry, copied, if it is to go; empty: there is none. */
static int oldest(struct store_read *r, uint64_t now_s, char ret_id[TABLE_KEY_MAX], size_t *ret_n,
                  struct err *e)
{
    struct table_cursor c;
    struct slice id, value;
    struct entry found;
    *ret_n = 0;
    int rc = table_cursor_open(r, TABLE_CACHE, &c, e);
    if (rc)
        return rc;
    rc = table_seek(&c, SLICE_LITERAL(""), &id, &value, e);
    if (!rc && (!decode(id, value, &found) || found.expires_s <= now_s)) {
        memcpy(ret_id, id.p, id.n);
        *ret_n = id.n;
    }
    table_cursor_close(&c);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

int cache_expire(struct store_write *w, uint64_t now_s, uint32_t max_entries, uint32_t *ret_dropped,
                 struct err *e)
{
    char id[TABLE_KEY_MAX];
    size_t n;
    uint32_t dropped = 0;
    int rc = 0;
    while (!rc && dropped < max_entries) {
        rc = oldest(store_write_as_read(w), now_s, id, &n, e);
        if (rc || !n)
            break;
        rc = table_delete(w, TABLE_CACHE, table_bytes(id, n), e);
        dropped += rc == 0;
    }
    if (!rc)
        *ret_dropped = dropped;
    return rc;
}
