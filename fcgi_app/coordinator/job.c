/* Jobs and those who wait for them; see job.h. */
#include "coordinator/job.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "coordinator/budget.h"
#include "coordinator/core.h"
#include "coordinator/inquiry.h"
#include "coordinator/intake.h"
#include "coordinator/machines.h"
#include "coordinator/publish.h"
#include "coordinator/rate.h"

#define RECORD_MAX (64u << 20)

int job_new(struct slice payload, uint64_t now_us, struct job **ret_job)
{
    struct job *j = calloc(1, sizeof(*j));
    if (!j)
        return ERR_NOMEM;
    list_init(&j->node);
    list_init(&j->waiters);
    list_init(&j->member.node);
    buf_init(&j->chat, RECORD_MAX);
    buf_init(&j->refusal, RECORD_MAX);
    j->state = JOB_STATES;
    j->arrived_us = now_us;
    j->payload_len = payload.n;
    j->payload = malloc(payload.n ? payload.n : 1);
    int rc = ERR_NOMEM;
    if (!j->payload)
        goto out;
    memcpy(j->payload, payload.p, payload.n);
    rc = wire_submit_decode((struct slice){j->payload, payload.n}, &j->submit);
out:
    if (rc < 0)
        job_free(j);
    else
        *ret_job = j;
    return rc;
}

void job_free(struct job *j)
{
    if (!j)
        return;
    buf_fini(&j->chat);
    buf_fini(&j->refusal);
    if (j->submit.caller_key.p)
        sodium_memzero(j->payload, j->payload_len);
    free(j->payload);
    free(j);
}

struct job *job_find(const struct core *c, const uint8_t key[REQUEST_KEY_SIZE])
{
    struct job *j;
    HASH_FIND(hh, c->by_key, key, REQUEST_KEY_SIZE, j);
    return j;
}

int job_enter(struct core *c, struct job *j)
{
    HASH_ADD_KEYPTR(hh, c->by_key, j->submit.key, REQUEST_KEY_SIZE, j);
    if (!j->hh.tbl)
        return ERR_NOMEM;
    c->payload_bytes += j->payload_len;
    return 0;
}

void job_leave(struct core *c, struct job *j)
{
    HASH_DEL(c->by_key, j);
    c->payload_bytes -= j->payload_len;
}

void job_set_state(struct core *c, struct job *j, enum job_state state)
{
    if (j->state != JOB_STATES)
        c->jobs_n[j->state]--;
    list_remove(&j->node);
    if (state == JOB_REAPED && j->state != JOB_STATES)
        job_leave(c, j);
    if (state == JOB_REAPED && j->charged)
        rate_settle(c, j);
    if (state == JOB_REAPED && j->hold.account)
        budget_end(c, j);
    if (state == JOB_REAPED && c->shared.reach != SHARED_OFF)
        machines_over(c, j);
    j->state = state;
    c->jobs_n[state]++;
    list_append(&c->jobs[state], &j->node);
}

/* Whether it waits for the answer itself. */
static bool awaits(const struct waiter *w)
{
    return !w->watches && !w->keeps;
}

static int add_waiter(struct core *c, const struct waiter *like)
{
    struct waiter *w = calloc(1, sizeof(*w));
    if (!w)
        return ERR_NOMEM;
    *w = *like;
    int rc = heap_push(&c->deadlines, &w->deadline);
    if (rc < 0) {
        free(w);
        return rc;
    }
    list_append(&w->job->waiters, &w->job_node);
    list_append(&w->link->waiters, &w->link_node);
    if (awaits(w)) {
        c->waiters_n++;
        c->links_waiting += w->link->waiting++ == 0;
        if (w->deadline.at_us > w->job->deadline_us)
            w->job->deadline_us = w->deadline.at_us;
    }
    return 0;
}

int job_add_waiter(struct core *c, struct job *j, struct core_link *link, uint64_t id, bool watches,
                   uint64_t deadline_us)
{
    struct waiter w = {.job = j, .link = link, .id = id, .watches = watches, .deadline.at_us = deadline_us};
    return add_waiter(c, &w);
}

int job_add_keeper(struct core *c, struct job *j, struct core_link *link, uint64_t id)
{
    struct waiter w = {.job = j, .link = link, .id = id, .keeps = true, .deadline.at_us = UINT64_MAX};
    return add_waiter(c, &w);
}

void waiter_free(struct core *c, struct waiter *w)
{
    if (awaits(w)) {
        c->waiters_n--;
        c->links_waiting -= --w->link->waiting == 0;
    }
    heap_remove(&c->deadlines, &w->deadline);
    list_remove(&w->job_node);
    list_remove(&w->link_node);
    free(w);
}

bool job_is_awaited(const struct job *j)
{
    list_for_each (it, &j->waiters) {
        if (awaits(LIST_ENTRY(it, struct waiter, job_node)))
            return true;
    }
    return false;
}

void job_refuse(struct job *j, const struct wire_refusal *r)
{
    buf_clear(&j->refusal);
    wire_refusal_encode(&j->refusal, r);
    if (!buf_failed(&j->refusal))
        return;
    buf_clear(&j->refusal);
    j->bare = *r;
    j->bare.field = (struct slice){0};
    j->bare.message = SLICE_LITERAL("The coordinator is short of memory, too short to say more of this.");
}

/* The frame that tells w how its job ended. */
static void tell(struct core *c, const struct job *j, const struct waiter *w)
{
    struct buf *out = &w->link->out;
    size_t mark;
    if (w->watches) {
        mark = wire_frame_begin(out, WIRE_PROGRESS, w->id);
        bytes_put_u8(out, PROGRESS_FINISHED);
    } else if (j->chat.len && (w->fetches || w->keeps)) {
        mark = wire_frame_begin(out, WIRE_QUEUED, w->id); /* the answer is there, to be fetched */
    } else if (j->chat.len) {
        if (w->joined)
            core_count(c, "saved.tokens", "join", j->prompt_tokens + j->completion_tokens);
        struct wire_answer answer = {.flags = j->replayed ? ANSWER_REPLAYED
                                              : w->joined ? ANSWER_JOINED
                                                          : 0,
                                     .timing = j->timing,
                                     .limits = j->limits,
                                     .chat = buf_slice(&j->chat)};
        mark = wire_frame_begin(out, WIRE_ANSWER, w->id);
        wire_answer_encode(out, &answer);
    } else {
        mark = wire_frame_begin(out, WIRE_REFUSAL, w->id);
        if (j->refusal.len)
            buf_append_slice(out, buf_slice(&j->refusal));
        else
            wire_refusal_encode(out, &j->bare);
    }
    wire_frame_end(out, mark);
    core_link_dirty(c, w->link);
}

void job_tell(struct core *c, struct job *j)
{
    if (c->ports.publish)
        publish_ended(c, j);
    if (c->shared.reach != SHARED_OFF && j->ended == SHARED_FREE)
        inquiry_take_watchers(c, j);
    list_for_each_safe (it, next, &j->waiters) {
        struct waiter *w = LIST_ENTRY(it, struct waiter, job_node);
        tell(c, j, w);
        waiter_free(c, w);
    }
}

void job_tell_kept(struct core *c, struct job *j)
{
    list_for_each_safe (it, next, &j->waiters) {
        struct waiter *w = LIST_ENTRY(it, struct waiter, job_node);
        if (!w->keeps)
            continue;
        intake_answer_queued(c, w->link, w->id);
        waiter_free(c, w);
    }
}

void job_swap_payload(struct core *c, struct job *running, struct job *other)
{
    struct job aside = *running;
    c->payload_bytes += other->payload_len - running->payload_len;
    running->payload = other->payload;
    running->payload_len = other->payload_len;
    running->submit = other->submit;
    other->payload = aside.payload;
    other->payload_len = aside.payload_len;
    other->submit = aside.submit;
}
