/* Request records: states, expiry, what is unfinished. */
#include "store/requests.h"

#include "store_fixture.h"

TestSuite(requests, .init = fixture_setup, .fini = fixture_teardown);

struct put {
    uint8_t key[REQUEST_KEY_SIZE];
    struct request_record record;
    uint64_t now_s;
};

static int put_body(struct store_write *w, void *arg, struct err *e)
{
    const struct put *p = arg;
    return requests_put(w, p->key, &p->record, p->now_s, e);
}

static void put(uint8_t key, struct request_record record, uint64_t now_s)
{
    struct put p = {{key}, record, now_s};
    WRITE(put_body, &p);
}

/* The state of the record, or the error; its expiry in *ret_expires_s (may be NULL). */
static int state(uint8_t key, uint64_t now_s, uint64_t *ret_expires_s)
{
    uint8_t k[REQUEST_KEY_SIZE] = {key};
    struct request_record found;
    struct err e = {0};
    struct store_read *r = fixture_read();
    int rc = requests_get(r, k, now_s, &found, &e);
    store_read_end(r);
    if (!rc && ret_expires_s)
        *ret_expires_s = found.expires_s;
    return rc ? rc : (int)found.state;
}

Test(requests, round_trip)
{
    struct request_record in = {.state = REQUEST_QUEUED,
                                .is_async = true,
                                .final = true,
                                .repairs = 200,
                                .fingerprint = {1, 2, 3},
                                .epoch = 1ull << 60,
                                .expires_s = 5000,
                                .batch_id = {{4}},
                                .chat_id = {{5}},
                                .submit = SLICE_LITERAL("all of it"),
                                .refusal = SLICE_LITERAL("")};
    uint8_t key[REQUEST_KEY_SIZE] = {9};
    struct request_record out;
    struct err e = {0};
    cr_assert_eq(state(9, 0, NULL), ERR_NOT_FOUND);
    put(9, in, 1000);
    struct store_read *r = fixture_read();
    cr_assert_eq(requests_get(r, key, 1000, &out, &e), 0, "%s", e.text);
    cr_assert_eq(out.state, REQUEST_QUEUED);
    cr_assert(out.is_async && out.final);
    cr_assert_eq(out.repairs, 200);
    cr_assert_arr_eq(out.fingerprint, in.fingerprint, REQUEST_KEY_SIZE);
    cr_assert_eq(out.epoch, in.epoch);
    cr_assert_eq(out.expires_s, 5000);
    cr_assert_arr_eq(out.batch_id.bytes, in.batch_id.bytes, 16);
    cr_assert_arr_eq(out.chat_id.bytes, in.chat_id.bytes, 16);
    cr_assert(slice_is(out.submit, "all of it"));
    cr_assert(out.refusal.p && out.refusal.n == 0, "empty is not absent");
    store_read_end(r);
    in.submit = in.refusal = (struct slice){0};
    put(9, in, 1000);
    r = fixture_read();
    cr_assert_eq(requests_get(r, key, 1000, &out, &e), 0);
    cr_assert_null(out.submit.p);
    cr_assert_null(out.refusal.p);
    store_read_end(r);
}

struct visits {
    char text[64];
    int stop_after;
};

static bool visit(void *arg, const uint8_t key[REQUEST_KEY_SIZE], const struct request_record *record)
{
    struct visits *v = arg;
    size_t at = strlen(v->text);
    snprintf(v->text + at, sizeof(v->text) - at, "%d:%d ", key[0], record->state);
    return --v->stop_after != 0;
}

static void check_unfinished(uint64_t epoch, int stop_after, const char *expected)
{
    struct visits v = {"", stop_after};
    struct err e = {0};
    struct store_read *r = fixture_read();
    cr_assert_eq(requests_unfinished(r, epoch, visit, &v, &e), 0, "%s", e.text);
    store_read_end(r);
    cr_assert_str_eq(v.text, expected);
}

Test(requests, unfinished_are_queued_and_those_of_other_epochs)
{
    check_unfinished(1, 0, "");
    put(1, (struct request_record){.state = REQUEST_QUEUED, .epoch = 2, .expires_s = 100}, 1);
    put(2, (struct request_record){.state = REQUEST_DISPATCHED, .epoch = 1, .expires_s = 100}, 1);
    put(3, (struct request_record){.state = REQUEST_DISPATCHED, .epoch = 2, .expires_s = 100}, 1);
    put(4, (struct request_record){.state = REQUEST_DONE, .epoch = 1, .expires_s = 100}, 1);
    put(5, (struct request_record){.state = REQUEST_FAILED, .epoch = 1, .expires_s = 100}, 1);
    check_unfinished(2, 0, "1:1 2:2 ");
    check_unfinished(3, 0, "1:1 2:2 3:2 ");
    check_unfinished(3, 2, "1:1 2:2 ");
    put(2, (struct request_record){.state = REQUEST_UNKNOWN, .epoch = 1}, 1);
    put(1, (struct request_record){.state = REQUEST_DISPATCHED, .epoch = 1}, 1);
    put(4, (struct request_record){.state = REQUEST_DISPATCHED, .epoch = 1}, 1);
    check_unfinished(2, 0, "1:2 4:2 ");
}

static bool make_unknown(void *arg, const uint8_t key[REQUEST_KEY_SIZE], const struct request_record *record)
{
    struct request_record unknown = *record;
    unknown.state = REQUEST_UNKNOWN;
    unknown.refusal = SLICE_LITERAL("crashed");
    return requests_put(arg, key, &unknown, 1, NULL) == 0;
}

static int recover(struct store_write *w, void *arg, struct err *e)
{
    return requests_unfinished(store_write_as_read(w), *(uint64_t *)arg, make_unknown, w, e);
}

Test(requests, a_callback_may_finish_what_it_visits)
{
    uint64_t epoch = 2;
    for (int i = 0; i < 250; i++)
        put((uint8_t)i, (struct request_record){.state = REQUEST_DISPATCHED, .epoch = 1, .expires_s = 100},
            1);
    WRITE(recover, &epoch);
    check_unfinished(2, 0, "");
    for (int i = 0; i < 250; i++)
        cr_assert_eq(state((uint8_t)i, 1, NULL), REQUEST_UNKNOWN);
}

struct expire {
    uint64_t now_s;
    uint32_t max, dropped;
};

static int expire_body(struct store_write *w, void *arg, struct err *e)
{
    struct expire *x = arg;
    return requests_expire(w, x->now_s, x->max, &x->dropped, e);
}

static uint32_t expire(uint64_t now_s, uint32_t max)
{
    struct expire x = {now_s, max, 77};
    WRITE(expire_body, &x);
    return x.dropped;
}

Test(requests, expiry_is_kept_by_later_puts)
{
    uint64_t expires_s = 0;
    put(1, (struct request_record){.state = REQUEST_DISPATCHED, .expires_s = 100}, 10);
    put(1, (struct request_record){.state = REQUEST_DONE, .expires_s = 900}, 20);
    cr_assert_eq(state(1, 99, &expires_s), REQUEST_DONE);
    cr_assert_eq(expires_s, 100);
    cr_assert_eq(state(1, 100, NULL), ERR_NOT_FOUND, "expired, though not swept");
    cr_assert_eq(expire(99, 10), 0);
    cr_assert_eq(expire(100, 10), 1);
    cr_assert_eq(expire(1000, 10), 0, "one entry a record");
    cr_assert_eq(state(1, 0, NULL), ERR_NOT_FOUND);
}

Test(requests, an_expired_record_is_replaced_as_a_fresh_one)
{
    uint64_t expires_s = 0;
    put(1, (struct request_record){.state = REQUEST_DONE, .expires_s = 100}, 10);
    put(1, (struct request_record){.state = REQUEST_DISPATCHED, .epoch = 1, .expires_s = 300}, 200);
    cr_assert_eq(state(1, 200, &expires_s), REQUEST_DISPATCHED);
    cr_assert_eq(expires_s, 300);
    cr_assert_eq(expire(299, 10), 0, "its first entry is gone");
    cr_assert_eq(state(1, 299, NULL), REQUEST_DISPATCHED);
    cr_assert_eq(expire(300, 10), 1);
    check_unfinished(9, 0, "");
}

Test(requests, an_id_that_runs_anew_is_kept_its_time_from_then)
{
    uint64_t expires_s = 0;
    static const enum request_state ended[] = {REQUEST_FAILED, REQUEST_UNKNOWN};
    for (uint8_t i = 0; i < 2; i++) {
        put(i, (struct request_record){.state = ended[i], .epoch = 1, .expires_s = 100}, 10);
        put(i, (struct request_record){.state = REQUEST_DISPATCHED, .epoch = 1, .expires_s = 300}, 90);
        put(i, (struct request_record){.state = REQUEST_DONE, .epoch = 1, .expires_s = 400}, 95);
    }
    cr_assert_eq(expire(100, 10), 0);
    for (uint8_t i = 0; i < 2; i++) {
        cr_assert_eq(state(i, 299, &expires_s), REQUEST_DONE);
        cr_assert_eq(expires_s, 300);
    }
    cr_assert_eq(expire(300, 10), 2);
    cr_assert_eq(state(0, 300, NULL), ERR_NOT_FOUND);
}

Test(requests, sweeps_in_bounded_steps)
{
    for (int i = 0; i < 200; i++)
        put((uint8_t)i, (struct request_record){.state = REQUEST_DISPATCHED, .expires_s = 100 + i % 2}, 1);
    cr_assert_eq(expire(100, 60), 60);
    cr_assert_eq(expire(100, 60), 40);
    cr_assert_eq(expire(101, 1000), 100);
    check_unfinished(9, 0, "");
}

static int delete_body(struct store_write *w, void *arg, struct err *e)
{
    uint8_t key[REQUEST_KEY_SIZE] = {*(uint8_t *)arg};
    return requests_delete(w, key, e);
}

Test(requests, delete_leaves_nothing)
{
    uint8_t key = 1;
    put(1, (struct request_record){.state = REQUEST_DISPATCHED, .expires_s = 100}, 1);
    WRITE(delete_body, &key);
    WRITE(delete_body, &key);
    cr_assert_eq(state(1, 1, NULL), ERR_NOT_FOUND);
    check_unfinished(9, 0, "");
    cr_assert_eq(expire(1000, 10), 0);
}

Test(requests, what_a_call_may_cost_stands_while_it_runs)
{
    struct request_record out, in = {.state = REQUEST_DISPATCHED, .expires_s = 5000};
    struct err e = {0};
    uint8_t key[REQUEST_KEY_SIZE] = {9};
    in.held = (struct spend){.id = {1, 2}, .month = 202602, .picousd = 1ull << 60};
    put(9, in, 1000);
    struct store_read *r = fixture_read();
    cr_assert_eq(requests_get(r, key, 1000, &out, &e), 0, "%s", e.text);
    cr_assert_arr_eq(out.held.id, in.held.id, TRUST_GROUP_SIZE);
    cr_assert_eq(out.held.month, 202602);
    cr_assert_eq(out.held.picousd, 1ull << 60);
    store_read_end(r);
    in.state = REQUEST_UNKNOWN;
    put(9, in, 1000);
    r = fixture_read();
    cr_assert_eq(requests_get(r, key, 1000, &out, &e), 0, "%s", e.text);
    cr_assert_eq(out.held.picousd, 0, "it was counted with that");
    store_read_end(r);
}

struct scanned {
    uint8_t keys[8];
    unsigned n, stop_at;
};

static int note(void *arg, const uint8_t key[REQUEST_KEY_SIZE], const struct request_record *record)
{
    struct scanned *s = arg;
    cr_assert_eq(record->state, REQUEST_DONE);
    if (s->n == s->stop_at)
        return ERR_NOMEM;
    s->keys[s->n++] = key[0];
    return 0;
}

Test(requests, are_scanned_in_steps)
{
    struct scanned s = {.stop_at = 8};
    struct request_record done = {.state = REQUEST_DONE, .expires_s = 2000};
    uint8_t last[REQUEST_KEY_SIZE] = {77};
    bool more = true;
    struct err e = {0};
    struct store_read *r = fixture_read();
    cr_assert_eq(requests_scan(r, NULL, 5, 1000, note, &s, last, &more, &e), 0, "%s", e.text);
    cr_assert(!more && last[0] == 77 && !s.n);
    store_read_end(r);
    for (uint8_t key = 1; key <= 4; key++)
        put(key, done, 0);
    done.expires_s = 1000;
    put(5, done, 0);
    r = fixture_read();
    cr_assert_eq(requests_scan(r, NULL, 2, 1000, note, &s, last, &more, &e), 0, "%s", e.text);
    cr_assert(more && last[0] == 2 && s.n == 2);
    cr_assert_eq(requests_scan(r, last, 3, 1000, note, &s, last, &more, &e), 0, "%s", e.text);
    cr_assert(!more && last[0] == 5, "one whose time is over was looked at, too");
    cr_assert_eq(s.n, 4);
    cr_assert_arr_eq(s.keys, ((uint8_t[]){1, 2, 3, 4}), 4);
    s = (struct scanned){.stop_at = 1};
    cr_assert_eq(requests_scan(r, NULL, 5, 1000, note, &s, last, &more, &e), ERR_NOMEM);
    cr_assert_eq(last[0], 1);
    store_read_end(r);
}
