/*
 * The promises of the end: once nothing goes on any more, nothing is left behind, everybody was told, and the
 * figures add up. And of the meantime: nobody waits past their deadline.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "money.h"
#include "process.h"
#include "reach.h"
#include "rules.h"
#include "server.h"

#define LATE_US (2 * US_PER_S)

static void check_core(struct world *w)
{
    struct core *c = w->core;
    for (int s = 0; s < JOB_STATES; s++)
        if (c->jobs_n[s] && !(s == JOB_PARKED && c->draining))
            world_blame(w, "%u jobs are left in state %d", c->jobs_n[s], s);
    for (int p = 0; p < PRIORITIES; p++)
        if (c->calls_running[p])
            world_blame(w, "%u slots of priority %d are still taken", c->calls_running[p], p);
    if (c->waiters_n || heap_peek(&c->deadlines))
        world_blame(w, "%u waiters are left", c->waiters_n);
    if (heap_peek(&c->timers) || !list_empty(&c->ready_calls) || !list_empty(&w->flights))
        world_blame(w, "calls are left");
    if (!list_empty(&c->calls))
        world_blame(w, "calls that nothing will end are left");
    if ((!list_empty(&c->stuck_ops) && !c->jobs_n[JOB_PARKED]) || !list_empty(&c->asked))
        world_blame(w, "commit operations are left");
    if (!list_empty(&c->changes))
        world_blame(w, "changes of settings are left");
    if (c->payload_bytes && list_empty(&c->jobs[JOB_PARKED]))
        world_blame(w, "%llu bytes of prompts are counted, but none are left",
                    (unsigned long long)c->payload_bytes);
    if (!core_idle(c))
        world_blame(w, "the core does not call itself idle");
}

/* Whether somebody waited for the same id, or was refused it: a failure of that try leaves nothing behind,
 * also not of an earlier asynchronous one. */
static bool was_awaited(const struct world *w, const struct client *c)
{
    for (size_t i = 0; i < w->clients_n; i++)
        if ((!(w->clients[i].submit.flags & SUBMIT_ASYNC) || w->clients[i].reply == REPLY_REFUSAL) &&
            memcmp(w->clients[i].submit.key, c->submit.key, REQUEST_KEY_SIZE) == 0)
            return true;
    return false;
}

/* Nothing runs any more, so no record says that something will, or does. */
static void check_leftover(struct world *w, const struct client *c)
{
    const char *state = disk_state(w, c);
    if (w->at_random && (strcmp(state, "queued") == 0 || strcmp(state, "dispatched") == 0))
        world_blame(w, "the record of %s is left as %s", c->name, state);
}

static void check_clients(struct world *w)
{
    static const char *const open_states[] = {"none", "queued", "dispatched", "unreadable"};
    for (size_t i = 0; i < w->clients_n; i++) {
        struct client *c = &w->clients[i];
        if (c->waiting || c->watching)
            world_blame(w, "%s was never told", c->name);
        if (c->submit.request_id.p && !w->core->draining)
            check_leftover(w, c);
        if (!(c->submit.flags & SUBMIT_ASYNC) || c->reply != REPLY_QUEUED || w->core->draining)
            continue;
        if (w->server && strcmp(server_state(w, c), "none") != 0)
            continue; /* another machine's outcome */
        if (w->twin && (was_awaited(w->twin, c) || strcmp(disk_state(w->twin, c), "none") != 0))
            continue; /* it was kept there, and failed */
        /* What ran then may have been taken up with a record whose time was over. */
        bool past = rules_slept_since(w, 0);
        for (size_t s = was_awaited(w, c) || past; s < ARRAY_LEN(open_states); s++)
            if (strcmp(disk_state(w, c), open_states[s]) == 0)
                world_blame(w, "the request of %s, kept for later, ends as %s", c->name, open_states[s]);
    }
}

static bool check_chat(void *arg, const struct chat *chat)
{
    if (!upstream_is_answer(chat->prompt, chat->text))
        world_blame(arg, "the chat of %.*s holds the answer of another", (int)chat->request_id.n,
                    chat->request_id.p);
    return true;
}

static uint64_t check_chats(struct world *w)
{
    struct store_read *r;
    struct chats_filter all = {0};
    struct uuid at = {0};
    uint64_t n = 0;
    bool more = false;
    struct err e = {0};
    if (store_read_begin(w->store, &r, &e) < 0 ||
        chats_scan(r, &all, &at, UINT32_MAX, check_chat, w, &at, &more, &e) < 0 || chats_count(r, &n, &e) < 0)
        world_blame(w, "the chats cannot be read: %s", e.text);
    store_read_end(r);
    return n;
}

static uint64_t counter_of_all(struct world *w, const char *name)
{
    static const char *const priorities[] = {"high", "medium", "low"};
    uint64_t sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(priorities); i++) {
        char text[64];
        snprintf(text, sizeof(text), "%s.%s", name, priorities[i]);
        sum += disk_counter(w, text);
    }
    return sum;
}

static void check_figure(struct world *w, const char *name, uint64_t counted, uint64_t expected)
{
    if (counted != expected)
        world_blame(w, "the counters of %s say %llu, but there were %llu", name, (unsigned long long)counted,
                    (unsigned long long)expected);
}

void rules_overdue(struct world *w)
{
    for (size_t i = 0; i < w->clients_n; i++) {
        const struct client *c = &w->clients[i];
        bool stopped = c->elder && !process_elder_runs(w) && !w->elder_acts;
        if (c->waiting && c->submit.request_id.p && !(c->submit.flags & SUBMIT_ASYNC) && !stopped &&
            !c->deltas && !c->stalled && w->now_us > client_deadline_us(w, c) + LATE_US)
            world_blame(w, "%s waits past its deadline", c->name);
    }
}

/* Each machine shows the figures of all, if none was ever cut off from the others. */
static bool shares_figures(const struct world *w)
{
    const struct world *t = w->twin;
    bool whole = !t || (!t->crashes && !t->takeovers && !t->lossy && !t->deletions && !t->slept_us);
    return w->server && !server_was_away(w) && whole;
}

/* What is put on one machine is in force on both. What was put without the server goes with a crash. */
static void check_settings(struct world *w)
{
    const struct world *t = w->twin;
    bool whole = !w->crashes && !w->takeovers && !w->lossy && !t->crashes && !t->takeovers && !t->lossy;
    if (w->conf.redis.on_loss == REDIS_LOSS_LOCAL && server_was_away(w) && !whole)
        return;
    const struct settings *a = &w->core->settings, *b = &t->core->settings;
    bool same = memcmp(a->priority, b->priority, sizeof(a->priority)) == 0 && a->provider == b->provider &&
                strcmp(a->model, b->model) == 0;
    if (!same)
        world_blame(w, "the machines have different settings");
}

void rules_final(struct world *w)
{
    if (w->twin && w->server)
        check_settings(w);
    w->ended = true;
    money_final(w);
    check_core(w);
    rules_keys(w);
    check_clients(w);
    rules_check_told(w);
    uint64_t chats = check_chats(w), answered = counter_of_all(w, "answered");
    /* Chats and their counter share a commit, so not even a crash comes between them; deletions and retention
     * leave the counter alone. */
    bool sums = w->twin && shares_figures(w) && !w->crashes && !w->takeovers && !w->lossy;
    bool others = w->twin && !sums; /* some of what they answered is in the figures, too */
    if (sums)
        chats += check_chats(w->twin);
    if (answered < chats || (answered > chats && !w->deletions && !w->slept_us && !others))
        world_blame(w, "the counters of answers say %llu, but there are %llu chats",
                    (unsigned long long)answered, (unsigned long long)chats);
    if (answered > chats && !w->deletions && !others)
        REACH("chats go by retention");
    if (w->crashes || w->takeovers || w->lossy)
        return;
    const struct world *t = w->twin;
    if (t && !shares_figures(w))
        return;
    check_figure(w, "calls", counter_of_all(w, "calls"), w->calls.n + (t ? t->calls.n : 0));
    check_figure(w, "batches", counter_of_all(w, "batches"), w->batches.n + (t ? t->batches.n : 0));
    check_figure(w, "replays", disk_counter(w, "replays"), w->replays + (t ? t->replays : 0));
}
