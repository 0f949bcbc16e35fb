/* Figures out of the stored counters; see report.h. */
#include "worker/report.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/cost.h"
#include "store/counters.h"

static const char *const priorities[PRIORITIES] = {
    [PRIORITY_LOW] = "low", [PRIORITY_MEDIUM] = "medium", [PRIORITY_HIGH] = "high"};

const char *report_priority(enum priority p)
{
    return priorities[p];
}

static void fail_nomem(struct report *p)
{
    if (!p->rc)
        p->rc = err_set(p->e, ERR_NOMEM, "There is no memory for these figures now.");
}

uint64_t report_sum(struct report *p, const char *prefix, const char *name)
{
    char full[COUNTER_NAME_MAX];
    uint64_t sum = 0;
    int n = snprintf(full, sizeof(full), "%s%s%s", prefix, name ? "." : "", name ? name : "");
    if (p->r && !p->rc)
        p->rc = counters_sum(p->r, (struct slice){full, (size_t)n}, p->from_day, p->to_day, &sum, p->e);
    return sum;
}

uint64_t report_sum_priorities(struct report *p, const char *prefix)
{
    uint64_t sum = 0;
    for (int i = 0; i < PRIORITIES; i++)
        sum += report_sum(p, prefix, priorities[i]);
    return sum;
}

void report_each(struct report *p, const char *prefix,
                 void (*visit)(void *arg, struct slice name, uint64_t sum), void *arg)
{
    if (p->r && !p->rc)
        p->rc = counters_each(p->r, slice_of(prefix), p->from_day, p->to_day, visit, arg, p->e);
}

/* A copy in the arena; absent, with the failure noted, without memory. */
static struct slice keep(struct report *p, struct slice text)
{
    char *copy = arena_copy(p->arena, text);
    if (!copy)
        fail_nomem(p);
    return (struct slice){copy, copy ? text.n : 0};
}

struct tallying {
    struct report *p;
    struct tally *t;
    size_t prefix_len;
    enum tally_by by;
};

static struct slice tally_key(const struct tallying *g, struct slice name)
{
    struct slice rest = {name.p + g->prefix_len, name.n - g->prefix_len};
    const char *dot = memchr(rest.p, '.', rest.n);
    if (g->by == TALLY_ALL)
        return rest;
    size_t first = dot ? (size_t)(dot - rest.p) : rest.n;
    if (g->by == TALLY_FIRST)
        return (struct slice){rest.p, first};
    return dot ? (struct slice){dot + 1, rest.n - first - 1} : SLICE_LITERAL("");
}

static void tally_one(void *arg, struct slice name, uint64_t sum)
{
    struct tallying *g = arg;
    struct tally *t = g->t;
    struct slice key = tally_key(g, name);
    size_t i = 0;
    t->total += sum;
    while (i < t->n && !slice_equal(t->rows[i].key, key))
        i++;
    if (i == TALLY_MAX)
        return;
    if (i == t->n) {
        t->rows[i].key = keep(g->p, key);
        if (!t->rows[i].key.p)
            return;
        t->n++;
    }
    t->rows[i].sum += sum;
}

const struct tally *report_tally(struct report *p, const char *prefix, enum tally_by by)
{
    static const struct tally nothing;
    struct tallying g = {.p = p, .by = by, .prefix_len = strlen(prefix)};
    g.t = arena_alloc(p->arena, sizeof(*g.t));
    if (!g.t) {
        fail_nomem(p);
        return &nothing;
    }
    report_each(p, prefix, tally_one, &g);
    return g.t;
}

void report_write_tally(struct report *p, struct json_writer *w, const char *key, const char *prefix,
                        enum tally_by by)
{
    const struct tally *t = report_tally(p, prefix, by);
    json_key(w, key);
    json_object_begin(w);
    for (size_t i = 0; i < t->n; i++)
        json_field_u64(w, t->rows[i].key.p, t->rows[i].sum);
    json_object_end(w);
}

/* "fill.high.6": batches of six members. */
static void add_fill(void *arg, struct slice name, uint64_t sum)
{
    struct report_fill *f = arg;
    const char *dot = memrchr(name.p, '.', name.n);
    uint64_t members = 0;
    for (const char *at = dot ? dot + 1 : name.p; at < name.p + name.n && *at >= '0' && *at <= '9'; at++)
        members = members * 10 + (uint64_t)(*at - '0');
    f->batches += sum;
    f->members += sum * members;
}

struct report_fill report_fill(struct report *p)
{
    struct report_fill fill = {0};
    report_each(p, "fill.", add_fill, &fill);
    return fill;
}

void report_write_mean_fill(struct report *p, struct json_writer *w)
{
    struct report_fill fill = report_fill(p);
    json_key(w, "mean_batch_fill");
    json_double(w, fill.batches ? (double)fill.members / (double)fill.batches : NAN);
}

struct using
{
    struct report *p;
    struct report_usage *u;
};

static struct report_model *model_of(struct using *g, struct slice model)
{
    struct report_usage *u = g->u;
    size_t i = 0;
    while (i < u->n && !slice_equal(u->models[i].model, model))
        i++;
    if (i < u->n)
        return &u->models[i];
    if (i >= REPORT_MODELS_MAX - 1) {
        i = REPORT_MODELS_MAX - 1;
        u->n = REPORT_MODELS_MAX;
        u->models[i].model = SLICE_LITERAL("others");
        return &u->models[i];
    }
    u->models[i].model = keep(g->p, model);
    if (!u->models[i].model.p)
        return NULL;
    u->n++;
    return &u->models[i];
}

static void add_prompt_tokens(void *arg, struct slice name, uint64_t sum)
{
    struct using *g = arg;
    size_t skip = strlen("tokens.in.");
    struct report_model *m = model_of(g, (struct slice){name.p + skip, name.n - skip});
    g->u->prompt += sum;
    if (m)
        m->prompt += sum;
}

static void add_completion_tokens(void *arg, struct slice name, uint64_t sum)
{
    struct using *g = arg;
    size_t skip = strlen("tokens.out.");
    struct report_model *m = model_of(g, (struct slice){name.p + skip, name.n - skip});
    g->u->completion += sum;
    if (m)
        m->completion += sum;
}

static void add_prices(struct report *p, struct report_usage *u)
{
    size_t priced = 0;
    for (size_t i = 0; i < u->n; i++) {
        struct report_model *m = &u->models[i];
        m->usd = i < REPORT_MODELS_MAX - 1 ? cost_usd(p->conf, m->model, m->prompt, m->completion) : NAN;
        if (isnan(m->usd))
            u->unpriced = true;
        else {
            u->priced_usd += m->usd;
            priced++;
        }
    }
    if (u->n && !priced)
        u->priced_usd = NAN;
}

const struct report_usage *report_usage(struct report *p)
{
    static const struct report_usage nothing;
    struct using g = {.p = p, .u = arena_alloc(p->arena, sizeof(*g.u))};
    if (!g.u) {
        fail_nomem(p);
        return &nothing;
    }
    report_each(p, "tokens.in.", add_prompt_tokens, &g);
    report_each(p, "tokens.out.", add_completion_tokens, &g);
    add_prices(p, g.u);
    return g.u;
}

static void write_tokens(struct json_writer *w, uint64_t prompt, uint64_t completion)
{
    json_field_u64(w, "prompt", prompt);
    json_field_u64(w, "completion", completion);
    json_field_u64(w, "total", prompt + completion);
}

void report_write_usage(struct report *p, struct json_writer *w)
{
    const struct report_usage *u = report_usage(p);
    json_key(w, "tokens");
    json_object_begin(w);
    write_tokens(w, u->prompt, u->completion);
    json_key(w, "by_model");
    json_array_begin(w);
    for (size_t i = 0; i < u->n; i++) {
        json_object_begin(w);
        json_field_text(w, "model", u->models[i].model);
        write_tokens(w, u->models[i].prompt, u->models[i].completion);
        json_key(w, "cost_usd");
        json_double(w, u->models[i].usd);
        json_object_end(w);
    }
    json_array_end(w);
    json_object_end(w);
    json_key(w, "cost_usd");
    json_double(w, u->priced_usd);
    json_key(w, "unpriced_models");
    json_array_begin(w);
    for (size_t i = 0; i < u->n; i++)
        if (isnan(u->models[i].usd))
            json_text(w, u->models[i].model);
    json_array_end(w);
}

void report_write_percentiles(struct report *p, struct json_writer *w, const char *key, const char *prefix)
{
    static const double wanted[] = {50, 90, 99};
    static const char *const labels[] = {"p50", "p90", "p99"};
    json_key(w, key);
    json_object_begin(w);
    for (int i = PRIORITY_HIGH; i >= PRIORITY_LOW; i--) {
        char name[32];
        uint64_t values[ARRAY_LEN(wanted)] = {0}, count = 0;
        int n = snprintf(name, sizeof(name), "%s.%s", prefix, priorities[i]);
        if (p->r && !p->rc)
            p->rc = histogram_percentiles(p->r, (struct slice){name, (size_t)n}, p->from_day, p->to_day,
                                          wanted, ARRAY_LEN(wanted), values, &count, p->e);
        json_key(w, priorities[i]);
        json_object_begin(w);
        for (size_t k = 0; k < ARRAY_LEN(wanted); k++) {
            json_key(w, labels[k]);
            if (count)
                json_us_as_ms(w, values[k]);
            else
                json_null(w);
        }
        json_field_u64(w, "count", count);
        json_object_end(w);
    }
    json_object_end(w);
}
