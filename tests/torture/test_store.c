/*
 * lib/store without memory: a transaction happened as a whole or not at all, a read gives what was written or
 * says why not, and the store stays usable either way.
 */
#include "base/bytes.h"
#include "short.h"
#include "store/chats.h"
#include "store/counters.h"
#include "store/meta.h"
#include "store/requests.h"
#include "store/settings.h"

#define NOW_US 1769947200000000ull
#define CHATS  40
#define DAY    20260201

static const uint8_t key[REQUEST_KEY_SIZE] = {7};

static struct uuid id_of(uint32_t n)
{
    struct uuid id = {{0}};
    bytes_store_be64(id.bytes, NOW_US / 1000 << 16 | 0x7000);
    id.bytes[8] = 0x80;
    bytes_store_be32(id.bytes + 12, n);
    return id;
}

/* Everything a batch of answers writes; arg: the first of its chats. */
static int write_answers(struct store_write *w, void *arg, struct err *e)
{
    uint32_t first = *(uint32_t *)arg;
    struct request_record r = {
        .state = REQUEST_DONE, .expires_s = NOW_US / 1000000 + 3600, .chat_id = id_of(first)};
    int rc = requests_put(w, key, &r, NOW_US / 1000000, e);
    for (uint32_t i = first; rc == 0 && i < first + CHATS; i++) {
        struct buf record;
        struct chat c = {.id = id_of(i),
                         .endpoint = ENDPOINT_V1_QUERY,
                         .time_us = NOW_US,
                         .request_id = SLICE_LITERAL("id"),
                         .username = SLICE_LITERAL("user"),
                         .prompt = SLICE_LITERAL("Why?"),
                         .text = SLICE_LITERAL("Because.")};
        memcpy(c.key, key, sizeof(key));
        buf_init(&record, 1 << 16);
        chat_encode(&record, &c);
        rc = buf_failed(&record) ? err_set(e, ERR_NOMEM, "no memory")
                                 : chats_append(w, &c, buf_slice(&record), e);
        buf_fini(&record);
    }
    return rc == 0 ? counters_add(w, SLICE_LITERAL("answered.high"), DAY, CHATS, e) : rc;
}

static bool count_chat(void *arg, const struct chat *c)
{
    cr_assert(slice_is(c->text, "Because."));
    ++*(unsigned *)arg;
    return true;
}

/* Chats, their counter and their request tell the same story. */
static bool read_all(struct store *s, uint64_t *ret_chats)
{
    struct store_read *r = NULL;
    struct err e;
    struct chats_filter filter = {.username = SLICE_LITERAL("user")};
    struct uuid from = {0}, last;
    struct request_record record;
    unsigned n = 0;
    uint64_t count = 0, sum = 0;
    bool more = false;
    if (SHORT_E(store_read_begin(s, &r, &e), &e))
        return false;
    bool good = !SHORT_E(chats_scan(r, &filter, &from, UINT32_MAX, count_chat, &n, &last, &more, &e), &e) &&
                !SHORT_E(chats_count(r, &count, &e), &e) &&
                !SHORT_E(counters_sum(r, SLICE_LITERAL("answered.high"), 0, 0, &sum, &e), &e);
    if (good) {
        cr_assert(n == count && n == sum && n % CHATS == 0 && !more, "%u %llu %llu", n,
                  (unsigned long long)count, (unsigned long long)sum);
        e = (struct err){0};
        int rc = requests_get(r, key, NOW_US / 1000000, &record, &e);
        cr_assert(rc == ERR_NOMEM || rc == (n ? 0 : ERR_NOT_FOUND), "%d %s", rc, e.text);
        *ret_chats = n;
    }
    store_read_end(r);
    return good;
}

static bool open_store(const char *dir, enum store_access access, struct store **ret_store)
{
    struct store_options o = {.access = access, .map_max_bytes = 64 << 20, .map_start_bytes = 64 << 10};
    struct err e;
    *ret_store = NULL;
    if (!SHORT_E(store_open(dir, &o, ret_store, &e), &e))
        return true;
    cr_assert_null(*ret_store);
    return false;
}

/* What is there with all the memory one wants is what was promised. */
static void check_end(const char *dir, uint64_t chats)
{
    struct store *s;
    uint64_t there = 0;
    torture_pause();
    cr_assert(open_store(dir, STORE_WRITER, &s));
    cr_assert(read_all(s, &there));
    cr_assert_eq(there, chats, "%llu are there of %llu", (unsigned long long)there,
                 (unsigned long long)chats);
    store_close(s);
    torture_resume();
}

Test(torture_store, transactions_are_whole_or_not_there)
{
    const char *dir = short_dir();
    struct store *s;
    struct err e;
    uint64_t written = 0, seen;
    if (open_store(dir, STORE_WRITER, &s))
        for (uint32_t first = 0; first < 3 * CHATS; first += CHATS) {
            if (!SHORT_E(store_write(s, 0, write_answers, &first, &e), &e))
                written += CHATS;
            if (read_all(s, &seen))
                cr_assert_eq(seen, written);
        }
    store_close(s);
    check_end(dir, written);
}

Test(torture_store, a_reader_beside_a_writer)
{
    const char *dir = short_dir();
    struct store *writer, *s;
    struct store_usage u;
    struct err e;
    uint32_t first = 0;
    uint64_t seen;
    torture_pause();
    cr_assert(open_store(dir, STORE_WRITER, &writer));
    cr_assert_eq(store_write(writer, 0, write_answers, &first, &e), 0);
    store_close(writer);
    torture_resume();
    if (open_store(dir, STORE_READER, &s)) {
        for (int i = 0; i < 3; i++)
            if (read_all(s, &seen))
                cr_assert_eq(seen, CHATS);
        if (!SHORT_E(store_usage(s, &u, &e), &e))
            cr_assert_gt(u.used_bytes, 0);
        cr_assert(store_is_there(s));
    }
    store_close(s);
    check_end(dir, CHATS);
}

static int delete_them(struct store_write *w, void *arg, struct err *e)
{
    uint32_t n;
    bool more;
    (void)arg;
    int rc = chats_delete_request(w, SLICE_LITERAL("id"), CHATS, NOW_US / 1000000, &n, &more, e);
    return rc;
}

static int expire_them(struct store_write *w, void *arg, struct err *e)
{
    uint32_t n;
    (void)arg;
    int rc = requests_expire(w, NOW_US / 1000000 + 7200, 100, &n, e);
    return rc == 0 ? chats_drop_older(w, NOW_US + 1, 5, &n, e) : rc;
}

static uint64_t chats_in(struct store *s)
{
    struct store_read *r;
    uint64_t n;
    struct err e = {0};
    torture_pause();
    cr_assert_eq(store_read_begin(s, &r, &e), 0, "%s", e.text);
    cr_assert_eq(chats_count(r, &n, &e), 0, "%s", e.text);
    store_read_end(r);
    torture_resume();
    return n;
}

Test(torture_store, deletion_and_expiry)
{
    const char *dir = short_dir();
    struct store *s;
    struct err e;
    uint32_t first = 0;
    torture_pause();
    cr_assert(open_store(dir, STORE_WRITER, &s));
    cr_assert_eq(store_write(s, 0, write_answers, &first, &e), 0);
    torture_resume();
    bool failed = SHORT_E(store_write(s, 0, expire_them, NULL, &e), &e);
    uint64_t n = chats_in(s);
    cr_assert_eq(n, failed ? CHATS : CHATS - 5);
    failed = SHORT_E(store_write(s, 0, delete_them, NULL, &e), &e);
    cr_assert_eq(chats_in(s), failed ? n : 0);
    store_close(s);
}

static int save(struct store_write *w, void *arg, struct err *e)
{
    struct settings_patch *p = arg;
    static struct settings effective;
    effective = (struct settings){.provider = PROVIDER_OPENAI};
    return settings_save(w, p, &effective, e);
}

/* A PUT, from its body to the store and back. */
Test(torture_store, settings)
{
    static struct settings_patch patch, stored;
    static const char json[] = "{\"provider\":\"openai\",\"model\":\"m\",\"high_priority\":{\"window_ms\":5},"
                               "\"base_url\":\"https://example.org/v1\"}";
    struct store *s;
    struct store_read *r;
    struct err e;
    struct buf out;
    char field[128] = "";
    uint64_t epoch, version = 0;
    torture_pause();
    cJSON *body = cJSON_Parse(json);
    cr_assert(open_store(short_dir(), STORE_WRITER, &s));
    torture_resume();
    bool good = !SHORT_E(settings_patch_parse(body, &patch, field, &e), &e);
    if (good && !SHORT_E(store_write(s, 0, save, &patch, &e), &e)) {
        bool begun = !SHORT_E(store_read_begin(s, &r, &e), &e);
        if (begun && !SHORT_E(settings_version(r, &version, &e), &e))
            cr_assert_eq(version, 1);
        if (begun && !SHORT_E(settings_load_overrides(r, &stored, &e), &e)) {
            cr_assert(stored.has_model && strcmp(stored.model, "m") == 0);
            cr_assert_eq(stored.priority[PRIORITY_HIGH].value.window_ms, 5);
            cr_assert(stored.has_base_url && strcmp(stored.base_url, "https://example.org/v1") == 0);
        }
        if (begun)
            store_read_end(r);
    }
    buf_init(&out, 1 << 16);
    settings_patch_encode(&out, &patch, true);
    cr_assert(!good || buf_failed(&out) || out.data[out.len - 1] == '}');
    buf_fini(&out);
    if (!SHORT_E(meta_raise_epoch(s, &epoch, &e), &e))
        cr_assert_eq(epoch, 1);
    store_close(s);
    torture_pause();
    cJSON_Delete(body);
    torture_resume();
}

static void name_seen(void *arg, struct slice name, uint64_t sum)
{
    (void)name;
    *(uint64_t *)arg += sum;
}

static int add_latencies(struct store_write *w, void *arg, struct err *e)
{
    int rc = 0;
    (void)arg;
    for (uint64_t us = 1; rc == 0 && us < 1000000; us *= 3) {
        char name[COUNTER_NAME_MAX];
        histogram_bucket_name(name, "latency.high", us);
        rc = counters_add(w, slice_of(name), DAY, 1, e);
    }
    return rc;
}

Test(torture_store, figures)
{
    static const double at[] = {50, 99};
    uint64_t values[2] = {0}, n = 0, sum = 0;
    struct store *s;
    struct store_read *r;
    struct err e;
    torture_pause();
    cr_assert(open_store(short_dir(), STORE_WRITER, &s));
    torture_resume();
    bool there = !SHORT_E(store_write(s, 0, add_latencies, NULL, &e), &e);
    if (!SHORT_E(store_read_begin(s, &r, &e), &e)) {
        if (!SHORT_E(counters_each(r, SLICE_LITERAL("latency.high."), DAY, DAY, name_seen, &sum, &e), &e))
            cr_assert_eq(sum, there ? 13 : 0);
        if (!SHORT_E(histogram_percentiles(r, SLICE_LITERAL("latency.high"), 0, 0, at, 2, values, &n, &e),
                     &e))
            cr_assert_eq(n, there ? 13 : 0);
        store_read_end(r);
    }
    store_close(s);
}
