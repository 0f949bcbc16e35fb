/* See process.h. */
#include "process.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/control.h"
#include "reach.h"
#include "server.h"
#include "speech.h"
#include "store/meta.h"

static struct grave *graves;

/* ---- the ports of keys, which only processes have ---- */

static void note_key(struct world *w, const char *what, const struct saved_key *key)
{
    size_t used = strlen(w->keys);
    if (used > sizeof(w->keys) / 2 && w->at_random)
        used = 0; /* a random life has no line that reads it */
    snprintf(w->keys + used, sizeof(w->keys) - used, "%s%s:%s@%llums", used ? " " : "", what,
             key->text[0] ? key->text : "none", (unsigned long long)(world_time(w) / US_PER_MS));
}

static int port_key_prepare(void *arg, const struct saved_key *key, struct err *e)
{
    struct world *w = arg;
    (void)e;
    if (process_is_dead(w))
        return 0;
    note_key(w, "prepare", key);
    rules_key_given(w, key);
    if (w->key_fresh.text[0])
        world_blame(w, "two keys are prepared at once");
    w->key_fresh = *key;
    return 0;
}

static void port_key_settle(void *arg, const struct saved_key *key, bool keep)
{
    struct world *w = arg;
    if (process_is_dead(w))
        return;
    note_key(w, keep ? "keep" : "drop", key);
    if (strcmp(key->text, w->key_fresh.text) != 0)
        world_blame(w, "another key is settled than was prepared");
    /* The elder's commit came before the takeover, which has dropped what it had prepared. */
    if (keep && !w->elder_acts)
        w->key = w->key_fresh;
    w->key_fresh = (struct saved_key){0};
}

static uint64_t port_mono(void *arg)
{
    return ((struct world *)arg)->now_us;
}

static uint64_t port_real(void *arg)
{
    return disk_real_us(arg);
}

/* What the wall clock shows is believed: hours pass in an instant here. tests/unit/test_steady.c has the
 * rest. */
static struct steady_bounds port_real_bounds(void *arg)
{
    return (struct steady_bounds){disk_real_us(arg), disk_real_us(arg)};
}

static void port_random(void *arg, void *bytes, size_t n)
{
    for (uint8_t *at = bytes; n; at++, n--)
        *at = (uint8_t)world_random(arg, 256);
}

bool process_is_dead(struct world *w)
{
    if (w->elder_acts)
        return false;
    if (w->dying_in && --w->dying_in == 0) {
        w->dead = true;
        world_say(w, "-- killed within a turn");
    }
    return w->dead;
}

/* ---- starting ---- */

/* Where a start is killed. */
enum stage { STAGE_NONE, STAGE_EPOCH, STAGE_CORE, STAGE_COMMITTED };

static void publish(struct world *w, enum stage dies_at)
{
    disk_submit(w);
    if (dies_at == STAGE_CORE)
        return;
    disk_start_group(w);
    if (dies_at == STAGE_COMMITTED) {
        disk_flush(w, SURVIVES_GROUP);
        return;
    }
    uint32_t fails = w->commit_fails;
    bool spared = !w->at_random || w->elder.core;
    if (spared)
        w->commit_fails = 0; /* a coordinator that cannot write does not start */
    disk_finish_group(w);
    if (spared)
        w->commit_fails = fails;
}

/* *ret_up false: it did not come up, and nothing but what it committed is left of it. */
static int start_once(struct world *w, enum stage dies_at, bool *ret_up, struct err *e)
{
    struct core_ports ports = {.arg = w,
                               .mono_us = port_mono,
                               .real_us = port_real,
                               .real_bounds = port_real_bounds,
                               .random = port_random,
                               .lookup = disk_lookup,
                               .chat = disk_chat,
                               .lookup_end = disk_lookup_end,
                               .spent = disk_spent,
                               .commit = disk_commit,
                               .send = upstream_port_send,
                               .resume = speech_port_resume,
                               .abort = speech_port_abort,
                               .log = watch_log,
                               .publish = watch_publish,
                               .key_prepare = port_key_prepare,
                               .key_settle = port_key_settle};
    struct store_read *r;
    server_ports(w, &ports);
    *ret_up = false;
    int rc = meta_raise_epoch(w->store, &w->epoch, e);
    if (dies_at == STAGE_EPOCH || rc < 0)
        return rc;
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
    publish(w, dies_at);
    if (dies_at != STAGE_NONE)
        process_bury(w);
    else if (w->core->store_fault.code) {
        core_fini(w->core);
        free(w->core);
        w->core = NULL;
        REACH("a start fails on its disk");
    } else {
        *ret_up = true;
        server_connect(w);
    }
    return 0;
}

/* Until the next try. */
static void wait_a_second(struct world *w)
{
    uint64_t until_us = world_time(w) + US_PER_S;
    if (w->twin && !w->twin->asleep) {
        w->asleep = true;
        world_run(w->twin, until_us);
        w->asleep = false;
    }
    w->now_us = until_us + WORLD_START_US;
}

int process_start(struct world *w, struct err *e)
{
    bool up = false;
    int rc = 0;
    while (rc == 0 && !up) {
        enum stage dies_at = STAGE_NONE;
        if (w->start_deaths) {
            w->start_deaths--;
            dies_at = (enum stage)(STAGE_EPOCH + world_random(w, 3));
            REACH("killed during recovery");
            world_say(w, "-- killed while it starts (%d)", dies_at);
        }
        rc = start_once(w, dies_at, &up, e);
        if (rc == 0 && !up && dies_at == STAGE_NONE)
            wait_a_second(w);
    }
    if (w->maintain_us <= w->now_us)
        w->maintain_us = w->now_us + US_PER_S;
    return rc;
}

/* ---- ends ---- */

static void move_list(struct list *from, struct list *to)
{
    list_init(to);
    list_for_each_safe (it, next, from) {
        list_remove(it);
        list_append(to, it);
    }
}

void process_bury(struct world *w)
{
    struct grave *g = calloc(1, sizeof(*g));
    g->core = w->core;
    move_list(&w->ops, &g->ops);
    move_list(&w->fresh, &g->fresh);
    move_list(&w->group, &g->group);
    move_list(&w->flights, &g->flights);
    w->group_reached = false;
    g->connection = server_hang_up(w);
    g->links = calloc(w->clients_n + 1, sizeof(g->links[0]));
    for (size_t i = 0; i < w->clients_n; i++) {
        struct client *c = &w->clients[i];
        if (c->elder != w->elder_acts)
            continue;
        g->links[i] = c->link;
        c->link = NULL;
    }
    g->next = graves;
    graves = g;
    w->core = NULL;
}

/* Their links have died: the workers of those who still wait hand in again; who has waited long enough has
 * heard so from its worker. */
static void hand_in_again(struct world *w, bool elder, bool workers_too)
{
    for (size_t i = 0; i < w->clients_n; i++) {
        struct client *c = &w->clients[i];
        if (c->elder != elder || c->link)
            continue;
        c->elder = c->watching = false;
        if (!c->waiting)
            continue;
        c->waiting = false;
        c->submit.flags &= ~(unsigned)SUBMIT_FRESH_ID;
        /* What was told cannot be taken back: its worker tells that the rest is not known. */
        bool late = (client_deadline_us(w, c) < w->now_us && !(c->submit.flags & SUBMIT_ASYNC)) || c->deltas;
        if (!workers_too && !late && !c->admin)
            client_submit(w, c);
    }
}

static void restart(struct world *w, bool workers_too)
{
    struct err e = {0};
    w->dead = false;
    w->dying_in = 0;
    w->trouble_us = 0;
    w->model[0] = 0;
    w->key_told = w->key;
    if (process_start(w, &e) < 0) {
        world_blame(w, "the next coordinator does not start: %s", e.text);
        return;
    }
    rules_check_told(w);
    hand_in_again(w, false, workers_too);
    world_turn(w);
}

void process_crash(struct world *w, enum survives what, bool workers_too)
{
    static const char *const texts[] = {"", ", its commit durable", ", all its commits durable"};
    world_say(w, "-- crash%s", texts[what]);
    w->crashes++;
    if (what != SURVIVES_NOTHING)
        disk_flush(w, what);
    rules_forget_flights(w);
    process_bury(w);
    restart(w, workers_too);
}

void world_crash(struct world *w, bool durable, bool workers_too)
{
    process_crash(w, durable ? SURVIVES_GROUP : SURVIVES_NOTHING, workers_too);
}

/* What came back from the server at the very end had something to write: nobody takes it any more. */
static void drop_fresh(struct world *w)
{
    list_for_each_safe (it, next, &w->fresh) {
        list_remove(it);
        commit_op_free(LIST_ENTRY(it, struct commit_op, node));
    }
}

void process_leave(struct world *w)
{
    bool clean =
        core_idle(w->core) && list_empty(&w->group) && list_empty(&w->ops) && list_empty(&w->flights);
    world_say(w, "-- leaves%s", clean ? "" : " in the middle of things");
    w->crashes++;
    disk_flush(w, SURVIVES_QUEUED);
    rules_forget_flights(w);
    if (clean && !w->core->waiters_n) {
        for (size_t i = 0; i < w->clients_n; i++)
            if (!w->clients[i].elder) {
                bool waits = w->clients[i].waiting;
                client_close(w, &w->clients[i]);
                w->clients[i].waiting = waits;
            }
        server_close(w);
        drop_fresh(w);
        core_fini(w->core);
        free(w->core);
        w->core = NULL;
        REACH("drained to the end");
    } else {
        process_bury(w);
        REACH("the time to drain is over");
    }
    restart(w, false);
}

/* ---- two at once ---- */

static void swap_lists(struct list *a, struct list *b)
{
    struct list aside;
    move_list(a, &aside);
    move_list(b, a);
    move_list(&aside, b);
}

#define SWAP(a, b)                                                                                           \
    do {                                                                                                     \
        __typeof__(a) aside = (a);                                                                           \
        (a) = (b);                                                                                           \
        (b) = aside;                                                                                         \
    } while (0)

void process_swap(struct world *w)
{
    struct elder *o = &w->elder;
    SWAP(w->core, o->core);
    SWAP(w->epoch, o->epoch);
    SWAP(w->group_due_us, o->group_due_us);
    SWAP(w->maintain_us, o->maintain_us);
    SWAP(w->group_reached, o->group_reached);
    SWAP(w->connection, o->connection);
    SWAP(w->key_fresh, o->key_fresh);
    swap_lists(&w->ops, &o->ops);
    swap_lists(&w->fresh, &o->fresh);
    swap_lists(&w->group, &o->group);
    swap_lists(&w->flights, &o->flights);
    w->elder_acts = !w->elder_acts;
}

void process_take_over(struct world *w, uint64_t stall_us, bool reached)
{
    struct err e = {0};
    process_elder_end(w);
    world_say(w, "-- another coordinator takes over%s", stall_us ? " from one that is stopped" : "");
    w->takeovers++;
    if (reached && !w->commit_fails && !list_empty(&w->group)) {
        disk_flush(w, SURVIVES_GROUP);
        w->group_reached = true;
    }
    process_swap(w);
    w->elder_acts = false;
    w->elder.stalled_until_us = w->now_us + stall_us;
    for (size_t i = 0; i < w->clients_n; i++)
        w->clients[i].elder = w->clients[i].link;
    w->maintain_us = w->now_us + US_PER_S;
    w->dying_in = 0;
    w->trouble_us = 0;
    w->model[0] = 0;
    w->key_told = w->key;
    if (process_start(w, &e) < 0) {
        world_blame(w, "the second coordinator does not start: %s", e.text);
        return;
    }
    rules_check_told(w);
    world_turn(w);
}

bool process_elder_runs(const struct world *w)
{
    return w->elder.core && w->elder.stalled_until_us <= w->now_us;
}

/* It was stopped for a while: those whose time is up have gone meanwhile. */
static void see_who_left(struct world *w)
{
    for (size_t i = 0; i < w->clients_n; i++) {
        struct client *c = &w->clients[i];
        if (c->elder && c->link && (c->watching || (c->waiting && client_deadline_us(w, c) <= w->now_us)))
            client_close(w, c);
    }
    w->elder.stalled_until_us = 0;
}

void process_elder_act(struct world *w, void (*act)(struct world *w))
{
    if (w->elder_acts || !process_elder_runs(w))
        return;
    if (w->elder.stalled_until_us)
        see_who_left(w);
    process_swap(w);
    act(w);
    bool fenced = w->core->fenced;
    process_swap(w);
    if (fenced) {
        world_say(w, "-- the elder finds out and leaves");
        REACH("the elder finds out");
        process_elder_end(w);
    }
}

void process_elder_end(struct world *w)
{
    if (!w->elder.core)
        return;
    process_swap(w);
    rules_forget_flights(w);
    process_bury(w);
    process_swap(w);
    hand_in_again(w, true, false);
    world_turn(w);
}
