/* Chats: records, the scan with its filters and pages, deletion with tombstones, retention. */
#include "store/chats.h"

#include <math.h>

#include "store/requests.h"
#include "store_fixture.h"

TestSuite(chats, .init = fixture_setup, .fini = fixture_teardown);

#define T0   1780000000000000ull /* some real time in us */
#define STEP 1000000ull          /* a chat a second */

static struct chat chat_of(uint32_t i)
{
    static const char *const users[] = {"ann", "an", "bob"};
    static __thread char request_id[16];
    snprintf(request_id, sizeof(request_id), "r%u", i);
    struct chat c = {.id = fixture_id(T0 + i * STEP, i),
                     .endpoint = ENDPOINT_V1_QUERY,
                     .priority = (enum priority)(i % 3),
                     .time_us = T0 + i * STEP,
                     .confidence = NAN,
                     .request_id = slice_of(request_id),
                     .username = i % 4 == 3 ? (struct slice){0} : slice_of(users[i % 4]),
                     .prompt = SLICE_LITERAL("why?"),
                     .text = SLICE_LITERAL("because")};
    memcpy(c.key, &i, sizeof(i));
    return c;
}

static int append(struct store_write *w, const struct chat *c, struct err *e)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    chat_encode(&b, c);
    int rc = chats_append(w, c, buf_slice(&b), e);
    buf_fini(&b);
    return rc;
}

static int append_body(struct store_write *w, void *arg, struct err *e)
{
    return append(w, arg, e);
}

struct range {
    uint32_t from, to;
};

static int append_range(struct store_write *w, void *arg, struct err *e)
{
    const struct range *g = arg;
    int rc = 0;
    for (uint32_t i = g->from; i < g->to && !rc; i++) {
        struct chat c = chat_of(i);
        rc = append(w, &c, e);
    }
    return rc;
}

static void fill(uint32_t from, uint32_t to)
{
    struct range g = {from, to};
    WRITE(append_range, &g);
}

Test(chats, a_record_with_a_response_is_of_another_version)
{
    struct chat c = chat_of(1), got;
    struct buf b;
    buf_init(&b, 1 << 20);
    chat_encode(&b, &c);
    cr_assert_eq(b.data[0], 1, "as it was before there were any");
    cr_assert_eq(chat_decode(buf_slice(&b), &got), 0);
    cr_assert_null(got.response.p);
    b.data[0] = 2;
    cr_assert_eq(chat_decode(buf_slice(&b), &got), ERR_CORRUPT, "one without its response");
    buf_clear(&b);
    c.response = SLICE_LITERAL("{\"choices\":[]}");
    chat_encode(&b, &c);
    cr_assert_eq(b.data[0], 2);
    cr_assert_eq(chat_decode(buf_slice(&b), &got), 0);
    cr_assert(slice_equal(got.response, c.response));
    cr_assert(slice_equal(got.text, c.text));
    b.data[0] = 1;
    cr_assert_eq(chat_decode(buf_slice(&b), &got), ERR_CORRUPT, "bytes behind the end");
    buf_fini(&b);
}

Test(chats, round_trip)
{
    struct chat in = {.id = {{1}},
                      .batch_id = {{2}},
                      .key = {3},
                      .endpoint = ENDPOINT_COMPLETIONS,
                      .priority = PRIORITY_HIGH,
                      .cached = true,
                      .rate_limited = true,
                      .retries = 4,
                      .time_us = 5,
                      .latency_us = 6,
                      .upstream_us = 7,
                      .prompt_tokens = 8,
                      .completion_tokens = 9,
                      .confidence = 0.25,
                      .request_id = SLICE_LITERAL("rid"),
                      .prompt = SLICE_LITERAL("p"),
                      .system_prompt = SLICE_LITERAL(""),
                      .created_at = SLICE_LITERAL("c"),
                      .metadata = SLICE_LITERAL("{}"),
                      .model = SLICE_LITERAL("m"),
                      .text = SLICE_LITERAL("t"),
                      .finish_reason = SLICE_LITERAL("stop")};
    struct chat out;
    struct buf b;
    buf_init(&b, 1000);
    chat_encode(&b, &in);
    cr_assert_eq(chat_decode(buf_slice(&b), &out), 0);
    cr_assert_arr_eq(out.id.bytes, in.id.bytes, 16);
    cr_assert_arr_eq(out.batch_id.bytes, in.batch_id.bytes, 16);
    cr_assert_arr_eq(out.key, in.key, REQUEST_KEY_SIZE);
    cr_assert_eq(out.endpoint, in.endpoint);
    cr_assert_eq(out.priority, in.priority);
    cr_assert(out.cached && out.rate_limited);
    cr_assert_eq(out.retries, 4);
    cr_assert_eq(out.time_us, 5);
    cr_assert_eq(out.latency_us, 6);
    cr_assert_eq(out.upstream_us, 7);
    cr_assert_eq(out.prompt_tokens, 8);
    cr_assert_eq(out.completion_tokens, 9);
    cr_assert_float_eq(out.confidence, 0.25, 0);
    cr_assert(slice_is(out.request_id, "rid"));
    cr_assert_null(out.username.p);
    cr_assert(out.system_prompt.p && !out.system_prompt.n);
    cr_assert(slice_is(out.metadata, "{}") && slice_is(out.model, "m") && slice_is(out.text, "t"));
    cr_assert(slice_is(out.finish_reason, "stop") && slice_is(out.created_at, "c") &&
              slice_is(out.prompt, "p"));
    for (size_t n = 0; n < b.len; n++)
        cr_assert_eq(chat_decode((struct slice){b.data, n}, &out), ERR_CORRUPT, "cut at %zu", n);
    buf_append_byte(&b, 0);
    cr_assert_eq(chat_decode(buf_slice(&b), &out), ERR_CORRUPT, "trailing byte");
    buf_fini(&b);
}

Test(chats, append_get_count)
{
    struct err e = {0};
    struct slice record;
    struct chat c, found;
    uint64_t n;
    fill(10, 20);
    c = chat_of(5);
    WRITE(append_body, &c); /* out of order */
    fill(20, 21);
    struct store_read *r = fixture_read();
    cr_assert_eq(chats_count(r, &n, &e), 0);
    cr_assert_eq(n, 12);
    cr_assert_eq(chats_get(r, &c.id, &record, &e), 0);
    cr_assert_eq(chat_decode(record, &found), 0);
    cr_assert(slice_is(found.request_id, "r5"));
    c.id.bytes[15]++;
    cr_assert_eq(chats_get(r, &c.id, &record, &e), ERR_NOT_FOUND);
    store_read_end(r);
    c.id.bytes[15]--;
    cr_assert_eq(store_write(store, 0, append_body, &c, &e), ERR_EXISTS);
    char name[CHAT_NAME_MAX + 1];
    memset(name, 'u', sizeof(name));
    c.id.bytes[15]++;
    c.username = (struct slice){name, CHAT_NAME_MAX + 1};
    cr_assert_eq(store_write(store, 0, append_body, &c, &e), ERR_INVAL);
    c.username.n = CHAT_NAME_MAX;
    WRITE(append_body, &c);
}

struct page {
    uint32_t seen[20000];
    uint32_t n, stop_at;
};

static struct page page;

static bool take(void *arg, const struct chat *c)
{
    struct page *p = arg;
    memcpy(&p->seen[p->n++], c->key, sizeof(uint32_t));
    return p->n != p->stop_at;
}

/* All chats that pass, read in steps of max_visited, each in a renewed transaction. Returns the steps. */
static uint32_t scan_all(const struct chats_filter *f, uint32_t max_visited)
{
    struct uuid after = {{0}};
    struct err e = {0};
    bool more = true;
    uint32_t steps = 0;
    struct store_read *r = fixture_read();
    page.n = 0;
    for (; more; steps++) {
        cr_assert_eq(chats_scan(r, f, &after, max_visited, take, &page, &after, &more, &e), 0, "%s", e.text);
        cr_assert_eq(store_read_renew(r, &e), 0);
    }
    store_read_end(r);
    return steps;
}

#define MANY 20000

Test(chats, scan_of_twenty_thousand)
{
    struct chats_filter all = {0};
    cr_assert_eq(scan_all(&all, 100), 1);
    cr_assert_eq(page.n, 0);
    for (uint32_t i = 0; i < MANY; i += 1000)
        fill(i, i + 1000);
    cr_assert_eq(scan_all(&all, 100), MANY / 100, "no empty page at the end");
    cr_assert_eq(page.n, MANY);
    for (uint32_t i = 0; i < MANY; i++)
        cr_assert_eq(page.seen[i], i);
    cr_assert_eq(scan_all(&all, UINT32_MAX), 1);
    cr_assert_eq(page.n, MANY);

    struct chats_filter an = {.username = SLICE_LITERAL("an")};
    cr_assert_eq(scan_all(&an, 1000), MANY / 4 / 1000, "only the index is walked");
    cr_assert_eq(page.n, MANY / 4, "an is not ann");
    for (uint32_t i = 0; i < page.n; i++)
        cr_assert_eq(page.seen[i], i * 4 + 1);

    struct chats_filter times = {.from_us = T0 + 9000 * STEP, .to_us = T0 + 9010 * STEP};
    cr_assert_leq(scan_all(&times, 1000), 9, "an hour on either side at most");
    cr_assert_eq(page.n, 10);
    cr_assert_eq(page.seen[0], 9000);

    struct chats_filter both = {.username = SLICE_LITERAL("bob"),
                                .by_priority = true,
                                .priority = PRIORITY_LOW,
                                .from_us = T0 + 9000 * STEP,
                                .to_us = T0 + 9024 * STEP};
    scan_all(&both, 1000);
    cr_assert_eq(page.n, 2);
    cr_assert_eq(page.seen[0], 9006);
    cr_assert_eq(page.seen[1], 9018);

    struct chats_filter nobody = {.username = SLICE_LITERAL("nobody")};
    cr_assert_eq(scan_all(&nobody, 1000), 1);
    cr_assert_eq(page.n, 0);
}

/* The same, from the end: whatever the filter, the mirror image of the scan from the start. */
Test(chats, newest_first_is_the_mirror_image)
{
    struct chats_filter filters[] = {
        {.priority = 0},
        {.username = SLICE_LITERAL("an")},
        {.username = SLICE_LITERAL("nobody")},
        {.username = SLICE_LITERAL("zzz")},
        {.by_priority = true, .priority = PRIORITY_LOW},
        {.from_us = T0 + 9000 * STEP, .to_us = T0 + 9010 * STEP},
        {.to_us = T0 + 500 * STEP},
        {.from_us = T0 + 19990 * STEP},
        {.from_us = T0 + 30000 * STEP},
        {.username = SLICE_LITERAL("bob"), .from_us = T0 + 9000 * STEP, .to_us = T0 + 9024 * STEP},
        {.username = SLICE_LITERAL("bob"), .to_us = T0 + 24 * STEP},
    };
    static struct page forward;
    filters[0].newest_first = true;
    cr_assert_eq(scan_all(&filters[0], 100), 1, "of nothing");
    cr_assert_eq(page.n, 0);
    for (uint32_t i = 0; i < MANY; i += 1000)
        fill(i, i + 1000);
    for (size_t i = 0; i < ARRAY_LEN(filters); i++) {
        filters[i].newest_first = false;
        scan_all(&filters[i], 1000);
        forward = page;
        filters[i].newest_first = true;
        scan_all(&filters[i], 77);
        cr_assert_eq(page.n, forward.n, "filter %zu", i);
        for (uint32_t k = 0; k < page.n; k++)
            cr_assert_eq(page.seen[k], forward.seen[forward.n - 1 - k], "filter %zu, place %u", i, k);
    }
    cr_assert_leq(scan_all(&filters[5], 1000), 9, "an hour on either side at most");
    cr_assert_eq(scan_all(&filters[1], 1000), MANY / 4 / 1000, "only the index is walked");
}

Test(chats, a_callback_stops_the_scan)
{
    struct chats_filter all = {0};
    struct uuid after = {{0}};
    struct err e = {0};
    bool more;
    fill(0, 10);
    struct store_read *r = fixture_read();
    page.n = 0;
    page.stop_at = 4;
    cr_assert_eq(chats_scan(r, &all, &after, 100, take, &page, &after, &more, &e), 0);
    cr_assert(more);
    cr_assert_eq(page.n, 4);
    cr_assert_arr_eq(after.bytes, chat_of(3).id.bytes, 16);
    page.stop_at = 10;
    cr_assert_eq(chats_scan(r, &all, &after, 100, take, &page, &after, &more, &e), 0);
    cr_assert_not(more, "stopped at the very last one");
    cr_assert_eq(page.seen[9], 9);
    store_read_end(r);
}

/* JSON has no zero bytes in strings here; should one come in all the same, it must not mix two users up. */
Test(chats, a_name_with_a_zero_byte_is_another_name)
{
    struct chats_filter an = {.username = SLICE_LITERAL("an")};
    struct chats_filter odd = {.username = SLICE_LITERAL("an\0xxxxxxxxxxxxxxxxxxxx")};
    struct chat c = chat_of(500);
    fill(0, 8);
    c.username = odd.username;
    WRITE(append_body, &c);
    scan_all(&an, 10);
    cr_assert_eq(page.n, 2);
    scan_all(&odd, 10);
    cr_assert_eq(page.n, 1);
}

struct deletion {
    const char *request_id;
    uint32_t max, deleted;
    bool more;
};

static int delete_body(struct store_write *w, void *arg, struct err *e)
{
    struct deletion *d = arg;
    return chats_delete_request(w, slice_of(d->request_id), d->max, 50, &d->deleted, &d->more, e);
}

/* Three trust groups used the id "same": keys 101, 102, 103. */
static int append_same(struct store_write *w, void *arg, struct err *e)
{
    (void)arg;
    int rc = 0;
    for (uint32_t i = 101; i <= 103 && !rc; i++) {
        struct chat c = chat_of(i);
        struct request_record done = {.state = REQUEST_DONE, .expires_s = i, .fingerprint = {(uint8_t)i}};
        c.request_id = SLICE_LITERAL("same");
        done.chat_id = c.id;
        rc = append(w, &c, e);
        if (!rc && i != 103) /* the third one's record has expired and been swept */
            rc = requests_put(w, c.key, &done, 50, e);
    }
    return rc;
}

Test(chats, deleting_a_request_leaves_tombstones)
{
    struct err e = {0};
    struct request_record found;
    struct slice record;
    WRITE(append_same, NULL);
    fill(0, 5);
    struct deletion d = {.request_id = "same", .max = 2};
    WRITE(delete_body, &d);
    cr_assert_eq(d.deleted, 2);
    cr_assert(d.more);
    WRITE(delete_body, &d);
    cr_assert_eq(d.deleted, 1);
    cr_assert_not(d.more);
    WRITE(delete_body, &d);
    cr_assert_eq(d.deleted, 0);
    struct store_read *r = fixture_read();
    for (uint32_t i = 101; i <= 103; i++) {
        struct chat c = chat_of(i);
        cr_assert_eq(chats_get(r, &c.id, &record, &e), ERR_NOT_FOUND);
        int rc = requests_get(r, c.key, 50, &found, &e);
        cr_assert_eq(rc, i == 103 ? ERR_NOT_FOUND : 0);
        if (rc)
            continue;
        cr_assert_eq(found.state, REQUEST_DELETED);
        cr_assert_eq(found.expires_s, i, "as the record would have");
        cr_assert_eq(found.fingerprint[0], i);
        cr_assert_eq(requests_get(r, c.key, i, &found, &e), ERR_NOT_FOUND);
    }
    store_read_end(r);
    struct chats_filter ann = {.username = SLICE_LITERAL("ann")}, all = {0};
    scan_all(&ann, 10);
    cr_assert_eq(page.n, 2, "0 and 4; none of the deleted");
    scan_all(&all, 10);
    cr_assert_eq(page.n, 5);
    d.request_id = "r";
    WRITE(delete_body, &d);
    cr_assert_eq(d.deleted, 0, "a prefix is another id");
}

struct drop {
    uint64_t before_us;
    uint32_t max, removed;
};

static int drop_body(struct store_write *w, void *arg, struct err *e)
{
    struct drop *d = arg;
    return chats_drop_older(w, d->before_us, d->max, &d->removed, e);
}

Test(chats, the_last_id)
{
    struct uuid id;
    struct err e = {0};
    struct store_read *r = fixture_read();
    cr_assert_eq(chats_last_id(r, &id, &e), ERR_NOT_FOUND);
    store_read_end(r);
    fill(0, 100);
    r = fixture_read();
    cr_assert_eq(chats_last_id(r, &id, &e), 0, "%s", e.text);
    cr_assert_eq(uuid_time_us(&id), T0 + 99 * STEP);
    store_read_end(r);
}

Test(chats, retention)
{
    struct drop d = {T0 + 50 * STEP, 30, 0};
    struct chats_filter all = {0}, an = {.username = SLICE_LITERAL("an")};
    fill(0, 100);
    WRITE(drop_body, &d);
    cr_assert_eq(d.removed, 30);
    WRITE(drop_body, &d);
    cr_assert_eq(d.removed, 20);
    WRITE(drop_body, &d);
    cr_assert_eq(d.removed, 0);
    scan_all(&all, 1000);
    cr_assert_eq(page.n, 50);
    cr_assert_eq(page.seen[0], 50);
    cr_assert_eq(scan_all(&an, 5), 3, "its index entries are gone too");
    cr_assert_eq(page.n, 12);
    struct deletion gone = {.request_id = "r7", .max = 1};
    WRITE(delete_body, &gone);
    cr_assert_eq(gone.deleted, 0);
}
