/* LINK: fcgi_app/coordinator/commit.c fcgi_app/coordinator/commit_apply.c */
/* The commit thread over a store that fails: what is lost with a commit, and what must not be. */
#include "coordinator/commit.h"

#include "store/table.h"
#include "store_fixture.h"

TestSuite(commit, .init = fixture_setup, .fini = fixture_teardown, .timeout = 60);

#define S(text) SLICE_LITERAL(text)
#define NOW_US  1769947200000000ull

static const uint8_t keys[3][REQUEST_KEY_SIZE] = {{1}, {2}, {3}};
static struct list ops;

static struct commit_op *put_op(size_t i, uint8_t fingerprint)
{
    struct commit_op *op = commit_op_new(1, 0, NULL);
    cr_assert_not_null(op);
    op->real_us = op->expiry_us = NOW_US;
    op->requests[0] = (struct commit_request){
        .key = keys[i], .record = {.state = REQUEST_DISPATCHED, .expires_s = NOW_US / 1000000 + 3600}};
    op->requests[0].record.fingerprint[0] = fingerprint;
    list_append(&ops, &op->node);
    return op;
}

static bool is_there(size_t i)
{
    struct request_record record;
    struct store_read *r = fixture_read();
    int rc = requests_get(r, keys[i], NOW_US / 1000000, &record, NULL);
    store_read_end(r);
    return rc == 0;
}

static uint64_t counted(const char *name)
{
    struct store_read *r = fixture_read();
    uint64_t sum = 0;
    int rc = counters_sum(r, slice_of(name), 0, 0, &sum, NULL);
    store_read_end(r);
    return rc == 0 ? sum : UINT64_MAX;
}

static void ring(void *arg)
{
    (void)arg;
}

static struct commit_thread *start(void)
{
    struct commit_thread *t;
    list_init(&ops);
    cr_assert_eq(commit_start(store, 0, ring, NULL, &t, NULL), 0);
    return t;
}

/* Hands in what is on ops and waits for it to come back there. */
static void commit(struct commit_thread *t, size_t n)
{
    struct list back;
    size_t came = 0;
    list_init(&back);
    commit_submit(t, &ops);
    while (came < n) {
        commit_collect(t, &back);
        came = 0;
        list_for_each (it, &back)
            came++;
        usleep(200);
    }
    list_for_each_safe (it, next, &back) {
        list_remove(it);
        list_append(&ops, it);
    }
}

static void free_ops(void)
{
    list_for_each_safe (it, next, &ops)
        commit_op_free(LIST_ENTRY(it, struct commit_op, node));
}

static void check_recovery(bool meta_only)
{
    struct commit_thread *t = start();
    put_op(0, 0);
    commit(t, 1);
    free_ops();
    fixture_break_descriptors(NULL, O_RDONLY, meta_only);
    struct commit_op *op = put_op(1, 0);
    commit(t, 1);
    cr_assert_eq(op->rc, ERR_IO, "%s", op->err.text);
    cr_assert_not(op->refused, "it may be tried again");
    cr_assert(is_there(0), "reads work at once");
    commit(t, 1);
    cr_assert_eq(op->rc, 0, "and so does the next commit: %s", op->err.text);
    cr_assert(is_there(1));
    free_ops();
    commit_stop(t);
}

Test(commit, the_store_is_opened_again_after_pages_could_not_be_written)
{
    check_recovery(false);
}

Test(commit, the_store_is_opened_again_after_the_meta_page_could_not_be_written)
{
    check_recovery(true);
}

static int damage(struct store_write *w, void *arg, struct err *e)
{
    (void)arg;
    return table_put(w, TABLE_COUNTERS, S("calls\00000000000"), S("bad"), e);
}

Test(commit, a_damaged_counter_costs_only_its_own_figure)
{
    struct commit_thread *t = start();
    WRITE(damage, NULL);
    struct commit_op *op = put_op(0, 0);
    counter_add(&op->counters, "answered", 1);
    counter_add(&op->counters, "calls", 1);
    counter_add(&op->counters, "joined", 2);
    commit(t, 1);
    cr_assert_eq(op->rc, 0, "%s", op->err.text);
    cr_assert(is_there(0));
    cr_assert_eq(counted("answered"), 1);
    cr_assert_eq(counted("joined"), 2);
    cr_assert_eq(counted("calls"), UINT64_MAX);
    free_ops();
    commit_stop(t);
}

static void check_removal(uint8_t stored, const uint8_t *only, bool stays)
{
    struct commit_thread *t = start();
    put_op(0, stored);
    commit(t, 1);
    free_ops();
    struct commit_op *op = put_op(0, 0);
    op->requests[0].remove = true;
    op->requests[0].only = only;
    commit(t, 1);
    cr_assert_eq(op->rc, 0);
    cr_assert_eq(is_there(0), stays);
    commit(t, 1);
    cr_assert_eq(op->rc, 0, "also when there is none");
    free_ops();
    commit_stop(t);
}

Test(commit, a_record_is_removed_whatever_it_is_or_only_one)
{
    static const uint8_t seven[REQUEST_KEY_SIZE] = {7};
    check_removal(5, NULL, false);
    check_removal(7, seven, false);
    check_removal(5, seven, true);
}

/* Only whether there is something to write tells of the disk. */
Test(commit, knows_what_writes)
{
    list_init(&ops);
    struct commit_op *empty = commit_op_new(0, 0, NULL), *put = put_op(0, 0);
    cr_assert_not_null(empty);
    cr_assert_not(commit_op_writes(empty));
    empty->sweep = true;
    cr_assert_not(commit_op_writes(empty), "a sweep may find nothing");
    cr_assert(commit_op_writes(put));
    counter_add(&empty->counters, "joined", 1);
    cr_assert(commit_op_writes(empty));
    commit_op_free(empty);
    free_ops();
}

static struct commit_op *spending_op(enum request_state state, uint64_t picousd)
{
    struct commit_op *op = put_op(0, 0);
    op->requests[0].record.state = state;
    op->requests[0].spend = (struct spend){.id = {1}, .month = 202602, .picousd = picousd};
    return op;
}

/* Nobody knows whether a commit that failed was written; what it spent is counted once either way. */
Test(commit, what_was_spent_is_counted_once)
{
    static const char name[] = "spent.202602.01000000000000000000000000000000";
    struct commit_thread *t = start();
    spending_op(REQUEST_DISPATCHED, 0);
    commit(t, 1);
    free_ops();
    struct commit_op *op = spending_op(REQUEST_UNKNOWN, 5);
    op->again = true;
    commit(t, 1);
    cr_assert_eq(op->rc, 0);
    cr_assert_eq(counted(name), 5, "the first try did not reach the disk");
    commit(t, 1);
    cr_assert_eq(counted(name), 5, "it did");
    free_ops();
    spending_op(REQUEST_UNKNOWN, 7);
    commit(t, 1);
    cr_assert_eq(counted(name), 12, "another's");
    free_ops();
    commit_stop(t);
}

static int damage_spent(struct store_write *w, void *arg, struct err *e)
{
    (void)arg;
    return table_put(w, TABLE_COUNTERS, S("spent.202602.01000000000000000000000000000000\00000000000"),
                     S("bad"), e);
}

Test(commit, what_is_spent_with_a_damaged_counter_is_told_all_the_same)
{
    struct commit_thread *t = start();
    WRITE(damage_spent, NULL);
    struct commit_op *op = spending_op(REQUEST_UNKNOWN, 5);
    commit(t, 1);
    cr_assert_eq(op->rc, 0, "%s", op->err.text);
    cr_assert(is_there(0));
    free_ops();
    commit_stop(t);
}
