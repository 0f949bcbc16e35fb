/*
 * GET /v1/analytics: the dashboard's figures, from the counters alone. Source 2's keys come first and count
 * batches, as there. The rendered body is kept until the store or the question changes.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "store/counters.h"
#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/path.h"
#include "worker/report.h"
#include "worker/state.h"
#include "json/write.h"

#define DAYS_MAX 3660 /* of a time series: ten years */
/* Upper ends of the waits told apart: 0.4 ms to 105 s in steps of two, in us. Stored buckets begin there, so
 * that the counts are exact. */
#define WAITS      19
#define WAIT(i)    (400ull << (i))
#define FILL_SIZES 256 /* batch_*.max_batch is at most that */

static const char *const titles[PRIORITIES] = {"Low", "Medium", "High"};

struct range {
    uint32_t from_day, to_day; /* 0, 0: since ever */
};

/* Counts per day, kept in the order of the days. */
struct series {
    struct {
        uint32_t day;
        uint64_t counts[PRIORITIES];
    } days[DAYS_MAX];
    size_t n;
    enum priority priority; /* whose counts come in */
};

static void add_day(void *arg, uint32_t day, uint64_t count)
{
    struct series *s = arg;
    size_t i = s->n;
    while (i && s->days[i - 1].day > day)
        i--;
    if (i && s->days[i - 1].day == day) {
        s->days[i - 1].counts[s->priority] += count;
        return;
    }
    if (s->n == DAYS_MAX)
        return;
    memmove(&s->days[i + 1], &s->days[i], (s->n - i) * sizeof(s->days[0]));
    memset(&s->days[i], 0, sizeof(s->days[i]));
    s->days[i].day = day;
    s->days[i].counts[s->priority] = count;
    s->n++;
}

/* The members count (of all) and, where they are wanted, high, medium and low. */
static void write_counts(struct json_writer *w, const uint64_t counts[PRIORITIES], bool by_priority)
{
    uint64_t total = 0;
    for (int i = 0; i < PRIORITIES; i++)
        total += counts[i];
    json_field_u64(w, "count", total);
    for (int i = PRIORITY_HIGH; by_priority && i >= PRIORITY_LOW; i--)
        json_field_u64(w, report_priority((enum priority)i), counts[i]);
}

static void write_series(struct report *p, struct json_writer *w, const char *key, const char *prefix,
                         bool by_priority)
{
    struct series *s = arena_alloc(p->arena, sizeof(*s));
    if (!s && !p->rc)
        p->rc = err_set(p->e, ERR_NOMEM, "There is no memory for the analytics now.");
    for (int i = 0; i < PRIORITIES && p->r && !p->rc; i++) {
        char name[32];
        s->priority = (enum priority)i;
        int n = snprintf(name, sizeof(name), "%s.%s", prefix, report_priority((enum priority)i));
        p->rc =
            counters_days(p->r, (struct slice){name, (size_t)n}, p->from_day, p->to_day, add_day, s, p->e);
    }
    json_key(w, key);
    json_array_begin(w);
    for (size_t i = 0; s && i < s->n; i++) {
        char date[32];
        uint32_t day = s->days[i].day;
        snprintf(date, sizeof(date), "%04u-%02u-%02u", day / 10000, day / 100 % 100, day % 100);
        json_object_begin(w);
        json_field_cstr(w, "date", date);
        write_counts(w, s->days[i].counts, by_priority);
        json_object_end(w);
    }
    json_array_end(w);
}

/* Source 2's document: all of it counts batches. */
static void write_batches(struct report *p, struct json_writer *w)
{
    uint64_t batches[PRIORITIES];
    uint64_t total = 0;
    for (int i = 0; i < PRIORITIES; i++)
        total += batches[i] = report_sum(p, "batches", report_priority((enum priority)i));
    json_field_u64(w, "total_requests", total);
    json_field_u64(w, "high_priority", batches[PRIORITY_HIGH]);
    json_field_u64(w, "medium_priority", batches[PRIORITY_MEDIUM]);
    json_field_u64(w, "low_priority", batches[PRIORITY_LOW]);
    write_series(p, w, "request_count_over_time", "batches", false);
    json_key(w, "priority_distribution");
    json_array_begin(w);
    for (int i = PRIORITY_HIGH; i >= PRIORITY_LOW; i--) {
        json_object_begin(w);
        json_field_cstr(w, "name", titles[i]);
        json_field_u64(w, "value", batches[i]);
        json_object_end(w);
    }
    json_array_end(w);
}

static void write_requests(struct report *p, struct json_writer *w)
{
    uint64_t total = 0;
    json_key(w, "requests");
    json_object_begin(w);
    for (int i = PRIORITY_HIGH; i >= PRIORITY_LOW; i--) {
        const char *name = report_priority((enum priority)i);
        uint64_t n = report_sum(p, "requests", name);
        total += n;
        json_field_u64(w, name, n);
    }
    json_field_u64(w, "total", total);
    json_object_end(w);
    write_series(p, w, "requests_over_time", "requests", true);
}

/* Batches by how many they held. */
struct fills {
    uint64_t batches[FILL_SIZES + 1][PRIORITIES];
    size_t prefix_len;
    enum priority priority;
};

/* "fill.high.6": batches of six members. */
static void add_fill(void *arg, struct slice name, uint64_t sum)
{
    struct fills *f = arg;
    size_t size = 0;
    for (const char *at = name.p + f->prefix_len; at < name.p + name.n && *at >= '0' && *at <= '9'; at++)
        if (size <= FILL_SIZES)
            size = size * 10 + (size_t)(*at - '0');
    f->batches[size > FILL_SIZES ? FILL_SIZES : size][f->priority] += sum;
}

static void write_fills(struct report *p, struct json_writer *w)
{
    struct fills *f = arena_alloc(p->arena, sizeof(*f));
    if (!f && !p->rc)
        p->rc = err_set(p->e, ERR_NOMEM, "There is no memory for the analytics now.");
    for (int i = 0; f && i < PRIORITIES; i++) {
        char prefix[32];
        f->prefix_len =
            (size_t)snprintf(prefix, sizeof(prefix), "fill.%s.", report_priority((enum priority)i));
        f->priority = (enum priority)i;
        report_each(p, prefix, add_fill, f);
    }
    json_key(w, "batch_fill");
    json_array_begin(w);
    for (size_t size = 0; f && size <= FILL_SIZES; size++) {
        const uint64_t *n = f->batches[size];
        if (!n[PRIORITY_HIGH] && !n[PRIORITY_MEDIUM] && !n[PRIORITY_LOW])
            continue;
        json_object_begin(w);
        json_field_u64(w, "size", size);
        write_counts(w, n, true);
        json_object_end(w);
    }
    json_array_end(w);
}

/* Waits in the queue, each row those below its bound and not below the one before. */
static void write_waits(struct report *p, struct json_writer *w)
{
    uint64_t bounds[WAITS], rows[WAITS + 1][PRIORITIES] = {{0}};
    for (int k = 0; k < WAITS; k++)
        bounds[k] = WAIT(k);
    for (int i = 0; i < PRIORITIES && p->r && !p->rc; i++) {
        char prefix[32];
        uint64_t below[WAITS], count, sum;
        int n = snprintf(prefix, sizeof(prefix), "queue.%s", report_priority((enum priority)i));
        p->rc = histogram_below(p->r, (struct slice){prefix, (size_t)n}, p->from_day, p->to_day, bounds,
                                WAITS, below, &count, &sum, p->e);
        for (int k = 0; k <= WAITS && !p->rc; k++)
            rows[k][i] = (k < WAITS ? below[k] : count) - (k ? below[k - 1] : 0);
    }
    json_key(w, "queue_ms_histogram");
    json_array_begin(w);
    for (int k = 0; k <= WAITS; k++) {
        json_object_begin(w);
        json_key(w, "below_ms");
        if (k < WAITS)
            json_us_as_ms(w, bounds[k]);
        else
            json_null(w);
        write_counts(w, rows[k], true);
        json_object_end(w);
    }
    json_array_end(w);
}

static void write_savings(struct report *p, struct json_writer *w)
{
    uint64_t answered = report_sum_priorities(p, "answered"), calls = report_sum_priorities(p, "calls");
    json_field_u64(w, "calls", calls);
    json_field_u64(w, "calls_saved", answered > calls ? answered - calls : 0);
    report_write_mean_fill(p, w);
    json_field_u64(w, "replays", report_sum(p, "replays", NULL));
    json_field_u64(w, "joined", report_sum(p, "joined", NULL));
    json_field_u64(w, "repairs", report_sum(p, "repairs", NULL));
}

static int render(struct exchange *x, struct store_read *r, const struct range *range, struct err *e)
{
    struct json_writer writer, *w = &writer;
    struct report p = {.arena = &x->arena,
                       .conf = x->worker->conf,
                       .r = r,
                       .from_day = range->from_day,
                       .to_day = range->to_day,
                       .e = e};
    json_writer_init(w, &x->response.body);
    json_object_begin(w);
    write_batches(&p, w);
    write_requests(&p, w);
    write_savings(&p, w);
    report_write_usage(&p, w);
    report_write_percentiles(&p, w, "latency_ms", "latency");
    report_write_percentiles(&p, w, "queue_ms", "queue");
    write_waits(&p, w);
    write_fills(&p, w);
    report_write_tally(&p, w, "flush_reasons", "flush.", TALLY_ALL);
    report_write_tally(&p, w, "retries", "retries.", TALLY_FIRST);
    report_write_tally(&p, w, "errors", "errors.", TALLY_BEHIND);
    json_object_end(w);
    return p.rc;
}

static bool get_day(struct exchange *x, const char *name, uint32_t *ret_day)
{
    struct slice text;
    struct err e = {0};
    uint64_t us;
    if (query_get(x->query, name, &x->arena, &text, &e)) {
        problem_respond(x, PROBLEM_INVALID_PARAMETER, name, "%s", e.text);
        return false;
    }
    if (!text.p)
        return true;
    if (!clock_parse_rfc3339(text, &us)) {
        problem_respond(x, PROBLEM_INVALID_PARAMETER, name,
                        "%s must be a date such as 2026-02-01; days are counted in UTC, both ends included.",
                        name);
        return false;
    }
    *ret_day = clock_day(us);
    return true;
}

static bool get_range(struct exchange *x, struct range *ret_range)
{
    struct range range = {0};
    if (!get_day(x, "from", &range.from_day) || !get_day(x, "to", &range.to_day))
        return false;
    if (range.from_day && !range.to_day)
        range.to_day = 99991231;
    else if (range.to_day && !range.from_day)
        range.from_day = 19700101;
    *ret_range = range;
    return true;
}

/* True: the body of the same question at the same state of the store was kept, and is in the response now. */
static bool take_kept(struct exchange *x, uint64_t version)
{
    struct body_cache *c = &x->worker->analytics;
    pthread_mutex_lock(&c->lock);
    bool kept = c->made_us && c->version == version && slice_equal(buf_slice(&c->key), x->query);
    if (kept)
        buf_append_slice(&x->response.body, buf_slice(&c->body));
    pthread_mutex_unlock(&c->lock);
    return kept;
}

static void keep(struct exchange *x, uint64_t version)
{
    struct body_cache *c = &x->worker->analytics;
    pthread_mutex_lock(&c->lock);
    buf_clear(&c->key);
    buf_clear(&c->body);
    buf_append_slice(&c->key, x->query);
    buf_append_slice(&c->body, buf_slice(&x->response.body));
    c->version = version;
    c->made_us =
        buf_failed(&c->key) || buf_failed(&c->body) || buf_failed(&x->response.body) ? 0 : clock_mono_us();
    pthread_mutex_unlock(&c->lock);
}

void api_analytics_get(struct exchange *x)
{
    struct store_read *r = NULL;
    struct range range;
    struct err e = {0};
    if (!get_range(x, &range))
        return;
    int rc = worker_read(x->worker, &r, &e);
    uint64_t version = !rc && r ? store_read_version(r) : 0;
    if (!rc && !(r && take_kept(x, version))) {
        rc = render(x, r, &range, &e);
        if (!rc && r)
            keep(x, version);
    }
    store_read_end(r);
    if (rc)
        problem_respond_err(x, &e);
}
