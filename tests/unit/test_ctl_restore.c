/* LINK: fcgi_app/ctl/restore_store.c fcgi_app/ctl/restore_keys.c fcgi_app/ctl/trial.c */
/* The store of a backup becomes the successor of another one: no epoch comes back, and nothing runs twice. */
#include "ctl/restore.h"

#include <stdarg.h>
#include <sys/stat.h>

#include "store/copy.h"
#include "store/keys.h"
#include "store/meta.h"
#include "store/requests.h"
#include "store_fixture.h"

#define NOW_S 0 /* expiry is far away */

static char fresh[100];
static struct ctl t;
static struct conf conf;     /* large */
static enum err_code no_old; /* 0: it can be read */

/* ---- in the place of ask.c and main.c ---- */

int ctl_read(struct ctl *ctl, struct store_read **ret_read, struct err *e)
{
    (void)ctl;
    if (no_old)
        return err_set(e, no_old, "It cannot be read.");
    return store_read_begin(store, ret_read, e);
}

enum ctl_exit ctl_say(enum ctl_exit code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_end(args);
    return code;
}

/* ---- stores ---- */

static void set_up(void)
{
    fixture_setup();
    snprintf(fresh, sizeof(fresh), "%s/fresh", store_dir);
    conf.storage.map_max_mib = 64;
    t = (struct ctl){.conf = &conf};
    no_old = 0;
}

TestSuite(restore, .init = set_up, .fini = fixture_teardown);

struct put {
    uint8_t key;
    enum request_state state;
    uint8_t fingerprint;
};

static int put_body(struct store_write *w, void *arg, struct err *e)
{
    const struct put *p = arg;
    uint8_t key[REQUEST_KEY_SIZE] = {p->key};
    struct request_record r = {
        .state = p->state, .expires_s = UINT32_MAX, .fingerprint = {p->fingerprint}, .epoch = 2};
    if (p->state == REQUEST_QUEUED) {
        r.is_async = true;
        r.submit = SLICE_LITERAL("the whole request");
    }
    return requests_put(w, key, &r, NOW_S, e);
}

static void put(uint8_t key, enum request_state state, uint8_t fingerprint)
{
    struct put p = {key, state, fingerprint};
    WRITE(put_body, &p);
}

/* Of the store as it is now. */
static void back_up(void)
{
    char path[128];
    struct err e = {0};
    snprintf(path, sizeof(path), "%s/data.mdb", fresh);
    cr_assert_eq(mkdir(fresh, 0700), 0);
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    cr_assert_eq(store_copy(store, fd, &e), 0, "%s", e.text);
    close(fd);
}

/* What the restored store has of a request. */
static void expect(uint8_t n, enum request_state state, uint64_t epoch)
{
    struct store_options o = {.access = STORE_READER};
    uint8_t key[REQUEST_KEY_SIZE] = {n};
    struct request_record record;
    struct store *s = NULL;
    struct store_read *r;
    struct err e = {0};
    cr_assert_eq(store_open(fresh, &o, &s, &e), 0, "%s", e.text);
    cr_assert_eq(store_read_begin(s, &r, &e), 0, "%s", e.text);
    cr_assert_eq(requests_get(r, key, NOW_S, &record, &e), 0, "%s", e.text);
    cr_assert_eq(record.state, state, "%d: %d", n, record.state);
    if (state == REQUEST_DISPATCHED)
        cr_assert_eq(record.epoch, epoch);
    else if (state == REQUEST_QUEUED)
        cr_assert(slice_is(record.submit, "the whole request"));
    store_read_end(r);
    store_close(s);
}

static uint64_t raise_epochs(int n)
{
    uint64_t epoch = 0;
    struct err e = {0};
    while (n--)
        cr_assert_eq(meta_raise_epoch(store, &epoch, &e), 0, "%s", e.text);
    return epoch;
}

Test(restore, what_may_have_run_since_is_as_if_it_was_sent)
{
    struct restored result = {0};
    struct err e = {0};
    raise_epochs(3);
    put(1, REQUEST_QUEUED, 7);     /* waits still */
    put(2, REQUEST_QUEUED, 7);     /* has run */
    put(3, REQUEST_QUEUED, 7);     /* was cancelled; another prompt has its id */
    put(4, REQUEST_QUEUED, 7);     /* has failed */
    put(5, REQUEST_DISPATCHED, 7); /* was at the provider */
    put(6, REQUEST_DONE, 7);
    back_up();
    put(2, REQUEST_DONE, 7);
    put(3, REQUEST_QUEUED, 8);
    put(4, REQUEST_FAILED, 7);
    uint64_t epoch = raise_epochs(4);
    cr_assert_eq(restore_succeed(&t, fresh, true, &result, &e), 0, "%s", e.text);
    cr_assert(result.has_old);
    cr_assert_eq(result.backup_epoch, 3);
    cr_assert_eq(result.old_epoch, epoch);
    cr_assert_eq(result.epoch, epoch + 1);
    cr_assert_eq(result.still_queued, 1);
    cr_assert_eq(result.unknown, 4);
    expect(1, REQUEST_QUEUED, 0);
    expect(2, REQUEST_DISPATCHED, 0);
    expect(3, REQUEST_DISPATCHED, 0);
    expect(4, REQUEST_DISPATCHED, 0);
    expect(5, REQUEST_DISPATCHED, 2);
    expect(6, REQUEST_DONE, 0);
}

Test(restore, of_a_store_that_is_newer_or_beside_none_goes_beyond_it)
{
    struct restored result = {0};
    struct err e = {0};
    raise_epochs(5);
    put(1, REQUEST_QUEUED, 7);
    back_up();
    /* What is only not read now would be forgotten, and its revoked keys with it. */
    no_old = ERR_NOMEM;
    cr_assert_eq(restore_succeed(&t, fresh, true, &result, &e), ERR_NOMEM);
    cr_assert_str_eq(e.text, "It cannot be read.");
    no_old = ERR_CORRUPT;
    cr_assert_eq(restore_succeed(&t, fresh, true, &result, &e), 0, "%s", e.text);
    cr_assert(!result.has_old);
    cr_assert(result.epoch > 5 + 1000);
    cr_assert_eq(result.unknown, 1, "nobody knows what ran since");
    expect(1, REQUEST_DISPATCHED, 0);
}

Test(restore, of_nothing_is_refused)
{
    struct restored result = {.records = 9};
    char path[128];
    struct err e = {0};
    cr_assert_eq(mkdir(fresh, 0700), 0);
    snprintf(path, sizeof(path), "%s/data.mdb", fresh);
    close(open(path, O_RDWR | O_CREAT, 0600));
    cr_assert_eq(restore_succeed(&t, fresh, true, &result, &e), ERR_CORRUPT);
    cr_assert_eq(result.records, 9, "untouched");
    cr_assert(e.text[0]);
}

Test(restore, leaves_the_machine_who_it_is)
{
    struct restored result = {0};
    struct uuid here, there, found;
    struct store_options o = {.access = STORE_READER};
    struct store *s = NULL;
    struct store_read *r;
    struct err e = {0};
    cr_assert_eq(meta_machine(store, 0, &there, &e), 0, "%s", e.text);
    back_up();
    memset(&here, 5, sizeof(here));
    cr_assert_eq(meta_succeed(store, 0, &here, &e), 0, "%s", e.text);
    cr_assert_eq(restore_succeed(&t, fresh, true, &result, &e), 0, "%s", e.text);
    cr_assert_eq(store_open(fresh, &o, &s, &e), 0, "%s", e.text);
    cr_assert_eq(store_read_begin(s, &r, &e), 0, "%s", e.text);
    cr_assert_eq(meta_machine_get(r, &found, &e), 0, "%s", e.text);
    cr_assert_arr_eq(found.bytes, here.bytes, sizeof(found.bytes));
    store_read_end(r);
    store_close(s);
}

/* ---- API keys ---- */

static struct key_record key(uint8_t text, uint8_t id)
{
    return (struct key_record){.hash = {text}, .id = {id}, .role = KEY_CLIENT, .created_s = 1};
}

static int put_key_body(struct store_write *w, void *arg, struct err *e)
{
    return keys_put(w, arg, e);
}

static void put_key(struct key_record k, uint64_t ends_s, uint64_t revoked_s)
{
    k.ends_s = ends_s;
    k.revoked_s = revoked_s;
    WRITE(put_key_body, &k);
}

/* Of the restored store: whether the text opens anything. */
static void expect_key(uint8_t text, bool usable)
{
    struct store_options o = {.access = STORE_READER};
    uint8_t hash[KEY_HASH_SIZE] = {text};
    struct key_record k;
    struct store *s = NULL;
    struct store_read *r;
    struct err e = {0};
    cr_assert_eq(store_open(fresh, &o, &s, &e), 0, "%s", e.text);
    cr_assert_eq(store_read_begin(s, &r, &e), 0, "%s", e.text);
    int rc = keys_find(r, hash, &k, &e);
    cr_assert_eq(!rc && key_usable(&k, UINT32_MAX), usable, "%d", text);
    store_read_end(r);
    store_close(s);
}

Test(restore, no_key_comes_back_and_none_is_lost)
{
    struct restored result = {0};
    struct err e = {0};
    raise_epochs(1);
    put_key(key(1, 1), 0, 0);
    put_key(key(2, 2), 0, 0);   /* revoked since */
    put_key(key(3, 3), 0, 0);   /* rotated since */
    put_key(key(4, 4), 0, 100); /* revoked in the backup, and back in the store: an older one was restored */
    put_key(key(5, 5), 0, 0);
    put_key(key(6, 5), 0, 0); /* its key is revoked since, in a store that does not know this text */
    back_up();
    put_key(key(2, 2), 0, 200);
    put_key(key(3, 3), 200, 0);
    put_key(key(7, 3), 0, 0); /* the text that it was rotated to */
    put_key(key(4, 4), 0, 0);
    put_key(key(8, 4), 0, 0); /* another text of the key that the backup knows as revoked */
    put_key(key(5, 5), 0, 200);
    put_key(key(6, 6), 0, 0);
    put_key(key(9, 9), 0, 0); /* made since */
    put_key(key(10, 10), 0, 200);
    cr_assert_eq(restore_succeed(&t, fresh, true, &result, &e), 0, "%s", e.text);
    static const bool usable[] = {[1] = true, [7] = true, [9] = true};
    for (uint8_t i = 1; i <= 10; i++)
        expect_key(i, i < ARRAY_LEN(usable) && usable[i]);
    cr_assert_eq(result.keys, 6); /* 2, 3, 5, 6 end; 7, 9 are new */
}
