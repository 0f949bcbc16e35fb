/*
 * The promises of what is sent (api.md): one paid call for an id as long as its record is kept, recorded
 * before it is sent; further ones only to repair, a few times, in the life of the same coordinator. What is
 * told is held to in rules_told.c, batches in rules_batch.c, the end in rules_end.c.
 */
#include "rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reach.h"
#include "server.h"
#include "upstream.h"

#define SLACK_S 300 /* an asynchronous one may have waited before it was taken up again */

struct ledger **rules_ledgers(struct world *w)
{
    return w->machine ? &w->twin->ledger : &w->ledger;
}

struct ledger *rules_ledger(struct world *w, const uint8_t key[REQUEST_KEY_SIZE], bool make)
{
    struct ledger *known, **ledgers = rules_ledgers(w);
    HASH_FIND(hh, *ledgers, key, REQUEST_KEY_SIZE, known);
    if (known || !make)
        return known;
    known = calloc(1, sizeof(*known));
    memcpy(known->key, key, sizeof(known->key));
    HASH_ADD(hh, *ledgers, key, REQUEST_KEY_SIZE, known);
    return known;
}

bool rules_is_past(const struct world *w, uint64_t expires_s)
{
    return world_real_max_us(w) / US_PER_S >= expires_s;
}

bool rules_slept_since(const struct world *w, uint64_t mono_us)
{
    return w->slept_us && mono_us <= w->slept_us;
}

/* What is paid for is kept its time from when it was asked for. */
static void check_expiry(struct world *w, const struct job *j, const struct request_record *record)
{
    uint64_t ttl_s = w->conf.idempotency.ttl_hours * 3600, age_s = (w->now_us - j->arrived_us) / US_PER_S;
    uint64_t now_s = disk_real_us(w) / US_PER_S;
    if (job_is_async(j) && w->slept_us)
        return; /* it may have been asked for, and recorded, long before it was taken up */
    if (record->expires_s + age_s + SLACK_S + w->set_us / US_PER_S < now_s + ttl_s &&
        !rules_slept_since(w, j->arrived_us))
        world_blame(w, "%.*s is sent, but its record is kept for %lld s only", (int)j->submit.request_id.n,
                    j->submit.request_id.p, (long long)(record->expires_s - now_s));
}

/* Returns when the record expires. */
static uint64_t check_record(struct world *w, const struct job *j)
{
    struct request_record record;
    struct slice chat, id = j->submit.request_id;
    struct err e = {0};
    if (disk_lookup(w, j->submit.key, &record, &chat, &e) < 0) {
        /* Its record had its time, if hours have passed since. The elder's may have been run by another. */
        if (!rules_slept_since(w, j->arrived_us) &&
            !(w->elder_acts && w->conf.idempotency.on_unknown == ON_UNKNOWN_RETRY))
            world_blame(w, "%.*s is sent without a durable record: %s", (int)id.n, id.p, e.text);
        return 0;
    }
    disk_lookup_end(w);
    check_expiry(w, j, &record);
    bool own = record.state == REQUEST_DISPATCHED && record.epoch == w->epoch;
    /* Whoever took over has written over what it found. */
    bool taken = w->elder_acts && record.state == REQUEST_UNKNOWN && record.epoch == w->epoch;
    /* Or the id was asked for anew: by somebody who would rather pay twice, or after its time. */
    bool traded = w->elder_acts &&
                  (w->conf.idempotency.on_unknown == ON_UNKNOWN_RETRY || rules_slept_since(w, j->arrived_us));
    if ((!own && !taken && !traded) || (own && record.repairs != j->repairs))
        world_blame(w, "%.*s is sent with a record of state %d, epoch %llu, repairs %u", (int)id.n, id.p,
                    (int)record.state, (unsigned long long)record.epoch, record.repairs);
    return record.expires_s;
}

bool rules_without_promise(const struct world *w, const struct ledger *known)
{
    bool retry = w->twin && w->conf.idempotency.on_unknown == ON_UNKNOWN_RETRY;
    if (!w->server || w->conf.redis.on_loss != REDIS_LOSS_LOCAL)
        return retry;
    return retry || server_was_away(w) || (known && known->fresh);
}

/* The id was paid for: only a repair may follow, of the same coordinator, after an answer without its part.
 */
static void check_again(struct world *w, struct ledger *known, const struct job *j)
{
    struct slice id = j->submit.request_id;
    bool retry = w->conf.idempotency.on_unknown == ON_UNKNOWN_RETRY;
    bool repairs = j->repairs && known->sender == w && known->epoch == w->epoch &&
                   (known->paid == VERDICT_MISSING || known->paid == VERDICT_FILTERED);
    if (!repairs && retry) {
        REACH("an id runs again though it may have been paid for");
        known->going |= known->sender != w; /* both machines may have an answer then */
        known->bought = false;
    } else if (!repairs && rules_without_promise(w, known)) {
        REACH("an id is paid for by two machines in an outage");
        known->bought = false;
    } else if (!repairs && !(w->elder_acts && rules_slept_since(w, j->arrived_us)))
        world_blame(w, "%.*s is paid for twice", (int)id.n, id.p);
    else if (repairs && (j->repairs > w->conf.retry.attempts || known->repairs >= w->conf.retry.attempts))
        world_blame(w, "%.*s is repaired more than retry.attempts times", (int)id.n, id.p);
    else if (repairs)
        REACH("a part is asked for again");
}

static void note_call(struct world *w, const struct call *call, size_t i, enum verdict fate)
{
    const struct job *j = call->members[i];
    struct ledger *known = rules_ledger(w, j->submit.key, true);
    uint64_t expires_s = check_record(w, j);
    if (known->bought && rules_is_past(w, known->expires_s)) {
        known->bought = false;
        REACH("an id runs again after its time");
    } else if (known->bought) {
        check_again(w, known, j);
        known->repairs += fate != VERDICT_FAILED;
    } else if (known->failed && !j->retries && !j->repairs)
        REACH("an id runs again after a failure");
    if (known->gone && !rules_without_promise(w, known) && !rules_is_past(w, known->told_until_s))
        world_blame(w, "%.*s is sent though it was deleted", (int)j->submit.request_id.n,
                    j->submit.request_id.p);
    if (!known->bought)
        known->repairs = 0;
    /* A filter that stops one prompt by itself is its final answer. */
    bool single = call->n == 1 || call->request.mode == MODE_ARRAY;
    if (fate == VERDICT_FILTERED && single)
        fate = VERDICT_ANSWERED;
    known->failed = fate == VERDICT_FAILED;
    known->epoch = w->epoch;
    known->sender = w;
    known->fresh |= (j->submit.flags & SUBMIT_FRESH_ID) != 0;
    if (expires_s)
        known->expires_s = expires_s;
    if (fate != VERDICT_FAILED) {
        known->bought = true;
        known->paid = fate;
    }
}

void rules_called(struct world *w, const struct call *call, const enum verdict *fates)
{
    for (size_t i = 0; i < call->n; i++)
        note_call(w, call, i, fates[i]);
    if (w->elder_acts)
        REACH("the elder sends a call");
}

void rules_ended(struct world *w, const struct call *call)
{
    for (size_t i = 0; i < call->n; i++) {
        struct ledger *known = rules_ledger(w, call->members[i]->submit.key, false);
        if (known && known->sender == w && known->epoch == w->epoch && known->bought)
            known->paid = VERDICT_UNKNOWN;
    }
}

void rules_forget_flights(struct world *w)
{
    list_for_each (it, &w->flights)
        rules_ended(w, LIST_ENTRY(it, struct flight, node)->call);
}

void rules_free(struct world *w)
{
    struct ledger *known, *tmp;
    HASH_ITER (hh, w->ledger, known, tmp) {
        HASH_DEL(w->ledger, known);
        free(known);
    }
}
