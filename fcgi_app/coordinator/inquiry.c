/* Questions for what runs on other machines; see inquiry.h. */
#include "coordinator/inquiry.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/intake.h"
#include "coordinator/machines.h"

static void drop(struct inquiry *q)
{
    list_remove(&q->node);
    free(q);
}

/* Not there, as far as this machine can know. */
static void tell_away(struct core *c, struct core_link *l, uint64_t id)
{
    if (machines_may_go_without(c))
        intake_answer_progress(c, l, id, PROGRESS_UNKNOWN_ID);
    else
        core_refuse(c, l, id, refusal_get(REFUSAL_SHARED_DOWN));
}

void inquiry_begin(struct core *c, struct core_link *l, uint64_t id, const struct wire_watch *watch,
                   uint64_t now_us)
{
    struct inquiry *q = c->shared.reach == SHARED_THERE ? calloc(1, sizeof(*q)) : NULL;
    if (!q) {
        if (c->shared.reach == SHARED_THERE)
            core_refuse(c, l, id, refusal_get(REFUSAL_NO_MEMORY));
        else
            tell_away(c, l, id);
        return;
    }
    *q = (struct inquiry){
        .link = l, .id = id, .deadline_us = now_us + watch->wait_ms * US_PER_MS, .look_at_us = now_us};
    memcpy(q->key, watch->key, sizeof(q->key));
    list_append(&c->shared.inquiries, &q->node);
    machines_look_by(c, now_us);
}

void inquiry_take_watchers(struct core *c, struct job *j)
{
    uint64_t now_us = c->ports.mono_us(c->ports.arg);
    list_for_each_safe (it, next, &j->waiters) {
        struct waiter *w = LIST_ENTRY(it, struct waiter, job_node);
        if (!w->watches)
            continue;
        uint64_t end_us = w->deadline.at_us;
        struct wire_watch watch = {.wait_ms =
                                       end_us > now_us ? (uint32_t)((end_us - now_us) / US_PER_MS) : 0};
        memcpy(watch.key, j->submit.key, sizeof(watch.key));
        inquiry_begin(c, w->link, w->id, &watch, now_us);
        waiter_free(c, w);
    }
}

static void tell_chat(struct core *c, const struct inquiry *q, struct slice chat)
{
    struct wire_answer answer = {.flags = ANSWER_REPLAYED, .chat = chat};
    size_t mark = wire_frame_begin(&q->link->out, WIRE_ANSWER, q->id);
    wire_answer_encode(&q->link->out, &answer);
    wire_frame_end(&q->link->out, mark);
    core_link_dirty(c, q->link);
}

/* In the words of the refusal itself: it is the end of the request, not of the question. */
static void tell_refusal(struct core *c, const struct inquiry *q, const struct shared_record *r)
{
    struct wire_refusal unknown = refusal_unknown(r->value), refusal;
    size_t mark = wire_frame_begin(&q->link->out, WIRE_REFUSAL, q->id);
    if (r->state != SHARED_UNKNOWN && wire_refusal_decode(r->value, &refusal) == 0)
        buf_append_slice(&q->link->out, r->value);
    else
        wire_refusal_encode(&q->link->out, &unknown);
    wire_frame_end(&q->link->out, mark);
    core_link_dirty(c, q->link);
}

/* It goes on, and who asks has time. */
static bool look_again(struct inquiry *q, uint64_t now_us)
{
    if (now_us >= q->deadline_us)
        return false;
    machines_look_later(&q->look_at_us, &q->look_step_us, now_us);
    if (q->look_at_us > q->deadline_us)
        q->look_at_us = q->deadline_us;
    return true;
}

static bool tell_progress(struct core *c, struct inquiry *q, enum wire_progress progress, uint64_t now_us)
{
    if (look_again(q, now_us))
        return false;
    intake_answer_progress(c, q->link, q->id, progress);
    return true;
}

/* Nobody else has more to say than this machine's job of that id, which is not claimed yet. */
static bool is_ours(const struct job *j, const struct shared_record *r)
{
    bool unclaimed = r->state == SHARED_FREE || r->state == SHARED_REFUSED;
    return j && j->state != JOB_ELSEWHERE && (unclaimed || (r->mine && r->state <= SHARED_DISPATCHED));
}

static bool tell(struct core *c, struct inquiry *q, const struct shared_record *r, uint64_t now_us)
{
    const struct job *j = job_find(c, q->key);
    if (is_ours(j, r))
        return tell_progress(c, q, intake_progress(j), now_us);
    if (r->mine && r->state <= SHARED_DISPATCHED) {
        /* It does not run here any more: its end is in this machine's store, or it has none. */
        intake_answer_progress(c, q->link, q->id, PROGRESS_UNKNOWN_ID);
        return true;
    }
    switch (r->state) {
    case SHARED_FREE:
        intake_answer_progress(c, q->link, q->id, PROGRESS_UNKNOWN_ID);
        return true;
    case SHARED_QUEUED:
        return tell_progress(c, q, PROGRESS_QUEUED, now_us);
    case SHARED_DISPATCHED:
        if (r->owner_alive)
            return tell_progress(c, q, PROGRESS_RUNNING, now_us);
        core_refuse(c, q->link, q->id, refusal_get(REFUSAL_MACHINE_LOST));
        return true;
    case SHARED_DONE:
        tell_chat(c, q, r->value);
        return true;
    case SHARED_DELETED:
        core_refuse(c, q->link, q->id, refusal_get(REFUSAL_DELETED));
        return true;
    default:
        tell_refusal(c, q, r);
        return true;
    }
}

bool inquiry_looked(struct core *c, struct inquiry *q, const struct shared_record *r, uint64_t now_us)
{
    bool told = tell(c, q, r, now_us);
    if (told)
        drop(q);
    return told;
}

void inquiry_end_all(struct core *c)
{
    list_for_each_safe (it, next, &c->shared.inquiries) {
        struct inquiry *q = LIST_ENTRY(it, struct inquiry, node);
        tell_away(c, q->link, q->id);
        drop(q);
    }
}

bool inquiry_is_open(const struct core *c, const struct core_link *l, uint64_t id)
{
    list_for_each (it, &c->shared.inquiries) {
        const struct inquiry *q = LIST_ENTRY(it, struct inquiry, node);
        if (q->link == l && q->id == id)
            return true;
    }
    return false;
}

void inquiry_forget(struct core *c, const struct core_link *l, uint64_t id)
{
    list_for_each_safe (it, next, &c->shared.inquiries) {
        struct inquiry *q = LIST_ENTRY(it, struct inquiry, node);
        if (q->link == l && (!id || q->id == id))
            drop(q);
    }
}
