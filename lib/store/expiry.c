/* What is to be dropped, and when; see expiry.h. */
#include "store/expiry.h"

#include <string.h>

#include "base/bytes.h"

/* Of a request record the value is empty, as it was before there was anything else. */
static const struct slice kinds[] = {
    [EXPIRY_REQUEST] = SLICE_LITERAL(""), [EXPIRY_CACHE] = SLICE_LITERAL("c")};

struct expiry_key {
    uint8_t bytes[8 + EXPIRY_KEY_SIZE];
};

static struct slice key_of(struct expiry_key *k, uint64_t at_s, const uint8_t key[EXPIRY_KEY_SIZE])
{
    bytes_store_be64(k->bytes, at_s);
    memcpy(k->bytes + 8, key, EXPIRY_KEY_SIZE);
    return table_bytes(k->bytes, sizeof(k->bytes));
}

int expiry_put(struct store_write *w, enum expiry_kind kind, uint64_t at_s,
               const uint8_t key[EXPIRY_KEY_SIZE], struct err *e)
{
    struct expiry_key k;
    return table_put(w, TABLE_EXPIRY, key_of(&k, at_s, key), kinds[kind], e);
}

int expiry_delete(struct store_write *w, uint64_t at_s, const uint8_t key[EXPIRY_KEY_SIZE], struct err *e)
{
    struct expiry_key k;
    return table_delete(w, TABLE_EXPIRY, key_of(&k, at_s, key), e);
}

int expiry_next(struct store_write *w, uint64_t now_s, struct expiry_entry *ret_entry, struct err *e)
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
    if (key.n != sizeof(struct expiry_key))
        return err_set(e, ERR_CORRUPT, "The table of expiry times has a foreign key.");
    uint64_t at_s = bytes_load_be64((const uint8_t *)key.p);
    if (at_s > now_s)
        return ERR_NOT_FOUND;
    ret_entry->at_s = at_s;
    ret_entry->kind = slice_equal(value, kinds[EXPIRY_CACHE]) ? EXPIRY_CACHE : EXPIRY_REQUEST;
    memcpy(ret_entry->key, key.p + 8, EXPIRY_KEY_SIZE);
    return 0;
}
