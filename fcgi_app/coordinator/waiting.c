/*
 * Those who wait for a prompt that is in already: watches, deadlines, and who leaves before there is an
 * answer; see intake.h. Called by the core for what links and clocks say.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "coordinator/intake.h"
#include "coordinator/publish.h"
#include "coordinator/refusal.h"

bool intake_is_open(const struct core_link *l, uint64_t id)
{
    list_for_each (it, &l->waiters) {
        if (LIST_ENTRY(it, struct waiter, link_node)->id == id)
            return true;
    }
    return false;
}

void intake_leave(struct core *c, struct waiter *w, uint64_t now_us)
{
    struct job *j = w->job;
    (void)now_us;
    waiter_free(c, w);
    if (j->state != JOB_QUEUED || job_is_async(j) || job_is_awaited(j))
        return;
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
}

static void answer_progress(struct core *c, struct core_link *l, uint64_t id, enum wire_progress progress)
{
    size_t mark = wire_frame_begin(&l->out, WIRE_PROGRESS, id);
    bytes_put_u8(&l->out, (uint8_t)progress);
    wire_frame_end(&l->out, mark);
    core_link_dirty(c, l);
}

static enum wire_progress progress_of(const struct job *j)
{
    return j->state <= JOB_QUEUED ? PROGRESS_QUEUED : PROGRESS_RUNNING;
}

int intake_watch(struct core *c, struct core_link *l, const struct wire_frame *frame, uint64_t now_us)
{
    struct wire_watch watch;
    int rc = wire_watch_decode(frame->payload, &watch);
    if (rc < 0)
        return rc;
    struct job *j = job_find(c, watch.key);
    if (!j)
        answer_progress(c, l, frame->id, PROGRESS_UNKNOWN_ID);
    else if (intake_is_open(l, frame->id))
        return ERR_INVAL;
    else if (!watch.wait_ms ||
             job_add_waiter(c, j, l, frame->id, true, now_us + watch.wait_ms * US_PER_MS) < 0)
        answer_progress(c, l, frame->id, progress_of(j));
    return 0;
}

void intake_deadline(struct core *c, struct waiter *w, uint64_t now_us)
{
    if (w->watches)
        answer_progress(c, w->link, w->id, progress_of(w->job));
    else {
        core_refuse(c, w->link, w->id, refusal_get(REFUSAL_DEADLINE));
        if (c->ports.publish)
            publish_error(c, w->job, refusal_get(REFUSAL_DEADLINE));
    }
    intake_leave(c, w, now_us);
}
