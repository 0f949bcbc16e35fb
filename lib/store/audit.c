/* The audit trail; see audit.h. */
#include "store/audit.h"

#include <string.h>

#include "base/bytes.h"
#include "store/table.h"

#define ENTRY_VERSION 1
#define KEY_SIZE      AUDIT_PLACE_SIZE /* u64 and u32, big-endian */
#define TRIM_MAX      4                /* entries that one that is appended may push out */

struct place {
    uint64_t at_us;
    uint32_t number;
};

static int out_of_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "Out of memory.");
}

/* Behind the newest one, also after the clock was set back: what is oldest is what was written first. */
static int next_place(struct store_read *r, uint64_t at_us, struct place *ret_place, struct err *e)
{
    struct table_cursor c;
    struct slice key, value;
    int rc = table_cursor_open(r, TABLE_AUDIT, &c, e);
    if (rc)
        return rc;
    *ret_place = (struct place){.at_us = at_us};
    rc = table_last(&c, &key, &value, e);
    if (!rc && key.n == KEY_SIZE) {
        uint64_t last_us = bytes_load_be64((const uint8_t *)key.p);
        if (last_us >= at_us)
            *ret_place = (struct place){last_us, bytes_load_be32((const uint8_t *)key.p + 8) + 1};
    }
    table_cursor_close(&c);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

/* The key of the oldest entry, copied. */
static int oldest(struct store_read *r, char ret_key[TABLE_KEY_MAX], size_t *ret_n, struct err *e)
{
    struct table_cursor c;
    struct slice key, value;
    int rc = table_cursor_open(r, TABLE_AUDIT, &c, e);
    if (rc)
        return rc;
    rc = table_seek(&c, SLICE_LITERAL(""), &key, &value, e);
    if (!rc) {
        memcpy(ret_key, key.p, key.n);
        *ret_n = key.n;
    }
    table_cursor_close(&c);
    return rc;
}

static int trim(struct store_write *w, struct err *e)
{
    struct store_read *r = store_write_as_read(w);
    char key[TABLE_KEY_MAX];
    uint64_t count = 0;
    size_t n;
    int rc = table_count(r, TABLE_AUDIT, &count, e);
    for (int i = 0; !rc && i < TRIM_MAX && count > AUDIT_ENTRIES_MAX; i++, count--) {
        rc = oldest(r, key, &n, e);
        if (!rc)
            rc = table_delete(w, TABLE_AUDIT, table_bytes(key, n), e);
    }
    return rc;
}

int audit_append(struct store_write *w, const struct audit_entry *entry, struct err *e)
{
    struct place at;
    uint8_t key[KEY_SIZE];
    if (!entry->actor.n || entry->actor.n > AUDIT_ACTOR_MAX || !entry->action.n ||
        entry->action.n > AUDIT_ACTION_MAX || !entry->details.n || entry->details.n > AUDIT_DETAILS_MAX)
        return err_set(e, ERR_INVAL, "An entry of the audit trail says too little or too much.");
    int rc = next_place(store_write_as_read(w), entry->at_us, &at, e);
    if (rc)
        return rc;
    bytes_store_be64(key, at.at_us);
    bytes_store_be32(key + 8, at.number);
    struct buf *b = table_scratch(w);
    bytes_put_u8(b, ENTRY_VERSION);
    bytes_put_u64(b, entry->at_us);
    bytes_put_text(b, entry->actor);
    bytes_put_text(b, entry->action);
    bytes_put_text(b, entry->details);
    if (buf_failed(b))
        return out_of_memory(e);
    rc = table_append(w, TABLE_AUDIT, table_bytes(key, sizeof(key)), buf_slice(b), e);
    return rc ? rc : trim(w, e);
}

static bool decode(struct slice value, struct audit_entry *ret_entry)
{
    struct bytes_reader r;
    bytes_reader_init(&r, value);
    uint8_t version = bytes_get_u8(&r);
    ret_entry->at_us = bytes_get_u64(&r);
    ret_entry->actor = bytes_get_text(&r);
    ret_entry->action = bytes_get_text(&r);
    ret_entry->details = bytes_get_text(&r);
    return bytes_done(&r) && version == ENTRY_VERSION && ret_entry->actor.p && ret_entry->action.p &&
           ret_entry->details.p;
}

int audit_each(struct store_read *r, int (*each)(void *arg, const struct audit_entry *entry), void *arg,
               struct err *e)
{
    struct table_cursor c;
    struct slice key, value;
    struct audit_entry entry;
    int rc = table_cursor_open(r, TABLE_AUDIT, &c, e), said = 0;
    if (rc)
        return rc;
    for (rc = table_last(&c, &key, &value, e); !rc && !said; rc = table_previous(&c, &key, &value, e))
        if (decode(value, &entry))
            said = each(arg, &entry);
    table_cursor_close(&c);
    if (said)
        return said;
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

int audit_scan(struct store_read *r, struct audit_place *at, uint32_t max,
               int (*each)(void *arg, const struct audit_entry *entry), void *arg, bool *ret_more,
               struct err *e)
{
    struct table_cursor c;
    struct slice key, value;
    struct audit_entry entry;
    int rc = table_cursor_open(r, TABLE_AUDIT, &c, e), said = 0;
    if (rc)
        return rc;
    rc = table_seek(&c, table_bytes(at->key, at->n), &key, &value, e);
    if (!rc && at->n && slice_equal(key, table_bytes(at->key, at->n)))
        rc = table_next(&c, &key, &value, e);
    for (uint32_t n = 0; !rc && !said && n < max; n++) {
        if (key.n != KEY_SIZE) {
            rc = err_set(e, ERR_CORRUPT, "The audit trail has a foreign key.");
            break;
        }
        memcpy(at->key, key.p, key.n);
        at->n = key.n;
        if (decode(value, &entry))
            said = each(arg, &entry);
        rc = table_next(&c, &key, &value, e);
    }
    table_cursor_close(&c);
    *ret_more = !rc;
    return rc == ERR_NOT_FOUND ? 0 : rc;
}
