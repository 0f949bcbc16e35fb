/*
 * Those who wait for a prompt that is in already: watches, deadlines, who leaves before there is an answer,
 * and prompts that leave the queue without one; see intake.h. Called by the core for what links and clocks
 * say.
 */
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "coordinator/inquiry.h"
#include "coordinator/intake.h"
#include "coordinator/machines.h"
#include "coordinator/publish.h"
#include "coordinator/refusal.h"
#include "coordinator/stream.h"

bool intake_is_open(const struct core *c, const struct core_link *l, uint64_t id)
{
    list_for_each (it, &l->waiters) {
        if (LIST_ENTRY(it, struct waiter, link_node)->id == id)
            return true;
    }
    return c->shared.reach != SHARED_OFF && inquiry_is_open(c, l, id);
}

void intake_leave(struct core *c, struct waiter *w, uint64_t now_us)
{
    struct job *j = w->job;
    waiter_free(c, w);
    bool waits = j->state == JOB_QUEUED || j->state == JOB_ELSEWHERE;
    if (j->state == JOB_CALLING)
        stream_left(c, j, now_us);
    if (!waits || job_is_async(j) || job_is_awaited(j))
        return;
    if (j->state == JOB_QUEUED)
        batcher_remove(c->batcher, &j->member);
    job_tell(c, j); /* watchers only */
    job_set_state(c, j, JOB_REAPED);
}

void intake_cancel(struct core *c, struct core_link *l, uint64_t id, uint64_t now_us)
{
    list_for_each_safe (it, next, &l->waiters) {
        struct waiter *w = LIST_ENTRY(it, struct waiter, link_node);
        if (w->id == id) {
            intake_leave(c, w, now_us);
            return;
        }
    }
    if (c->shared.reach != SHARED_OFF)
        inquiry_forget(c, l, id);
}

void intake_answer_progress(struct core *c, struct core_link *l, uint64_t id, enum wire_progress progress)
{
    size_t mark = wire_frame_begin(&l->out, WIRE_PROGRESS, id);
    bytes_put_u8(&l->out, (uint8_t)progress);
    wire_frame_end(&l->out, mark);
    core_link_dirty(c, l);
}

enum wire_progress intake_progress(const struct job *j)
{
    bool waits = j->state <= JOB_QUEUED && !(j->state == JOB_ELSEWHERE && j->runs_elsewhere);
    return waits ? PROGRESS_QUEUED : PROGRESS_RUNNING;
}

/* Of one that this machine has not claimed yet another machine may know more. */
static void tell_progress(struct core *c, struct core_link *l, uint64_t id, const struct job *j,
                          uint64_t now_us)
{
    struct wire_watch watch = {.wait_ms = 0};
    bool ours = j->claimed || j->noted || j->recorded || (j->submit.flags & SUBMIT_FRESH_ID);
    if (c->shared.reach != SHARED_THERE || ours) {
        intake_answer_progress(c, l, id, intake_progress(j));
        return;
    }
    memcpy(watch.key, j->submit.key, sizeof(watch.key));
    inquiry_begin(c, l, id, &watch, now_us);
}

int intake_watch(struct core *c, struct core_link *l, const struct wire_frame *frame, uint64_t now_us)
{
    struct wire_watch watch;
    int rc = wire_watch_decode(frame->payload, &watch);
    if (rc < 0)
        return rc;
    struct job *j = job_find(c, watch.key);
    /* What is known here of one that another machine has is a moment old. */
    bool asks = c->shared.reach == SHARED_THERE && j && j->state == JOB_ELSEWHERE;
    if (intake_is_open(c, l, frame->id))
        return ERR_INVAL;
    if (!j && c->shared.reach == SHARED_OFF)
        intake_answer_progress(c, l, frame->id, PROGRESS_UNKNOWN_ID);
    else if (!j || asks)
        inquiry_begin(c, l, frame->id, &watch, now_us);
    else if (!watch.wait_ms ||
             job_add_waiter(c, j, l, frame->id, true, now_us + watch.wait_ms * US_PER_MS) < 0)
        tell_progress(c, l, frame->id, j, now_us);
    return 0;
}

/* OpenAI's clients ask again by themselves, if they are told that this pays nothing twice. */
static enum refusal too_late(const struct waiter *w)
{
    bool waits = w->job->state == JOB_QUEUED && w->job->submit.family == FAMILY_OPENAI;
    return w->told ? REFUSAL_NOT_READ : waits ? REFUSAL_NOT_SENT_IN_TIME : REFUSAL_DEADLINE;
}

void intake_deadline(struct core *c, struct waiter *w, uint64_t now_us)
{
    if (w->watches)
        tell_progress(c, w->link, w->id, w->job, now_us);
    else {
        const struct wire_refusal *late = refusal_get(too_late(w));
        core_refuse(c, w->link, w->id, late);
        if (c->ports.publish)
            publish_error(c, w->job, late);
    }
    intake_leave(c, w, now_us);
}

void intake_unpark(struct core *c, uint64_t now_us)
{
    enum refusal why;
    if (machines_hold(c))
        return;
    list_for_each_safe (it, next, &c->jobs[JOB_PARKED]) {
        if (c->draining)
            return;
        /* One tenant's full share keeps only its own back. */
        if (intake_queue(c, LIST_ENTRY(it, struct job, node), now_us, &why) < 0 && why != REFUSAL_TENANT_FULL)
            return;
    }
}

static void refuse_queued(struct core *c, struct job *j, enum refusal why)
{
    batcher_remove(c->batcher, &j->member);
    core_count_refusal(c, refusal_get(why));
    j->noted &= !job_is_async(j); /* that it waits holds on */
    job_refuse(j, refusal_get(why));
    job_tell(c, j);
    job_set_state(c, j, JOB_REAPED);
}

void intake_refuse_queued(struct core *c)
{
    list_for_each_safe (it, next, &c->jobs[JOB_QUEUED])
        refuse_queued(c, LIST_ENTRY(it, struct job, node), REFUSAL_DRAINING);
}

void intake_refuse_held(struct core *c)
{
    list_for_each_safe (it, next, &c->jobs[JOB_QUEUED]) {
        struct job *j = LIST_ENTRY(it, struct job, node);
        if (!job_is_async(j))
            refuse_queued(c, j, REFUSAL_SHARED_DOWN);
    }
}

void intake_refuse_revoked(struct core *c, const uint8_t group[TRUST_GROUP_SIZE])
{
    list_for_each_safe (it, next, &c->jobs[JOB_QUEUED]) {
        struct job *j = LIST_ENTRY(it, struct job, node);
        if (!job_is_async(j) && memcmp(j->submit.trust_group, group, TRUST_GROUP_SIZE) == 0)
            refuse_queued(c, j, REFUSAL_KEY_REVOKED);
    }
}

void intake_refuse_hopeless(struct core *c, uint64_t from_us)
{
    list_for_each_safe (it, next, &c->jobs[JOB_QUEUED]) {
        struct job *j = LIST_ENTRY(it, struct job, node);
        if (!job_is_async(j) && j->deadline_us <= from_us)
            refuse_queued(c, j, REFUSAL_PROVIDER_DOWN);
    }
}
