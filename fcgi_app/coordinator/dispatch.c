/*
 * From due groups to calls under way: sealing a batch, recording its members as dispatched, sending. What
 * comes back goes to outcome.c.
 *
 * A call holds a slot from the moment its record is on its way to the disk until its answer is there, so that
 * a batch never waits sealed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/budget.h"
#include "coordinator/cached.h"
#include "coordinator/call.h"
#include "coordinator/followup.h"
#include "coordinator/guard.h"
#include "coordinator/intake.h"
#include "coordinator/keys.h"
#include "coordinator/machines.h"
#include "coordinator/record.h"
#include "coordinator/refusal.h"
#include "coordinator/stream.h"

#define CALL_BODY_MAX (32u << 20)

/* The calls of one commit of dispatched records. */
struct departure {
    size_t n;
    struct call *calls[];
};

static uint32_t slots_free(const struct core *c)
{
    uint32_t used = 0;
    for (int p = 0; p < PRIORITIES; p++)
        used += c->calls_running[p];
    uint32_t slots = c->conf->provider.max_concurrency;
    return used < slots ? slots - used : 0;
}

/* Sends the call, or lets the mock's timer run. */
static void send_call(struct core *c, struct call *call, uint64_t now_us)
{
    call->state = CALL_RUNNING;
    call->sent_us = now_us;
    call->batch->calls++;
    core_count(c, "calls", priority_key(call->batch->priority), 1);
    event_call_start(c, call);
    stream_sent(c, call, now_us);
    struct err e = {0};
    int rc;
    if (call->provider->provider.kind == PROVIDER_MOCK) {
        call->timer.at_us = now_us + c->conf->provider.mock_latency_ms * US_PER_MS;
        rc = heap_push(&c->timers, &call->timer);
    } else {
        rc = call->request.streams ? stream_begin(c, call) : 0;
        if (rc == 0)
            rc = c->ports.send(c->ports.arg, call, &e);
    }
    if (rc < 0) {
        struct provider_response response = {.transport = TRANSPORT_NOT_SENT,
                                             .transport_error = e.code ? e.text : "out of memory"};
        core_called(c, call, &response, now_us);
    }
}

/* What is recorded otherwise, or stays recorded, has an outcome of its own to store. */
static void retract(struct core *c, const struct job *j)
{
    if (!j->recorded && !job_is_async(j))
        intake_retract(c, j);
}

/* The dispatched records of a departure came back. */
static void departed(struct core *c, struct commit_op *op, uint64_t now_us)
{
    struct departure *d = op->owner;
    for (size_t i = 0; i < d->n; i++) {
        struct call *call = d->calls[i];
        if (c->fenced)
            continue; /* neither sent nor told: the other coordinator is asked next */
        if (op->rc < 0) {
            for (size_t m = 0; op->rc == ERR_IO && m < call->n; m++)
                retract(c, call->members[m]);
            call_release_slot(c, call);
            outcome_refuse_call(c, call, refusal_get(REFUSAL_STORE_DOWN), now_us);
            continue;
        }
        for (size_t m = 0; m < call->n; m++) {
            call->members[m]->recorded = true;
            call->members[m]->timing.commit_us += now_us - op->queued_us;
        }
        if (stream_is_given_up(call))
            outcome_refuse_call(c, call, refusal_get(REFUSAL_CLIENT_GONE), now_us);
        else
            send_call(c, call, now_us);
    }
    free(d);
}

/* Records every member of the calls as dispatched; departed() sends them. Takes the calls. */
static void depart(struct core *c, struct call **calls, size_t n, size_t members_n, uint64_t now_us)
{
    struct departure *d = malloc(sizeof(*d) + n * sizeof(calls[0]));
    struct commit_op *op = d ? commit_op_new(members_n, 0, departed) : NULL;
    if (!op) {
        free(d);
        for (size_t i = 0; i < n; i++)
            outcome_refuse_call(c, calls[i], refusal_get(REFUSAL_NO_MEMORY), now_us);
        return;
    }
    d->n = n;
    op->owner = d;
    op->drop = free;
    op->queued_us = now_us;
    size_t r = 0;
    for (size_t i = 0; i < n; i++) {
        d->calls[i] = calls[i];
        if (calls[i]->holds_slot)
            calls[i]->state = CALL_RECORDING;
        else
            call_take_slot(c, calls[i], CALL_RECORDING, now_us);
        for (size_t m = 0; m < calls[i]->n; m++) {
            struct job *j = calls[i]->members[m];
            op->requests[r] =
                (struct commit_request){.key = j->submit.key, .record = record_of(c, j, REQUEST_DISPATCHED)};
            if (job_is_async(j))
                op->requests[r].record.submit = (struct slice){j->payload, j->payload_len};
            r++;
        }
    }
    core_commit(c, op);
}

/* Whether the members may still share a call: settings may have changed since they were put together, and
 * with them the mode and their max_tokens, of which a native call of several has one for all. */
static bool shares(const struct core *c, const struct call *call, uint64_t now_us)
{
    enum provider_mode mode = call_mode(call->provider, now_us);
    struct provider_member first, other;
    job_member(c, call->members[0], &first);
    bool same = mode != MODE_CONCURRENT && provider_combinable(&first, mode);
    for (size_t i = 1; same && mode == MODE_ARRAY && i < call->n; i++) {
        job_member(c, call->members[i], &other);
        same = other.max_tokens == first.max_tokens;
    }
    return call->n == 1 || same;
}

/* Ends a call whose members go alone instead. */
static void part(struct core *c, struct call *call, uint64_t now_us)
{
    size_t taken = followup_part(c, call);
    memmove(call->members, call->members + taken, (call->n - taken) * sizeof(call->members[0]));
    call->n -= taken;
    if (call->n)
        outcome_refuse_call(c, call, refusal_get(REFUSAL_NO_MEMORY), now_us);
    else
        call_free(c, call);
}

/* Whose key was revoked meanwhile; what makes up for a call that was bought goes on. */
static bool is_revoked(const struct core *c, const struct call *call)
{
    const struct job *j = call->members[0];
    return keys_revoked(c, j->submit.trust_group) && !j->repairs;
}

/* Whether its members may pay for it; else they were refused, and the call is gone. */
static bool afford(struct core *c, struct call *call, uint64_t now_us)
{
    struct budget_refusal refusal;
    if (!budget_refuses_call(c, call, &refusal))
        return true;
    outcome_refuse_call(c, call, &refusal.refusal, now_us);
    return false;
}

/* Builds the bytes of the call. False: it cannot be sent: its members were refused, or go alone, and the call
 * is gone. */
static bool encode(struct core *c, struct call *call, uint64_t now_us)
{
    if (is_revoked(c, call)) {
        outcome_refuse_call(c, call, refusal_get(REFUSAL_KEY_REVOKED), now_us);
        return false;
    }
    if (call->encoded)
        return true;
    if (!afford(c, call, now_us))
        return false;
    if (call->provider->provider.kind == PROVIDER_MOCK) {
        cached_note_call(c, call);
        return true;
    }
    if (!shares(c, call, now_us)) {
        part(c, call, now_us);
        return false;
    }
    if (call->members[0]->submit.caller_key.p && !provider_takes_caller_key(call->provider->provider.kind)) {
        outcome_refuse_call(c, call, refusal_get(REFUSAL_KEY_ELSEWHERE), now_us);
        return false;
    }
    struct provider_member *members = calloc(call->n, sizeof(*members));
    struct provider provider = call->provider->provider;
    provider.array_missing = now_us < call->provider->array_missing_until_us;
    provider.logprobs_missing = now_us < call->provider->logprobs_missing_until_us;
    struct err e = {.text = "out of memory"};
    int rc = ERR_NOMEM;
    if (members) {
        call_members(c, call, members);
        const struct wire_submit *s = &call->members[0]->submit;
        if (s->caller_key.p)
            call->caller_key = strndup(s->caller_key.p, s->caller_key.n);
        if (call->caller_key)
            provider.api_key = call->caller_key;
        if (!s->caller_key.p || call->caller_key)
            rc = provider_encode(&provider, call_mode(call->provider, now_us), members, call->n,
                                 CALL_BODY_MAX, c->ports.random, c->ports.arg, &call->request, &e);
    }
    free(members);
    call->encoded = rc == 0;
    if (rc == 0) {
        cached_note_call(c, call);
        return true;
    }
    struct wire_refusal refusal = *refusal_get(rc == ERR_NOMEM       ? REFUSAL_NO_MEMORY
                                               : rc == ERR_NOT_FOUND ? REFUSAL_NOT_TAKEN
                                               : rc == ERR_INVAL     ? REFUSAL_MISCONFIGURED
                                                                     : REFUSAL_TOO_LARGE);
    if (rc == ERR_INVAL || rc == ERR_NOT_FOUND)
        refusal.message = slice_of(e.text);
    if (rc == ERR_NOT_FOUND)
        refusal.field = (struct slice){e.text, strcspn(e.text, ":")};
    outcome_refuse_call(c, call, &refusal, now_us);
    return false;
}

static struct batch *batch_new(struct core *c, const struct batch_taken *taken, uint64_t now_us)
{
    struct batch *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    *b = (struct batch){.priority = taken->priority,
                        .reason = taken->reason,
                        .n = taken->n,
                        .pending = taken->n,
                        .sealed_us = now_us};
    uuid_v7(c->ports.real_us(c->ports.arg), &b->id);
    uuid_format(&b->id, b->id_text);
    return b;
}

/* Gives the jobs of a taken batch back with a refusal: there is no memory for it. */
static void give_up(struct core *c, struct batch_taken *taken)
{
    list_for_each_safe (it, next, &taken->members) {
        struct job *j = CONTAINER_OF(it, struct job, member.node);
        list_remove(it);
        if (job_is_async(j)) {
            job_set_state(c, j, JOB_PARKED); /* it is recorded: tried again */
            continue;
        }
        core_count_refusal(c, refusal_get(REFUSAL_NO_MEMORY));
        job_refuse(j, refusal_get(REFUSAL_NO_MEMORY));
        job_tell(c, j);
        job_set_state(c, j, JOB_REAPED);
    }
}

static void count_batch(struct core *c, const struct batch *b)
{
    char fill[32];
    snprintf(fill, sizeof(fill), "%s.%u", priority_key(b->priority), b->n);
    core_count(c, "batches", priority_key(b->priority), 1);
    core_count(c, "fill", fill, 1);
    core_count(c, "flush", flush_reason_name(b->reason), 1);
}

/* Moves the taken members into calls: one, or one each in concurrent mode. Returns how many calls were made.
 */
static size_t board(struct core *c, struct batch *b, struct batch_taken *taken, size_t per_call,
                    struct call **ret_calls, uint64_t now_us)
{
    size_t n = 0, in_call = 0;
    list_for_each_safe (it, next, &taken->members) {
        struct job *j = CONTAINER_OF(it, struct job, member.node);
        list_remove(it);
        j->batch = b;
        j->sealed_us = now_us;
        j->timing.queue_us = now_us - j->arrived_us;
        if (b->oldest_us == 0 || j->arrived_us < b->oldest_us)
            b->oldest_us = j->arrived_us;
        core_count_value(c, "queue", priority_key(b->priority), j->timing.queue_us);
        job_set_state(c, j, JOB_CALLING);
        ret_calls[n]->members[in_call++] = j;
        if (in_call == per_call || list_empty(&taken->members)) {
            ret_calls[n]->n = in_call;
            in_call = 0;
            n++;
        }
    }
    return n;
}

static void seal(struct core *c, struct batch_taken *taken, uint64_t now_us)
{
    bool one_each = call_mode(c->provider, now_us) == MODE_CONCURRENT;
    size_t per_call = one_each ? 1 : taken->n, calls_n = one_each ? taken->n : 1, members_n = 0;
    struct batch *b = batch_new(c, taken, now_us);
    struct call **calls = calloc(calls_n, sizeof(*calls));
    size_t made = 0;
    while (b && calls && made < calls_n && (calls[made] = call_new(c, b, c->provider, per_call)))
        made++;
    if (!b || !calls || made < calls_n) {
        while (made)
            call_free(c, calls[--made]);
        free(b);
        give_up(c, taken);
        goto out;
    }
    board(c, b, taken, per_call, calls, now_us);
    count_batch(c, b);
    event_dispatch(c, b, now_us);
    size_t ready = 0;
    for (size_t i = 0; i < calls_n; i++) {
        if (c->shared.reach != SHARED_OFF && machines_claim(c, calls[i], now_us))
            continue;
        size_t n = calls[i]->n;
        if (!encode(c, calls[i], now_us))
            continue;
        members_n += n;
        calls[ready++] = calls[i];
    }
    if (ready)
        depart(c, calls, ready, members_n, now_us);
out:
    free(calls);
}

void dispatch_go(struct core *c, struct call *call, uint64_t now_us)
{
    if (encode(c, call, now_us))
        depart(c, &call, 1, call->n, now_us);
}

/* Whether anybody would still hear of an answer in time. */
static bool is_wanted(const struct call *call)
{
    for (size_t i = 0; i < call->n; i++)
        if (job_is_async(call->members[i]) || job_is_awaited(call->members[i]))
            return true;
    return false;
}

/* Follow-up calls go first: somebody has waited for them through a whole call already. */
static void start_ready(struct core *c, uint64_t now_us)
{
    list_for_each_safe (it, next, &c->ready_calls) {
        struct call *call = LIST_ENTRY(it, struct call, node);
        enum priority p = call->batch->priority;
        if (!slots_free(c))
            return;
        if (c->calls_running[p] >= batcher_slots_for(c->batcher, p))
            continue; /* the reserved slots stay free for what is more urgent */
        if (!guard_permits_call(c, call, now_us))
            continue;
        list_remove(it);
        if (stream_is_given_up(call) || (call->again && !is_wanted(call))) {
            outcome_refuse_call(c, call, refusal_get(REFUSAL_DEADLINE), now_us);
            continue;
        }
        /* A retry's record may have been another coordinator's to change while it waited: the fence is in the
         * commit. */
        dispatch_go(c, call, now_us);
    }
}

void dispatch_pump(struct core *c, uint64_t now_us)
{
    struct batch_taken taken;
    if (c->fenced || c->store_fault.code)
        return; /* nothing is sent that could not be recorded; the next sweep that succeeds clears a fault */
    start_ready(c, now_us);
    while (slots_free(c) && guard_permits(c, now_us) && !machines_hold(c)) {
        bool one_each = call_mode(c->provider, now_us) == MODE_CONCURRENT;
        if (!batcher_take(c->batcher, now_us, c->calls_running, one_each, &taken))
            break;
        seal(c, &taken, now_us);
    }
    if (!list_empty(&c->ready_calls))
        start_ready(c, now_us); /* a batch that had to be parted */
}

void dispatch_timer(struct core *c, struct call *call, uint64_t now_us)
{
    if (call->state == CALL_DELAYED)
        call_make_ready(c, call);
    else if (call->stream)
        stream_close(c, call, now_us);
    else
        core_called(c, call, NULL, now_us);
}
