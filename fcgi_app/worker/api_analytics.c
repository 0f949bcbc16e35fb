/*
 * GET /v1/analytics: the dashboard's figures, from the counters alone. Source 2's keys come first and count
 * batches, as there. The rendered body is kept until the store or the question changes.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "store/counters.h"
#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/path.h"
#include "worker/state.h"
#include "json/write.h"

#define DAYS_MAX   3660 /* of a time series: ten years */
#define MODELS_MAX 256

static const char *const names[PRIORITIES] = {"low", "medium", "high"};
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

struct usage {
    struct slice model; /* lent from the transaction */
    uint64_t in, out;
};

/* What one rendering works on. rc is the first failure; nothing is read after it. */
struct report {
    struct exchange *x;
    struct store_read *r; /* NULL: no store yet, all is zero */
    struct range range;
    struct json_writer w;
    struct err *e;
    int rc;
    struct usage *usage;
    size_t usage_n;
};

static uint64_t sum_of(struct report *p, const char *prefix, const char *name)
{
    char full[COUNTER_NAME_MAX];
    uint64_t sum = 0;
    int n = snprintf(full, sizeof(full), "%s%s%s", prefix, name ? "." : "", name ? name : "");
    if (p->r && !p->rc)
        p->rc = counters_sum(p->r, (struct slice){full, (size_t)n}, p->range.from_day, p->range.to_day, &sum,
                             p->e);
    return sum;
}

static uint64_t sum_of_priorities(struct report *p, const char *prefix)
{
    uint64_t sum = 0;
    for (int i = 0; i < PRIORITIES; i++)
        sum += sum_of(p, prefix, names[i]);
    return sum;
}

static void each(struct report *p, const char *prefix,
                 void (*visit)(void *arg, struct slice name, uint64_t sum), void *arg)
{
    if (p->r && !p->rc)
        p->rc = counters_each(p->r, slice_of(prefix), p->range.from_day, p->range.to_day, visit, arg, p->e);
}

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

static void write_series(struct report *p, const char *key, const char *prefix)
{
    struct series *s = arena_alloc(&p->x->arena, sizeof(*s));
    if (!s && !p->rc)
        p->rc = err_set(p->e, ERR_NOMEM, "There is no memory for the analytics now.");
    for (int i = 0; i < PRIORITIES && p->r && !p->rc; i++) {
        char name[32];
        int n = snprintf(name, sizeof(name), "%s.%s", prefix, names[i]);
        p->rc = counters_days(p->r, (struct slice){name, (size_t)n}, p->range.from_day, p->range.to_day,
                              add_day, s, p->e);
    }
    json_key(&p->w, key);
    json_array_begin(&p->w);
    for (size_t i = 0; s && i < s->n; i++) {
        char date[32];
        uint32_t day = s->days[i].day;
        snprintf(date, sizeof(date), "%04u-%02u-%02u", day / 10000, day / 100 % 100, day % 100);
        json_object_begin(&p->w);
        json_field_cstr(&p->w, "date", date);
        json_field_u64(&p->w, "count", s->days[i].count);
        json_object_end(&p->w);
    }
    json_array_end(&p->w);
}

/* Source 2's document: all of it counts batches. */
static void write_batches(struct report *p)
{
    uint64_t batches[PRIORITIES];
    uint64_t total = 0;
    for (int i = 0; i < PRIORITIES; i++)
        total += batches[i] = sum_of(p, "batches", names[i]);
    json_field_u64(&p->w, "total_requests", total);
    json_field_u64(&p->w, "high_priority", batches[PRIORITY_HIGH]);
    json_field_u64(&p->w, "medium_priority", batches[PRIORITY_MEDIUM]);
    json_field_u64(&p->w, "low_priority", batches[PRIORITY_LOW]);
    write_series(p, "request_count_over_time", "batches");
    json_key(&p->w, "priority_distribution");
    json_array_begin(&p->w);
    for (int i = PRIORITY_HIGH; i >= PRIORITY_LOW; i--) {
        json_object_begin(&p->w);
        json_field_cstr(&p->w, "name", titles[i]);
        json_field_u64(&p->w, "value", batches[i]);
        json_object_end(&p->w);
    }
    json_array_end(&p->w);
}

static void write_requests(struct report *p)
{
    uint64_t total = 0;
    json_key(&p->w, "requests");
    json_object_begin(&p->w);
    for (int i = PRIORITY_HIGH; i >= PRIORITY_LOW; i--) {
        uint64_t n = sum_of(p, "requests", names[i]);
        total += n;
        json_field_u64(&p->w, names[i], n);
    }
    json_field_u64(&p->w, "total", total);
    json_object_end(&p->w);
    write_series(p, "requests_over_time", "requests");
}

struct fill {
    uint64_t batches, members;
};

/* "fill.high.6": batches of six members. */
static void add_fill(void *arg, struct slice name, uint64_t sum)
{
    struct fill *f = arg;
    const char *dot = memrchr(name.p, '.', name.n);
    uint64_t members = 0;
    for (const char *at = dot ? dot + 1 : name.p; at < name.p + name.n && *at >= '0' && *at <= '9'; at++)
        members = members * 10 + (uint64_t)(*at - '0');
    f->batches += sum;
    f->members += sum * members;
}

static void write_savings(struct report *p)
{
    struct fill fill = {0};
    uint64_t answered = sum_of_priorities(p, "answered"), calls = sum_of_priorities(p, "calls");
    each(p, "fill.", add_fill, &fill);
    json_field_u64(&p->w, "calls", calls);
    json_field_u64(&p->w, "calls_saved", answered > calls ? answered - calls : 0);
    json_key(&p->w, "mean_batch_fill");
    json_double(&p->w, fill.batches ? (double)fill.members / (double)fill.batches : NAN);
    json_field_u64(&p->w, "replays", sum_of(p, "replays", NULL));
    json_field_u64(&p->w, "joined", sum_of(p, "joined", NULL));
    json_field_u64(&p->w, "repairs", sum_of(p, "repairs", NULL));
}

static void add_usage(struct report *p, struct slice name, size_t prefix, uint64_t in, uint64_t out)
{
    struct slice model = {name.p + prefix, name.n - prefix};
    size_t i = 0;
    while (i < p->usage_n && !slice_equal(p->usage[i].model, model))
        i++;
    if (i == MODELS_MAX)
        return;
    if (i == p->usage_n) {
        char *copy = arena_copy(&p->x->arena, model);
        if (!copy) {
            p->rc = err_set(p->e, ERR_NOMEM, "There is no memory for the analytics now.");
            return;
        }
        p->usage[p->usage_n++] = (struct usage){.model = {copy, model.n}};
    }
    p->usage[i].in += in;
    p->usage[i].out += out;
}

static void add_tokens_in(void *arg, struct slice name, uint64_t sum)
{
    add_usage(arg, name, strlen("tokens.in."), sum, 0);
}

static void add_tokens_out(void *arg, struct slice name, uint64_t sum)
{
    add_usage(arg, name, strlen("tokens.out."), 0, sum);
}

/* NaN: no price is configured for it. */
static double cost_of(const struct conf *c, const struct usage *u)
{
    for (size_t i = 0; i < c->prices_n; i++)
        if (slice_is(u->model, c->prices[i].model))
            return ((double)u->in * c->prices[i].usd_in + (double)u->out * c->prices[i].usd_out) / 1e6;
    return u->in || u->out ? NAN : 0;
}

static void write_usage(struct report *p, uint64_t in, uint64_t out)
{
    json_field_u64(&p->w, "prompt", in);
    json_field_u64(&p->w, "completion", out);
    json_field_u64(&p->w, "total", in + out);
}

static void write_tokens(struct report *p)
{
    uint64_t in = 0, out = 0;
    double cost = 0;
    p->usage = arena_alloc(&p->x->arena, MODELS_MAX * sizeof(*p->usage));
    if (!p->usage && !p->rc)
        p->rc = err_set(p->e, ERR_NOMEM, "There is no memory for the analytics now.");
    each(p, "tokens.in.", add_tokens_in, p);
    each(p, "tokens.out.", add_tokens_out, p);
    for (size_t i = 0; i < p->usage_n; i++) {
        in += p->usage[i].in;
        out += p->usage[i].out;
        cost += cost_of(p->x->worker->conf, &p->usage[i]);
    }
    json_key(&p->w, "tokens");
    json_object_begin(&p->w);
    write_usage(p, in, out);
    json_key(&p->w, "by_model");
    json_array_begin(&p->w);
    for (size_t i = 0; i < p->usage_n; i++) {
        json_object_begin(&p->w);
        json_field_text(&p->w, "model", p->usage[i].model);
        write_usage(p, p->usage[i].in, p->usage[i].out);
        json_key(&p->w, "cost_usd");
        json_double(&p->w, cost_of(p->x->worker->conf, &p->usage[i]));
        json_object_end(&p->w);
    }
    json_array_end(&p->w);
    json_object_end(&p->w);
    json_key(&p->w, "cost_usd");
    json_double(&p->w, cost);
}

static void write_percentiles(struct report *p, const char *key, const char *prefix)
{
    static const double wanted[] = {50, 90, 99};
    static const char *const labels[] = {"p50", "p90", "p99"};
    json_key(&p->w, key);
    json_object_begin(&p->w);
    for (int i = PRIORITY_HIGH; i >= PRIORITY_LOW; i--) {
        char name[32];
        uint64_t values[ARRAY_LEN(wanted)] = {0}, count = 0;
        int n = snprintf(name, sizeof(name), "%s.%s", prefix, names[i]);
        if (p->r && !p->rc)
            p->rc = histogram_percentiles(p->r, (struct slice){name, (size_t)n}, p->range.from_day,
                                          p->range.to_day, wanted, ARRAY_LEN(wanted), values, &count, p->e);
        json_key(&p->w, names[i]);
        json_object_begin(&p->w);
        for (size_t k = 0; k < ARRAY_LEN(wanted); k++) {
            json_key(&p->w, labels[k]);
            if (count)
                json_us_as_ms(&p->w, values[k]);
            else
                json_null(&p->w);
        }
        json_field_u64(&p->w, "count", count);
        json_object_end(&p->w);
    }
    json_object_end(&p->w);
}

/* Every counter under a prefix as a member named by the rest of its name. */
static void write_member(void *arg, struct slice name, uint64_t sum)
{
    struct json_writer *w = arg;
    char key[COUNTER_NAME_MAX + 1];
    const char *dot = memchr(name.p, '.', name.n);
    size_t skip = dot ? (size_t)(dot - name.p) + 1 : 0;
    snprintf(key, sizeof(key), "%.*s", (int)(name.n - skip), name.p + skip);
    json_field_u64(w, key, sum);
}

static void write_family(struct report *p, const char *key, const char *prefix)
{
    json_key(&p->w, key);
    json_object_begin(&p->w);
    each(p, prefix, write_member, &p->w);
    json_object_end(&p->w);
}

static int render(struct exchange *x, struct store_read *r, const struct range *range, struct err *e)
{
    struct report p = {.x = x, .r = r, .range = *range, .e = e};
    json_writer_init(&p.w, &x->response.body);
    json_object_begin(&p.w);
    write_batches(&p);
    write_requests(&p);
    write_savings(&p);
    write_tokens(&p);
    write_percentiles(&p, "latency_ms", "latency");
    write_percentiles(&p, "queue_ms", "queue");
    write_family(&p, "flush_reasons", "flush.");
    write_family(&p, "retries", "retries.");
    write_family(&p, "errors", "errors.");
    json_object_end(&p.w);
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
