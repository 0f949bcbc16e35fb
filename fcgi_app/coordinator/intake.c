/* Prompts on their way in; see intake.h. What an earlier coordinator left
 * behind is in recover.c, asynchronous duplicates are in keep.c, those who wait in waiting.c. */
#include "coordinator/intake.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/budget.h"
#include "coordinator/cached.h"
#include "coordinator/call.h"
#include "coordinator/guard.h"
#include "coordinator/hash.h"
#include "coordinator/machines.h"
#include "coordinator/rate.h"
#include "coordinator/record.h"
#include "coordinator/refusal.h"

#define PAYLOADS_MAX                                                                                         \
    (256ull << 20) /* bytes of all prompts in the coordinator; limits.queue_max bounds their number */

static void refuse(struct core *c, struct core_link *l, uint64_t id, enum refusal why)
{
    core_refuse(c, l, id, refusal_get(why));
}

/* Everything members of a batch have in common (api.md "Batching"), but for the priority, which the batcher
 * keeps apart itself. */
static void batch_key(const struct wire_submit *s, uint32_t max_tokens, uint8_t ret_key[BATCH_KEY_SIZE])
{
    uint32_t of_all[] = {max_tokens, s->flags & SUBMIT_COMPLETION};
    crypto_generichash_state h;
    double temperature = isnan(s->temperature) ? -1.0 : s->temperature;
    crypto_generichash_init(&h, NULL, 0, BATCH_KEY_SIZE);
    crypto_generichash_update(&h, s->trust_group, TRUST_GROUP_SIZE);
    crypto_generichash_update(&h, (const unsigned char *)&temperature, sizeof(temperature));
    crypto_generichash_update(&h, (const unsigned char *)of_all, sizeof(of_all));
    hash_text(&h, s->model);
    hash_text(&h, s->system_prompt);
    hash_text(&h, s->extra);
    hash_text(&h, s->caller_key);
    crypto_generichash_final(&h, ret_key, BATCH_KEY_SIZE);
}

void intake_fill_member(struct core *c, struct job *j)
{
    const struct wire_submit *s = &j->submit;
    struct provider_member m;
    job_member(c, j, &m);
    j->member.priority = s->priority;
    enum provider_mode mode = c->provider->mode;
    j->member.alone = (s->flags & SUBMIT_ALONE) || !provider_combinable(&m, mode);
    memcpy(j->member.tenant, s->trust_group, TENANT_SIZE);
    /* A native call of several prompts states max_tokens once for all. */
    batch_key(s, mode == MODE_ARRAY ? m.max_tokens : 0, j->member.key);
    j->member.arrived_us = j->arrived_us;
    j->member.tokens = provider_estimate_tokens(&m);
}

int intake_queue(struct core *c, struct job *j, uint64_t now_us, enum refusal *ret_why)
{
    bool tenant_full = false;
    int rc = batcher_add(c->batcher, &j->member, now_us, &tenant_full);
    if (rc == 0) {
        job_set_state(c, j, JOB_QUEUED);
        event_enqueue(c, j);
    } else
        *ret_why = rc == ERR_NOMEM ? REFUSAL_NO_MEMORY
                   : tenant_full   ? REFUSAL_TENANT_FULL
                                   : REFUSAL_QUEUE_FULL;
    return rc;
}

void intake_answer_queued(struct core *c, struct core_link *l, uint64_t id)
{
    size_t mark = wire_frame_begin(&l->out, WIRE_QUEUED, id);
    wire_frame_end(&l->out, mark);
    core_link_dirty(c, l);
}

/* The QUEUED record of an async job came back. */
static void accepted(struct core *c, struct commit_op *op, uint64_t now_us)
{
    struct job *j = op->owner;
    enum refusal why;
    if (op->rc < 0) {
        if (op->rc == ERR_IO)
            intake_retract(c, j);
        if (op->link)
            refuse(c, op->link, op->id, REFUSAL_STORE_DOWN);
        job_refuse(j, refusal_get(REFUSAL_STORE_DOWN));
        job_tell(c, j);
        job_set_state(c, j, JOB_REAPED);
    } else {
        if (op->link)
            intake_answer_queued(c, op->link, op->id);
        job_tell_kept(c, j);
        if (j->elsewhere)
            machines_wait(c, j, now_us);
        else if (c->draining || intake_queue(c, j, now_us, &why) < 0)
            job_set_state(c, j, JOB_PARKED);
    }
}

int intake_adopt(struct core *c, struct job *j, uint64_t now_us)
{
    enum refusal why;
    int rc = job_enter(c, j);
    if (rc < 0)
        return rc;
    intake_fill_member(c, j);
    budget_reserve(c, j);
    j->deadline_us = now_us + j->submit.wait_ms * US_PER_MS;
    if (c->draining || intake_queue(c, j, now_us, &why) < 0)
        job_set_state(c, j, JOB_PARKED);
    return 0;
}

/* Async: durable before the 202. l NULL: its keepers are on the job. */
static int accept_async(struct core *c, struct core_link *l, uint64_t id, struct job *j)
{
    struct commit_op *op = commit_op_new(1, 0, accepted);
    if (!op)
        return ERR_NOMEM;
    op->owner = j;
    op->requests[0] =
        (struct commit_request){.key = j->submit.key, .record = record_of(c, j, REQUEST_QUEUED)};
    op->requests[0].record.submit = (struct slice){j->payload, j->payload_len};
    if (l)
        core_op_ask(c, op, l, id);
    job_set_state(c, j, JOB_ACCEPTING);
    core_commit(c, op);
    return 0;
}

/* Async jobs on their way into the queue count as if they were in it. */
static int admit_async(struct core *c, const struct job *j, enum refusal *ret_why)
{
    static const enum job_state coming[] = {JOB_ACCEPTING, JOB_PARKED};
    uint32_t others = 0, own = 0;
    bool tenant_full = false;
    for (size_t i = 0; i < ARRAY_LEN(coming); i++) {
        others += c->jobs_n[coming[i]];
        list_for_each (it, &c->jobs[coming[i]])
            own +=
                memcmp(LIST_ENTRY(it, struct job, node)->member.tenant, j->member.tenant, TENANT_SIZE) == 0;
    }
    int rc = batcher_admits(c->batcher, j->member.tenant, others, own, &tenant_full);
    if (rc < 0)
        *ret_why = tenant_full ? REFUSAL_TENANT_FULL : REFUSAL_QUEUE_FULL;
    return rc;
}

/* It was refused on its way into the queue, and leaves nothing behind. */
static void drop(struct core *c, struct job *j)
{
    rate_return(c, j);
    budget_release(c, j);
    job_leave(c, j);
    job_free(j);
}

/* A prompt that nobody runs yet and no record stands against. */
static void start(struct core *c, struct core_link *l, uint64_t id, struct job *j, uint64_t now_us)
{
    enum refusal why = REFUSAL_NO_MEMORY;
    if (job_enter(c, j) < 0) {
        refuse(c, l, id, why);
        job_free(j);
        return;
    }
    if (!machines_come_first(c, j) && cached_answer(c, l, id, j, now_us))
        return;
    intake_fill_member(c, j);
    j->deadline_us = now_us + j->submit.wait_ms * US_PER_MS;
    if (c->shared.reach != SHARED_OFF && machines_ask(c, l, id, j, now_us))
        return;
    int rc;
    struct wire_refusal refusal;
    struct rate_refusal limited;
    struct budget_refusal spent;
    if (budget_refuses(c, j, &spent)) {
        core_refuse(c, l, id, &spent.refusal);
        drop(c, j);
        return;
    }
    if (rate_refuses(c, j, now_us, &limited)) {
        core_refuse(c, l, id, &limited.refusal);
        drop(c, j);
        return;
    }
    if (job_is_async(j)) {
        rc = admit_async(c, j, &why);
        if (rc == 0)
            rc = accept_async(c, l, id, j);
    } else if (guard_refuses(c, j, now_us, &refusal)) {
        core_refuse(c, l, id, &refusal);
        drop(c, j);
        return;
    } else {
        rc = job_add_waiter(c, j, l, id, false, j->deadline_us);
        if (rc == 0 && (rc = intake_queue(c, j, now_us, &why)) < 0)
            waiter_free(c, LIST_ENTRY(list_first(&j->waiters), struct waiter, job_node));
    }
    if (rc == 0) {
        intake_count(c, j);
        return;
    }
    refuse(c, l, id, why);
    drop(c, j);
}

void intake_count(struct core *c, const struct job *j)
{
    core_count(c, "requests", priority_key(j->submit.priority), 1);
    core_count(c, "endpoints", endpoint_path(j->submit.endpoint), 1);
}

void intake_accept(struct core *c, struct job *j)
{
    if (accept_async(c, NULL, 0, j) < 0)
        machines_refuse(c, j, REFUSAL_NO_MEMORY);
}

/* An asynchronous one that is recorded. */
static void go_on_recorded(struct core *c, struct job *j, uint64_t now_us)
{
    enum refusal why;
    budget_reserve(c, j);
    if (c->draining || intake_queue(c, j, now_us, &why) < 0)
        job_set_state(c, j, JOB_PARKED);
}

/* One that waits is not to go on: what it took is given back. */
static void end_refused(struct core *c, struct job *j, const struct wire_refusal *refusal)
{
    core_count_refusal(c, refusal);
    rate_return(c, j);
    job_refuse(j, refusal);
    machines_end(c, j);
}

void intake_go_on(struct core *c, struct job *j, struct slice shared_cached, uint64_t now_us)
{
    enum refusal why = REFUSAL_NO_MEMORY;
    struct wire_refusal refusal;
    struct rate_refusal limited;
    struct budget_refusal spent;
    bool asked = j->state == JOB_ASKING;
    int rc = ERR_AGAIN;
    if (!asked && job_is_async(j)) {
        go_on_recorded(c, j, now_us);
        return;
    }
    if (c->draining)
        why = REFUSAL_DRAINING;
    else if (c->store_fault.code)
        why = REFUSAL_STORE_DOWN;
    else if (asked && cached_go_on(c, j, shared_cached, now_us))
        return;
    else if (asked && !j->charged && rate_refuses(c, j, now_us, &limited)) {
        end_refused(c, j, &limited.refusal);
        return;
    } else if (budget_refuses(c, j, &spent)) {
        end_refused(c, j, &spent.refusal);
        return;
    } else if (job_is_async(j)) {
        rc = admit_async(c, j, &why);
        if (rc == 0)
            rc = accept_async(c, NULL, 0, j);
    } else if (guard_refuses(c, j, now_us, &refusal)) {
        rate_return(c, j);
        job_refuse(j, &refusal);
        machines_end(c, j);
        return;
    } else
        rc = intake_queue(c, j, now_us, &why);
    if (rc < 0) {
        rate_return(c, j);
        machines_refuse(c, j, why);
    } else if (asked)
        intake_count(c, j);
}

static void replay(struct core *c, struct core_link *l, uint64_t id, struct slice chat)
{
    struct chat stored;
    struct wire_answer answer = {.flags = ANSWER_REPLAYED, .chat = chat};
    size_t mark = wire_frame_begin(&l->out, WIRE_ANSWER, id);
    wire_answer_encode(&l->out, &answer);
    wire_frame_end(&l->out, mark);
    core_link_dirty(c, l);
    core_count(c, "replays", NULL, 1);
    if (chat_decode(chat, &stored) == 0)
        core_count(c, "saved.tokens", "replay", stored.prompt_tokens + stored.completion_tokens);
}

/* What a stored record means for a request that comes again. Returns true when the request was answered from
 * it. */
static bool answer_from_record(struct core *c, struct core_link *l, uint64_t id, const struct wire_submit *s,
                               const struct request_record *record, struct slice chat)
{
    if (record->state == REQUEST_DELETED || (record->state == REQUEST_DONE && !chat.p)) {
        refuse(c, l, id, REFUSAL_DELETED);
        return true;
    }
    if (record->state == REQUEST_FAILED && !record->final)
        return false; /* nothing was bought: the id is free again */
    if (memcmp(record->fingerprint, s->fingerprint, REQUEST_KEY_SIZE) != 0) {
        refuse(c, l, id, REFUSAL_ID_REUSED);
        return true;
    }
    struct wire_refusal refusal;
    switch (record->state) {
    case REQUEST_DONE:
        if (s->flags & SUBMIT_ASYNC)
            intake_answer_queued(c, l, id);
        else
            replay(c, l, id, chat);
        return true;
    case REQUEST_FAILED:
        break;
    case REQUEST_UNKNOWN:
    case REQUEST_DISPATCHED: /* no job runs it, so it is an earlier coordinator's */
        if (c->conf->idempotency.on_unknown == ON_UNKNOWN_RETRY)
            return false;
        refusal = refusal_unknown(record->refusal);
        core_refuse(c, l, id, &refusal);
        return true;
    default:
        return false;
    }
    if (wire_refusal_decode(record->refusal, &refusal) < 0) /* there was no memory to store it */
        refusal = *refusal_get(REFUSAL_OUTCOME_UNKNOWN);
    core_refuse(c, l, id, &refusal);
    return true;
}

/* True when the prompt is dealt with: joined, refused or answered from its record. Otherwise j may run. */
static bool known_already(struct core *c, struct core_link *l, uint64_t id, struct job *j, uint64_t now_us)
{
    const struct wire_submit *s = &j->submit;
    struct job *running = job_find(c, s->key);
    if (running) {
        if (memcmp(running->submit.fingerprint, s->fingerprint, REQUEST_KEY_SIZE) != 0)
            refuse(c, l, id, REFUSAL_ID_REUSED);
        else if (!job_is_joined(running))
            refuse(c, l, id, REFUSAL_RUNS_ALREADY);
        else if (job_add_waiter(c, running, l, id, false, now_us + s->wait_ms * US_PER_MS) < 0)
            refuse(c, l, id, REFUSAL_NO_MEMORY);
        else {
            LIST_ENTRY(running->waiters.prev, struct waiter, job_node)->joined = true;
            core_count(c, "joined", NULL, 1);
        }
        return true;
    }
    if (s->flags & SUBMIT_FRESH_ID)
        return false;
    struct request_record record;
    struct slice chat = {0};
    int rc = c->ports.lookup(c->ports.arg, s->key, &record, &chat, NULL);
    if (rc == ERR_NOT_FOUND)
        return false;
    if (rc < 0) {
        refuse(c, l, id, REFUSAL_STORE_DOWN);
        return true;
    }
    bool answered = answer_from_record(c, l, id, s, &record, chat);
    c->ports.lookup_end(c->ports.arg);
    j->promised = record.is_async;
    return answered;
}

/* Takes j. */
static void take_in(struct core *c, struct core_link *l, const struct wire_frame *frame, struct job *j,
                    uint64_t now_us)
{
    struct job *running = job_is_async(j) ? job_find(c, j->submit.key) : NULL;
    if (running && memcmp(running->submit.fingerprint, j->submit.fingerprint, REQUEST_KEY_SIZE) == 0) {
        intake_keep(c, l, frame->id, running, j, now_us);
        return;
    }
    if (known_already(c, l, frame->id, j, now_us)) {
        job_free(j);
        return;
    }
    enum refusal why;
    if (c->draining)
        why = REFUSAL_DRAINING;
    else if (c->payload_bytes + j->payload_len > PAYLOADS_MAX)
        why = REFUSAL_QUEUE_FULL;
    else if (c->store_fault.code)
        why = REFUSAL_STORE_DOWN;
    else if (job_is_async(j) && j->submit.caller_key.p)
        why = REFUSAL_ASYNC_WITH_KEY;
    else {
        start(c, l, frame->id, j, now_us);
        return;
    }
    refuse(c, l, frame->id, why);
    job_free(j);
}

int intake_submit(struct core *c, struct core_link *l, const struct wire_frame *frame, uint64_t now_us)
{
    struct job *j;
    if (intake_is_open(c, l, frame->id))
        return ERR_INVAL;
    int rc = job_new(frame->payload, now_us, &j);
    if (rc == ERR_NOMEM) {
        refuse(c, l, frame->id, REFUSAL_NO_MEMORY);
        return 0;
    }
    if (rc < 0)
        return rc;
    c->incoming = j;
    take_in(c, l, frame, j, now_us);
    c->incoming = NULL;
    return 0;
}
