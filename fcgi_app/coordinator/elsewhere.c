/*
 * Prompts that another machine has: their jobs wait here, and the server is asked what became of them in
 * steps that grow, many in one look; see machines.h.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/intake.h"
#include "coordinator/machines.h"
#include "coordinator/refusal.h"

#define LOOK_FIRST_US (20 * US_PER_MS)
#define LOOK_LAST_US  (200 * US_PER_MS)
#define LOOKS_MAX     256 /* ids in one look */

/* A look on its way. */
struct looking {
    struct shared_look look;
    uint8_t (*keys)[SHARED_KEY_SIZE];
    struct shared_look_member members[];
};

static void look_by(struct core *c, uint64_t at_us)
{
    if (at_us < c->shared.look_at_us)
        c->shared.look_at_us = at_us;
}

void machines_wait(struct core *c, struct job *j, uint64_t now_us)
{
    j->look_step_us = LOOK_FIRST_US;
    j->look_at_us = now_us + j->look_step_us;
    job_set_state(c, j, JOB_ELSEWHERE);
    look_by(c, j->look_at_us);
}

static void look_later(struct job *j, uint64_t now_us)
{
    j->look_step_us = j->look_step_us * 2 < LOOK_LAST_US ? j->look_step_us * 2 : LOOK_LAST_US;
    j->look_at_us = now_us + j->look_step_us;
}

static void set_next_look(struct core *c)
{
    c->shared.look_at_us = UINT64_MAX;
    list_for_each (it, &c->jobs[JOB_ELSEWHERE])
        look_by(c, LIST_ENTRY(it, struct job, node)->look_at_us);
}

static struct looking *looking_new(size_t n)
{
    struct looking *q = calloc(1, sizeof(*q) + n * (sizeof(q->members[0]) + sizeof(q->keys[0])));
    if (!q)
        return NULL;
    q->keys = (uint8_t(*)[SHARED_KEY_SIZE])(q->members + n);
    q->look.members = q->members;
    return q;
}

static void add_look(struct looking *q, const uint8_t *key)
{
    size_t at = q->look.members_n++;
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
        if (j->look_at_us <= now_us && q->look.members_n < LOOKS_MAX)
            add_look(q, j->submit.key);
    }
    if (!q->look.members_n) {
        free(q);
        set_next_look(c);
        return;
    }
    c->shared.looking = true;
    c->ports.look(c->ports.arg, &q->look);
}

static void job_looked(struct core *c, struct job *j, const struct shared_record *r, uint64_t now_us)
{
    switch (machines_meet(c, j, r)) {
    case MEETS_RUNNING:
        look_later(j, now_us);
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

void core_looked(struct core *c, struct shared_look *l, uint64_t now_us)
{
    struct looking *q = CONTAINER_OF(l, struct looking, look);
    c->shared.looking = false;
    if (l->rc == ERR_FENCED)
        c->fenced = true;
    for (size_t i = 0; i < l->members_n && !c->fenced; i++) {
        struct job *j = job_find(c, q->keys[i]);
        if (!j || j->state != JOB_ELSEWHERE)
            continue; /* nobody waits for it any more */
        if (l->rc < 0)
            look_later(j, now_us);
        else
            job_looked(c, j, &l->members[i].ret_record, now_us);
    }
    set_next_look(c);
    free(q);
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
