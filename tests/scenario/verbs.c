/* What the lines of a script do; see README.md. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "money.h"
#include "process.h"
#include "random.h"
#include "script.h"
#include "server.h"
#include "speech.h"

static void open_world(struct script *s)
{
    struct err e = {0};
    if (s->opened)
        return;
    s->opened = true;
    if (!world_open(s->at, s->config.data ? s->config.data : "", s->seed, s->verbose, &e))
        script_fail(s, "the world does not open: %s", e.text);
    else if (s->machines > 1 &&
             !world_open_twin(&s->world, s->config.data ? s->config.data : "", s->seed + 1, &e))
        script_fail(s, "the second machine does not open: %s", e.text);
    s->at->capacity = s->capacity;
    if (s->world.twin)
        s->world.twin->capacity = s->capacity;
}

/* MACHINES n */
static void run_machines(struct script *s, struct line *l)
{
    s->machines = l->n > 1 ? (unsigned)atoi(l->words[1]) : 0;
    if (s->opened || s->machines < 1 || s->machines > 2)
        script_fail(s, "MACHINES 1|2 comes before everything that happens");
}

/* CONFIG section.key=value … */
static void run_config(struct script *s, struct line *l)
{
    if (s->opened)
        script_fail(s, "CONFIG comes before everything else");
    for (size_t i = 1; i < l->n; i++) {
        char *dot = strchr(l->words[i], '.'), *equals = strchr(l->words[i], '=');
        if (!dot || !equals || dot > equals) {
            script_fail(s, "\"%s\" is no section.key=value", l->words[i]);
            return;
        }
        buf_printf(&s->config, "[%.*s]\n%.*s = %s\n", (int)(dot - l->words[i]), l->words[i],
                   (int)(equals - dot - 1), dot + 1, equals + 1);
    }
}

static void run_pool(struct script *s, struct line *l)
{
    const char *capacity = line_value(l, "capacity");
    if (s->opened || !capacity)
        script_fail(s, "POOL capacity=N comes before everything that happens");
    else
        s->capacity = (uint32_t)atoi(capacity);
}

static struct slice keep(struct world *w, const char *text)
{
    return text ? slice_of(arena_copy(&w->arena, slice_of(text))) : (struct slice){0};
}

static void set_flags(struct wire_submit *m, const struct line *l)
{
    static const struct {
        const char *word;
        unsigned flag;
    } flags[] = {{"async", SUBMIT_ASYNC},       {"fresh", SUBMIT_FRESH_ID | SUBMIT_OWN_ID},
                 {"own", SUBMIT_OWN_ID},        {"alone", SUBMIT_ALONE},
                 {"no-cache", SUBMIT_NO_CACHE}, {"completion", SUBMIT_COMPLETION}};
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        if (line_has(l, flags[i].word))
            m->flags |= flags[i].flag;
    if (line_has(l, "invoke"))
        m->endpoint = ENDPOINT_INVOKE;
}

/* The same bytes for all: a hundred large prompts need not be in memory here as well. */
static struct slice long_text(size_t n)
{
    static char text[WIRE_MAX_PAYLOAD];
    if (!text[0])
        memset(text, 'x', sizeof(text));
    return (struct slice){text, n < sizeof(text) ? n : sizeof(text)};
}

static void set_texts(struct world *w, struct client *c, const struct line *l)
{
    struct wire_submit *m = &c->submit;
    char prompt[128];
    const char *id = line_value(l, "id"), *tenant = line_value(l, "tenant"),
               *temperature = line_value(l, "temperature"), *tokens = line_value(l, "max_tokens");
    snprintf(prompt, sizeof(prompt), "What is %s?", c->name);
    m->request_id = keep(w, id ? id : c->name);
    m->prompt = keep(w, line_value(l, "prompt") ? line_value(l, "prompt") : prompt);
    if (line_value(l, "size"))
        m->prompt = long_text((size_t)atoi(line_value(l, "size")));
    m->username = keep(w, line_value(l, "user"));
    m->model = keep(w, line_value(l, "model"));
    m->system_prompt = keep(w, line_value(l, "system"));
    m->caller_key = keep(w, line_value(l, "key"));
    m->extra = keep(w, line_value(l, "extra"));
    m->created_at = keep(w, line_value(l, "created_at"));
    if (temperature)
        m->temperature = strtod(temperature, NULL);
    if (tokens)
        m->max_tokens = (uint32_t)atoi(tokens);
    if (tenant)
        memcpy(m->trust_group, tenant, strnlen(tenant, sizeof(m->trust_group)));
}

/* The wait a worker would give: latency_ms of the priority and 30 s. */
static uint64_t usual_wait_us(const struct world *w, enum priority p)
{
    return (w->core->settings.priority[p].latency_ms + 30000ull) * US_PER_MS;
}

/* ARRIVE name PRIORITY key=value … */
static void run_arrive(struct script *s, struct line *l)
{
    struct world *w = s->at;
    enum priority p;
    if (l->n < 3 || conf_priority_parse(l->words[2], &p) < 0) {
        script_fail(s, "ARRIVE name HIGH|MEDIUM|LOW …");
        return;
    }
    if (client_find(w, l->words[1])) {
        script_fail(s, "there is a client %s already; use id= for a duplicate", l->words[1]);
        return;
    }
    struct client *c = client_add(w, l->words[1]);
    const char *wait = line_value(l, "wait");
    c->submit.priority = p;
    set_flags(&c->submit, l);
    set_texts(w, c, l);
    if (line_has(l, "openai"))
        c->submit.family = FAMILY_OPENAI;
    if (line_has(l, "verbatim") || line_has(l, "stream"))
        listen_compose(w, &c->submit, line_has(l, "stream") ? SUBMIT_STREAM : 0);
    c->deadline_us = w->now_us + (wait ? script_us(s, wait) : usual_wait_us(w, p));
    wire_request_key(c->submit.trust_group, c->submit.family, c->submit.request_id, c->submit.key);
    wire_submit_fingerprint(&c->submit, c->submit.fingerprint);
    client_submit(w, c);
    world_turn(w);
}

/* CROWD n name PRIORITY …: name1, name2, … of a tenant each, all with the id name. */
static void run_crowd(struct script *s, struct line *l)
{
    if (l->n < 4 || l->n > WORDS_MAX - 1) {
        script_fail(s, "CROWD n name PRIORITY …");
        return;
    }
    for (int i = 1; i <= atoi(l->words[1]) && !s->failed; i++) {
        char name[32], id[40], tenant[40];
        snprintf(name, sizeof(name), "%s%d", l->words[2], i);
        snprintf(id, sizeof(id), "id=%s", l->words[2]);
        snprintf(tenant, sizeof(tenant), "tenant=%s", name);
        struct line one = {.words = {l->words[0], name, l->words[3], id, tenant}, .n = 5};
        for (size_t k = 4; k < l->n; k++)
            one.words[one.n++] = l->words[k];
        run_arrive(s, &one);
    }
}

/* FORGET CHATS */
static void run_forget(struct script *s, struct line *l)
{
    (void)l;
    disk_forget_chats(s->at);
}

static struct client *named_client(struct script *s, struct line *l)
{
    struct client *c = l->n > 1 ? client_find(s->at, l->words[1]) : NULL;
    if (!c)
        script_fail(s, "there is no client %s", l->n > 1 ? l->words[1] : "without a name");
    return c;
}

/* LEAVE name [link] */
static void run_leave(struct script *s, struct line *l)
{
    struct client *c = named_client(s, l);
    if (!c)
        return;
    if (line_has(l, "link"))
        client_close(s->at, c);
    else
        client_cancel(s->at, c);
    world_turn(s->at);
}

/* WATCH name time */
static void run_watch(struct script *s, struct line *l)
{
    struct client *c = named_client(s, l);
    if (!c)
        return;
    client_watch(s->at, c, l->n > 2 ? script_us(s, l->words[2]) : 0);
    world_turn(s->at);
}

static void run_settings(struct script *s, struct line *l)
{
    client_settings(s->at, l->rest);
    world_turn(s->at);
}

static void run_delete(struct script *s, struct line *l)
{
    client_delete(s->at, l->n > 1 ? l->words[1] : "");
    world_turn(s->at);
}

static void run_drain(struct script *s, struct line *l)
{
    (void)l;
    core_drain(s->at->core);
    world_turn(s->at);
}

/* CRASH [durable] [workers] */
static void run_crash(struct script *s, struct line *l)
{
    world_crash(s->at, line_has(l, "durable"), line_has(l, "workers"));
}

/* TAKEOVER [reached] [stopped=t] */
static void run_takeover(struct script *s, struct line *l)
{
    const char *stopped = line_value(l, "stopped");
    process_take_over(s->at, stopped ? script_us(s, stopped) : 0, line_has(l, "reached"));
}

/* HAS id state [dead] [other]: of the request that ARRIVE id HIGH would make. */
static void run_shared_has(struct script *s, struct line *l)
{
    struct client c = {.submit = {.family = FAMILY_QUERY, .priority = PRIORITY_HIGH, .temperature = NAN}};
    snprintf(c.name, sizeof(c.name), "%s", l->n > 2 ? l->words[2] : "");
    set_texts(s->at, &c, l);
    wire_request_key(c.submit.trust_group, c.submit.family, c.submit.request_id, c.submit.key);
    wire_submit_fingerprint(&c.submit, c.submit.fingerprint);
    if (l->n < 4 || !server_has(s->at, &c, l->words[3], !line_has(l, "dead"), line_has(l, "other")))
        script_fail(s, "SHARED HAS id none|queued|dispatched|done|failed|unknown|deleted [dead] [other]");
}

/* SHARED TAKES time | LOST [carried] | BACK [opens=t] | HAS … */
static void run_shared(struct script *s, struct line *l)
{
    const char *what = l->n > 1 ? l->words[1] : "", *opens = line_value(l, "opens");
    if (!s->at->server)
        script_fail(s, "there is no server; CONFIG redis.enabled=on makes one");
    else if (strcmp(what, "TAKES") == 0 && l->n > 2)
        s->at->server_us = script_us(s, l->words[2]);
    else if (strcmp(what, "LOST") == 0)
        server_lose(s->at, line_has(l, "carried"));
    else if (strcmp(what, "BACK") == 0)
        server_return(s->at, opens ? script_us(s, opens) : 0);
    else if (strcmp(what, "HAS") == 0)
        run_shared_has(s, l);
    else
        script_fail(s, "SHARED TAKES time | LOST [carried] | BACK [opens=t] | HAS …");
}

/* COMMIT TAKES time | FAILS NOSPC|IO|EIO|FENCED [n] | WORKS */
static void run_commit(struct script *s, struct line *l)
{
    static const struct {
        const char *name;
        enum err_code code;
    } errors[] = {{"NOSPC", ERR_NOSPC}, {"IO", ERR_IO}, {"EIO", ERR_IO}, {"FENCED", ERR_FENCED}};
    struct world *w = s->at;
    if (line_has(l, "WORKS")) {
        w->commit_fails = 0;
        return;
    }
    if (l->n == 3 && strcmp(l->words[1], "TAKES") == 0) {
        w->commit_us = script_us(s, l->words[2]);
        return;
    }
    for (size_t i = 0; l->n > 2 && i < ARRAY_LEN(errors); i++)
        if (strcmp(l->words[1], "FAILS") == 0 && strcmp(l->words[2], errors[i].name) == 0) {
            w->commit_fails = l->n > 3 ? (uint32_t)atoi(l->words[3]) : UINT32_MAX;
            w->commit_error = errors[i].code;
            w->commit_reaches = strcmp(errors[i].name, "EIO") == 0;
            return;
        }
    script_fail(s, "COMMIT TAKES time | FAILS NOSPC|IO|EIO|FENCED [n] | WORKS");
}

static const struct {
    const char *name;
    enum conduct conduct;
} conducts[] = {{"OK", CONDUCT_ANSWER},       {"RESET", CONDUCT_RESET},
                {"TIMEOUT", CONDUCT_TIMEOUT}, {"REFUSED", CONDUCT_REFUSED},
                {"UNSENT", CONDUCT_UNSENT},   {"MISSING", CONDUCT_MISSING},
                {"DOUBLE", CONDUCT_DOUBLE},   {"EXTRA", CONDUCT_EXTRA},
                {"SHIFTED", CONDUCT_SHIFTED}, {"TRUNCATED", CONDUCT_TRUNCATED},
                {"HTML", CONDUCT_HTML},       {"FILTERED", CONDUCT_FILTERED},
                {"LOADING", CONDUCT_LOADING}, {"LOGPROBS", CONDUCT_LOGPROBS},
                {"BROKEN", CONDUCT_BROKEN},   {"ONE", CONDUCT_ONE}};

/* NEXT conduct|status [who] [retry-after=…] [slow=…] [after=n] [times=n] */
static void order_next(struct script *s, struct line *l)
{
    struct world *w = s->at;
    struct order o = {0};
    const char *what = l->n > 2 ? l->words[2] : "", *slow = line_value(l, "slow"),
               *after = line_value(l, "retry-after"), *times = line_value(l, "times"),
               *pieces = line_value(l, "after");
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(conducts); i++)
        if (strcmp(what, conducts[i].name) == 0) {
            o.conduct = conducts[i].conduct;
            known = true;
        }
    if (!known) {
        o.conduct = CONDUCT_STATUS;
        o.status = atoi(what);
    }
    if (l->n > 3 && !strchr(l->words[3], '='))
        snprintf(o.who, sizeof(o.who), "%s", l->words[3]);
    snprintf(o.retry_after, sizeof(o.retry_after), "%s", after ? after : "");
    o.slow_us = slow ? script_us(s, slow) : 0;
    o.after = pieces ? (unsigned)atoi(pieces) : 0;
    if (!known && (o.status < 300 || o.status > 599))
        script_fail(s, "the provider knows no \"%s\"", what);
    for (int n = times ? atoi(times) : 1; n > 0 && w->orders_n < WORLD_ORDERS_MAX; n--)
        w->orders[w->orders_n++] = o;
}

/* PROVIDER LATENCY time | GAP time | FILTER word | NEXT … */
static void run_provider(struct script *s, struct line *l)
{
    const char *what = l->n > 1 ? l->words[1] : "";
    if (strcmp(what, "NEXT") == 0)
        order_next(s, l);
    else if (strcmp(what, "LATENCY") == 0 && l->n > 2)
        s->at->latency_us = script_us(s, l->words[2]);
    else if (strcmp(what, "GAP") == 0 && l->n > 2)
        s->at->gap_us = script_us(s, l->words[2]);
    else if (strcmp(what, "FILTER") == 0)
        snprintf(s->at->filter, sizeof(s->at->filter), "%s", l->n > 2 ? l->words[2] : "");
    else
        script_fail(s, "PROVIDER LATENCY time | GAP time | FILTER word | NEXT …");
}

static void run_expect(struct script *s, struct line *l)
{
    memmove(l->words, l->words + 1, l->n * sizeof(l->words[0]));
    l->n--;
    expect_run(s, l);
}

/* RANDOM seed count: lives of their own, beside the script's world. */
static void run_random(struct script *s, struct line *l)
{
    uint64_t first = l->n > 2 ? strtoull(l->words[1], NULL, 10) : 1,
             count = l->n > 2 ? strtoull(l->words[2], NULL, 10) : 0;
    struct life_options options = {.verbose = s->verbose, .jobs = 1};
    uint64_t failed = lives_run(first, count, &options);
    s->lived = true;
    if (failed || !count)
        script_fail(s, "%llu of %llu random lives failed", (unsigned long long)failed,
                    (unsigned long long)count);
}

static void run_nothing(struct script *s, struct line *l)
{
    (void)s;
    (void)l;
}

void verb_run(struct script *s, struct line *l)
{
    static const struct {
        const char *name;
        void (*run)(struct script *s, struct line *l);
    } verbs[] = {{"CONFIG", run_config},       {"POOL", run_pool},         {"RANDOM", run_random},
                 {"MACHINES", run_machines},   {"ARRIVE", run_arrive},     {"LEAVE", run_leave},
                 {"WATCH", run_watch},         {"SETTINGS", run_settings}, {"DELETE", run_delete},
                 {"DRAIN", run_drain},         {"CRASH", run_crash},       {"COMMIT", run_commit},
                 {"PROVIDER", run_provider},   {"EXPECT", run_expect},     {"PAUSE", run_nothing},
                 {"CROWD", run_crowd},         {"FORGET", run_forget},     {"TAKEOVER", run_takeover},
                 {"SHARED", run_shared},       {"KEY", api_keys_run},      {"CLOCK", money_clock},
                 {"STALL", listen_verb_stall}, {"READ", listen_verb_read}};
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (strcmp(l->words[0], verbs[i].name) == 0) {
            if (i > 3)
                open_world(s);
            if (!s->failed)
                verbs[i].run(s, l);
            return;
        }
    script_fail(s, "there is no %s", l->words[0]);
}
