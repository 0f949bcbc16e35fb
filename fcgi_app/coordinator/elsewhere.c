/*
 * Prompts that another machine has: their jobs wait here, and the server is asked what became of them in
 * steps that grow, many in one look; see machines.h.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/inquiry.h"
#include "coordinator/intake.h"
#include "coordinator/machines.h"
#include "coordinator/refusal.h"

#define LOOK_FIRST_US (20 * US_PER_MS)
#define LOOK_LAST_US  (200 * US_PER_MS)
#define LOOKS_MAX     256 /* ids in one look */

/* A look on its way. */
struct looking {
    struct look_op op;
    uint8_t (*keys)[SHARED_KEY_SIZE];
    struct shared_look_member members[];
};

void machines_look_by(struct core *c, uint64_t at_us)
{
    if (at_us < c->shared.look_at_us)
        c->shared.look_at_us = at_us;
}

void machines_look_later(uint64_t *at_us, uint64_t *step_us, uint64_t now_us)
{
    uint64_t step = *step_us ? *step_us * 2 : LOOK_FIRST_US;
    *step_us = step < LOOK_LAST_US ? step : LOOK_LAST_US;
    *at_us = now_us + *step_us;
}

void machines_wait(struct core *c, struct job *j, uint64_t now_us)
{
    j->look_step_us = 0;
    machines_look_later(&j->look_at_us, &j->look_step_us, now_us);
    job_set_state(c, j, JOB_ELSEWHERE);
    machines_look_by(c, j->look_at_us);
}

static void set_next_look(struct core *c)
{
    c->shared.look_at_us = UINT64_MAX;
    list_for_each (it, &c->jobs[JOB_ELSEWHERE])
        machines_look_by(c, LIST_ENTRY(it, struct job, node)->look_at_us);
    list_for_each (it, &c->shared.inquiries)
        machines_look_by(c, LIST_ENTRY(it, struct inquiry, node)->look_at_us);
}

static void looked(struct core *c, struct look_op *op, uint64_t now_us);

static struct looking *looking_new(size_t n)
{
    struct looking *q = calloc(1, sizeof(*q) + n * (sizeof(q->members[0]) + sizeof(q->keys[0])));
    if (!q)
        return NULL;
    q->keys = (uint8_t(*)[SHARED_KEY_SIZE])(q->members + n);
    q->op.look.members = q->members;
    q->op.back = looked;
    return q;
}

static void add_look(struct looking *q, const uint8_t *key)
{
    size_t at = q->op.look.members_n;
    if (at == LOOKS_MAX)
        return; /* the next time */
    q->op.look.members_n++;
    memcpy(q->keys[at], key, SHARED_KEY_SIZE);
    q->members[at].key = q->keys[at];
}

void machines_turn(struct core *c, uint64_t now_us)
{
    if (c->shared.reach != SHARED_THERE || c->shared.looking || now_us < c->shared.look_at_us)
        return;
    struct looking *q = looking_new(LOOKS_MAX);
    if (!q) {
        c->shared.look_at_us = now_us + LOOK_LAST_US;
        return;
    }
    list_for_each (it, &c->jobs[JOB_ELSEWHERE]) {
        struct job *j = LIST_ENTRY(it, struct job, node);
        if (j->look_at_us <= now_us)
            add_look(q, j->submit.key);
    }
    list_for_each (it, &c->shared.inquiries) {
        const struct inquiry *i = LIST_ENTRY(it, struct inquiry, node);
        if (i->look_at_us <= now_us)
            add_look(q, i->key);
    }
    if (!q->op.look.members_n) {
        free(q);
        set_next_look(c);
        return;
    }
    c->shared.looking = true;
    c->ports.look(c->ports.arg, &q->op.look);
}

static void job_looked(struct core *c, struct job *j, const struct shared_record *r, uint64_t now_us)
{
    switch (machines_meet(c, j, r)) {
    case MEETS_RUNNING:
        machines_look_later(&j->look_at_us, &j->look_step_us, now_us);
        break;
    case MEETS_NOTHING:
        j->elsewhere = j->runs_elsewhere = false;
        intake_go_on(c, j, (struct slice){0}, now_us);
        break;
    case MEETS_END:
        if (job_is_async(j))
            intake_retract(c, j);
        list_for_each (it, &j->waiters)
            LIST_ENTRY(it, struct waiter, job_node)->joined = true;
        machines_end(c, j);
        break;
    }
}

/* rc < 0: the next time. */
static void key_looked(struct core *c, const uint8_t *key, int rc, const struct shared_record *r,
                       uint64_t now_us)
{
    struct job *j = job_find(c, key);
    if (j && j->state == JOB_ELSEWHERE && rc < 0)
        machines_look_later(&j->look_at_us, &j->look_step_us, now_us);
    else if (j && j->state == JOB_ELSEWHERE)
        job_looked(c, j, r, now_us);
    list_for_each_safe (it, next, &c->shared.inquiries) {
        struct inquiry *q = LIST_ENTRY(it, struct inquiry, node);
        if (memcmp(q->key, key, sizeof(q->key)) != 0)
            continue;
        if (rc < 0)
            machines_look_later(&q->look_at_us, &q->look_step_us, now_us);
        else
            inquiry_looked(c, q, r, now_us);
    }
}

static void looked(struct core *c, struct look_op *op, uint64_t now_us)
{
    struct looking *q = CONTAINER_OF(op, struct looking, op);
    c->shared.looking = false;
    for (size_t i = 0; i < op->look.members_n && !c->fenced; i++)
        key_looked(c, q->keys[i], op->look.rc, &q->members[i].ret_record, now_us);
    set_next_look(c);
    free(q);
}

void core_looked(struct core *c, struct shared_look *l, uint64_t now_us)
{
    struct look_op *op = CONTAINER_OF(l, struct look_op, look);
    if (l->rc == ERR_FENCED)
        c->fenced = true;
    op->back(c, op, now_us);
}

uint64_t machines_next_us(const struct core *c)
{
    return c->shared.reach == SHARED_THERE && !c->shared.looking ? c->shared.look_at_us : UINT64_MAX;
}

void machines_drain(struct core *c)
{
    list_for_each_safe (it, next, &c->jobs[JOB_ELSEWHERE]) {
        struct job *j = LIST_ENTRY(it, struct job, node);
        if (!job_is_async(j))
            machines_refuse(c, j, REFUSAL_DRAINING);
    }
}
