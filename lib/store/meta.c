/* The coordinator's epoch; see meta.h. */
#include "store/meta.h"

#include <sodium.h>
#include <string.h>

#include "base/bytes.h"
#include "store/table.h"

static const struct slice EPOCH = SLICE_LITERAL("epoch");
static const struct slice MACHINE = SLICE_LITERAL("machine");
static const struct slice POSITION = SLICE_LITERAL("news");
static const struct slice SETTINGS_VERSION = SLICE_LITERAL("settings");

/* 0 while there is none. */
static int get_number(struct store_read *r, struct slice key, uint64_t *ret_n, struct err *e)
{
    struct slice value;
    struct bytes_reader b;
    int rc = table_get(r, TABLE_META, key, &value, e);
    if (rc == ERR_NOT_FOUND) {
        *ret_n = 0;
        return 0;
    }
    if (rc)
        return rc;
    bytes_reader_init(&b, value);
    uint64_t n = bytes_get_u64(&b);
    if (!bytes_done(&b))
        return err_set(e, ERR_CORRUPT, "The store's number \"%.*s\" is damaged.", (int)key.n, key.p);
    *ret_n = n;
    return 0;
}

static int put_number(struct store_write *w, struct slice key, uint64_t n, struct err *e)
{
    struct buf *b = table_scratch(w);
    bytes_put_u64(b, n);
    if (buf_failed(b))
        return err_set(e, ERR_NOMEM, "Out of memory.");
    return table_put(w, TABLE_META, key, buf_slice(b), e);
}

int meta_epoch(struct store_read *r, uint64_t *ret_epoch, struct err *e)
{
    return get_number(r, EPOCH, ret_epoch, e);
}

static int raise_epoch(struct store_write *w, void *arg, struct err *e)
{
    uint64_t *epoch = arg;
    int rc = meta_epoch(store_write_as_read(w), epoch, e);
    return rc ? rc : put_number(w, EPOCH, ++*epoch, e);
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

int meta_machine_get(struct store_read *r, struct uuid *ret_machine, struct err *e)
{
    struct slice value;
    int rc = table_get(r, TABLE_META, MACHINE, &value, e);
    if (rc)
        return rc;
    if (value.n != sizeof(ret_machine->bytes))
        return err_set(e, ERR_CORRUPT, "The name of this machine in the store is damaged.");
    memcpy(ret_machine->bytes, value.p, value.n);
    return 0;
}

struct succession {
    uint64_t epoch;
    const struct uuid *machine;
};

static int succeed(struct store_write *w, void *arg, struct err *e)
{
    const struct succession *to = arg;
    uint64_t epoch;
    int rc = meta_epoch(store_write_as_read(w), &epoch, e);
    if (!rc && epoch < to->epoch)
        rc = put_number(w, EPOCH, to->epoch, e);
    if (!rc && to->machine)
        rc =
            table_put(w, TABLE_META, MACHINE, table_bytes(to->machine->bytes, sizeof(to->machine->bytes)), e);
    return rc;
}

int meta_succeed(struct store *s, uint64_t epoch, const struct uuid *machine, struct err *e)
{
    struct succession to = {.epoch = epoch, .machine = machine};
    return store_write(s, 0, succeed, &to, e);
}

int meta_shared(struct store_read *r, char ret_position[META_POSITION_SIZE], uint64_t *ret_settings_version,
                struct err *e)
{
    struct slice position = {0};
    uint64_t version;
    int rc = get_number(r, SETTINGS_VERSION, &version, e);
    if (!rc)
        rc = table_get(r, TABLE_META, POSITION, &position, e);
    if (rc && rc != ERR_NOT_FOUND)
        return rc;
    if (position.n >= META_POSITION_SIZE)
        return err_set(e, ERR_CORRUPT, "The store's place in the news is damaged.");
    if (position.n)
        memcpy(ret_position, position.p, position.n);
    ret_position[position.n] = 0;
    *ret_settings_version = version;
    return 0;
}

int meta_put_position(struct store_write *w, const char *position, struct err *e)
{
    return table_put(w, TABLE_META, POSITION, slice_of(position), e);
}

int meta_put_settings_version(struct store_write *w, uint64_t version, struct err *e)
{
    return put_number(w, SETTINGS_VERSION, version, e);
}
