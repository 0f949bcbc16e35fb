/* LINK: fcgi_app/ctl/restore_store.c fcgi_app/ctl/restore_keys.c fcgi_app/ctl/restore_requests.c */
/* LINK: fcgi_app/ctl/trial.c */
/* The store of a backup becomes the successor of another one: no epoch comes back, and nothing runs twice. */
#include "ctl/restore.h"

#include <stdarg.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "store/copy.h"
#include "store/keys.h"
#include "store/meta.h"
#include "store/requests.h"
#include "store/spend.h"
#include "store_fixture.h"

#define NOW_S   0 /* expiry is far away */
#define EXPIRES UINT32_MAX

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
    uint16_t key;
    struct request_record record;
};

static void name_key(uint16_t n, uint8_t ret_key[REQUEST_KEY_SIZE])
{
    memset(ret_key, 0, REQUEST_KEY_SIZE);
    bytes_store_be32(ret_key, n);
}

static int put_body(struct store_write *w, void *arg, struct err *e)
{
    const struct put *p = arg;
    uint8_t key[REQUEST_KEY_SIZE];
    name_key(p->key, key);
    return requests_put(w, key, &p->record, NOW_S, e);
}

static struct request_record record(enum request_state state, uint8_t fingerprint)
{
    struct request_record r = {
        .state = state, .expires_s = EXPIRES, .fingerprint = {fingerprint}, .epoch = 2};
    if (state == REQUEST_QUEUED) {
        r.is_async = true;
        r.submit = SLICE_LITERAL("the whole request");
    }
    return r;
}

static void put_record(uint16_t key, struct request_record r)
{
    struct put p = {key, r};
    WRITE(put_body, &p);
}

static void put(uint16_t key, enum request_state state, uint8_t fingerprint)
{
    put_record(key, record(state, fingerprint));
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

/* The restored store, to be looked at. */
static struct store_read *open_restored(struct store **ret_store)
{
    struct store_options o = {.access = STORE_READER};
    struct store_read *r;
    struct err e = {0};
    cr_assert_eq(store_open(fresh, &o, ret_store, &e), 0, "%s", e.text);
    cr_assert_eq(store_read_begin(*ret_store, &r, &e), 0, "%s", e.text);
    return r;
}

/* What the restored store has of a request; state 0: nothing. Of an unknown one it says why. */
static void expect(uint16_t n, enum request_state state, uint64_t epoch)
{
    uint8_t key[REQUEST_KEY_SIZE];
    struct request_record found = {0};
    struct wire_refusal refusal;
    struct store *s = NULL;
    struct store_read *r = open_restored(&s);
    struct err e = {0};
    name_key(n, key);
    int rc = requests_get(r, key, NOW_S, &found, &e);
    cr_assert_eq(rc, state ? 0 : ERR_NOT_FOUND, "%d: %s", n, e.text);
    cr_assert_eq(found.state, state, "%d: %d", n, found.state);
    cr_assert(!state || found.expires_s == EXPIRES, "%d", n);
    if (state == REQUEST_DISPATCHED)
        cr_assert_eq(found.epoch, epoch, "%d", n);
    else if (state == REQUEST_QUEUED)
        cr_assert(slice_is(found.submit, "the whole request"));
    else if (state == REQUEST_UNKNOWN) {
        cr_assert_eq(wire_refusal_decode(found.refusal, &refusal), 0, "%d", n);
        cr_assert(memmem(refusal.message.p, refusal.message.n, "backup", 6), "%d", n);
    }
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
    expect(2, REQUEST_UNKNOWN, 0);
    expect(3, REQUEST_DISPATCHED, 0);
    expect(4, REQUEST_DISPATCHED, 0);
    expect(5, REQUEST_DISPATCHED, 2);
    expect(6, REQUEST_DONE, 0);
    cr_assert_eq(result.carried, 0, "all of them were under way in the backup");
}

Test(restore, what_was_sent_since_is_not_sent_again)
{
    struct restored result = {0};
    struct err e = {0};
    struct request_record no = record(REQUEST_FAILED, 7), lost = record(REQUEST_DISPATCHED, 7);
    struct request_record over = record(REQUEST_DONE, 7), soon = record(REQUEST_FAILED, 7);
    no.final = true;
    no.refusal = SLICE_LITERAL("no");
    lost.held = (struct spend){{1}, 202611, 5};
    over.expires_s = 1;
    soon.expires_s = EXPIRES - 1;
    raise_epochs(3);
    put(1, REQUEST_DONE, 7);       /* its chat is in the backup, too */
    put(2, REQUEST_DISPATCHED, 7); /* answered since */
    put(3, REQUEST_FAILED, 7);     /* with nothing bought; answered since */
    put_record(4, soon);           /* ran anew since, and is kept from then on */
    put(5, REQUEST_UNKNOWN, 7);    /* retried since, and deleted */
    put(6, REQUEST_QUEUED, 7);     /* another prompt had its id, and was sent */
    back_up();
    put(1, REQUEST_DELETED, 7);
    put(2, REQUEST_DONE, 7);
    put(3, REQUEST_DONE, 7);
    put(4, REQUEST_DISPATCHED, 7);
    put(4, REQUEST_DONE, 7);
    put(5, REQUEST_DELETED, 7);
    put(6, REQUEST_DONE, 8);
    put(11, REQUEST_DONE, 7);
    put_record(12, lost);
    put_record(13, no);
    put(14, REQUEST_DELETED, 7);
    put(15, REQUEST_QUEUED, 7);
    put(16, REQUEST_FAILED, 7);
    put_record(17, over);
    cr_assert_eq(restore_succeed(&t, fresh, true, &result, &e), 0, "%s", e.text);
    expect(1, REQUEST_DONE, 0);
    expect(2, REQUEST_UNKNOWN, 0);
    expect(3, REQUEST_UNKNOWN, 0);
    expect(4, REQUEST_UNKNOWN, 0);
    expect(5, REQUEST_DELETED, 0);
    expect(6, REQUEST_UNKNOWN, 0);
    expect(11, REQUEST_UNKNOWN, 0);
    expect(12, REQUEST_DISPATCHED, 2);
    expect(13, REQUEST_FAILED, 0);
    expect(14, REQUEST_DELETED, 0);
    expect(15, 0, 0); /* nothing was sent */
    expect(16, 0, 0);
    expect(17, 0, 0); /* its time was over */
    cr_assert_eq(result.carried, 7, "3 to 5, 11 to 14");

    uint8_t key[REQUEST_KEY_SIZE];
    struct request_record found;
    struct store *s = NULL;
    struct store_read *r = open_restored(&s);
    name_key(6, key);
    cr_assert_eq(requests_get(r, key, NOW_S, &found, &e), 0);
    cr_assert_eq(found.fingerprint[0], 8, "of the prompt that was sent");
    name_key(12, key);
    cr_assert_eq(requests_get(r, key, NOW_S, &found, &e), 0);
    cr_assert_eq(found.held.picousd, 5, "the next coordinator counts what it may have cost");
    name_key(13, key);
    cr_assert_eq(requests_get(r, key, NOW_S, &found, &e), 0);
    cr_assert(found.final && slice_is(found.refusal, "no"));
    store_read_end(r);
    store_close(s);
}

/* More than fit into one transaction of a restore. */
static int put_many_body(struct store_write *w, void *arg, struct err *e)
{
    const uint16_t *n = arg;
    int rc = 0;
    for (struct put p = {1, record(REQUEST_DONE, 7)}; !rc && p.key <= *n; p.key++)
        rc = put_body(w, &p, e);
    return rc;
}

Test(restore, of_many_ids_goes_in_steps_and_misses_none)
{
    struct restored result = {0};
    struct err e = {0};
    uint16_t n = 3000; /* a multiple of a step: the last one finds nothing */
    back_up();
    WRITE(put_many_body, &n);
    cr_assert_eq(restore_succeed(&t, fresh, true, &result, &e), 0, "%s", e.text);
    cr_assert_eq(result.carried, n);
    static const uint16_t at_the_seams[] = {1, 2, 999, 1000, 1001, 1002, 2000, 2001, 2999, 3000};
    for (size_t i = 0; i < ARRAY_LEN(at_the_seams); i++)
        expect(at_the_seams[i], REQUEST_UNKNOWN, 0);
}

static int spend_body(struct store_write *w, void *arg, struct err *e)
{
    return spend_add(w, arg, e);
}

static void spend(uint8_t id, uint32_t month, uint64_t picousd)
{
    struct spend s = {{id}, month, picousd};
    WRITE(spend_body, &s);
}

Test(restore, gives_no_money_back)
{
    struct restored result = {0};
    struct err e = {0};
    uint32_t month = clock_month(clock_real_us());
    spend(1, month, 100);
    spend(2, month, 100);
    spend(3, month - 100, 100);
    back_up();
    spend(1, month, 30);
    spend(3, month - 100, 30);
    spend(4, month, 7);
    cr_assert_eq(restore_succeed(&t, fresh, true, &result, &e), 0, "%s", e.text);
    static const uint64_t spent[] = {[1] = 130, [2] = 100, [4] = 7};
    struct store *s = NULL;
    struct store_read *r = open_restored(&s);
    for (uint8_t i = 1; i < ARRAY_LEN(spent); i++) {
        uint8_t id[TRUST_GROUP_SIZE] = {i};
        uint64_t found;
        cr_assert_eq(keys_spent(r, id, month, &found, &e), 0, "%s", e.text);
        cr_assert_eq(found, spent[i], "%d: %llu", i, (unsigned long long)found);
    }
    uint64_t found;
    cr_assert_eq(keys_spent(r, (uint8_t[TRUST_GROUP_SIZE]){3}, month - 100, &found, &e), 0);
    cr_assert_eq(found, 100, "an old month stays as the backup has it");
    store_read_end(r);
    store_close(s);
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
