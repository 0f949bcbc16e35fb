/*
 * Claims: before a call leaves, each prompt in it becomes this machine's at the server that all share, or
 * leaves the call; see machines.h. The call holds its slot meanwhile.
 */
#include <stdlib.h>
#include <string.h>

#include "coordinator/intake.h"
#include "coordinator/machines.h"
#include "coordinator/refusal.h"

/* A claim on its way; keys are its own, since a call that does not wait for it may end first. */
struct claiming {
    struct shared_claim claim;
    struct call *call;   /* that waits for it, or */
    struct job *job;     /* one that is ASKING, and is to be given an answer again; NULL: nobody waits */
    struct slice cached; /* that answer, if the server has it; owned */
    struct claiming_key {
        uint8_t key[SHARED_KEY_SIZE], fingerprint[SHARED_KEY_SIZE];
    } * keys;
    struct shared_claim_member members[];
};

static bool needs_claim(const struct job *j)
{
    return !j->claimed && !j->recorded;
}

static struct claiming *claiming_new(const struct core *c, struct job *const *jobs, size_t jobs_n)
{
    size_t n = 0;
    for (size_t i = 0; i < jobs_n; i++)
        n += needs_claim(jobs[i]);
    struct claiming *q = calloc(1, sizeof(*q) + n * (sizeof(q->members[0]) + sizeof(q->keys[0])));
    if (!q)
        return NULL;
    q->keys = (struct claiming_key *)(q->members + n);
    q->claim = (struct shared_claim){.members = q->members, .members_n = n};
    q->claim.take_unknown = c->conf->idempotency.on_unknown == ON_UNKNOWN_RETRY;
    size_t at = 0;
    for (size_t i = 0; i < jobs_n; i++) {
        const struct job *j = jobs[i];
        if (!needs_claim(j))
            continue;
        memcpy(q->keys[at].key, j->submit.key, SHARED_KEY_SIZE);
        memcpy(q->keys[at].fingerprint, j->submit.fingerprint, SHARED_KEY_SIZE);
        q->members[at].key = q->keys[at].key;
        q->members[at].fingerprint = q->keys[at].fingerprint;
        at++;
    }
    return q;
}

static void claiming_free(struct claiming *q)
{
    free((char *)q->cached.p);
    free(q);
}

/* An asynchronous one was promised to be kept: it is tried again. */
static void refuse_member(struct core *c, struct job *j, enum refusal why)
{
    if (job_is_async(j))
        job_set_state(c, j, JOB_PARKED);
    else
        machines_refuse(c, j, why);
}

static void member_met(struct core *c, struct job *j, const struct shared_record *r, uint64_t now_us)
{
    if (machines_meet(c, j, r) != MEETS_END) {
        j->elsewhere = true;
        machines_wait(c, j, now_us);
        return;
    }
    if (job_is_async(j))
        intake_retract(c, j); /* it is not to run at the next start */
    machines_end_met(c, j);
}

/* Takes those out of the call that may not be sent with it. claim NULL: none of those who need one has got
 * it, for that reason. False: nobody is left, and the call is gone. */
static bool sift(struct core *c, struct call *call, const struct shared_claim *claim, enum refusal why,
                 uint64_t now_us)
{
    struct batch *b = call->batch;
    size_t stay = 0, at = 0;
    for (size_t i = 0; i < call->n; i++) {
        struct job *j = call->members[i];
        const struct shared_claim_member *m = needs_claim(j) && claim ? &claim->members[at++] : NULL;
        if (!needs_claim(j) || (m && m->ret_claimed)) {
            j->claimed |= m != NULL;
            j->noted |= m != NULL;
            call->members[stay++] = j;
            continue;
        }
        j->batch = NULL;
        b->pending--;
        if (m)
            member_met(c, j, &m->ret_record, now_us);
        else
            refuse_member(c, j, why);
    }
    call->n = stay;
    if (stay)
        return true;
    call_free(c, call);
    batch_free_if_done(c, b, now_us);
    return false;
}

/* Nobody else can have an id that a worker has just made. When outages are bridged anyhow, its call does not
 * wait for the claim, which only is there for those who ask other machines for it later. */
static bool goes_ahead(const struct core *c, const struct call *call)
{
    for (size_t i = 0; i < call->n; i++)
        if (needs_claim(call->members[i]) &&
            (!(call->members[i]->submit.flags & SUBMIT_FRESH_ID) || job_is_async(call->members[i])))
            return false;
    return machines_may_go_without(c);
}

bool machines_claim(struct core *c, struct call *call, uint64_t now_us)
{
    bool needed = false;
    for (size_t i = 0; i < call->n; i++)
        needed |= needs_claim(call->members[i]);
    if (!needed)
        return false;
    if (c->shared.reach != SHARED_THERE)
        return !machines_may_go_without(c) && !sift(c, call, NULL, REFUSAL_SHARED_DOWN, now_us);
    struct claiming *q = claiming_new(c, call->members, call->n);
    if (!q)
        return !sift(c, call, NULL, REFUSAL_NO_MEMORY, now_us);
    bool ahead = goes_ahead(c, call);
    for (size_t i = 0; i < call->n; i++)
        call->members[i]->noted |= ahead;
    if (!ahead) {
        q->call = call;
        call_take_slot(c, call, CALL_CLAIMING, now_us);
    }
    c->ports.claim(c->ports.arg, &q->claim);
    return !ahead;
}

void machines_note(struct core *c, struct job *j)
{
    struct claiming *q = c->shared.reach == SHARED_THERE && needs_claim(j) ? claiming_new(c, &j, 1) : NULL;
    if (!q)
        return;
    j->noted = true;
    c->ports.claim(c->ports.arg, &q->claim);
}

bool machines_claim_given(struct core *c, struct job *j, struct slice cached)
{
    struct claiming *q = claiming_new(c, &j, 1);
    char *copy = cached.p ? malloc(cached.n) : NULL;
    if (!q || (cached.p && !copy)) {
        free(copy);
        free(q);
        return false;
    }
    if (copy) {
        memcpy(copy, cached.p, cached.n);
        q->cached = (struct slice){copy, cached.n};
    }
    q->job = j;
    c->ports.claim(c->ports.arg, &q->claim);
    return true;
}

static void claimed_given(struct core *c, struct claiming *q, uint64_t now_us)
{
    struct job *j = q->job;
    const struct shared_claim_member *m = &q->members[0];
    j->noted |= q->claim.rc < 0 || m->ret_claimed;
    j->claimed = q->claim.rc == 0 && m->ret_claimed;
    if (j->claimed || (q->claim.rc < 0 && machines_may_go_without(c)))
        intake_go_on(c, j, q->cached, now_us);
    else if (q->claim.rc < 0)
        machines_refuse(c, j, REFUSAL_SHARED_DOWN);
    else
        machines_met(c, j, &m->ret_record, now_us);
}

void core_claimed(struct core *c, struct shared_claim *claim, uint64_t now_us)
{
    struct claiming *q = CONTAINER_OF(claim, struct claiming, claim);
    struct call *call = q->call;
    bool goes = true;
    if (claim->rc == ERR_FENCED)
        c->fenced = true; /* neither sent nor told, as after a commit that was fenced off */
    else if (q->job)
        claimed_given(c, q, now_us);
    else if (call && claim->rc < 0) {
        for (size_t i = 0; i < call->n; i++)
            call->members[i]->noted = true; /* nobody heard, but it may have been done */
        goes = machines_may_go_without(c) || sift(c, call, NULL, REFUSAL_SHARED_DOWN, now_us);
    } else if (call)
        goes = sift(c, call, claim, REFUSAL_NO_MEMORY, now_us);
    if (call && goes && !c->fenced)
        dispatch_go(c, call, now_us);
    claiming_free(q);
}
