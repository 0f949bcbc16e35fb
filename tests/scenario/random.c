/* Random lives of a world; see random.h. No script says what must come of them: the rules that always hold do
 * (rules.c). */
#include "random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "settle.h"

#define EVENTS_MIN  40
#define EVENTS_MORE 80
#define GAP_US      (300 * US_PER_MS) /* at most, between two events */
#define IDS         24

static const char *pick(struct world *w, const char *const *from, size_t n)
{
    return from[world_random(w, n)];
}

static bool chance(struct world *w, unsigned percent)
{
    return world_random(w, 100) < percent;
}

static struct slice keep(struct world *w, const char *text)
{
    return slice_of(arena_copy(&w->arena, slice_of(text)));
}

static void compose(struct world *w, struct wire_submit *m, unsigned number)
{
    static const char *const models[] = {"test", "other"};
    char text[128];
    unsigned id = (unsigned)world_random(w, IDS);
    m->priority = (enum priority)world_random(w, PRIORITIES);
    m->trust_group[0] = (uint8_t)world_random(w, 2);
    if (chance(w, 25)) {
        m->flags |= SUBMIT_FRESH_ID;
        id = 1000 + number;
    } else if (chance(w, 20))
        m->flags |= SUBMIT_ASYNC;
    if (chance(w, 5))
        m->flags |= SUBMIT_ALONE;
    snprintf(text, sizeof(text), "id%u", id);
    m->request_id = keep(w, text);
    /* The same id mostly asks the same again, and now and then something else. */
    snprintf(text, sizeof(text), "%s %u of tenant %u%s",
             pick(w, (const char *const[]){"Why", "Why", "Why", "How"}, 4), id, m->trust_group[0],
             chance(w, 4) ? " (offensive)" : "");
    m->prompt = keep(w, text);
    if (chance(w, 20))
        m->model = keep(w, pick(w, models, ARRAY_LEN(models)));
    m->priority = id < 1000 ? (enum priority)(id % PRIORITIES) : m->priority;
}

static void arrive(struct world *w, unsigned number)
{
    char name[32];
    snprintf(name, sizeof(name), "c%u", number);
    struct client *c = client_add(w, name);
    compose(w, &c->submit, number);
    c->deadline_us = w->now_us + (chance(w, 20) ? world_random(w, 3 * US_PER_S) : 40 * US_PER_S);
    wire_request_key(c->submit.trust_group, c->submit.family, c->submit.request_id, c->submit.key);
    wire_submit_fingerprint(&c->submit, c->submit.fingerprint);
    client_submit(w, c);
}

static void order_something(struct world *w)
{
    static const int statuses[] = {400, 408, 413, 429, 429, 500, 500, 502, 503, 504, 529};
    struct order o = {.conduct = (enum conduct)world_random(w, CONDUCT_FILTERED + 1)};
    if (w->orders_n == WORLD_ORDERS_MAX)
        return;
    if (chance(w, 40))
        o.conduct = CONDUCT_STATUS;
    o.status = statuses[world_random(w, ARRAY_LEN(statuses))];
    if (chance(w, 30))
        snprintf(o.retry_after, sizeof(o.retry_after), "%u", (unsigned)world_random(w, 4));
    snprintf(o.who, sizeof(o.who), "id%u", (unsigned)world_random(w, IDS));
    o.slow_us = chance(w, 30) ? world_random(w, 5 * US_PER_S) : 0;
    for (unsigned n = 1 + (unsigned)world_random(w, 3); n && w->orders_n < WORLD_ORDERS_MAX; n--)
        w->orders[w->orders_n++] = o;
}

static void put_settings(struct world *w)
{
    char json[256];
    snprintf(json, sizeof(json),
             "{\"high_priority\":{\"window_ms\":%u,\"max_batch\":%u},\"low_priority\":{\"policy\":\"%s\"}}",
             (unsigned)world_random(w, 500), 1 + (unsigned)world_random(w, 8),
             chance(w, 50) ? "adaptive" : "window");
    client_settings(w, json);
}

static struct client *some_client(struct world *w)
{
    struct client *c = w->clients_n ? &w->clients[world_random(w, w->clients_n)] : NULL;
    return c && c->submit.request_id.p ? c : NULL; /* not the administrator */
}

static void fail_commits(struct world *w)
{
    w->commit_fails = 1 + (uint32_t)world_random(w, 4);
    w->commit_error = ERR_NOSPC;
}

static void something(struct world *w, unsigned number)
{
    uint64_t dice = world_random(w, 100);
    struct client *c = some_client(w);
    if (dice < 70)
        arrive(w, number);
    else if (dice < 76 && c)
        client_cancel(w, c);
    else if (dice < 78 && c)
        client_close(w, c);
    else if (dice < 81 && c && c->link && !c->watching)
        client_watch(w, c, world_random(w, 5 * US_PER_S));
    else if (dice < 93)
        order_something(w);
    else if (dice < 95)
        put_settings(w);
    else if (dice < 97)
        fail_commits(w);
    else if (dice < 98)
        world_crash(w, chance(w, 50), chance(w, 30));
    else
        w->commit_us = world_random(w, 50 * US_PER_MS);
    world_turn(w);
}

static void configure(uint64_t seed, char ret_config[512])
{
    snprintf(ret_config, 512,
             "[provider]\nmode = %s\nmax_concurrency = %u\ntimeout_ms = %u\n[retry]\nattempts = "
             "%u\n[limits]\nqueue_max = %u\n"
             "[batch_low]\nwindow_ms = 1500\n[batch_medium]\npolicy = %s\n",
             seed % 4 == 1 ? "concurrent" : "combined", 1 + (unsigned)(seed / 4 % 4), 5000,
             (unsigned)(seed / 16 % 4), seed % 8 == 3 ? 10 : 4096, seed % 3 ? "window" : "adaptive");
}

bool random_run(uint64_t seed, bool verbose)
{
    struct world *w = calloc(1, sizeof(*w));
    struct err e = {0};
    char config[512];
    configure(seed, config);
    if (!world_open(w, config, seed, verbose, &e))
        snprintf(w->fault, sizeof(w->fault), "the world does not open: %s", e.text);
    else {
        w->capacity = chance(w, 30) ? 12 : 0;
        snprintf(w->filter, sizeof(w->filter), "offensive");
        unsigned events = EVENTS_MIN + (unsigned)world_random(w, EVENTS_MORE);
        for (unsigned i = 0; i < events && !w->fault[0]; i++) {
            world_run(w, world_time(w) + (chance(w, 40) ? 0 : world_random(w, GAP_US)));
            something(w, i);
        }
        if (chance(w, 10))
            core_drain(w->core);
        world_turn(w);
        settle_world(w);
    }
    bool ok = !w->fault[0];
    if (!ok)
        printf("FAIL --random %llu 1: %s\n", (unsigned long long)seed, w->fault);
    world_close(w, ok);
    free(w);
    return ok;
}
