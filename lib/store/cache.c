/* Answers that may be given again; see cache.h. */
#include "store/cache.h"

#include <string.h>

#include "base/bytes.h"
#include "store/chats.h"
#include "store/table.h"

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

int cache_put(struct store_write *w, const uint8_t key[CACHE_KEY_SIZE], const struct uuid *chat_id,
              uint64_t expires_s, struct err *e)
{
    struct buf *b = table_scratch(w);
    bytes_put_u8(b, ENTRY_VERSION);
    bytes_put_u64(b, expires_s);
    bytes_put_fixed(b, chat_id->bytes, sizeof(chat_id->bytes));
    if (buf_failed(b))
        return err_set(e, ERR_NOMEM, "Out of memory.");
    return table_put(w, TABLE_CACHE, key_slice(key), buf_slice(b), e);
}

/* The keys of a step that are to go. A cursor is not to meet what is deleted under it. */
struct step {
    uint8_t keys[CACHE_SWEEP_MAX][CACHE_KEY_SIZE];
    uint32_t n;
    uint8_t next[CACHE_KEY_SIZE];
};

static int look(struct store_read *r, const uint8_t from[CACHE_KEY_SIZE], uint64_t now_s, struct step *s,
                struct err *e)
{
    struct table_cursor c;
    struct slice key, value;
    struct entry found;
    uint32_t seen = 0;
    int rc = table_cursor_open(r, TABLE_CACHE, &c, e);
    if (rc)
        return rc;
    rc = table_seek(&c, key_slice(from), &key, &value, e);
    for (; !rc && seen < CACHE_SWEEP_MAX; rc = table_next(&c, &key, &value, e), seen++) {
        bool stays = !decode(value, &found) && found.expires_s > now_s;
        if (key.n == CACHE_KEY_SIZE && !stays)
            memcpy(s->keys[s->n++], key.p, CACHE_KEY_SIZE);
    }
    if (!rc && key.n == CACHE_KEY_SIZE)
        memcpy(s->next, key.p, CACHE_KEY_SIZE);
    table_cursor_close(&c);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

int cache_sweep(struct store_write *w, const uint8_t from[CACHE_KEY_SIZE], uint64_t now_s,
                uint8_t ret_next[CACHE_KEY_SIZE], uint32_t *ret_dropped, struct err *e)
{
    struct step s = {0};
    int rc = look(store_write_as_read(w), from, now_s, &s, e);
    for (uint32_t i = 0; !rc && i < s.n; i++)
        rc = table_delete(w, TABLE_CACHE, key_slice(s.keys[i]), e);
    if (rc)
        return rc;
    memcpy(ret_next, s.next, CACHE_KEY_SIZE);
    *ret_dropped = s.n;
    return 0;
}
