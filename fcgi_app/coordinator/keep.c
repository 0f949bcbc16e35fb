/*
 * Asynchronous duplicates of a prompt that somebody waits for: "it is kept" must be true when it is told,
 * whatever becomes of those who wait. Called by intake.c for a duplicate with the same body as the running
 * one.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/budget.h"
#include "coordinator/cached.h"
#include "coordinator/intake.h"
#include "coordinator/machines.h"
#include "coordinator/record.h"

/* It fails and its record is on its way out of the store. */
static bool is_failing(const struct job *j)
{
    return j->state == JOB_COMMITTING && !j->chat.len && !job_keeps_record(j);
}

/* Whether a record stands for j that outlives this process. */
static bool is_durable(const struct job *j)
{
    return !is_failing(j) && (j->recorded || (job_is_async(j) && j->state != JOB_ACCEPTING));
}

/* Tells an asynchronous duplicate of running what holds for it now. l may be NULL: it left. */
static void tell_kept(struct core *c, struct core_link *l, uint64_t id, struct job *running,
                      const struct job *duplicate, uint64_t now_us)
{
    uint64_t deadline_us = now_us + duplicate->submit.wait_ms * US_PER_MS;
    if (is_failing(running)) {
        if (l && job_add_waiter(c, running, l, id, false, deadline_us) < 0)
            core_refuse(c, l, id, refusal_get(REFUSAL_NO_MEMORY));
        return;
    }
    running->submit.flags |= SUBMIT_ASYNC;
    if (deadline_us > running->deadline_us)
        running->deadline_us = deadline_us;
    if (l)
        intake_answer_queued(c, l, id);
}

static void drop_job(void *owner)
{
    job_free(owner);
}

static void taken_back(struct core *c, struct commit_op *op, uint64_t now_us)
{
    (void)c;
    (void)now_us;
    job_free(op->owner);
}

/* j is not to run: its record goes, unless another's stands there by now. Takes j. */
static void take_back(struct core *c, struct job *j)
{
    struct commit_op *op = commit_op_new(1, 0, taken_back);
    if (!op) {
        job_free(j);
        return;
    }
    op->owner = j;
    op->drop = drop_job;
    op->requests[0] = (struct commit_request){
        .key = j->submit.key, .remove = true, .only = j->submit.fingerprint, .record.state = REQUEST_QUEUED};
    core_commit(c, op);
}

struct retraction {
    uint8_t key[REQUEST_KEY_SIZE], fingerprint[REQUEST_KEY_SIZE];
};

static void retracted(struct core *c, struct commit_op *op, uint64_t now_us)
{
    (void)now_us;
    if (op->rc < 0 && !op->refused) {
        op->kept = true;
        list_append(&c->stuck_ops, &op->node);
        return;
    }
    free(op->owner);
}

void intake_retract(struct core *c, const struct job *j)
{
    struct retraction *r = malloc(sizeof(*r));
    struct commit_op *op = r ? commit_op_new(1, 0, retracted) : NULL;
    if (!op) {
        free(r); /* at the next start it is taken for what it says */
        return;
    }
    memcpy(r->key, j->submit.key, sizeof(r->key));
    memcpy(r->fingerprint, j->submit.fingerprint, sizeof(r->fingerprint));
    op->owner = r;
    op->drop = free;
    op->requests[0] = (struct commit_request){.key = r->key, .remove = true, .only = r->fingerprint};
    op->requests[0].record = record_of(c, j, j->batch ? REQUEST_DISPATCHED : REQUEST_QUEUED);
    list_append(&c->stuck_ops, &op->node);
}

/* What intake_keep() put on the disk, or waited behind, is there. */
static void kept(struct core *c, struct commit_op *op, uint64_t now_us)
{
    struct job *j = op->owner, *running = job_find(c, j->submit.key);
    bool wrote = op->requests_n > 0;
    bool same = running && memcmp(running->submit.fingerprint, j->submit.fingerprint, REQUEST_KEY_SIZE) == 0;
    if (op->rc == 0 && running && !same) {
        /* The one it duplicated went, and another request took the id before this was written. */
        if (op->link)
            core_refuse(c, op->link, op->id, refusal_get(REFUSAL_ID_REUSED));
        if (wrote) {
            take_back(c, j);
            return;
        }
    } else if (op->rc == 0 && running && (wrote || is_failing(running) || is_durable(running)))
        tell_kept(c, op->link, op->id, running, j, now_us);
    else if (op->rc == 0 && !running && wrote) {
        /* Nobody waits for the other any more: this one runs in its place. */
        struct budget_refusal spent = {.refusal = *refusal_get(REFUSAL_NO_MEMORY)};
        bool adopted = !budget_refuses(c, j, &spent) && intake_adopt(c, j, now_us) == 0;
        if (op->link && adopted)
            intake_answer_queued(c, op->link, op->id);
        else if (op->link)
            core_refuse(c, op->link, op->id, &spent.refusal);
        if (!adopted) {
            budget_release(c, j);
            take_back(c, j);
        }
        return;
    } else {
        if (op->rc == ERR_IO && wrote)
            intake_retract(c, j);
        if (op->link)
            core_refuse(c, op->link, op->id, refusal_get(REFUSAL_STORE_DOWN));
    }
    job_free(j);
}

static void turn_away(struct core *c, struct core_link *l, uint64_t id, struct job *j,
                      const struct wire_refusal *why)
{
    core_refuse(c, l, id, why);
    job_free(j);
}

/* The operation stands behind all that the running one has on its way to the disk and before all that it will
 * have. */
void intake_keep(struct core *c, struct core_link *l, uint64_t id, struct job *running, struct job *j,
                 uint64_t now_us)
{
    bool write = running->state == JOB_QUEUED;
    struct budget_refusal spent;
    if (j->submit.caller_key.p) { /* it is never stored */
        turn_away(c, l, id, j, refusal_get(REFUSAL_ASYNC_WITH_KEY));
        return;
    }
    if (running->state == JOB_ASKING || (running->state == JOB_ELSEWHERE && !job_is_async(running))) {
        machines_keep(c, l, id, running, j, now_us);
        return;
    }
    if (running->given_again) {
        uint64_t deadline_us = now_us + j->submit.wait_ms * US_PER_MS;
        if (cached_keep(c, running, l, id, deadline_us) < 0)
            core_refuse(c, l, id, refusal_get(REFUSAL_NO_MEMORY));
        job_free(j);
        return;
    }
    if (is_failing(running) || is_durable(running)) {
        tell_kept(c, l, id, running, j, now_us);
        job_free(j);
        return;
    }
    if (write && budget_refuses_kept(c, running, j, &spent)) {
        turn_away(c, l, id, j, &spent.refusal);
        return;
    }
    struct commit_op *op = commit_op_new(write, 0, kept);
    if (!op) {
        turn_away(c, l, id, j, refusal_get(REFUSAL_NO_MEMORY));
        return;
    }
    op->owner = j;
    op->drop = drop_job;
    if (write) {
        op->requests[0] =
            (struct commit_request){.key = j->submit.key, .record = record_of(c, j, REQUEST_QUEUED)};
        op->requests[0].record.submit = (struct slice){j->payload, j->payload_len};
    }
    core_op_ask(c, op, l, id);
    core_commit(c, op);
}
