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

static const char *const titles[PRIORITIES] = {"Low", "Medium", "High"};

struct range {
    uint32_t from_day, to_day; /* 0, 0: since ever */
};

/* Counts per day, kept in the order of the days. */
struct series {
    struct {
        uint32_t day;
        uint64_t count;
    } days[DAYS_MAX];
    size_t n;
};

static void add_day(void *arg, uint32_t day, uint64_t count)
{
    struct series *s = arg;
    size_t i = s->n;
    while (i && s->days[i - 1].day > day)
        i--;
    if (i && s->days[i - 1].day == day) {
        s->days[i - 1].count += count;
        return;
    }
    if (s->n == DAYS_MAX)
        return;
    memmove(&s->days[i + 1], &s->days[i], (s->n - i) * sizeof(s->days[0]));
    s->days[i].day = day;
    s->days[i].count = count;
    s->n++;
}

static void write_series(struct report *p, struct json_writer *w, const char *key, const char *prefix)
{
    struct series *s = arena_alloc(p->arena, sizeof(*s));
    if (!s && !p->rc)
        p->rc = err_set(p->e, ERR_NOMEM, "There is no memory for the analytics now.");
    for (int i = 0; i < PRIORITIES && p->r && !p->rc; i++) {
        char name[32];
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
        json_field_u64(w, "count", s->days[i].count);
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
    write_series(p, w, "request_count_over_time", "batches");
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
    write_series(p, w, "requests_over_time", "requests");
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
