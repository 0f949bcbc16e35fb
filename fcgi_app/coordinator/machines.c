/*
 * What machines that share a Redis promise together; see machines.h. A prompt's way: the server is asked when
 * it arrives, claims it for this machine before it is sent, and hears how it ended after that is durable
 * here. Whatever is lost on the way is settled when the connection is there again (reconcile.c).
 */
#include "coordinator/machines.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/cached.h"
#include "coordinator/control.h"
#include "coordinator/inquiry.h"
#include "coordinator/intake.h"
#include "coordinator/rate.h"
#include "coordinator/refusal.h"

/* An arrival on its way. */
struct asking {
    struct shared_arrival arrival;
    struct job *job;
    struct rate_list rates;
};

bool machines_may_go_without(const struct core *c)
{
    return c->conf->redis.on_loss == REDIS_LOSS_LOCAL;
}

void machines_end(struct core *c, struct job *j)
{
    job_tell(c, j);
    job_set_state(c, j, JOB_REAPED);
}

void machines_refuse(struct core *c, struct job *j, enum refusal why)
{
    core_count_refusal(c, refusal_get(why));
    job_refuse(j, refusal_get(why));
    machines_end(c, j);
}

/* ---- what another machine's record means for a job of this one ---- */

static enum meeting meet_unended(const struct core *c, struct job *j, const struct shared_record *r)
{
    if (r->mine) { /* nothing else of it runs here: a trace of one that was not sent */
        j->noted = true;
        return MEETS_NOTHING;
    }
    if (r->owner_alive && !job_is_joined(j) && !job_is_async(j)) {
        job_refuse(j, refusal_get(REFUSAL_RUNS_ALREADY));
        j->noted = false;
        return MEETS_END;
    }
    j->runs_elsewhere = r->state == SHARED_DISPATCHED;
    if (r->owner_alive)
        return MEETS_RUNNING;
    if (r->state ==
        SHARED_QUEUED) /* it was not sent, and will not be by a machine that comes back too late */
        return MEETS_NOTHING;
    if (c->conf->idempotency.on_unknown == ON_UNKNOWN_RETRY)
        return MEETS_NOTHING;
    job_refuse(j, refusal_get(REFUSAL_MACHINE_LOST));
    return MEETS_END;
}

static void take_refusal(struct job *j, const struct shared_record *r)
{
    struct wire_refusal unknown = refusal_unknown(r->value), refusal;
    if (r->state == SHARED_UNKNOWN || wire_refusal_decode(r->value, &refusal) < 0)
        job_refuse(j, &unknown);
    else {
        buf_clear(&j->refusal);
        buf_append_slice(&j->refusal, r->value);
        if (buf_failed(&j->refusal))
            job_refuse(j, refusal_get(REFUSAL_NO_MEMORY));
    }
}

static void take_chat(struct job *j, struct slice chat)
{
    buf_clear(&j->chat);
    buf_append_slice(&j->chat, chat);
    if (!buf_failed(&j->chat))
        return;
    buf_clear(&j->chat);
    job_refuse(j, refusal_get(REFUSAL_NO_MEMORY));
}

enum meeting machines_meet(const struct core *c, struct job *j, const struct shared_record *r)
{
    bool retry = c->conf->idempotency.on_unknown == ON_UNKNOWN_RETRY;
    j->promised |= r->state == SHARED_REFUSED;
    if (r->state == SHARED_FREE || r->state == SHARED_REFUSED)
        return MEETS_NOTHING;
    if (r->state == SHARED_DELETED)
        job_refuse(j, refusal_get(REFUSAL_DELETED));
    else if (memcmp(r->fingerprint, j->submit.fingerprint, SHARED_KEY_SIZE) != 0)
        job_refuse(j, refusal_get(REFUSAL_ID_REUSED));
    else if (r->state == SHARED_QUEUED || r->state == SHARED_DISPATCHED)
        return meet_unended(c, j, r);
    else if (r->state == SHARED_UNKNOWN && retry)
        return MEETS_NOTHING;
    else if (r->state == SHARED_DONE && r->value.n)
        take_chat(j, r->value);
    else
        take_refusal(j, r);
    return MEETS_END; /* what has ended there stays, whatever this machine gives back */
}

void machines_end_met(struct core *c, struct job *j)
{
    uint64_t answers = 0;
    struct wire_refusal refusal;
    struct chat chat;
    list_for_each (it, &j->waiters) {
        const struct waiter *w = LIST_ENTRY(it, struct waiter, job_node);
        answers += !w->watches && !w->keeps;
    }
    j->replayed = j->chat.len > 0;
    if (j->replayed)
        core_count(c, "replays", NULL, answers);
    else if (wire_refusal_decode(buf_slice(&j->refusal), &refusal) == 0)
        core_count_refusal(c, &refusal);
    if (chat_decode(buf_slice(&j->chat), &chat) == 0)
        core_count(c, "saved.tokens", "replay", answers * (chat.prompt_tokens + chat.completion_tokens));
    machines_end(c, j);
}

/* ---- arrivals ---- */

static bool is_fresh(const struct job *j)
{
    return j->submit.flags & SUBMIT_FRESH_ID;
}

bool machines_come_first(const struct core *c, const struct job *j)
{
    if (machines_may_go_without(c))
        return c->shared.reach == SHARED_THERE && !is_fresh(j);
    return c->shared.reach != SHARED_OFF;
}

static struct asking *asking_new(const struct core *c, struct job *j)
{
    struct asking *q = calloc(1, sizeof(*q));
    if (!q)
        return NULL;
    bool looks = job_is_async(j) || !is_fresh(j);
    q->job = j;
    q->arrival = (struct shared_arrival){.key = looks ? j->submit.key : NULL,
                                         .cache_key = cached_applies(c, j) ? j->cache_key : NULL,
                                         .fingerprint = j->submit.fingerprint,
                                         .queued = job_is_async(j)};
    if (rate_applies(c, j)) {
        rate_list(c, j, &q->rates);
        q->arrival.buckets = q->rates.buckets;
        q->arrival.buckets_n = q->rates.n;
    }
    return q;
}

/* Somebody who waits for j while it is ASKING: for its answer, or to hear that it is kept. */
static int add_asker(struct core *c, struct core_link *l, uint64_t id, struct job *j)
{
    return job_is_async(j) ? job_add_keeper(c, j, l, id) : job_add_waiter(c, j, l, id, false, j->deadline_us);
}

bool machines_ask(struct core *c, struct core_link *l, uint64_t id, struct job *j, uint64_t now_us)
{
    enum refusal why = REFUSAL_NO_MEMORY;
    (void)now_us;
    bool away = c->shared.reach != SHARED_THERE;
    if (away && machines_may_go_without(c))
        return false;
    if (!away && is_fresh(j) && !job_is_async(j) && !cached_applies(c, j) && !rate_applies(c, j))
        return false; /* nobody else can have it, and there is nothing else to ask */
    struct asking *q = away ? NULL : asking_new(c, j);
    if (q && add_asker(c, l, id, j) == 0) {
        job_set_state(c, j, JOB_ASKING);
        c->ports.arrive(c->ports.arg, &q->arrival);
        return true;
    }
    if (away)
        why = REFUSAL_SHARED_DOWN;
    free(q);
    core_refuse(c, l, id, refusal_get(why));
    job_leave(c, j);
    job_free(j);
    return true;
}

/* Another machine has it. Whether it will come to an end there nobody knows, not even of one that is noted as
 * kept: that is noted before it is durable, and its machine may have refused it since. So a prompt to be kept
 * is kept here, too. */
static void met_running(struct core *c, struct job *j, uint64_t now_us)
{
    if (job_is_async(j))
        intake_accept(c, j);
    else
        machines_wait(c, j, now_us);
}

static void follow(struct core *c, struct job *j, enum meeting met, uint64_t now_us)
{
    if (met == MEETS_END)
        machines_end_met(c, j);
    else if (c->draining)
        machines_refuse(c, j, REFUSAL_DRAINING);
    else {
        j->elsewhere = true;
        j->runs_elsewhere |= met == MEETS_NOTHING; /* or so it seems: looked at again in a moment */
        met_running(c, j, now_us);
    }
}

void machines_met(struct core *c, struct job *j, const struct shared_record *r, uint64_t now_us)
{
    follow(c, j, machines_meet(c, j, r), now_us);
}

/* An answer that is given again becomes the id's, so of the machines that could give one to an id that a
 * client chose only one does: whoever has claimed it. */
void machines_go_on(struct core *c, struct job *j, struct slice cached, uint64_t now_us)
{
    bool there = c->shared.reach == SHARED_THERE;
    bool unclaimed = machines_may_go_without(c) && (!there || is_fresh(j));
    bool given = cached.p || cached_has(c, j);
    if (c->draining || !given || unclaimed) {
        intake_go_on(c, j, cached, now_us);
        return;
    }
    if (there && machines_claim_given(c, j, cached))
        return;
    rate_return(c, j);
    machines_refuse(c, j, there ? REFUSAL_NO_MEMORY : REFUSAL_SHARED_DOWN);
}

/* What the server made of the buckets, if it got as far as to them. True: a refusal is in the job. */
static bool is_limited(struct core *c, const struct asking *q, enum meeting met)
{
    struct rate_refusal refusal;
    const struct shared_arrival *a = &q->arrival;
    if (!q->rates.n || a->rc < 0 || met != MEETS_NOTHING || a->record.state != SHARED_FREE || a->cached.p)
        return false;
    if (!rate_decide(c, q->job, &q->rates, a->limited, true, &refusal))
        return false;
    core_count_refusal(c, &refusal.refusal);
    job_refuse(q->job, &refusal.refusal);
    return true;
}

static void arrived(struct core *c, struct asking *q, uint64_t now_us)
{
    struct job *j = q->job;
    const struct shared_arrival *a = &q->arrival;
    enum meeting met = a->rc < 0 ? MEETS_NOTHING : machines_meet(c, j, &a->record);
    /* It may be noted there also when nobody heard that it is; if another machine has it, behind that. */
    j->noted |= a->queued && met != MEETS_END && !a->limited;
    if (is_limited(c, q, met) || (!job_is_async(j) && !job_is_awaited(j)))
        machines_end(c, j);
    else if (a->rc < 0 && !machines_may_go_without(c))
        machines_refuse(c, j, REFUSAL_SHARED_DOWN);
    else if (met != MEETS_NOTHING)
        follow(c, j, met, now_us);
    else if (a->rc < 0)
        intake_go_on(c, j, (struct slice){0}, now_us);
    else if (!a->cached.p || !machines_look_given(c, j, a->cached))
        machines_go_on(c, j, (struct slice){0}, now_us);
}

void core_arrived(struct core *c, struct shared_arrival *a, uint64_t now_us)
{
    struct asking *q = CONTAINER_OF(a, struct asking, arrival);
    if (a->rc == ERR_FENCED)
        c->fenced = true; /* the job stays what it is: its worker asks the next coordinator */
    else
        arrived(c, q, now_us);
    free(q);
}

void machines_keep(struct core *c, struct core_link *l, uint64_t id, struct job *running,
                   struct job *duplicate, uint64_t now_us)
{
    (void)now_us;
    if (job_add_keeper(c, running, l, id) < 0)
        core_refuse(c, l, id, refusal_get(REFUSAL_NO_MEMORY));
    else {
        if (!job_is_async(running)) {
            job_swap_payload(c, running, duplicate); /* what is stored says that it is asynchronous */
            intake_fill_member(c, running);
        }
        if (running->state == JOB_ELSEWHERE)
            intake_accept(c, running);
    }
    job_free(duplicate);
}

/* ---- ends ---- */

void machines_over(struct core *c, const struct job *j)
{
    if (j->ended == SHARED_FREE && !j->noted)
        return;
    struct shared_ending ending = {
        .key = j->submit.key, .fingerprint = j->submit.fingerprint, .state = j->ended};
    if (j->ended == SHARED_DONE) {
        ending.value = buf_slice(&j->chat);
        if (j->cacheable && !j->given_again) {
            ending.cache_key = j->cache_key;
            ending.cache_ttl_s = c->conf->cache.ttl_hours * 3600;
        }
    } else if (j->ended != SHARED_FREE)
        ending.value = buf_slice(&j->refusal);
    c->ports.settle(c->ports.arg, &ending, 1);
}

void core_shared_standing(struct core *c, const struct shared_standing *standing, uint64_t now_us)
{
    bool was_there = c->shared.reach == SHARED_THERE;
    c->shared.reach = standing->there ? SHARED_THERE : SHARED_AWAY;
    c->shared.keeps = standing->keeps;
    c->shared.fault = standing->fault;
    if (was_there && !standing->there) {
        c->shared.away_us = now_us;
        inquiry_end_all(c);
    }
    if (standing->there && c->shared.lost)
        reconcile_lost(c);
    if (was_there != standing->there)
        agree_standing(c);
}
