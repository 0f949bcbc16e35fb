/* The coordinator's epoch; see meta.h. */
#include "store/meta.h"

#include <sodium.h>
#include <string.h>

#include "base/bytes.h"
#include "store/table.h"

static const struct slice EPOCH = SLICE_LITERAL("epoch");
static const struct slice MACHINE = SLICE_LITERAL("machine");

int meta_epoch(struct store_read *r, uint64_t *ret_epoch, struct err *e)
{
    struct slice value;
    struct bytes_reader b;
    int rc = table_get(r, TABLE_META, EPOCH, &value, e);
    if (rc == ERR_NOT_FOUND) { /* no coordinator has run yet */
        *ret_epoch = 0;
        return 0;
    }
    if (rc)
        return rc;
    bytes_reader_init(&b, value);
    uint64_t epoch = bytes_get_u64(&b);
    if (!bytes_done(&b))
        return err_set(e, ERR_CORRUPT, "The store's epoch is damaged.");
    *ret_epoch = epoch;
    return 0;
}

static int raise_epoch(struct store_write *w, void *arg, struct err *e)
{
    uint64_t *epoch = arg;
    int rc = meta_epoch(store_write_as_read(w), epoch, e);
    if (rc)
        return rc;
    struct buf *b = table_scratch(w);
    bytes_put_u64(b, ++*epoch);
    if (buf_failed(b))
        return err_set(e, ERR_NOMEM, "Out of memory.");
    return table_put(w, TABLE_META, EPOCH, buf_slice(b), e);
}

int meta_raise_epoch(struct store *s, uint64_t *ret_epoch, struct err *e)
{
    uint64_t epoch;
    int rc = store_write(s, 0, raise_epoch, &epoch, e);
    if (!rc)
        *ret_epoch = epoch;
    return rc;
}

static int get_or_make_machine(struct store_write *w, void *arg, struct err *e)
{
    struct uuid *machine = arg;
    struct slice value;
    int rc = table_get(store_write_as_read(w), TABLE_META, MACHINE, &value, e);
    if (rc == ERR_NOT_FOUND) {
        randombytes_buf(machine->bytes, sizeof(machine->bytes));
        return table_put(w, TABLE_META, MACHINE, table_bytes(machine->bytes, sizeof(machine->bytes)), e);
    }
    if (rc)
        return rc;
    if (value.n != sizeof(machine->bytes))
        return err_set(e, ERR_CORRUPT, "The name of this machine in the store is damaged.");
    memcpy(machine->bytes, value.p, value.n);
    return 0;
}

int meta_machine(struct store *s, uint64_t epoch, struct uuid *ret_machine, struct err *e)
{
    struct uuid machine;
    int rc = store_write(s, epoch, get_or_make_machine, &machine, e);
    if (!rc)
        *ret_machine = machine;
    return rc;
}
