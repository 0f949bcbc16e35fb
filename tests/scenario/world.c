/* A world's time; see world.h. */
#include "world.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "money.h"
#include "process.h"
#include "server.h"
#include "speech.h"

#define ARENA_MAX    (64u << 20)
#define SPINS_MAX    10000               /* turns without the clock moving */
#define START_DAY_US 1769947200000000ull /* 2026-02-01T12:00:00Z */

static const char defaults[] =
    "[provider]\nkind = openai\nbase_url = http://127.0.0.1:9/v1\nmodel = test\napi_key = sk-scenario\n";

/* Never goes back from one world to the next, since the ids of chats do not either. */
static uint64_t next_real_us = START_DAY_US;

void world_begin_at(uint64_t real_us)
{
    next_real_us = real_us;
}

void world_blame(struct world *w, const char *format, ...)
{
    va_list args;
    char text[sizeof(w->fault) - 32];
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    world_say(w, "!! %s", text);
    if (!w->fault[0])
        snprintf(w->fault, sizeof(w->fault), "at %.3fms: %s", (double)world_time(w) / US_PER_MS, text);
    if (w->twin && !w->twin->fault[0])
        memcpy(w->twin->fault, w->fault, sizeof(w->fault));
}

void world_say(const struct world *w, const char *format, ...)
{
    va_list args;
    char text[1200];
    if (!w->verbose && !w->trace)
        return;
    int n = snprintf(text, sizeof(text), "  %10.3fms %s%s", (double)world_time(w) / US_PER_MS,
                     w->machine ? "(B) " : "", w->elder_acts ? "(elder) " : "");
    va_start(args, format);
    vsnprintf(text + n, sizeof(text) - (size_t)n, format, args);
    va_end(args);
    for (const char *at = text; w->trace && *at; at++) /* FNV-1a */
        *w->trace = (*w->trace ^ (uint8_t)*at) * 1099511628211u;
    if (w->verbose)
        puts(text);
}

/* splitmix64 (Vigna, public domain) */
static uint64_t next_random(struct world *w)
{
    uint64_t z = w->random_state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

uint64_t world_random(struct world *w, uint64_t below)
{
    return next_random(w) % below;
}

uint64_t world_time(const struct world *w)
{
    return w->now_us - WORLD_START_US;
}

uint64_t world_real_max_us(const struct world *w)
{
    return disk_real_us(w) > w->real_max_us ? disk_real_us(w) : w->real_max_us;
}

/* The script's options on top of the defaults, read as any carpool.conf is. */
static int load_conf(struct world *w, const char *config, struct err *e)
{
    char path[sizeof(w->dir) + 16];
    snprintf(path, sizeof(path), "%s/carpool.conf", w->dir);
    FILE *f = fopen(path, "we");
    if (!f)
        return err_set_errno(e, "Cannot write %s", path);
    fprintf(f, "%s%s[storage]\ndir = %s\n", strstr(config, "kind = ") ? "" : defaults, config, w->dir);
    fclose(f);
    int rc = conf_load(path, &w->conf, e);
    unlink(path);
    return rc;
}

static void remove_dir(const char *dir)
{
    static const char *const names[] = {"data.mdb", "lock.mdb"};
    char path[128];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

/* The files are taken out of sight at once, so that a run that is killed leaves nothing behind. */
static int open_store(struct world *w, struct err *e)
{
    struct store_options options = {.access = STORE_WRITER, .map_max_bytes = 1u << 30};
    int rc = store_open(w->dir, &options, &w->store, e);
    remove_dir(w->dir);
    return rc;
}

static bool open_world(struct world *w, const char *config, uint64_t seed, bool verbose, struct err *e)
{
    w->now_us = WORLD_START_US;
    w->random_state = seed;
    w->verbose = verbose;
    w->commit_us = w->server_us = US_PER_MS;
    w->real_base_us = next_real_us;
    w->latency_us = 100 * US_PER_MS;
    w->gap_us = 10 * US_PER_MS;
    w->maintain_us = w->now_us + US_PER_S;
    list_init(&w->fresh);
    list_init(&w->ops);
    list_init(&w->group);
    list_init(&w->flights);
    list_init(&w->elder.fresh);
    list_init(&w->elder.ops);
    list_init(&w->elder.group);
    list_init(&w->elder.flights);
    arena_init(&w->arena, ARENA_MAX);
    w->batches.items = calloc(WORLD_SEEN_MAX, sizeof(struct sight));
    w->calls.items = calloc(WORLD_SEEN_MAX, sizeof(struct sight));
    for (size_t i = 0; i < sizeof(w->pool); i++)
        w->pool.bytes[i] = (uint8_t)world_random(w, 256);
    snprintf(w->dir, sizeof(w->dir), "%s/carpool-scenario-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(w->dir)) {
        err_set_errno(e, "Cannot make %s", w->dir);
        return false;
    }
    if (load_conf(w, config, e) < 0)
        return false;
    if (w->conf.redis.enabled && !w->server)
        w->server = server_new();
    return open_store(w, e) == 0 && process_start(w, e) == 0;
}

bool world_open(struct world *w, const char *config, uint64_t seed, bool verbose, struct err *e)
{
    *w = (struct world){0};
    return open_world(w, config, seed, verbose, e);
}

bool world_open_twin(struct world *w, const char *config, uint64_t seed, struct err *e)
{
    struct world *t = calloc(1, sizeof(*t));
    t->machine = 1;
    t->server = w->server;
    w->twin = t;
    bool ok = open_world(t, config, seed, w->verbose, e);
    t->twin = w;
    t->now_us = w->now_us;
    t->real_base_us = w->real_base_us;
    return ok;
}

/* A sweep may be under way at any end. */
static void drop_commits(struct world *w)
{
    for (;;) {
        disk_submit(w);
        if (list_empty(&w->group) && list_empty(&w->ops))
            return;
        disk_start_group(w);
        disk_finish_group(w);
    }
}

static void close_world(struct world *w, bool finished)
{
    if (w->core && !finished)
        process_bury(w); /* so that what was under way is not taken for a leak */
    if (w->core) {
        for (size_t i = 0; i < w->clients_n; i++)
            client_close(w, &w->clients[i]);
        server_close(w);
        drop_commits(w);
        core_fini(w->core);
        free(w->core);
    }
    store_close(w->store);
    next_real_us = disk_real_us(w) + US_PER_S;
    rules_free(w);
    rules_patience_free(w);
    rules_key_free(w);
    rules_cache_free(w);
    free(w->batches.items);
    free(w->calls.items);
    arena_fini(&w->arena);
    conf_wipe(&w->conf);
}

void world_close(struct world *w, bool finished)
{
    struct world *twin = w->twin;
    struct server *server = w->server;
    close_world(w, finished);
    if (twin) {
        twin->twin = NULL;
        close_world(twin, finished);
        free(twin);
    }
    server_free(server);
}

void world_turn(struct world *w)
{
    core_turn(w->core, w->now_us);
    if (w->dead && !w->elder_acts) {
        process_crash(w, (enum survives)w->dying_survives, false);
        return;
    }
    rules_turned(w);
    money_check(w);
    speech_check(w);
    disk_submit(w);
    disk_start_group(w);
    client_read_all(w);
    process_elder_act(w, world_turn);
}

static uint64_t next_event(const struct world *w)
{
    uint64_t next = core_next_us(w->core, w->now_us);
    if (!list_empty(&w->group) && w->group_due_us < next)
        next = w->group_due_us;
    if (upstream_due_us(w) < next)
        next = upstream_due_us(w);
    if (server_due_us(w) < next)
        next = server_due_us(w);
    return w->maintain_us < next ? w->maintain_us : next;
}

static uint64_t next_event_of_all(struct world *w)
{
    uint64_t next = next_event(w);
    if (!w->elder.core)
        return next;
    uint64_t elder = w->elder.stalled_until_us;
    if (process_elder_runs(w)) {
        process_swap(w);
        elder = next_event(w);
        process_swap(w);
    }
    return elder < next ? elder : next;
}

static void act(struct world *w)
{
    if (!list_empty(&w->group) && w->group_due_us <= w->now_us)
        disk_finish_group(w);
    upstream_deliver(w);
    server_deliver(w);
    if (w->maintain_us <= w->now_us) {
        core_maintain(w->core, w->now_us);
        w->maintain_us =
            w->maintain_us + US_PER_S > w->now_us ? w->maintain_us + US_PER_S : w->now_us + US_PER_S;
        rules_overdue(w);
    }
    if (w->elder_acts)
        world_turn(w);
}

static void set_time(struct world *w, uint64_t now_us)
{
    if (now_us > w->now_us)
        w->now_us = now_us;
    if (w->twin)
        w->twin->now_us = w->now_us;
}

bool world_step(struct world *w, uint64_t limit_us)
{
    static unsigned spins;
    struct world *acts = w;
    uint64_t next = next_event_of_all(w), other = UINT64_MAX;
    if (w->twin && !w->twin->asleep)
        other = next_event_of_all(w->twin);
    if (other < next) {
        next = other;
        acts = w->twin;
    }
    if (next > limit_us + WORLD_START_US) {
        set_time(w, limit_us + WORLD_START_US);
        return false;
    }
    spins = next > w->now_us ? 0 : spins + 1;
    if (spins > SPINS_MAX) {
        world_blame(w, "the core asks for turn after turn without the time moving");
        return false;
    }
    set_time(w, next);
    process_elder_act(acts, act);
    act(acts);
    world_turn(acts);
    return true;
}

void world_run(struct world *w, uint64_t until_us)
{
    while (!w->fault[0] && world_step(w, until_us)) {
    }
}
