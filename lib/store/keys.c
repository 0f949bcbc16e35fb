/* API keys; see keys.h. Few and small: looked up by the hash of a text, and walked only to list them. */
#include "store/keys.h"

#include <string.h>

#include "base/bytes.h"
#include "store/table.h"

#define RECORD_VERSION 1

static void encode(struct buf *b, const struct key_record *k)
{
    bytes_put_u8(b, RECORD_VERSION);
    bytes_put_u8(b, (uint8_t)k->role);
    bytes_put_fixed(b, k->id, sizeof(k->id));
    bytes_put_text(b, slice_of(k->label));
    bytes_put_u32(b, k->requests_per_minute);
    bytes_put_u32(b, k->tokens_per_minute);
    bytes_put_u64(b, k->budget_microusd);
    bytes_put_u64(b, k->created_s);
    bytes_put_u64(b, k->ends_s);
    bytes_put_u64(b, k->revoked_s);
}

static int decode(struct slice hash, struct slice value, struct key_record *ret_key, struct err *e)
{
    struct bytes_reader r;
    struct key_record k = {0};
    bytes_reader_init(&r, value);
    uint8_t version = bytes_get_u8(&r);
    k.role = bytes_get_u8(&r);
    bytes_get_fixed(&r, k.id, sizeof(k.id));
    struct slice label = bytes_get_text(&r);
    k.requests_per_minute = bytes_get_u32(&r);
    k.tokens_per_minute = bytes_get_u32(&r);
    k.budget_microusd = bytes_get_u64(&r);
    k.created_s = bytes_get_u64(&r);
    k.ends_s = bytes_get_u64(&r);
    k.revoked_s = bytes_get_u64(&r);
    if (!bytes_done(&r) || version != RECORD_VERSION || hash.n != sizeof(k.hash) ||
        label.n >= sizeof(k.label) || (k.role != KEY_CLIENT && k.role != KEY_ADMIN))
        return err_set(e, ERR_CORRUPT, "A stored API key record is damaged.");
    memcpy(k.hash, hash.p, sizeof(k.hash));
    if (label.n)
        memcpy(k.label, label.p, label.n);
    *ret_key = k;
    return 0;
}

int keys_find(struct store_read *r, const uint8_t hash[KEY_HASH_SIZE], struct key_record *ret_key,
              struct err *e)
{
    struct slice value;
    struct slice key = table_bytes(hash, KEY_HASH_SIZE);
    int rc = table_get(r, TABLE_KEYS, key, &value, e);
    return rc ? rc : decode(key, value, ret_key, e);
}

int keys_any(struct store_read *r, bool *ret_any, struct err *e)
{
    uint64_t count;
    int rc = table_count(r, TABLE_KEYS, &count, e);
    if (!rc)
        *ret_any = count > 0;
    return rc;
}

int keys_each(struct store_read *r, int (*each)(void *arg, const struct key_record *k), void *arg,
              struct err *e)
{
    struct table_cursor c;
    struct slice hash, value;
    struct key_record k;
    int rc = table_cursor_open(r, TABLE_KEYS, &c, e);
    if (rc)
        return rc;
    rc = table_seek(&c, SLICE_LITERAL(""), &hash, &value, e);
    bool end = rc == ERR_NOT_FOUND;
    while (!rc) {
        rc = decode(hash, value, &k, e);
        if (!rc)
            rc = each(arg, &k);
        if (rc)
            break;
        rc = table_next(&c, &hash, &value, e);
        end = rc == ERR_NOT_FOUND;
    }
    table_cursor_close(&c);
    return end ? 0 : rc;
}

int keys_put(struct store_write *w, const struct key_record *k, struct err *e)
{
    struct buf *b = table_scratch(w);
    encode(b, k);
    if (buf_failed(b))
        return err_set(e, ERR_NOMEM, "Out of memory.");
    return table_put(w, TABLE_KEYS, table_bytes(k->hash, sizeof(k->hash)), buf_slice(b), e);
}

int keys_delete(struct store_write *w, const uint8_t hash[KEY_HASH_SIZE], struct err *e)
{
    return table_delete(w, TABLE_KEYS, table_bytes(hash, KEY_HASH_SIZE), e);
}
