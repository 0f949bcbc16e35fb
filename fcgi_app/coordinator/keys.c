/* Changes to the API keys, one after the other; see keys.h. */
#include "coordinator/keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "coordinator/intake.h"
#include "coordinator/key_change.h"
#include "coordinator/refusal.h"

#define WAITING_MAX 64 /* changes; more are refused */

/* Invariant: in core.keys.changes. */
struct waiting_change {
    struct list node;
    struct core_link *link;
    uint64_t id;
    size_t n;
    char payload[]; /* of the frame */
};

static int load(void *arg, const struct key_record *k)
{
    struct key_index *x = arg;
    int rc = key_index_reserve(x, x->n + 1);
    if (rc == 0)
        key_index_put(x, k);
    return rc;
}

int keys_init(struct core *c, struct store_read *r, struct err *e)
{
    int rc = keys_each(r, load, &c->keys.index, e);
    return rc == ERR_NOMEM ? err_set(e, rc, "Not enough memory for the API keys.") : rc;
}

static void forget(struct core *c, struct waiting_change *w)
{
    list_remove(&w->node);
    c->keys.changes_n--;
    free(w);
}

void keys_fini(struct core *c)
{
    list_for_each_safe (it, next, &c->keys.changes)
        forget(c, LIST_ENTRY(it, struct waiting_change, node));
    key_index_fini(&c->keys.index);
}

void keys_forget_link(struct core *c, const struct core_link *l)
{
    list_for_each_safe (it, next, &c->keys.changes) {
        struct waiting_change *w = LIST_ENTRY(it, struct waiting_change, node);
        if (w->link == l)
            forget(c, w);
    }
}

static void refuse(struct core *c, struct core_link *l, uint64_t id, const struct key_refusal *why)
{
    struct wire_refusal r = {.status = why->status,
                             .error_type = slice_of(why->status == 400   ? "validation_error"
                                                    : why->status == 404 ? "not_found_error"
                                                                         : "conflict_error"),
                             .error_code = slice_of(why->code),
                             .message = slice_of(why->message)};
    if (why->field[0])
        r.field = slice_of(why->field);
    core_refuse(c, l, id, &r);
}

static void begin_next(struct core *c);

/* What the disk has is in force here, too. */
static void enforce(struct core *c, const struct commit_keys *keys)
{
    for (size_t i = 0; i < keys->gone_n; i++)
        key_index_remove(&c->keys.index, keys->keys[keys->n + i].hash);
    for (size_t i = 0; i < keys->n; i++) {
        key_index_put(&c->keys.index, &keys->keys[i]);
        if (keys->keys[i].revoked_s)
            intake_refuse_revoked(c, keys->keys[i].id);
    }
}

static void changed(struct core *c, struct commit_op *op, uint64_t now_us)
{
    (void)now_us;
    bool open = op->rc == ERR_IO || (op->again && op->rc < 0);
    if (open && !c->fenced) {
        /* It may be on the disk, and workers may see it: nobody is told anything before it certainly is,
         * whatever the next tries fail for. core_maintain makes them. */
        op->kept = op->again = true;
        list_append(&c->stuck_ops, &op->node);
        return;
    }
    if (op->rc == 0)
        enforce(c, op->keys);
    if (op->link && op->rc == 0)
        core_answer_done(c, op->link, op->id);
    else if (op->link)
        core_refuse(c, op->link, op->id, refusal_get(REFUSAL_KEYS_NOT_SAVED));
    c->keys.changing = false;
    begin_next(c);
}

/* Makes the operation of a change. 0 with *ret_op NULL: there is nothing to do. */
static int prepare(struct core *c, const struct wire_change *m, struct commit_op **ret_op,
                   struct key_refusal *ret_refusal)
{
    struct key_change change;
    struct commit_op *op = NULL;
    struct commit_keys *keys = NULL;
    uint64_t real_us = c->ports.real_us(c->ports.arg);
    struct key_index *x = &c->keys.index;
    int rc = key_document_parse(m->document, &change, ret_refusal);
    if (rc)
        return rc;
    rc = key_plan(x, &change, real_us / US_PER_S, &keys, ret_refusal);
    if (rc || !keys)
        goto out;
    op = commit_op_new(0, 0, changed);
    rc = op ? key_index_reserve(x, x->n + keys->n) : ERR_NOMEM;
    if (!rc) {
        op->audit = key_audit(x, &change, keys, real_us, m->actor);
        rc = op->audit ? 0 : ERR_NOMEM;
    }
    if (rc) {
        commit_op_free(op);
        free(keys);
        goto out;
    }
    op->keys = keys;
    *ret_op = op;
out:
    key_change_fini(&change);
    return rc;
}

static void begin(struct core *c, struct core_link *l, uint64_t id, const struct wire_change *m)
{
    struct key_refusal why = {0};
    struct commit_op *op = NULL;
    int rc = prepare(c, m, &op, &why);
    if (rc == ERR_NOMEM)
        core_refuse(c, l, id, refusal_get(REFUSAL_NO_MEMORY));
    else if (rc)
        refuse(c, l, id, &why);
    else if (!op)
        core_answer_done(c, l, id);
    else {
        core_op_ask(c, op, l, id);
        c->keys.changing = true;
        core_commit(c, op);
    }
}

static void begin_next(struct core *c)
{
    struct list *first;
    struct wire_change m;
    while (!c->keys.changing && !c->fenced && (first = list_first(&c->keys.changes))) {
        struct waiting_change *w = LIST_ENTRY(first, struct waiting_change, node);
        if (wire_change_decode((struct slice){w->payload, w->n}, &m) == 0)
            begin(c, w->link, w->id, &m);
        forget(c, w);
    }
}

int keys_change(struct core *c, struct core_link *l, const struct wire_frame *frame)
{
    struct wire_change m;
    int rc = wire_change_decode(frame->payload, &m);
    if (rc < 0 || utf8_valid_prefix(m.actor) < m.actor.n)
        return ERR_INVAL;
    if (!c->keys.changing) {
        begin(c, l, frame->id, &m);
        return 0;
    }
    struct waiting_change *w = c->keys.changes_n < WAITING_MAX ? malloc(sizeof(*w) + frame->payload.n) : NULL;
    if (!w) {
        core_refuse(c, l, frame->id, refusal_get(REFUSAL_KEYS_BUSY));
        return 0;
    }
    *w = (struct waiting_change){.link = l, .id = frame->id, .n = frame->payload.n};
    memcpy(w->payload, frame->payload.p, frame->payload.n);
    list_init(&w->node);
    list_append(&c->keys.changes, &w->node);
    c->keys.changes_n++;
    return 0;
}
