/* Answers that may be given again; see cache.h. */
#include "store/cache.h"

#include <string.h>

#include "base/bytes.h"
#include "store/chats.h"
#include "store/expiry.h"

#define ENTRY_VERSION 1

struct entry {
    uint64_t expires_s;
    struct uuid chat_id;
};

static struct slice key_slice(const uint8_t key[CACHE_KEY_SIZE])
{
    return table_bytes(key, CACHE_KEY_SIZE);
}

/* One that this version cannot read is as good as none. */
static int decode(struct slice value, struct entry *ret_entry)
{
    struct bytes_reader r;
    struct entry n;
    bytes_reader_init(&r, value);
    uint8_t version = bytes_get_u8(&r);
    n.expires_s = bytes_get_u64(&r);
    bytes_get_fixed(&r, n.chat_id.bytes, sizeof(n.chat_id.bytes));
    if (!bytes_done(&r) || version != ENTRY_VERSION)
        return ERR_NOT_FOUND;
    *ret_entry = n;
    return 0;
}

int cache_get(struct store_read *r, const uint8_t key[CACHE_KEY_SIZE], uint64_t now_s, struct slice *ret_chat,
              struct err *e)
{
    struct slice value;
    struct entry found;
    int rc = table_get(r, TABLE_CACHE, key_slice(key), &value, e);
    if (!rc)
        rc = decode(value, &found);
    if (!rc && found.expires_s <= now_s)
        rc = ERR_NOT_FOUND;
    return rc ? rc : chats_get(r, &found.chat_id, ret_chat, e);
}

/* Another entry's place is taken over, and its time with it. */
static int replace(struct store_write *w, const uint8_t key[CACHE_KEY_SIZE], struct slice old_value,
                   struct slice value, struct err *e)
{
    struct entry old;
    int rc = decode(old_value, &old) ? 0 : expiry_delete(w, old.expires_s, key, e);
    return rc ? rc : table_put(w, TABLE_CACHE, key_slice(key), value, e);
}

int cache_put(struct store_write *w, const uint8_t key[CACHE_KEY_SIZE], const struct uuid *chat_id,
              uint64_t expires_s, struct err *e)
{
    struct slice old;
    struct buf *b = table_scratch(w);
    bytes_put_u8(b, ENTRY_VERSION);
    bytes_put_u64(b, expires_s);
    bytes_put_fixed(b, chat_id->bytes, sizeof(chat_id->bytes));
    if (buf_failed(b))
        return err_set(e, ERR_NOMEM, "Out of memory.");
    int rc = table_insert(w, TABLE_CACHE, key_slice(key), buf_slice(b), &old, e);
    if (rc == ERR_EXISTS)
        rc = replace(w, key, old, buf_slice(b), e);
    return rc ? rc : expiry_put(w, EXPIRY_CACHE, expires_s, key, e);
}

int cache_expire(struct store_write *w, const uint8_t key[CACHE_KEY_SIZE], uint64_t now_s, bool *ret_deleted,
                 struct err *e)
{
    struct slice value;
    struct entry found;
    *ret_deleted = false;
    int rc = table_get(store_write_as_read(w), TABLE_CACHE, key_slice(key), &value, e);
    if (rc)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    if (!decode(value, &found) && found.expires_s > now_s)
        return 0;
    rc = table_delete(w, TABLE_CACHE, key_slice(key), e);
    *ret_deleted = !rc;
    return rc;
}
