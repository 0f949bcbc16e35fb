/*
 * The core's life, its turn, and what does not belong to one prompt: links, pools, deadlines, housekeeping.
 * Prompts come in through intake.c, leave through dispatch.c and outcome.c; settings are in
 * control.c, deletions in delete.c, what it says of itself in status.c.
 */
#include "coordinator/core.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "coordinator/budget.h"
#include "coordinator/cached.h"
#include "coordinator/call.h"
#include "coordinator/control.h"
#include "coordinator/delete.h"
#include "coordinator/guard.h"
#include "coordinator/inquiry.h"
#include "coordinator/intake.h"
#include "coordinator/keys.h"
#include "coordinator/machines.h"
#include "coordinator/news.h"
#include "coordinator/probe.h"
#include "coordinator/publish.h"
#include "coordinator/rate.h"
#include "coordinator/status.h"
#include "coordinator/trail.h"

#define LINK_OUT_MAX (96u << 20)
#define SCRATCH_MAX  (128u << 20)

int core_init(struct core *c, const struct conf *conf, const struct core_ports *ports, uint64_t epoch,
              struct store_read *r, const struct saved_key *saved_key, uint64_t now_us, struct err *e)
{
    *c = (struct core){.conf = conf, .ports = *ports, .epoch = epoch, .started_us = now_us};
    for (int s = 0; s < JOB_STATES; s++)
        list_init(&c->jobs[s]);
    list_init(&c->calls);
    list_init(&c->ready_calls);
    list_init(&c->asked);
    list_init(&c->changes);
    list_init(&c->keys.changes);
    list_init(&c->stuck_ops);
    list_init(&c->dirty_links);
    list_init(&c->rates.by_use);
    heap_init(&c->timers);
    heap_init(&c->deadlines);
    buf_init(&c->scratch, SCRATCH_MAX);
    c->started_real_us = ports->real_us(ports->arg);
    meter_init(&c->prompts, now_us);
    guard_reset(c, now_us);
    c->shared = (struct core_shared){
        .reach = ports->arrive ? SHARED_AWAY : SHARED_OFF, .away_us = now_us, .look_at_us = UINT64_MAX};
    list_init(&c->shared.inquiries);
    list_init(&c->shared.deletions);
    list_init(&c->shared.news);
    int rc = control_init(c, r, saved_key, e);
    if (rc == 0)
        rc = keys_init(c, r, e);
    if (rc == 0)
        rc = budget_init(c, r, e);
    if (rc == 0)
        rc = cached_init(c, r, e);
    if (rc == 0)
        rc = intake_recover(c, r, now_us, e);
    return rc;
}

static void free_all_jobs(struct core *c)
{
    for (int s = 0; s < JOB_STATES; s++) {
        list_for_each_safe (it, next, &c->jobs[s]) {
            struct job *j = LIST_ENTRY(it, struct job, node);
            list_for_each_safe (w, next_waiter, &j->waiters)
                waiter_free(c, LIST_ENTRY(w, struct waiter, job_node));
            if (j->member.group)
                batcher_remove(c->batcher, &j->member);
            if (s != JOB_REAPED)
                job_leave(c, j);
            list_remove(&j->node);
            if (j->batch && s != JOB_REAPED && --j->batch->pending == 0)
                free(j->batch);
            job_free(j);
        }
    }
}

void core_fini(struct core *c)
{
    if (!c->calls.next)
        return; /* it was never initialised */
    list_for_each_safe (it, next, &c->calls)
        call_free(c, LIST_ENTRY(it, struct call, all_node));
    free_all_jobs(c);
    control_fini(c);
    rate_fini(c);
    budget_fini(c);
    keys_fini(c);
    cache_index_fini(&c->cached);
    probe_fini(c);
    struct pool *p, *tmp;
    HASH_ITER (hh, c->pools, p, tmp) {
        HASH_DEL(c->pools, p);
        free(p);
    }
    counters_free(&c->counters);
    news_fini(c);
    counters_free(&c->totals);
    heap_fini(&c->timers);
    heap_fini(&c->deadlines);
    buf_fini(&c->scratch);
}

void core_link_init(struct core_link *l)
{
    *l = (struct core_link){0};
    list_init(&l->waiters);
    list_init(&l->held);
    list_init(&l->dirty_node);
    buf_init(&l->out, LINK_OUT_MAX);
}

static void pool_leave(struct core *c, struct core_link *l)
{
    struct pool *p = l->pool;
    l->pool = NULL;
    if (!p || --p->links)
        return;
    c->capacity -= p->capacity;
    HASH_DEL(c->pools, p);
    free(p);
}

void core_link_fini(struct core *c, struct core_link *l, uint64_t now_us)
{
    while (!list_empty(&l->waiters)) /* one that leaves may take others of this link along */
        intake_leave(c, LIST_ENTRY(list_first(&l->waiters), struct waiter, link_node), now_us);
    pool_leave(c, l);
    inquiry_forget(c, l, 0);
    delete_forget_link(c, l);
    control_forget_link(c, l);
    keys_forget_link(c, l);
    list_for_each (it, &c->asked) {
        struct commit_op *op = LIST_ENTRY(it, struct commit_op, asked_node);
        if (op->link == l)
            op->link = NULL;
    }
    list_remove(&l->dirty_node);
    buf_fini(&l->out);
}

void core_link_dirty(struct core *c, struct core_link *l)
{
    if (list_empty(&l->dirty_node))
        list_append(&c->dirty_links, &l->dirty_node);
}

static int receive_hello(struct core *c, struct core_link *l, const struct wire_frame *frame)
{
    struct wire_hello hello;
    int rc = wire_hello_decode(frame->payload, &hello);
    if (rc < 0)
        return rc;
    if (l->pool)
        return ERR_INVAL;
    struct pool *p;
    HASH_FIND(hh, c->pools, &hello.pool, sizeof(hello.pool), p);
    if (!p) {
        p = calloc(1, sizeof(*p));
        if (!p)
            return ERR_NOMEM;
        p->id = hello.pool;
        p->capacity = hello.capacity;
        HASH_ADD(hh, c->pools, id, sizeof(p->id), p);
        if (!p->hh.tbl) {
            free(p);
            return ERR_NOMEM;
        }
        c->capacity += p->capacity;
    }
    p->links++;
    l->pool = p;
    struct wire_welcome welcome = {.epoch = c->epoch, .pid = (uint32_t)getpid()};
    size_t mark = wire_frame_begin(&l->out, WIRE_WELCOME, frame->id);
    wire_welcome_encode(&l->out, &welcome);
    wire_frame_end(&l->out, mark);
    core_link_dirty(c, l);
    return 0;
}

static void add_counted(void *arg, struct slice name, uint64_t delta)
{
    char text[COUNTER_NAME_MAX];
    struct core *c = arg;
    if (name.n >= sizeof(text))
        return;
    memcpy(text, name.p, name.n);
    text[name.n] = 0;
    counter_add(&c->counters, text, delta);
    if (strcmp(text, "replays") == 0)
        meter_note(&c->prompts, c->ports.mono_us(c->ports.arg), delta);
}

int core_receive(struct core *c, struct core_link *l, const struct wire_frame *frame, uint64_t now_us)
{
    if (frame->type == WIRE_HELLO)
        return receive_hello(c, l, frame);
    if (!l->pool)
        return ERR_INVAL;
    switch (frame->type) {
    case WIRE_SUBMIT:
        meter_note(&c->prompts, now_us, 1);
        return intake_submit(c, l, frame, now_us);
    case WIRE_CANCEL:
        intake_cancel(c, l, frame->id, now_us);
        return 0;
    case WIRE_WATCH:
        return intake_watch(c, l, frame, now_us);
    case WIRE_COUNT:
        return wire_count_decode(frame->payload, add_counted, c);
    case WIRE_SETTINGS_PUT:
        return control_settings_put(c, l, frame);
    case WIRE_KEYS_CHANGE:
        return keys_change(c, l, frame);
    case WIRE_CHAT_DELETE:
        return delete_chat(c, l, frame);
    case WIRE_STATUS_ASK:
        status_answer(c, l, frame->id, now_us);
        return 0;
    default:
        return ERR_INVAL; /* what only a coordinator sends */
    }
}

void core_answer_done(struct core *c, struct core_link *l, uint64_t id)
{
    size_t mark = wire_frame_begin(&l->out, WIRE_DONE, id);
    wire_frame_end(&l->out, mark);
    core_link_dirty(c, l);
}

void core_refuse(struct core *c, struct core_link *l, uint64_t id, const struct wire_refusal *refusal)
{
    core_count_refusal(c, refusal);
    if (c->ports.publish && c->incoming)
        publish_turned_away(c, c->incoming, refusal);
    size_t mark = wire_frame_begin(&l->out, WIRE_REFUSAL, id);
    wire_refusal_encode(&l->out, refusal);
    wire_frame_end(&l->out, mark);
    core_link_dirty(c, l);
}

void core_committed(struct core *c, struct commit_op *op, uint64_t now_us)
{
    if (op->rc == ERR_FENCED)
        c->fenced = true;
    else if (op->rc < 0 && !op->refused)
        c->store_fault = op->err;
    else if (op->rc == 0 && commit_op_writes(op))
        c->store_fault.code = 0;
    if (op->rc == 0)
        trail_committed(c, op);
    if (op->rc == 0 && c->ports.publish)
        publish_counted(c, op);
    if (op->rc == 0 && c->shared.reach != SHARED_OFF)
        news_counted(c, op);
    op->done(c, op, now_us);
    if (op->kept)
        return;
    op->owner = NULL; /* done has seen to it */
    commit_op_free(op);
}

void core_commit(struct core *c, struct commit_op *op)
{
    op->kept = false;
    op->real_us = c->ports.real_us(c->ports.arg);
    op->expiry_us = c->ports.real_bounds(c->ports.arg).earliest_us;
    c->ports.commit(c->ports.arg, op);
}

void core_op_ask(struct core *c, struct commit_op *op, struct core_link *l, uint64_t id)
{
    op->link = l;
    op->id = id;
    list_append(&c->asked, &op->asked_node);
}

void core_op_take_counters(struct core *c, struct commit_op *op)
{
    op->counters = c->counters;
    c->counters = NULL;
}

void core_op_return_counters(struct core *c, struct commit_op *op)
{
    struct counter *n, *tmp;
    HASH_ITER (hh, op->counters, n, tmp)
        counter_add(&c->counters, n->name, n->delta);
    counters_free(&op->counters);
}

void core_called(struct core *c, struct call *call, const struct provider_response *response, uint64_t now_us)
{
    call_release_slot(c, call);
    list_remove(&call->held_node);
    heap_remove(&c->timers, &call->timer);
    outcome_settle(c, call, response, now_us);
}

static void expire_deadlines(struct core *c, uint64_t now_us)
{
    struct heap_node *n;
    while ((n = heap_peek(&c->deadlines)) && n->at_us <= now_us)
        intake_deadline(c, CONTAINER_OF(n, struct waiter, deadline), now_us);
}

static void fire_timers(struct core *c, uint64_t now_us)
{
    struct heap_node *n;
    while ((n = heap_peek(&c->timers)) && n->at_us <= now_us) {
        heap_remove(&c->timers, n);
        dispatch_timer(c, CONTAINER_OF(n, struct call, timer), now_us);
    }
}

static void reap(struct core *c)
{
    list_for_each_safe (it, next, &c->jobs[JOB_REAPED]) {
        struct job *j = LIST_ENTRY(it, struct job, node);
        list_remove(&j->node);
        c->jobs_n[JOB_REAPED]--;
        job_free(j);
    }
}

void core_turn(struct core *c, uint64_t now_us)
{
    expire_deadlines(c, now_us);
    fire_timers(c, now_us);
    batcher_set_waiting(c->batcher, c->links_waiting, c->capacity);
    dispatch_pump(c, now_us);
    machines_turn(c, now_us);
    intake_sweep_on(c);
    reap(c);
}

uint64_t core_next_us(const struct core *c, uint64_t now_us)
{
    uint64_t next = batcher_next_due_us(c->batcher, now_us);
    const struct heap_node *n = heap_peek(&c->deadlines);
    if (n && n->at_us < next)
        next = n->at_us;
    n = heap_peek(&c->timers);
    if (n && n->at_us < next)
        next = n->at_us;
    uint64_t look_us = machines_next_us(c);
    if (look_us < next)
        next = look_us;
    uint64_t door_us = guard_next_us(c, now_us);
    return door_us < next ? door_us : next;
}

static uint32_t jobs_alive(const struct core *c)
{
    uint32_t n = c->jobs_n[JOB_ASKING] + c->jobs_n[JOB_ACCEPTING] + c->jobs_n[JOB_QUEUED] +
                 c->jobs_n[JOB_CALLING] + c->jobs_n[JOB_COMMITTING];
    /* Those that are kept are the next coordinator's then; until then nobody else would run them. */
    return c->draining ? n : n + c->jobs_n[JOB_ELSEWHERE] + c->jobs_n[JOB_PARKED];
}

bool core_idle(const struct core *c)
{
    return !jobs_alive(c) && !c->counters;
}

bool core_works(const struct core *c)
{
    return jobs_alive(c) || c->waiters_n;
}

void core_drain(struct core *c)
{
    c->draining = true;
    intake_refuse_queued(c);
    machines_drain(c);
}

void core_count(struct core *c, const char *name, const char *suffix, uint64_t delta)
{
    char text[COUNTER_NAME_MAX];
    if (!delta)
        return;
    if (suffix)
        counter_name(text, name, suffix);
    counter_add(&c->counters, suffix ? text : name, delta);
}

void core_count_value(struct core *c, const char *name, const char *suffix, uint64_t value)
{
    char prefix[COUNTER_NAME_MAX], text[COUNTER_NAME_MAX];
    counter_name(prefix, name, suffix);
    histogram_bucket_name(text, prefix, value);
    counter_add(&c->counters, text, 1);
    histogram_sum_name(text, prefix);
    counter_add(&c->counters, text, value);
}

void core_count_refusal(struct core *c, const struct wire_refusal *refusal)
{
    char name[COUNTER_NAME_MAX / 2];
    snprintf(name, sizeof(name), "%.*s.%.*s", (int)refusal->error_type.n, refusal->error_type.p,
             (int)refusal->error_code.n, refusal->error_code.p);
    core_count(c, "errors", name, 1);
}
