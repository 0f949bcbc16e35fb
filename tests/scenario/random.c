/* A random life; see random.h. */
#include "random.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "money.h"
#include "process.h"
#include "reach.h"
#include "server.h"
#include "settle.h"
#include "speech.h"

#define EVENTS_MIN  40
#define EVENTS_MORE 160
#define GAP_US      (300 * US_PER_MS) /* at most, between most events */
#define LONG_GAP_US (12 * US_PER_S)
#define STEP_US     (262 * US_PER_S) /* that a clock is off at most, by what it is set by */
#define DRAIN_US    (30 * US_PER_S)
#define REAL_US     1893456000000000ull /* 2030-01-01: every life begins at the same time */

/* ---- chance for those who ask libsodium: ids and the like are the same in each run ---- */

static uint64_t sodium_state;

static void sodium_bytes(void *const bytes, const size_t n)
{
    uint8_t *at = bytes;
    for (size_t i = 0; i < n; i++) {
        sodium_state = sodium_state * 6364136223846793005u + 1442695040888963407u;
        at[i] = (uint8_t)(sodium_state >> 56);
    }
}

static const char *sodium_name(void)
{
    return "scenario";
}

static uint32_t sodium_number(void)
{
    uint32_t n;
    sodium_bytes(&n, sizeof(n));
    return n;
}

static void settle_chance(uint64_t seed)
{
    static randombytes_implementation implementation = {
        .implementation_name = sodium_name, .random = sodium_number, .buf = sodium_bytes};
    sodium_state = seed;
    randombytes_set_implementation(&implementation);
}

/* ---- what happens ---- */

static struct client *some_client(struct world *w)
{
    struct client *c = w->clients_n ? &w->clients[world_random(w, w->clients_n)] : NULL;
    bool stopped = c && c->elder && !process_elder_runs(w);
    return c && c->submit.request_id.p && !stopped ? c : NULL; /* not an administrator */
}

static void leave(struct life *life)
{
    struct client *c = some_client(life->w);
    if (!c)
        return;
    if (c->waiting)
        REACH("a caller leaves");
    client_cancel(life->w, c);
    world_turn(life->w);
}

static void lose_link(struct life *life)
{
    struct client *c = some_client(life->w);
    if (!c || !c->link)
        return;
    REACH("a link dies");
    client_close(life->w, c);
    world_turn(life->w);
}

/* A pool of the worker ends, or its idle threads do. */
static void lose_pool(struct life *life)
{
    struct world *w = life->w;
    unsigned pool = (unsigned)world_random(w, WORLD_POOLS);
    bool idle_only = random_chance(w, 70);
    for (size_t i = 0; i < w->clients_n; i++) {
        struct client *c = &w->clients[i];
        bool busy = c->waiting || c->watching;
        if (c->pool == pool && c->link && !c->elder && !(busy && idle_only))
            client_close(w, c);
    }
    w->more_capacity[pool] = (unsigned)world_random(w, 10);
    REACH("a pool goes");
    world_turn(w);
}

static void watch(struct life *life)
{
    struct client *c = some_client(life->w);
    if (!c || !c->link || c->watching)
        return;
    REACH("a watch");
    client_watch(life->w, c, world_random(life->w, 5 * US_PER_S));
    world_turn(life->w);
}

static void order_something(struct life *life)
{
    static const int statuses[] = {400, 401, 404, 405, 408, 413, 429, 429, 500, 500, 501, 502, 503, 504, 529};
    struct world *w = life->w;
    struct order o = {.conduct = (enum conduct)world_random(w, CONDUCT_ONE + 1)};
    if (random_chance(w, 40))
        o.conduct = CONDUCT_STATUS;
    o.status = statuses[world_random(w, ARRAY_LEN(statuses))];
    if (random_chance(w, 30))
        snprintf(o.retry_after, sizeof(o.retry_after), "%u", (unsigned)world_random(w, 4));
    random_id(life, o.who);
    o.slow_us = random_chance(w, 30) ? world_random(w, 5 * US_PER_S) : 0;
    o.after = random_chance(w, 30) ? SPEECH_ALL : (unsigned)world_random(w, 6);
    for (unsigned n = 1 + (unsigned)world_random(w, 3); n && w->orders_n < WORLD_ORDERS_MAX; n--)
        w->orders[w->orders_n++] = o;
}

static void delete (struct life *life)
{
    char id[32];
    random_id(life, id);
    REACH("a deletion");
    client_delete_aside(life->w, id);
    world_turn(life->w);
}

static void fail_commits(struct life *life)
{
    static const enum err_code codes[] = {ERR_NOSPC, ERR_IO, ERR_IO};
    struct world *w = life->w;
    uint64_t which = world_random(w, ARRAY_LEN(codes));
    w->commit_fails = 1 + (uint32_t)world_random(w, 4);
    w->commit_error = codes[which];
    w->commit_reaches = which == 2;
}

static void change_disk(struct life *life)
{
    struct world *w = life->w;
    w->commit_us = random_chance(w, 15) ? world_random(w, 5 * US_PER_S) : world_random(w, 50 * US_PER_MS);
    if (w->commit_us > US_PER_S)
        REACH("commits take seconds");
}

static void stall(struct life *life)
{
    struct client *c = some_client(life->w);
    if (!c || !c->link)
        return;
    if (c->stalled)
        listen_go_on(life->w, c);
    else {
        REACH("a caller stops reading");
        listen_stall(c);
    }
    world_turn(life->w);
}

static void change_latency(struct life *life)
{
    life->w->gap_us = world_random(life->w, random_chance(life->w, 30) ? 3 * US_PER_S : 20 * US_PER_MS);
    life->w->latency_us = world_random(life->w, random_chance(life->w, 20) ? 3 * US_PER_S : 300 * US_PER_MS);
}

static void die(struct world *w)
{
    enum survives what = (enum survives)world_random(w, 3);
    bool workers = random_chance(w, 20);
    if (what == SURVIVES_NOTHING)
        REACH("killed");
    else if (what == SURVIVES_GROUP && !list_empty(&w->group))
        REACH("killed with its commit on the disk");
    else if (what == SURVIVES_QUEUED && !list_empty(&w->ops))
        REACH("killed with all its commits on the disk");
    if (workers)
        REACH("killed with the workers");
    w->start_deaths = random_chance(w, 20) ? 1 + (unsigned)world_random(w, 3) : 0;
    process_crash(w, what, workers);
}

static void crash(struct life *life)
{
    uint64_t times = random_chance(life->w, 20) ? 2 + world_random(life->w, 3) : 1;
    if (times > 1)
        REACH("killed several times in a row");
    life->w->drain_until_us = 0;
    while (times--) {
        die(life->w);
        if (times)
            world_run(life->w, world_time(life->w) + world_random(life->w, 20 * US_PER_MS));
    }
}

static void crash_soon(struct life *life)
{
    struct world *w = life->w;
    REACH("killed within a turn");
    w->dying_in = 1 + (unsigned)world_random(w, 12);
    w->dying_survives = (int)world_random(w, 3);
    w->start_deaths = random_chance(w, 20);
}

static void take_over(struct life *life)
{
    struct world *w = life->w;
    uint64_t stall_us = random_chance(w, 50) ? world_random(w, 8 * US_PER_S) : 0;
    if (stall_us)
        REACH("another takes over from one that is stopped");
    REACH("another takes over");
    life->w->drain_until_us = 0;
    process_take_over(w, stall_us, random_chance(w, 50));
}

static void kill_elder(struct life *life)
{
    if (life->w->elder.core)
        REACH("the elder is killed");
    process_elder_end(life->w);
}

static void drain(struct life *life)
{
    struct world *w = life->w;
    if (life->w->drain_until_us)
        return;
    life->w->drain_until_us = w->now_us + (random_chance(w, 80) ? DRAIN_US : world_random(w, US_PER_S));
    core_drain(w->core);
    world_turn(w);
}

/* All machines have the same clock: a server goes by its own. */
static void share_clock(struct world *w)
{
    if (!w->twin)
        return;
    w->twin->real_base_us = w->real_base_us;
    w->twin->real_max_us = w->real_max_us;
    w->twin->set_us = w->set_us;
    w->twin->slept_us = w->slept_us;
}

static void step_clock(struct life *life)
{
    struct world *w = life->w;
    if (random_chance(w, 50)) {
        w->real_base_us += STEP_US;
        w->set_us += STEP_US;
        REACH("the clock goes forward");
    } else {
        w->real_max_us = world_real_max_us(w);
        w->real_base_us -= random_chance(w, 80) ? STEP_US : 3 * 3600 * US_PER_S;
        REACH("the clock goes back");
    }
    share_clock(w);
}

static void sleep_hours(struct life *life)
{
    struct world *w = life->w;
    if (!life->jumps)
        return;
    w->real_base_us += (1 + world_random(w, 80)) * 1800 * US_PER_S;
    w->slept_us = w->now_us;
    share_clock(w);
    REACH("hours pass");
    world_say(w, "-- hours pass");
}

static void lose_server(struct life *life)
{
    struct world *w = life->w;
    if (!life->machines)
        return;
    if (w->server_lost)
        server_return(w, random_chance(w, 50) ? world_random(w, 200 * US_PER_MS) : 0);
    else
        server_lose(w, random_chance(w, 50));
}

static void change_server(struct life *life)
{
    if (life->machines)
        life->w->server_us = world_random(life->w, random_chance(life->w, 20) ? US_PER_S : 20 * US_PER_MS);
}

static void change_key(struct life *life)
{
    if (life->money)
        money_change(life->w, life->tenants);
}

/* Of a thousand. Those that a life may do without are left out of half of all lives, so that what is rare
 * meets what is rare in some. */
static const struct {
    unsigned weight;
    bool always;
    void (*run)(struct life *life);
} actions[] = {{560, true, random_arrive},
               {12, false, random_flood},
               {50, true, leave},
               {15, false, lose_link},
               {10, false, lose_pool},
               {30, true, watch},
               {90, false, order_something},
               {20, false, random_settings},
               {20, true, change_key},
               {30, false, delete},
               {20, false, fail_commits},
               {15, false, change_disk},
               {20, false, change_latency},
               {12, false, crash},
               {15, false, crash_soon},
               {12, false, take_over},
               {4, false, kill_elder},
               {6, false, drain},
               {25, false, lose_server},
               {15, false, change_server},
               {20, false, step_clock},
               {15, false, sleep_hours},
               {40, false, stall}};

static unsigned choose_actions(struct world *w, unsigned ret_weights[ARRAY_LEN(actions)])
{
    unsigned sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        ret_weights[i] = actions[i].always || random_chance(w, 50) ? actions[i].weight : 0;
        sum += ret_weights[i];
    }
    return sum;
}

static void do_something(struct life *life, const unsigned *weights, unsigned sum)
{
    uint64_t dice = world_random(life->w, sum);
    size_t i = 0;
    while (dice >= weights[i])
        dice -= weights[i++];
    actions[i].run(life);
}

static uint64_t gap_us(struct world *w)
{
    uint64_t dice = world_random(w, 100);
    return dice < 40 ? 0 : world_random(w, dice < 98 ? GAP_US : LONG_GAP_US);
}

/* A drained coordinator leaves as soon as nothing runs, or when its time is up. */
static void see_drain(struct life *life)
{
    struct world *w = life->w;
    if (!life->w->drain_until_us || !w->core->draining) {
        life->w->drain_until_us = 0;
        return;
    }
    if (core_idle(w->core) || w->now_us >= life->w->drain_until_us) {
        life->w->drain_until_us = 0;
        process_leave(w);
    }
}

/* What another machine keeps is waited for, so one that drains must start again. */
static void end_drains(struct world *w)
{
    for (struct world *each = w; each && w->twin; each = each == w ? w->twin : NULL)
        if (each->core->draining)
            process_leave(each);
}

static void end_elders(struct world *w)
{
    process_elder_end(w);
    if (w->twin)
        process_elder_end(w->twin);
    if (w->server_lost)
        server_return(w, 0);
    if (w->twin && w->twin->server_lost)
        server_return(w->twin, 0);
}

static bool open_second(struct life *life, const char *config, uint64_t seed, struct err *e)
{
    REACH("a life of two machines");
    return world_open_twin(life->w, config, seed + 1, e);
}

static void live(struct life *life, uint64_t seed)
{
    struct world *w = life->w;
    unsigned weights[ARRAY_LEN(actions)], sum = choose_actions(w, weights);
    unsigned events = EVENTS_MIN + (unsigned)world_random(w, EVENTS_MORE);
    w->capacity = random_chance(w, 30) ? 12 : 0;
    snprintf(w->filter, sizeof(w->filter), "offensive");
    if (life->money)
        money_open(w, life->tenants);
    else if (w->twin)
        money_know(w, life->tenants);
    if (w->twin)
        money_know(w->twin, life->tenants);
    for (unsigned i = 0; i < events && !w->fault[0]; i++) {
        world_run(w, world_time(w) + gap_us(w));
        life->w = w->twin && random_chance(w, 50) ? w->twin : w;
        see_drain(life);
        do_something(life, weights, sum);
    }
    life->w = w;
    if (seed % 200 == 7)
        random_large(life);
    listen_all_go_on(w);
    if (w->twin)
        listen_all_go_on(w->twin);
    end_elders(w);
    end_drains(w);
    if (random_chance(w, 10) && !w->twin)
        core_drain(w->core);
    else if (random_chance(w, 30))
        die(w);
    world_turn(w);
    settle_world(w);
    random_ask_all(life);
    settle_world(w);
}

bool random_run(uint64_t seed, bool verbose, uint64_t *ret_trace, char ret_fault[1024])
{
    struct world *w = calloc(1, sizeof(*w));
    struct life life = {.w = w};
    struct err e = {0};
    char config[1024];
    settle_chance(seed);
    random_configure(&life, seed, config);
    world_begin_at(REAL_US);
    if (!world_open(w, config, seed, verbose, &e))
        snprintf(w->fault, sizeof(w->fault), "the world does not open: %s", e.text);
    else if (life.machines && !open_second(&life, config, seed, &e))
        snprintf(w->fault, sizeof(w->fault), "the second machine does not open: %s", e.text);
    else {
        if (ret_trace)
            *ret_trace = 14695981039346656037u;
        for (struct world *each = w; each; each = each == w ? w->twin : NULL) {
            each->trace = ret_trace;
            each->at_random = true;
        }
        live(&life, seed);
    }
    bool ok = !w->fault[0];
    snprintf(ret_fault, 1024, "%s", w->fault);
    world_close(w, ok);
    free(w);
    return ok;
}
