/* A world's life and its time; see world.h. */
#include "world.h"

#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/control.h"
#include "store/meta.h"

#define ARENA_MAX    (64u << 20)
#define SPINS_MAX    10000               /* turns without the clock moving */
#define START_DAY_US 1769947200000000ull /* 2026-02-01T12:00:00Z */

static const char defaults[] =
    "[provider]\nkind = openai\nbase_url = http://127.0.0.1:9/v1\nmodel = test\napi_key = sk-scenario\n";

/* Never goes back from one world to the next, since the ids of chats do not either. */
static uint64_t next_real_us = START_DAY_US;

static struct grave *graves;

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
}

void world_say(const struct world *w, const char *format, ...)
{
    va_list args;
    if (!w->verbose)
        return;
    printf("  %10.3fms ", (double)world_time(w) / US_PER_MS);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
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

static uint64_t port_mono(void *arg)
{
    return ((struct world *)arg)->now_us;
}

static uint64_t port_real(void *arg)
{
    return disk_real_us(arg);
}

static void port_random(void *arg, void *bytes, size_t n)
{
    for (uint8_t *at = bytes; n; at++, n--)
        *at = (uint8_t)next_random(arg);
}

static void note_key(struct world *w, const char *what, const struct saved_key *key)
{
    size_t used = strlen(w->keys);
    snprintf(w->keys + used, sizeof(w->keys) - used, "%s%s:%s@%llums", used ? " " : "", what,
             key->text[0] ? key->text : "none", (unsigned long long)(world_time(w) / US_PER_MS));
}

static int port_key_prepare(void *arg, const struct saved_key *key, struct err *e)
{
    struct world *w = arg;
    (void)e;
    note_key(w, "prepare", key);
    if (w->key_fresh.text[0])
        world_blame(w, "two keys are prepared at once");
    w->key_fresh = *key;
    return 0;
}

static void port_key_settle(void *arg, const struct saved_key *key, bool keep)
{
    struct world *w = arg;
    note_key(w, keep ? "keep" : "drop", key);
    if (strcmp(key->text, w->key_fresh.text) != 0)
        world_blame(w, "another key is settled than was prepared");
    if (keep)
        w->key = w->key_fresh;
    w->key_fresh = (struct saved_key){0};
}

/* As loop.c starts it: what is stored is taken up, the settings are published, and then somebody may ask. */
static int start_core(struct world *w, struct err *e)
{
    struct core_ports ports = {.arg = w,
                               .mono_us = port_mono,
                               .real_us = port_real,
                               .random = port_random,
                               .lookup = disk_lookup,
                               .lookup_end = disk_lookup_end,
                               .commit = disk_commit,
                               .send = upstream_port_send,
                               .log = watch_log,
                               .key_prepare = port_key_prepare,
                               .key_settle = port_key_settle};
    struct store_read *r;
    int rc = meta_raise_epoch(w->store, &w->epoch, e);
    if (rc == 0)
        rc = store_read_begin(w->store, &r, e);
    if (rc < 0)
        return rc;
    w->core = calloc(1, sizeof(*w->core));
    w->key_fresh = (struct saved_key){0}; /* as keyfile_drop() at start */
    rc = core_init(w->core, &w->conf, &ports, w->epoch, r, &w->key, w->now_us, e);
    store_read_end(r);
    struct commit_op *op = rc == 0 ? control_publish(w->core) : NULL;
    if (!op)
        return rc < 0 ? rc : ERR_NOMEM;
    core_commit(w->core, op);
    uint32_t fails = w->commit_fails; /* a coordinator that cannot write does not start */
    w->commit_fails = 0;
    disk_start_group(w);
    disk_finish_group(w);
    w->commit_fails = fails;
    return 0;
}

/* The script's options on top of the defaults, read as any carpool.conf is. */
static int load_conf(struct world *w, const char *config, struct err *e)
{
    char path[sizeof(w->dir) + 16];
    snprintf(path, sizeof(path), "%s/carpool.conf", w->dir);
    FILE *f = fopen(path, "we");
    if (!f)
        return err_set_errno(e, "Cannot write %s", path);
    fprintf(f, "%s%s[storage]\ndir = %s\n", strstr(config, "kind = mock") ? "" : defaults, config, w->dir);
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

bool world_open(struct world *w, const char *config, uint64_t seed, bool verbose, struct err *e)
{
    *w = (struct world){
        .now_us = WORLD_START_US, .random_state = seed, .verbose = verbose, .commit_us = US_PER_MS};
    w->real_base_us = next_real_us;
    w->latency_us = 100 * US_PER_MS;
    w->maintain_us = w->now_us + US_PER_S;
    list_init(&w->ops);
    list_init(&w->group);
    list_init(&w->flights);
    arena_init(&w->arena, ARENA_MAX);
    w->batches.items = calloc(WORLD_SEEN_MAX, sizeof(struct sight));
    w->calls.items = calloc(WORLD_SEEN_MAX, sizeof(struct sight));
    port_random(w, &w->pool, sizeof(w->pool));
    snprintf(w->dir, sizeof(w->dir), "%s/carpool-scenario-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(w->dir))
        err_set_errno(e, "Cannot make %s", w->dir);
    else if (load_conf(w, config, e) == 0 && open_store(w, e) == 0 && start_core(w, e) == 0)
        return true;
    return false;
}

static void move_list(struct list *from, struct list *to)
{
    list_init(to);
    list_for_each_safe (it, next, from) {
        list_remove(it);
        list_append(to, it);
    }
}

static void bury(struct world *w)
{
    struct grave *g = calloc(1, sizeof(*g));
    g->core = w->core;
    move_list(&w->ops, &g->ops);
    move_list(&w->group, &g->group);
    move_list(&w->flights, &g->flights);
    g->links = calloc(w->clients_n + 1, sizeof(g->links[0]));
    for (size_t i = 0; i < w->clients_n; i++) {
        g->links[i] = w->clients[i].link;
        w->clients[i].link = NULL;
    }
    g->next = graves;
    graves = g;
    w->core = NULL;
}

/* A sweep may be under way at any end. */
static void drop_commits(struct world *w)
{
    while (!list_empty(&w->group) || !list_empty(&w->ops)) {
        disk_start_group(w);
        disk_finish_group(w);
    }
}

void world_close(struct world *w, bool finished)
{
    if (w->core && !finished)
        bury(w); /* so that what was under way is not taken for a leak */
    if (w->core) {
        for (size_t i = 0; i < w->clients_n; i++)
            client_close(w, &w->clients[i]);
        drop_commits(w);
        core_fini(w->core);
        free(w->core);
    }
    store_close(w->store);
    next_real_us = disk_real_us(w) + US_PER_S;
    rules_free(w);
    free(w->batches.items);
    free(w->calls.items);
    arena_fini(&w->arena);
    conf_wipe(&w->conf);
}

void world_crash(struct world *w, bool durable, bool workers_too)
{
    struct err e = {0};
    world_say(w, "-- crash%s", durable ? ", its commits durable" : "");
    w->crashes++;
    if (durable)
        disk_flush(w);
    rules_forget_flights(w);
    bury(w);
    if (start_core(w, &e) < 0) {
        world_blame(w, "the next coordinator does not start: %s", e.text);
        return;
    }
    for (size_t i = 0; i < w->clients_n; i++) {
        struct client *c = &w->clients[i];
        c->watching = false;
        if (!c->waiting)
            continue;
        c->waiting = false;
        c->submit.flags &= ~(unsigned)SUBMIT_FRESH_ID;
        if (!workers_too)
            client_submit(w, c);
    }
    world_turn(w);
}

void world_turn(struct world *w)
{
    core_turn(w->core, w->now_us);
    disk_start_group(w);
    client_read_all(w);
}

static uint64_t next_event(const struct world *w)
{
    uint64_t next = core_next_us(w->core, w->now_us);
    if (!list_empty(&w->group) && w->group_due_us < next)
        next = w->group_due_us;
    if (upstream_due_us(w) < next)
        next = upstream_due_us(w);
    return w->maintain_us < next ? w->maintain_us : next;
}

bool world_step(struct world *w, uint64_t limit_us)
{
    static unsigned spins;
    uint64_t next = next_event(w);
    if (next > limit_us + WORLD_START_US) {
        if (w->now_us < limit_us + WORLD_START_US)
            w->now_us = limit_us + WORLD_START_US;
        return false;
    }
    spins = next > w->now_us ? 0 : spins + 1;
    if (spins > SPINS_MAX) {
        world_blame(w, "the core asks for turn after turn without the time moving");
        return false;
    }
    if (next > w->now_us)
        w->now_us = next;
    if (!list_empty(&w->group) && w->group_due_us <= w->now_us)
        disk_finish_group(w);
    upstream_deliver(w);
    if (w->maintain_us <= w->now_us) {
        core_maintain(w->core, w->now_us);
        w->maintain_us += US_PER_S;
    }
    world_turn(w);
    return true;
}

void world_run(struct world *w, uint64_t until_us)
{
    while (!w->fault[0] && world_step(w, until_us)) {
    }
}
