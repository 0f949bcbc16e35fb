/*
 * What a call came to, member by member (api.md "Request ids" and "Batching"): answers and refusals become
 * durable in one commit and are told after it. What is asked again is in followup.c.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "coordinator/budget.h"
#include "coordinator/cached.h"
#include "coordinator/call.h"
#include "coordinator/followup.h"
#include "coordinator/guard.h"
#include "coordinator/publish.h"
#include "coordinator/record.h"
#include "coordinator/refusal.h"
#include "coordinator/stream.h"
#include "provider/stream.h"

#define OUTCOME_ARENA_MAX (256u << 20)

/* Jobs whose outcomes share a commit. A call has one from the start, so that memory which runs out later
 * cannot keep what was paid for from the disk. */
struct settlement {
    struct commit_op *op;
    size_t n;
    struct job *jobs[];
};

/* A job's outcome is durable: tell it and let it go. */
static void end_job(struct core *c, struct job *j, uint64_t now_us)
{
    struct batch *b = j->batch;
    job_tell(c, j);
    job_set_state(c, j, JOB_REAPED);
    b->pending--;
    batch_free_if_done(c, b, now_us);
}

static void settled(struct core *c, struct commit_op *op, uint64_t now_us);

struct settlement *settlement_new(size_t n)
{
    struct settlement *s = calloc(1, sizeof(*s) + n * sizeof(s->jobs[0]));
    struct commit_op *op = s ? commit_op_new(n, n, settled) : NULL;
    if (!op) {
        free(s);
        return NULL;
    }
    op->requests_n = op->chats_n = 0;
    op->owner = s;
    op->drop = free;
    s->op = op;
    return s;
}

void settlement_free(struct settlement *s)
{
    if (s)
        commit_op_free(s->op); /* and with it s */
}

/* The store does not take the outcome for what it is. The dispatched records stay, so "unknown" is what
 * holds. */
static void lose(struct settlement *s, const struct err *e)
{
    for (size_t i = 0; i < s->n; i++) {
        struct job *j = s->jobs[i];
        char id[CHAT_NAME_MAX + 1];
        snprintf(id, sizeof(id), "%.*s", (int)j->submit.request_id.n, j->submit.request_id.p);
        log_write(LOG_LEVEL_ERROR, id, "The outcome cannot be stored (batch %s): %s", j->batch->id_text,
                  e->text);
        buf_clear(&j->chat);
        job_refuse(j, refusal_get(REFUSAL_OUTCOME_UNKNOWN));
        j->ended = SHARED_UNKNOWN;
    }
}

static void settled(struct core *c, struct commit_op *op, uint64_t now_us)
{
    struct settlement *s = op->owner;
    if (op->refused)
        lose(s, &op->err);
    else if (op->rc < 0) {
        /* The answers were paid for: core_maintain tries again. */
        op->kept = op->again = true;
        list_append(&c->stuck_ops, &op->node);
        return;
    }
    for (size_t i = 0; op->rc == 0 && i < op->chats_n; i++)
        cached_stored(c, &op->chats[i]);
    for (size_t i = 0; i < s->n; i++) {
        struct job *j = s->jobs[i];
        j->timing.commit_us += now_us - op->queued_us;
        if (j->chat.len)
            j->batch->answered++;
        else
            j->batch->failed++;
        end_job(c, j, now_us);
    }
    free(s);
}

/* Frees the call and sends its settlement to the disk, if there is anything in it. */
static void settle(struct core *c, struct call *call, uint64_t now_us)
{
    struct settlement *s = call->settlement;
    call->settlement = NULL;
    call_free(c, call);
    if (!s->n) {
        settlement_free(s);
        return;
    }
    s->op->queued_us = now_us;
    core_op_take_counters(c, s->op);
    core_commit(c, s->op);
}

static void add_answer(struct core *c, struct settlement *s, struct call *call, struct job *j,
                       const struct provider_part *part, uint64_t now_us)
{
    struct commit_op *op = s->op;
    struct commit_chat *chat = &op->chats[op->chats_n];
    if (record_chat(c, j, call->provider->provider.model, part, now_us, &chat->chat) < 0) {
        /* It was paid for but cannot be kept: as after a crash. */
        job_refuse(j, refusal_get(REFUSAL_OUTCOME_UNKNOWN));
    }
    struct commit_request *r = &op->requests[op->requests_n++];
    *r = (struct commit_request){.key = j->submit.key,
                                 .record = record_of(c, j, j->chat.len ? REQUEST_DONE : REQUEST_UNKNOWN)};
    if (j->chat.len) {
        chat->record = buf_slice(&j->chat);
        cached_store(c, j, chat);
        op->chats_n++;
        r->record.chat_id = chat->chat.id;
        j->ended = SHARED_DONE;
        core_count(c, "answered", priority_key(j->submit.priority), 1);
        core_count_value(c, "latency", priority_key(j->submit.priority), chat->chat.latency_us);
        event_pair(c, &chat->chat);
    } else {
        r->record.refusal = buf_slice(&j->refusal);
        j->ended = SHARED_UNKNOWN;
    }
    r->spend = budget_close(c, j);
    s->jobs[s->n++] = j;
    job_set_state(c, j, JOB_COMMITTING);
}

/* state FAILED: nothing was bought (final: it was answered, with no); UNKNOWN: it may have been. */
static void add_refusal(struct core *c, struct settlement *s, struct job *j,
                        const struct wire_refusal *refusal, enum request_state state, bool final)
{
    core_count_refusal(c, refusal);
    job_refuse(j, refusal);
    j->ended = state == REQUEST_UNKNOWN ? SHARED_UNKNOWN
               : final                  ? SHARED_FAILED
               : job_keeps_record(j)    ? SHARED_REFUSED
                                        : SHARED_FREE;
    struct commit_op *op = s->op;
    struct commit_request *r = &op->requests[op->requests_n++];
    *r = (struct commit_request){.key = j->submit.key};
    if (state == REQUEST_FAILED && !final && !job_keeps_record(j))
        r->remove = true; /* the id may run again */
    else {
        r->record = record_of(c, j, state);
        r->record.final = final;
        r->record.refusal = buf_slice(&j->refusal);
    }
    r->spend = budget_close(c, j);
    s->jobs[s->n++] = j;
    job_set_state(c, j, JOB_COMMITTING);
}

static struct wire_refusal refusal_of(const struct job *j, const struct provider_outcome *o,
                                      enum verdict verdict)
{
    struct wire_refusal r = {
        .status = (uint16_t)o->status,
        .retry_after_ms = o->retry_after_ms,
        .error_type = slice_of(o->error_type),
        .error_code = slice_of(o->error_code),
        .message = o->message,
        .field = o->param,
    };
    /* In an array the reason may be another member's. */
    if (verdict == VERDICT_MISSING && slice_is(r.error_code, "CONTENT_FILTERED"))
        r = *refusal_get(REFUSAL_BAD_ANSWER);
    if (verdict == VERDICT_UNKNOWN) {
        const struct wire_refusal *unknown = refusal_get(REFUSAL_OUTCOME_UNKNOWN);
        r.status = unknown->status;
        r.error_type = unknown->error_type;
        r.error_code = unknown->error_code;
    }
    if (r.status == 401 && !j->submit.caller_key.p)
        r.status = 502; /* the server's own key is wrong: not the client's fault */
    else if (r.status == 401)
        r.error_type = SLICE_LITERAL("authentication_error");
    if ((r.status == 429 || r.status == 503) && !r.retry_after_ms && o->retry_helps)
        r.retry_after_ms = 1000;
    return r;
}

/* The filter stopped a call of several as a whole, so that nobody knows whom it meant: not so in an array
 * that was answered, where each part has its own word. */
static bool is_filtered_whole(const struct call *call, const struct provider_response *response,
                              const struct provider_outcome *o)
{
    if (call->request.mode == MODE_ARRAY && response->status == 200)
        return false;
    for (size_t i = 0; i < call->n; i++)
        if (o->parts[i].verdict != VERDICT_FILTERED)
            return false;
    return call->n > 1;
}

/* One member's part of the outcome. */
static void settle_member(struct core *c, struct settlement *s, struct call *call, struct job *j,
                          const struct provider_outcome *o, const struct provider_part *part, uint64_t now_us)
{
    /* A repair that failed does not undo the call before it, which was bought. */
    bool bought = part->verdict == VERDICT_FAILED && j->repairs;
    struct wire_refusal refusal = refusal_of(j, o, bought ? VERDICT_UNKNOWN : part->verdict);
    switch (part->verdict) {
    case VERDICT_ANSWERED:
        add_answer(c, s, call, j, part, now_us);
        break;
    case VERDICT_MISSING:
        if ((!o->nothing_ran && !followup_allowed(c, j)) || !followup_ask(c, call, &j, 1, !o->nothing_ran))
            add_refusal(c, s, j, &refusal, REQUEST_UNKNOWN, false);
        break;
    case VERDICT_FILTERED:
        add_refusal(c, s, j, &refusal, REQUEST_FAILED, true);
        break;
    case VERDICT_FAILED:
        add_refusal(c, s, j, &refusal, bought ? REQUEST_UNKNOWN : REQUEST_FAILED, false);
        break;
    case VERDICT_UNKNOWN:
        add_refusal(c, s, j, &refusal, REQUEST_UNKNOWN, false);
        break;
    }
}

static void account(struct core *c, struct call *call, const struct provider_outcome *o, uint64_t now_us)
{
    struct slice model = call->members[0]->submit.model;
    char name[COUNTER_NAME_MAX / 2];
    if (!model.p)
        model = slice_of(call->provider->provider.model);
    model = utf8_truncate(model, sizeof(name) - 1);
    snprintf(name, sizeof(name), "%.*s", (int)model.n, model.p);
    core_count(c, "tokens.in", name, o->prompt_tokens);
    core_count(c, "tokens.out", name, o->completion_tokens);
    core_count_value(c, "upstream", priority_key(call->batch->priority), now_us - call->sent_us);
    call->batch->tokens += o->prompt_tokens + o->completion_tokens;
    size_t answered = 0;
    for (size_t i = 0; i < call->n; i++) {
        struct job *j = call->members[i];
        answered += o->parts[i].verdict == VERDICT_ANSWERED;
        j->timing.upstream_us += now_us - call->sent_us;
        j->prompt_tokens += o->parts[i].prompt_tokens;
        j->completion_tokens += o->parts[i].completion_tokens;
        j->rate_limited |= o->rate_limited;
    }
    core_count(c, "saved", "batch", answered > 1 ? answered - 1 : 0);
}

static int decode(struct core *c, struct call *call, const struct provider_response *response,
                  struct arena *arena, struct provider_outcome *ret_outcome)
{
    if (call->stream)
        return stream_end(call, response, arena, ret_outcome);
    struct provider_member *members = arena_alloc(arena, call->n * sizeof(*members));
    if (!members)
        return ERR_NOMEM;
    call_members(c, call, members);
    if (call->provider->provider.kind == PROVIDER_MOCK)
        return mock_answer(members, call->n, arena, ret_outcome);
    struct provider provider = call->provider->provider;
    if (call->caller_key)
        provider.api_key = call->caller_key;
    return provider_decode(&provider, &call->request, members, response, arena, ret_outcome);
}

/* There is no memory to work out what came of the call. */
static void lose_call(struct core *c, struct call *call, uint64_t now_us)
{
    budget_note(c, call, NULL);
    for (size_t i = 0; i < call->n; i++)
        add_refusal(c, call->settlement, call->members[i], refusal_get(REFUSAL_OUTCOME_UNKNOWN),
                    REQUEST_UNKNOWN, false);
    settle(c, call, now_us);
}

void outcome_settle(struct core *c, struct call *call, const struct provider_response *response,
                    uint64_t now_us)
{
    struct arena arena;
    struct provider_outcome o;
    arena_init(&arena, OUTCOME_ARENA_MAX);
    uint64_t before = c->ports.mono_us(c->ports.arg);
    if (decode(c, call, response, &arena, &o) < 0) {
        lose_call(c, call, now_us);
        goto out;
    }
    uint64_t split_us = c->ports.mono_us(c->ports.arg) - before;
    account(c, call, &o, now_us);
    budget_note(c, call, &o);
    guard_note(c, call, &o, now_us);
    event_call_end(c, call, response, &o, now_us);
    if (c->ports.publish)
        publish_call(c, call, response, &o, now_us);
    if (followup_retry(c, call, &o, now_us))
        goto out;
    size_t first = is_filtered_whole(call, response, &o) ? followup_bisect(c, call) : 0;
    for (size_t i = first; i < call->n; i++) {
        call->members[i]->timing.split_us += split_us;
        settle_member(c, call->settlement, call, call->members[i], &o, &o.parts[i], now_us);
    }
    settle(c, call, now_us);
out:
    arena_fini(&arena);
}

/* What its words cost nobody says: they are counted as bytes are. */
void outcome_give_up(struct core *c, struct call *call, uint64_t now_us)
{
    const struct wire_refusal *gone = refusal_get(REFUSAL_GIVEN_UP);
    struct provider_part part = {.verdict = VERDICT_UNKNOWN,
                                 .prompt_tokens = call->request.prompt_tokens,
                                 .completion_tokens = provider_stream_tokens(call->stream)};
    struct provider_outcome o = {.parts = &part,
                                 .prompt_tokens = part.prompt_tokens,
                                 .completion_tokens = part.completion_tokens,
                                 .error_type = "outcome_unknown",
                                 .error_code = "CLIENT_GONE",
                                 .message = gone->message};
    struct provider_response response = {.transport = TRANSPORT_LOST, .transport_error = "the client left"};
    call_release_slot(c, call);
    account(c, call, &o, now_us);
    budget_note(c, call, &o);
    event_call_end(c, call, &response, &o, now_us);
    if (c->ports.publish)
        publish_call(c, call, &response, &o, now_us);
    add_refusal(c, call->settlement, call->members[0], gone, REQUEST_UNKNOWN, false);
    settle(c, call, now_us);
}

/* Tells the members without a commit: nothing durable stands for them. */
static void tell_now(struct core *c, struct call *call, const struct wire_refusal *refusal, uint64_t now_us)
{
    struct batch *b = call->batch;
    b->pending++; /* keeps the batch until the call, which points to it, is gone */
    for (size_t i = 0; i < call->n; i++) {
        struct job *j = call->members[i];
        core_count_refusal(c, refusal);
        job_refuse(j, refusal);
        b->failed++;
        end_job(c, j, now_us);
    }
    call_free(c, call);
    b->pending--;
    batch_free_if_done(c, b, now_us);
}

void outcome_refuse_call(struct core *c, struct call *call, const struct wire_refusal *refusal,
                         uint64_t now_us)
{
    bool durable = false;
    for (size_t i = 0; i < call->n; i++)
        durable |= call->members[i]->recorded || job_is_async(call->members[i]);
    if (!durable) {
        tell_now(c, call, refusal, now_us);
        return;
    }
    for (size_t i = 0; i < call->n; i++)
        add_refusal(c, call->settlement, call->members[i], refusal,
                    call->members[i]->repairs ? REQUEST_UNKNOWN : REQUEST_FAILED, false);
    settle(c, call, now_us);
}
