/*
 * GET /metrics: the figures of /stats for Prometheus. Counters are the stored ones: the same from every
 * process, and they go on after a restart. What only a running coordinator knows is left out while there is
 * none, and carpool_coordinator_up is 0.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "store/counters.h"
#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/exposition.h"
#include "worker/live.h"
#include "worker/report.h"
#include "worker/state.h"

/* Upper ends of the buckets: 0.4 ms to 105 s in steps of two, at which stored buckets begin, so that the
 * counts are exact. In microseconds. */
#define TIME_BUCKETS   19
#define TIME_BUCKET(i) (400ull << (i))
#define FILL_MEMBERS   256 /* batch_*.max_batch is at most that */
static const unsigned fill_buckets[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256};

struct metrics {
    struct report report;
    struct live live;
    struct exposition out;
};

static void counter(struct metrics *m, const char *name, const char *stored, const char *help)
{
    exposition_family(&m->out, name, METRIC_COUNTER, help);
    exposition_begin(&m->out, "");
    exposition_u64(&m->out, report_sum(&m->report, stored, NULL));
}

static void counter_by_priority(struct metrics *m, const char *name, const char *stored, const char *help)
{
    exposition_family(&m->out, name, METRIC_COUNTER, help);
    for (int p = PRIORITY_HIGH; p >= PRIORITY_LOW; p--) {
        const char *priority = report_priority((enum priority)p);
        exposition_begin(&m->out, "");
        exposition_label(&m->out, "priority", slice_of(priority));
        exposition_u64(&m->out, report_sum(&m->report, stored, priority));
    }
}

/* A family of counters; the first label is what follows the prefix up to a dot, the second the rest of it
 * (NULL: the first is all of it). */
static void counter_family(struct metrics *m, const char *name, const char *prefix, const char *first,
                           const char *second, const char *help)
{
    const struct tally *t = report_tally(&m->report, prefix, TALLY_ALL);
    exposition_family(&m->out, name, METRIC_COUNTER, help);
    for (size_t i = 0; i < t->n; i++) {
        struct slice key = t->rows[i].key;
        const char *dot = second ? memchr(key.p, '.', key.n) : NULL;
        size_t n = dot ? (size_t)(dot - key.p) : key.n;
        exposition_begin(&m->out, "");
        exposition_label(&m->out, first, (struct slice){key.p, n});
        if (second)
            exposition_label(&m->out, second,
                             dot ? (struct slice){dot + 1, key.n - n - 1} : (struct slice){0});
        exposition_u64(&m->out, t->rows[i].sum);
    }
}

static void gauge(struct metrics *m, const char *name, const char *help, double value)
{
    exposition_family(&m->out, name, METRIC_GAUGE, help);
    exposition_begin(&m->out, "");
    exposition_double(&m->out, value);
}

static void bucket(struct metrics *m, const char *priority, const char *le, uint64_t count)
{
    exposition_begin(&m->out, "_bucket");
    exposition_label(&m->out, "priority", slice_of(priority));
    exposition_label(&m->out, "le", slice_of(le));
    exposition_u64(&m->out, count);
}

static void begin_total(struct metrics *m, const char *priority, const char *suffix)
{
    exposition_begin(&m->out, suffix);
    exposition_label(&m->out, "priority", slice_of(priority));
}

static void time_histogram(struct metrics *m, const char *name, const char *stored, const char *help)
{
    uint64_t bounds[TIME_BUCKETS], below[TIME_BUCKETS] = {0}, count, sum;
    for (int i = 0; i < TIME_BUCKETS; i++)
        bounds[i] = TIME_BUCKET(i);
    exposition_family(&m->out, name, METRIC_HISTOGRAM, help);
    for (int p = PRIORITY_HIGH; p >= PRIORITY_LOW; p--) {
        char prefix[64], le[32];
        const char *priority = report_priority((enum priority)p);
        count = sum = 0;
        snprintf(prefix, sizeof(prefix), "%s.%s", stored, priority);
        if (m->report.r && !m->report.rc)
            m->report.rc = histogram_below(m->report.r, slice_of(prefix), 0, 0, bounds, TIME_BUCKETS, below,
                                           &count, &sum, m->report.e);
        for (int i = 0; i < TIME_BUCKETS; i++) {
            snprintf(le, sizeof(le), "%.10g", (double)bounds[i] / 1e6);
            bucket(m, priority, le, below[i]);
        }
        bucket(m, priority, "+Inf", count);
        begin_total(m, priority, "_sum");
        exposition_us(&m->out, sum);
        begin_total(m, priority, "_count");
        exposition_u64(&m->out, count);
    }
}

struct fills {
    uint64_t batches[FILL_MEMBERS + 1]; /* by members */
    uint64_t count, sum;
};

static void add_fill(void *arg, struct slice name, uint64_t sum)
{
    struct fills *f = arg;
    const char *dot = memrchr(name.p, '.', name.n);
    char digits[16];
    snprintf(digits, sizeof(digits), "%.*s", dot ? (int)(name.p + name.n - dot - 1) : 0, dot ? dot + 1 : "");
    unsigned long members = strtoul(digits, NULL, 10);
    f->count += sum;
    f->sum += sum * members;
    f->batches[members < FILL_MEMBERS ? members : FILL_MEMBERS] += sum;
}

static void fill_histogram(struct metrics *m)
{
    exposition_family(&m->out, "carpool_batch_members", METRIC_HISTOGRAM, "Prompts in a batch.");
    for (int p = PRIORITY_HIGH; p >= PRIORITY_LOW; p--) {
        struct fills fills = {0};
        const char *priority = report_priority((enum priority)p);
        char text[32];
        uint64_t seen = 0;
        unsigned members = 0;
        snprintf(text, sizeof(text), "fill.%s.", priority);
        report_each(&m->report, text, add_fill, &fills);
        for (size_t i = 0; i < ARRAY_LEN(fill_buckets); i++) {
            while (members <= fill_buckets[i])
                seen += fills.batches[members++];
            snprintf(text, sizeof(text), "%u", fill_buckets[i]);
            bucket(m, priority, text, seen);
        }
        bucket(m, priority, "+Inf", fills.count);
        begin_total(m, priority, "_sum");
        exposition_u64(&m->out, fills.sum);
        begin_total(m, priority, "_count");
        exposition_u64(&m->out, fills.count);
    }
}

/* "http.200.POST /v1/query": status, method and path. */
static void http_responses(struct metrics *m)
{
    const struct tally *t = report_tally(&m->report, "http.", TALLY_ALL);
    exposition_family(&m->out, "carpool_http_responses_total", METRIC_COUNTER,
                      "Responses by route and status; route other: a path that is none, a method it does not "
                      "take, or a preflight; status 499: the client had left.");
    for (size_t i = 0; i < t->n; i++) {
        struct slice key = t->rows[i].key;
        const char *dot = memchr(key.p, '.', key.n);
        if (!dot)
            continue;
        const char *end = key.p + key.n, *route = dot + 1;
        const char *space = memchr(route, ' ', (size_t)(end - route));
        exposition_begin(&m->out, "");
        exposition_label(&m->out, "status", (struct slice){key.p, (size_t)(dot - key.p)});
        exposition_label(&m->out, "method", (struct slice){route, space ? (size_t)(space - route) : 0});
        route = space ? space + 1 : route;
        exposition_label(&m->out, "route", (struct slice){route, (size_t)(end - route)});
        exposition_u64(&m->out, t->rows[i].sum);
    }
}

static void prompts(struct metrics *m)
{
    counter_by_priority(m, "carpool_prompts_total", "requests", "Prompts taken in.");
    counter_family(m, "carpool_endpoint_prompts_total", "endpoints.", "endpoint", NULL,
                   "Prompts taken in, by where they came in.");
    counter_by_priority(m, "carpool_answers_total", "answered",
                        "Prompts answered, by a call or from the cache.");
    http_responses(m);
    time_histogram(m, "carpool_latency_seconds", "latency", "From a prompt's intake to its answer.");
    time_histogram(m, "carpool_queue_seconds", "queue", "From a prompt's intake to the start of its batch.");
}

static void calls(struct metrics *m)
{
    counter_by_priority(m, "carpool_batches_total", "batches", "Batches sealed.");
    fill_histogram(m);
    counter_family(m, "carpool_batch_flushes_total", "flush.", "reason", NULL, "Why batches left.");
    counter_by_priority(m, "carpool_provider_calls_total", "calls", "Calls sent to the provider.");
    time_histogram(m, "carpool_provider_call_seconds", "upstream",
                   "Calls to the provider, from sending to the whole answer.");
    counter_family(
        m, "carpool_retries_total", "retries.", "reason", "attempt",
        "Calls that did not run and were sent again; attempt 1 is the second time a call was sent.");
    counter(m, "carpool_retries_over_budget_total", "retries_over_budget",
            "Calls not sent again since too many others had been (retry.budget_percent).");
    counter(m, "carpool_repairs_total", "repairs", "Prompts asked again that a complete answer left out.");
    counter(m, "carpool_breaker_opened_total", "breaker.opened",
            "Times the provider was left alone after failures in a row.");
}

static void tokens(struct metrics *m)
{
    const struct report_usage *u = report_usage(&m->report);
    exposition_family(&m->out, "carpool_tokens_total", METRIC_COUNTER, "Tokens that the provider charged.");
    for (size_t i = 0; i < u->n; i++)
        for (int completion = 0; completion <= 1; completion++) {
            exposition_begin(&m->out, "");
            exposition_label(&m->out, "model", u->models[i].model);
            exposition_label(&m->out, "kind", slice_of(completion ? "completion" : "prompt"));
            exposition_u64(&m->out, completion ? u->models[i].completion : u->models[i].prompt);
        }
    exposition_family(&m->out, "carpool_cost_usd_total", METRIC_COUNTER,
                      "What those tokens cost at the prices now configured; absent for a model without one.");
    for (size_t i = 0; i < u->n; i++) {
        if (isnan(u->models[i].usd))
            continue;
        exposition_begin(&m->out, "");
        exposition_label(&m->out, "model", u->models[i].model);
        exposition_double(&m->out, u->models[i].usd);
    }
}

static void saved_row(struct metrics *m, const char *by, const char *stored)
{
    exposition_begin(&m->out, "");
    exposition_label(&m->out, "by", slice_of(by));
    exposition_u64(&m->out, report_sum(&m->report, stored, NULL));
}

static void saved(struct metrics *m)
{
    counter(m, "carpool_cache_hits_total", "cache.hits", "Prompts answered from the cache.");
    counter(m, "carpool_cache_misses_total", "cache.misses", "Prompts that the cache had no answer for.");
    counter(m, "carpool_replays_total", "replays", "Answers given again under their request id.");
    counter(m, "carpool_joins_total", "joined", "Prompts that joined an equal one that ran.");
    exposition_family(&m->out, "carpool_calls_saved_total", METRIC_COUNTER, "Calls that nobody had to make.");
    saved_row(m, "batch", "saved.batch");
    saved_row(m, "cache", "cache.hits");
    saved_row(m, "replay", "replays");
    saved_row(m, "join", "joined");
    exposition_family(&m->out, "carpool_tokens_saved_total", METRIC_COUNTER,
                      "Tokens that nobody had to buy.");
    saved_row(m, "cache", "saved.tokens.cache");
    saved_row(m, "replay", "saved.tokens.replay");
    saved_row(m, "join", "saved.tokens.join");
}

static void trouble(struct metrics *m)
{
    counter_family(m, "carpool_errors_total", "errors.", "type", "code", "Refusals, as clients read them.");
    counter(m, "carpool_rate_limited_total", "rate_limited",
            "Prompts refused for the limits of their key or user.");
    counter(m, "carpool_log_records_dropped_total", "log.dropped",
            "Records that the event log had no room for.");
}

static void streams(struct metrics *m)
{
    counter(m, "carpool_streams_total", "streams", "Answers told while they were written.");
    counter(m, "carpool_streams_held_total", "streams.held",
            "Times one of them waited for its client to read.");
    counter(m, "carpool_streams_aborted_total", "streams.aborted",
            "Those ended at the provider, since their client had left.");
}

static void live_figures(struct metrics *m)
{
    const struct live *l = &m->live;
    gauge(m, "carpool_coordinator_up", "1 while a coordinator runs and answers.", l->there);
    if (!l->there)
        return;
    gauge(m, "process_start_time_seconds", "When the coordinator started, in seconds since 1970.",
          (double)l->started_ms / 1e3);
    gauge(m, "carpool_prompts_per_second", "Prompts that came in, over the last minute.",
          l->prompts_per_second);
    gauge(m, "carpool_prompts_in_flight", "Prompts that have come in and have no outcome yet.",
          (double)l->prompts);
    gauge(m, "carpool_provider_calls_in_flight", "Calls at the provider.", (double)l->calls);
    gauge(m, "carpool_streams_in_flight", "Of them, those whose answer is told while it is written.",
          (double)l->streams);
    for (int age = 0; age <= 1; age++) {
        exposition_family(&m->out, age ? "carpool_queue_oldest_age_seconds" : "carpool_queue_depth",
                          METRIC_GAUGE,
                          age ? "Age of the oldest prompt that waits; 0 when none does."
                              : "Prompts that wait for their batch.");
        for (int p = PRIORITY_HIGH; p >= PRIORITY_LOW; p--) {
            exposition_begin(&m->out, "");
            exposition_label(&m->out, "priority", slice_of(report_priority((enum priority)p)));
            exposition_double(&m->out, age ? (double)l->oldest_ms[p] / 1e3 : (double)l->waiting[p]);
        }
    }
    exposition_family(&m->out, "carpool_breaker_state", METRIC_GAUGE,
                      "1 for the state that the circuit breaker is in.");
    for (unsigned i = 0; i < LIVE_BREAKER_STATES; i++) {
        exposition_begin(&m->out, "");
        exposition_label(&m->out, "state", slice_of(live_breaker_states[i]));
        exposition_u64(&m->out, i == l->breaker);
    }
}

static void build_info(struct metrics *m)
{
    exposition_family(&m->out, "carpool_build_info", METRIC_GAUGE, "1; the version is in the label.");
    exposition_begin(&m->out, "");
    exposition_label(&m->out, "version", slice_of(CARPOOL_VERSION));
    exposition_u64(&m->out, 1);
}

static int render(struct metrics *m)
{
    build_info(m);
    live_figures(m);
    prompts(m);
    calls(m);
    tokens(m);
    saved(m);
    streams(m);
    trouble(m);
    return m->report.rc;
}

void api_metrics_get(struct exchange *x)
{
    struct err e = {0};
    struct metrics *m = arena_alloc(&x->arena, sizeof(*m));
    if (!m) {
        problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for these figures now.");
        return;
    }
    live_ask(x, &m->live); /* before the transaction, which must not wait */
    m->report = (struct report){.arena = &x->arena, .conf = x->worker->conf, .e = &e};
    m->out = (struct exposition){.out = &x->response.body};
    int rc = worker_read(x->worker, &m->report.r, &e);
    if (!rc)
        rc = render(m);
    store_read_end(m->report.r);
    if (rc)
        problem_respond_err(x, &e);
    else
        x->response.content_type = EXPOSITION_TYPE;
}
