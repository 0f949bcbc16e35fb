/*
 * The promises that hold whatever a script does (api.md): one paid call for an id, recorded before it is
 * sent; an answer only after it is stored, and only to its own prompt; one reply, in time; nothing left
 * behind at the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "upstream.h"

/* Invariant: last is what the provider made of the newest call with this key, UNKNOWN when nobody heard. */
struct ledger {
    UT_hash_handle hh;
    uint8_t key[REQUEST_KEY_SIZE];
    enum verdict last;
    unsigned repairs;
    uint64_t first_us; /* its record is kept from then on */
};

static void check_record(struct world *w, const struct job *j)
{
    struct request_record record;
    struct slice chat;
    struct err e = {0};
    if (disk_lookup(w, j->submit.key, &record, &chat, &e) < 0) {
        world_blame(w, "%.*s is sent without a durable record: %s", (int)j->submit.request_id.n,
                    j->submit.request_id.p, e.text);
        return;
    }
    if (record.state != REQUEST_DISPATCHED || record.epoch != w->epoch || record.repairs != j->repairs)
        world_blame(w, "%.*s is sent with a record of state %d, epoch %llu, repairs %u",
                    (int)j->submit.request_id.n, j->submit.request_id.p, (int)record.state,
                    (unsigned long long)record.epoch, record.repairs);
    disk_lookup_end(w);
}

static void note_call(struct world *w, const struct call *call, size_t i, enum verdict fate)
{
    const struct job *j = call->members[i];
    struct slice id = j->submit.request_id;
    struct ledger *known;
    HASH_FIND(hh, w->ledger, j->submit.key, REQUEST_KEY_SIZE, known);
    if (!known) {
        known = calloc(1, sizeof(*known));
        memcpy(known->key, j->submit.key, sizeof(known->key));
        HASH_ADD(hh, w->ledger, key, REQUEST_KEY_SIZE, known);
        known->first_us = w->now_us;
    } else if (w->now_us - known->first_us >= w->conf.idempotency.ttl_hours * 3600 * US_PER_S) {
        known->repairs = 0;
        known->first_us = w->now_us;
    } else if (known->last == VERDICT_MISSING || known->last == VERDICT_FILTERED) {
        if (++known->repairs > w->conf.retry.attempts)
            world_blame(w, "%.*s is repaired more than retry.attempts times", (int)id.n, id.p);
    } else if (known->last != VERDICT_FAILED && w->conf.idempotency.on_unknown == ON_UNKNOWN_REPORT)
        world_blame(w, "%.*s is paid for twice", (int)id.n, id.p);
    /* A filter that stops one prompt by itself is its final answer. */
    bool single = call->n == 1 || call->request.mode == MODE_ARRAY;
    known->last = fate == VERDICT_FILTERED && single ? VERDICT_ANSWERED : fate;
}

void rules_called(struct world *w, const struct call *call, const enum verdict *fates)
{
    const struct job *first = call->members[0];
    for (size_t i = 0; i < call->n; i++) {
        const struct job *j = call->members[i];
        check_record(w, j);
        note_call(w, call, i, fates[i]);
        if (memcmp(j->submit.trust_group, first->submit.trust_group, TRUST_GROUP_SIZE) != 0)
            world_blame(w, "two tenants in one call");
    }
}

void rules_forget_flights(struct world *w)
{
    list_for_each (it, &w->flights) {
        const struct call *call = LIST_ENTRY(it, struct flight, node)->call;
        for (size_t i = 0; i < call->n; i++) {
            struct ledger *known;
            HASH_FIND(hh, w->ledger, call->members[i]->submit.key, REQUEST_KEY_SIZE, known);
            if (known)
                known->last = VERDICT_UNKNOWN;
        }
    }
}

static void check_answer(struct world *w, struct client *c, struct slice told)
{
    struct chat chat;
    struct request_record record;
    struct slice stored;
    struct err e = {0};
    if (chat_decode(told, &chat) < 0)
        world_blame(w, "the answer for %s holds no chat", c->name);
    else if (!slice_equal(chat.prompt, c->submit.prompt) ||
             !slice_equal(chat.request_id, c->submit.request_id))
        world_blame(w, "%s gets the chat of another", c->name);
    else if (!upstream_is_answer(chat.prompt, chat.text))
        world_blame(w, "%s gets the answer of another: %.*s", c->name, (int)chat.text.n, chat.text.p);
    if (disk_lookup(w, c->submit.key, &record, &stored, &e) < 0) {
        world_blame(w, "%s is told an answer that is not stored: %s", c->name, e.text);
        return;
    }
    if (record.state != REQUEST_DONE || !slice_equal(stored, told))
        world_blame(w, "%s is told an answer that differs from the stored one", c->name);
    disk_lookup_end(w);
}

void rules_replied(struct world *w, struct client *c, struct slice chat)
{
    static const char *const of_calls[] = {"PROVIDER_", "UPSTREAM_", "BAD_UPSTREAM_", "CONTENT_"};
    bool async = c->submit.flags & SUBMIT_ASYNC;
    if (!c->submit.request_id.p)
        return;
    if (!async && w->now_us > c->deadline_us)
        world_blame(w, "%s hears after its deadline", c->name);
    if (c->reply == REPLY_ANSWER)
        check_answer(w, c, chat);
    if (c->reply == REPLY_QUEUED && (!async || strcmp(disk_state(w, c), "none") == 0))
        world_blame(w, "%s is told that its request is kept, but it is not", c->name);
    for (size_t i = 0; c->reply == REPLY_REFUSAL && i < ARRAY_LEN(of_calls); i++)
        if (strncmp(c->code, of_calls[i], strlen(of_calls[i])) == 0 &&
            strcmp(disk_state(w, c), "dispatched") == 0)
            world_blame(w, "%s is told %s while its record says dispatched", c->name, c->code);
}

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
    if (!list_empty(&c->stuck_ops) || !list_empty(&c->asked))
        world_blame(w, "commit operations are left");
    if (!list_empty(&c->changes))
        world_blame(w, "changes of settings are left");
    if (c->payload_bytes && list_empty(&c->jobs[JOB_PARKED]))
        world_blame(w, "%llu bytes of prompts are counted, but none are left",
                    (unsigned long long)c->payload_bytes);
    if (!core_idle(c))
        world_blame(w, "the core does not call itself idle");
}

/* Whether somebody waited for the same id: a failure of that try leaves nothing behind, also not of an
 * earlier asynchronous one. */
static bool was_awaited(const struct world *w, const struct client *c)
{
    for (size_t i = 0; i < w->clients_n; i++)
        if (!(w->clients[i].submit.flags & SUBMIT_ASYNC) &&
            memcmp(w->clients[i].submit.key, c->submit.key, REQUEST_KEY_SIZE) == 0)
            return true;
    return false;
}

static void check_clients(struct world *w)
{
    static const char *const open_states[] = {"none", "queued", "dispatched", "unreadable"};
    for (size_t i = 0; i < w->clients_n; i++) {
        struct client *c = &w->clients[i];
        if (c->waiting || c->watching)
            world_blame(w, "%s was never told", c->name);
        if (!(c->submit.flags & SUBMIT_ASYNC) || c->reply != REPLY_QUEUED || w->core->draining)
            continue;
        for (size_t s = was_awaited(w, c); s < ARRAY_LEN(open_states); s++)
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

static void check_figure(struct world *w, const char *name, uint64_t expected)
{
    uint64_t counted = counter_of_all(w, name);
    if (counted != expected)
        world_blame(w, "the counters of %s say %llu, but there were %llu", name, (unsigned long long)counted,
                    (unsigned long long)expected);
}

void rules_final(struct world *w)
{
    check_core(w);
    check_clients(w);
    uint64_t chats = check_chats(w);
    /* Chats and their counter share a commit, so not even a crash comes between them; deletions leave the
     * counter alone. */
    if (!w->deletions)
        check_figure(w, "answered", chats);
    if (w->crashes)
        return;
    check_figure(w, "calls", w->calls.n);
    check_figure(w, "batches", w->batches.n);
}

void rules_free(struct world *w)
{
    struct ledger *known, *tmp;
    HASH_ITER (hh, w->ledger, known, tmp) {
        HASH_DEL(w->ledger, known);
        free(known);
    }
}
