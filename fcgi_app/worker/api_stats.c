/*
 * GET /stats (source 4): how much was done, how fast, at what cost, and what went wrong. Of all processes
 * together and since ever, from the stored counters; what only a running coordinator knows is null while
 * there is none, and "coordinator" says why.
 */
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/version.h"
#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/live.h"
#include "worker/report.h"
#include "worker/state.h"
#include "json/write.h"

/* What one rendering works on. */
struct stats {
    struct report report;
    struct live live;
    struct json_writer w;
};

static void live_u64(struct stats *s, const char *key, uint64_t number)
{
    json_key(&s->w, key);
    if (s->live.there)
        json_u64(&s->w, number);
    else
        json_null(&s->w);
}

static void ratio(struct json_writer *w, const char *key, uint64_t part, uint64_t whole)
{
    json_key(w, key);
    json_double(w, whole ? (double)part / (double)whole : NAN);
}

static void write_coordinator(struct stats *s)
{
    json_field_cstr(&s->w, "version", CARPOOL_VERSION);
    json_key(&s->w, "coordinator");
    json_object_begin(&s->w);
    json_field_cstr(&s->w, "status", s->live.there ? "ok" : s->live.idle ? "idle" : "down");
    if (!s->live.there)
        json_field_cstr(&s->w, "reason", s->live.why.text);
    json_object_end(&s->w);
    live_u64(s, "uptime_s", s->live.uptime_s);
    json_key(&s->w, "started_at");
    if (s->live.there) {
        char text[CLOCK_RFC3339_SIZE];
        clock_format_rfc3339(s->live.started_ms * US_PER_MS, text);
        json_text(&s->w, slice_of(text));
    } else
        json_null(&s->w);
}

/* Returns the total. */
static uint64_t write_by_priority(struct stats *s, const char *prefix)
{
    uint64_t total = 0;
    json_key(&s->w, "by_priority");
    json_object_begin(&s->w);
    for (int p = PRIORITY_HIGH; p >= PRIORITY_LOW; p--) {
        const char *name = report_priority((enum priority)p);
        uint64_t n = report_sum(&s->report, prefix, name);
        total += n;
        json_field_u64(&s->w, name, n);
    }
    json_object_end(&s->w);
    return total;
}

static void write_requests(struct stats *s)
{
    json_key(&s->w, "requests");
    json_object_begin(&s->w);
    json_field_u64(&s->w, "total", write_by_priority(s, "requests"));
    report_write_tally(&s->report, &s->w, "by_endpoint", "endpoints.", TALLY_ALL);
    json_key(&s->w, "per_second");
    json_double(&s->w, s->live.there ? s->live.prompts_per_second : NAN);
    json_object_end(&s->w);
}

static void write_responses(struct stats *s)
{
    static const char *const classes[] = {"2xx", "3xx", "4xx", "5xx"};
    const struct tally *statuses = report_tally(&s->report, "http.", TALLY_FIRST);
    uint64_t of_class[ARRAY_LEN(classes)] = {0};
    for (size_t i = 0; i < statuses->n; i++) {
        int class = statuses->rows[i].key.p[0] - '0';
        if (class >= 2 && class <= 5)
            of_class[class - 2] += statuses->rows[i].sum;
    }
    json_key(&s->w, "responses");
    json_object_begin(&s->w);
    json_field_u64(&s->w, "total", statuses->total);
    json_key(&s->w, "by_status_class");
    json_object_begin(&s->w);
    for (size_t i = 0; i < ARRAY_LEN(classes); i++)
        json_field_u64(&s->w, classes[i], of_class[i]);
    json_object_end(&s->w);
    report_write_tally(&s->report, &s->w, "by_status", "http.", TALLY_FIRST);
    report_write_tally(&s->report, &s->w, "by_route", "http.", TALLY_BEHIND);
    ratio(&s->w, "error_ratio", of_class[2] + of_class[3], statuses->total);
    json_object_end(&s->w);
}

static void write_cache(struct stats *s)
{
    uint64_t hits = report_sum(&s->report, "cache", "hits");
    uint64_t misses = report_sum(&s->report, "cache", "misses");
    json_key(&s->w, "cache");
    json_object_begin(&s->w);
    json_field_u64(&s->w, "hits", hits);
    json_field_u64(&s->w, "misses", misses);
    ratio(&s->w, "hit_ratio", hits, hits + misses);
    json_object_end(&s->w);
}

static void write_calls(struct stats *s)
{
    json_key(&s->w, "calls");
    json_object_begin(&s->w);
    json_field_u64(&s->w, "total", write_by_priority(s, "calls"));
    live_u64(s, "in_flight", s->live.calls);
    json_object_end(&s->w);
    json_key(&s->w, "batches");
    json_object_begin(&s->w);
    json_field_u64(&s->w, "total", write_by_priority(s, "batches"));
    report_write_mean_fill(&s->report, &s->w);
    report_write_tally(&s->report, &s->w, "flush_reasons", "flush.", TALLY_ALL);
    json_object_end(&s->w);
}

/* Calls that nobody had to make and tokens that nobody had to buy, by what spared them. */
static void write_saved(struct stats *s)
{
    static const struct {
        const char *name, *calls, *tokens;
    } by[] = {{"batch", "saved.batch", NULL},
              {"cache", "cache.hits", "saved.tokens.cache"},
              {"replay", "replays", "saved.tokens.replay"},
              {"join", "joined", "saved.tokens.join"}};
    for (int tokens = 0; tokens <= 1; tokens++) {
        uint64_t total = 0;
        json_key(&s->w, tokens ? "tokens_saved" : "calls_saved");
        json_object_begin(&s->w);
        for (size_t i = 0; i < ARRAY_LEN(by); i++) {
            const char *counter = tokens ? by[i].tokens : by[i].calls;
            if (!counter)
                continue;
            uint64_t n = report_sum(&s->report, counter, NULL);
            total += n;
            json_field_u64(&s->w, by[i].name, n);
        }
        json_field_u64(&s->w, "total", total);
        json_object_end(&s->w);
    }
    json_field_u64(&s->w, "replays", report_sum(&s->report, "replays", NULL));
    json_field_u64(&s->w, "joined", report_sum(&s->report, "joined", NULL));
}

static void write_trouble(struct stats *s)
{
    struct report *p = &s->report;
    json_key(&s->w, "errors");
    json_object_begin(&s->w);
    json_field_u64(&s->w, "total", report_tally(p, "errors.", TALLY_FIRST)->total);
    report_write_tally(p, &s->w, "by_type", "errors.", TALLY_FIRST);
    report_write_tally(p, &s->w, "by_code", "errors.", TALLY_BEHIND);
    json_object_end(&s->w);
    json_key(&s->w, "retries");
    json_object_begin(&s->w);
    json_field_u64(&s->w, "total", report_tally(p, "retries.", TALLY_FIRST)->total);
    report_write_tally(p, &s->w, "by_reason", "retries.", TALLY_FIRST);
    report_write_tally(p, &s->w, "by_attempt", "retries.", TALLY_BEHIND);
    json_field_u64(&s->w, "over_budget", report_sum(p, "retries_over_budget", NULL));
    json_object_end(&s->w);
    json_field_u64(&s->w, "repairs", report_sum(p, "repairs", NULL));
    json_field_u64(&s->w, "rate_limited", report_sum(p, "rate_limited", NULL));
    json_key(&s->w, "breaker");
    json_object_begin(&s->w);
    json_key(&s->w, "state");
    json_text(&s->w, slice_of(s->live.there ? live_breaker_states[s->live.breaker] : NULL));
    live_u64(s, "failures_in_a_row", s->live.breaker_failures);
    json_field_u64(&s->w, "opened", report_sum(p, "breaker", "opened"));
    json_object_end(&s->w);
    json_field_u64(&s->w, "log_records_dropped", report_sum(p, "log", "dropped"));
}

static void write_queue(struct stats *s)
{
    live_u64(s, "in_flight", s->live.prompts);
    json_key(&s->w, "queue");
    json_object_begin(&s->w);
    for (int p = PRIORITY_HIGH; p >= PRIORITY_LOW; p--) {
        json_key(&s->w, report_priority((enum priority)p));
        json_object_begin(&s->w);
        live_u64(s, "depth", s->live.waiting[p]);
        live_u64(s, "oldest_ms", s->live.oldest_ms[p]);
        json_object_end(&s->w);
    }
    json_object_end(&s->w);
}

static int render(struct stats *s)
{
    json_object_begin(&s->w);
    write_coordinator(s);
    write_requests(s);
    write_responses(s);
    write_queue(s);
    report_write_percentiles(&s->report, &s->w, "latency_ms", "latency");
    report_write_percentiles(&s->report, &s->w, "queue_ms", "queue");
    report_write_percentiles(&s->report, &s->w, "upstream_ms", "upstream");
    write_cache(s);
    report_write_usage(&s->report, &s->w);
    write_calls(s);
    write_saved(s);
    write_trouble(s);
    json_object_end(&s->w);
    return s->report.rc;
}

void api_stats_get(struct exchange *x)
{
    struct err e = {0};
    struct stats *s = arena_alloc(&x->arena, sizeof(*s));
    if (!s) {
        problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for these figures now.");
        return;
    }
    live_ask(x, &s->live); /* before the transaction, which must not wait */
    s->report = (struct report){.arena = &x->arena, .conf = x->worker->conf, .e = &e};
    json_writer_init(&s->w, &x->response.body);
    int rc = worker_read(x->worker, &s->report.r, &e);
    if (!rc)
        rc = render(s);
    store_read_end(s->report.r);
    if (rc)
        problem_respond_err(x, &e);
}
