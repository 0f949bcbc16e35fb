/* LINK: fcgi_app/coordinator/commit.c fcgi_app/coordinator/commit_apply.c */
/* The audit trail: entries newest first, bounded, and in one transaction with the change they tell of. */
#include "store/audit.h"

#include <lmdb.h>

#include "coordinator/commit.h"
#include "store/table.h"
#include "store_fixture.h"

TestSuite(audit, .init = fixture_setup, .fini = fixture_teardown, .timeout = 60);

#define S(text) SLICE_LITERAL(text)
#define NOW_US  1769947200000000ull

static struct audit_entry entry(uint64_t at_us, const char *details)
{
    return (struct audit_entry){at_us, S("ADMIN_KEY"), S("settings.put"), slice_of(details)};
}

static int append_body(struct store_write *w, void *arg, struct err *e)
{
    return audit_append(w, arg, e);
}

static void append(uint64_t at_us, const char *details)
{
    struct audit_entry a = entry(at_us, details);
    WRITE(append_body, &a);
}

struct seen {
    char details[8][16];
    uint64_t at_us[8];
    size_t n, stop;
};

static int see(void *arg, const struct audit_entry *a)
{
    struct seen *s = arg;
    cr_assert(slice_is(a->actor, "ADMIN_KEY") && slice_is(a->action, "settings.put"));
    s->at_us[s->n] = a->at_us;
    snprintf(s->details[s->n], sizeof(s->details[0]), "%.*s", (int)a->details.n, a->details.p);
    return ++s->n == s->stop ? 7 : 0;
}

static struct seen newest(size_t stop, int want)
{
    struct seen s = {.stop = stop};
    struct err e = {0};
    struct store_read *r = fixture_read();
    cr_assert_eq(audit_each(r, see, &s, &e), want, "%s", e.text);
    store_read_end(r);
    return s;
}

static uint64_t count(void)
{
    uint64_t n = 0;
    struct store_read *r = fixture_read();
    cr_assert_eq(table_count(r, TABLE_AUDIT, &n, NULL), 0);
    store_read_end(r);
    return n;
}

Test(audit, the_newest_come_first)
{
    cr_assert_eq(newest(8, 0).n, 0);
    append(NOW_US, "{\"n\":1}");
    append(NOW_US, "{\"n\":2}");
    append(NOW_US + 5, "{\"n\":3}");
    struct seen s = newest(8, 0);
    cr_assert_eq(s.n, 3);
    cr_assert_str_eq(s.details[0], "{\"n\":3}");
    cr_assert_str_eq(s.details[1], "{\"n\":2}");
    cr_assert_str_eq(s.details[2], "{\"n\":1}");
    cr_assert(s.at_us[0] == NOW_US + 5 && s.at_us[1] == NOW_US && s.at_us[2] == NOW_US);
    cr_assert_eq(newest(2, 7).n, 2, "each may stop it, and its word is passed on");
}

Test(audit, a_clock_that_was_set_back_changes_no_order)
{
    append(NOW_US, "{\"n\":1}");
    append(NOW_US - 3600000000ull, "{\"n\":2}");
    append(NOW_US - 3600000000ull, "{\"n\":3}");
    append(NOW_US + 1, "{\"n\":4}");
    struct seen s = newest(8, 0);
    cr_assert_eq(s.n, 4);
    cr_assert_str_eq(s.details[0], "{\"n\":4}");
    cr_assert_str_eq(s.details[1], "{\"n\":3}");
    cr_assert_str_eq(s.details[3], "{\"n\":1}");
    cr_assert_eq(s.at_us[1], NOW_US - 3600000000ull, "an entry says what the clock said");
}

static int fill_body(struct store_write *w, void *arg, struct err *e)
{
    int rc = 0;
    for (uint64_t i = 0; !rc && i < AUDIT_ENTRIES_MAX; i++) {
        struct audit_entry a = entry(NOW_US + i, "{}");
        rc = audit_append(w, &a, e);
    }
    (void)arg;
    return rc;
}

/* More than there may be, as a version with another bound has left them. */
static int surplus_body(struct store_write *w, void *arg, struct err *e)
{
    int rc = 0;
    for (uint8_t i = 0; !rc && i < 10; i++)
        rc = table_put(w, TABLE_AUDIT, table_bytes((uint8_t[12]){0, i}, 12), S("?"), e);
    (void)arg;
    return rc;
}

Test(audit, the_oldest_are_pushed_out)
{
    WRITE(fill_body, NULL);
    cr_assert_eq(count(), AUDIT_ENTRIES_MAX);
    append(NOW_US + AUDIT_ENTRIES_MAX, "{\"n\":1}");
    cr_assert_eq(count(), AUDIT_ENTRIES_MAX);
    struct store_read *r = fixture_read();
    struct table_cursor c;
    struct slice key, value;
    cr_assert_eq(table_cursor_open(r, TABLE_AUDIT, &c, NULL), 0);
    cr_assert_eq(table_seek(&c, S(""), &key, &value, NULL), 0);
    cr_assert_eq(bytes_load_be64((const uint8_t *)key.p), NOW_US + 1, "the first one has gone");
    table_cursor_close(&c);
    store_read_end(r);
    WRITE(surplus_body, NULL);
    append(NOW_US + AUDIT_ENTRIES_MAX + 1, "{\"n\":2}");
    cr_assert_eq(count(), AUDIT_ENTRIES_MAX + 7, "a few at a time");
    append(NOW_US + AUDIT_ENTRIES_MAX + 2, "{\"n\":3}");
    append(NOW_US + AUDIT_ENTRIES_MAX + 3, "{\"n\":4}");
    append(NOW_US + AUDIT_ENTRIES_MAX + 4, "{\"n\":5}");
    cr_assert_eq(count(), AUDIT_ENTRIES_MAX);
    cr_assert_str_eq(newest(1, 7).details[0], "{\"n\":5}");
}

static int damage_body(struct store_write *w, void *arg, struct err *e)
{
    return table_put(w, TABLE_AUDIT, table_bytes("\xff!", 2), slice_of(arg), e);
}

Test(audit, what_cannot_be_read_is_left_out)
{
    append(NOW_US, "{\"n\":1}");
    WRITE(damage_body, (char[]){"of another version"});
    append(NOW_US + 1, "{\"n\":2}");
    struct seen s = newest(8, 0);
    cr_assert_eq(s.n, 2);
    cr_assert_str_eq(s.details[0], "{\"n\":2}");
}

static int refusal(const struct audit_entry *a)
{
    struct err e = {0};
    int rc = store_write(store, 0, append_body, (void *)a, &e);
    cr_assert(rc == 0 || e.text[0]);
    return rc;
}

Test(audit, an_entry_says_who_did_what_within_bounds)
{
    static char text[AUDIT_DETAILS_MAX + 1];
    struct audit_entry a = entry(NOW_US, "{}");
    memset(text, 'x', sizeof(text));
    a.actor = (struct slice){text, AUDIT_ACTOR_MAX};
    a.details = (struct slice){text, AUDIT_DETAILS_MAX};
    cr_assert_eq(refusal(&a), 0);
    a.details.n++;
    cr_assert_eq(refusal(&a), ERR_INVAL);
    a = entry(NOW_US, "{}");
    a.actor = (struct slice){text, AUDIT_ACTOR_MAX + 1};
    cr_assert_eq(refusal(&a), ERR_INVAL);
    a = entry(NOW_US, "{}");
    a.actor = S("");
    cr_assert_eq(refusal(&a), ERR_INVAL);
    a = entry(NOW_US, "");
    cr_assert_eq(refusal(&a), ERR_INVAL);
    cr_assert_eq(count(), 1);
}

/* A store of before there was an audit trail: a writer gives it the table, and all that is there stays. */
Test(audit, a_store_without_the_table_is_opened)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    store_close(store);
    store = NULL;
    cr_assert_eq(mdb_env_create(&env), 0);
    cr_assert_eq(mdb_env_set_maxdbs(env, 20), 0);
    cr_assert_eq(mdb_env_open(env, store_dir, 0, 0600), 0);
    cr_assert_eq(mdb_txn_begin(env, NULL, 0, &txn), 0);
    cr_assert_eq(mdb_dbi_open(txn, "audit", 0, &dbi), 0);
    cr_assert_eq(mdb_drop(txn, dbi, 1), 0);
    cr_assert_eq(mdb_txn_commit(txn), 0);
    mdb_env_close(env);
    fixture_open(STORE_WRITER, 0, 64 << 20);
    append(NOW_US, "{}");
    cr_assert_eq(newest(8, 0).n, 1);
}

/* ---- with the change it tells of ---- */

static struct settings settings;
static struct settings_patch overrides;

static struct commit_op *settings_op(uint64_t at_us)
{
    struct commit_op *op = commit_op_new(0, 0, NULL);
    cr_assert_not_null(op);
    op->settings = malloc(sizeof(*op->settings));
    op->overrides = malloc(sizeof(*op->overrides));
    *op->settings = settings;
    *op->overrides = overrides;
    op->audit = commit_audit_new(at_us, S("ADMIN_KEY"), "settings.put", S("{}"));
    cr_assert_not_null(op->audit);
    return op;
}

static uint64_t version(void)
{
    uint64_t v = 0;
    struct store_read *r = fixture_read();
    cr_assert_eq(settings_version(r, &v, NULL), 0);
    store_read_end(r);
    return v;
}

Test(audit, change_and_entry_are_one_transaction)
{
    struct list ops;
    struct commit_op *good = settings_op(NOW_US), *bad = settings_op(NOW_US + 1);
    list_init(&ops);
    list_append(&ops, &good->node);
    cr_assert(commit_op_writes(good));
    cr_assert_eq(commit_apply_group(store, 0, &ops, NULL), 0);
    cr_assert(version() == 1 && count() == 1);
    list_remove(&good->node);
    commit_op_free(good);

    bad->audit->entry.actor = S(""); /* cannot be written: then the change is not, either */
    list_append(&ops, &bad->node);
    cr_assert_eq(commit_apply_group(store, 0, &ops, NULL), ERR_INVAL);
    cr_assert(version() == 1 && count() == 1);
    commit_op_free(bad);
}

Test(audit, an_actor_that_is_too_long_is_cut_at_a_character)
{
    char name[AUDIT_ACTOR_MAX + 3];
    memset(name, 'a', sizeof(name));
    memcpy(name + AUDIT_ACTOR_MAX - 1, "\xc3\xa9", 2);
    struct commit_audit *a = commit_audit_new(7, (struct slice){name, sizeof(name)}, "key.create", S("{}"));
    cr_assert_not_null(a);
    cr_assert_eq(a->entry.actor.n, AUDIT_ACTOR_MAX - 1);
    cr_assert(a->entry.at_us == 7 && slice_is(a->entry.action, "key.create") &&
              slice_is(a->entry.details, "{}"));
    free(a);
}

static int see_three(void *arg, const struct audit_entry *a)
{
    struct seen *s = arg;
    snprintf(s->details[s->n % 8], sizeof(s->details[0]), "%.*s", (int)a->details.n, a->details.p);
    return ++s->n % 3 == 0;
}

Test(audit, is_read_in_pieces_from_its_beginning)
{
    struct audit_place at = {.n = 0};
    struct seen s = {.n = 0};
    struct store_read *r = fixture_read();
    bool more = true;
    cr_assert_eq(audit_scan(r, &at, 10, see_three, &s, &more, NULL), 0);
    cr_assert(!s.n && !more && !at.n, "there is nothing");
    store_read_end(r);
    for (int i = 0; i < 7; i++) {
        char details[32];
        snprintf(details, sizeof(details), "{\"%d\":0}", i);
        append(NOW_US, details); /* all at one moment */
    }
    /* It stops when each says so (3), and at max (2); what comes meanwhile is behind the place. */
    static const struct {
        uint32_t max;
        size_t seen;
        bool more;
    } pieces[] = {{10, 3, true}, {2, 5, true}, {1, 6, true}, {10, 8, false}, {10, 8, false}};
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        if (i == 3)
            append(NOW_US + 1, "{\"7\":0}");
        r = fixture_read();
        int rc = audit_scan(r, &at, pieces[i].max, see_three, &s, &more, NULL);
        store_read_end(r);
        cr_assert(rc >= 0, "%d", rc);
        cr_assert_eq(s.n, pieces[i].seen, "%zu: %zu", i, s.n);
        cr_assert_eq(more, pieces[i].more, "%zu", i);
    }
    for (int i = 0; i < 8; i++) {
        char details[32];
        snprintf(details, sizeof(details), "{\"%d\":0}", i);
        cr_assert_str_eq(s.details[i], details);
    }
}
