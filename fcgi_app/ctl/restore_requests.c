/*
 * Request ids and money across a restore: what was sent after the backup was made may have been paid for, so
 * its id stays taken in the restored store, and what keys have spent is not given back to them. In steps of
 * bounded size, since a store may hold millions of ids.
 */
#include <string.h>

#include "base/clock.h"
#include "ctl/restore.h"
#include "store/requests.h"
#include "store/spend.h"

#define STEP        1000 /* records a transaction */
#define REFUSAL_MAX 1024

struct carry {
    struct store_read *old;
    struct store_write *w;
    uint64_t now_s, n;
    struct buf refusal; /* of what has its answer, or its end, in the old store only */
    bool begun, more;
    uint8_t at[REQUEST_KEY_SIZE], next[REQUEST_KEY_SIZE]; /* last key of the step before, and of this one */
    int rc;
    struct err *e;
};

static bool was_sent(const struct request_record *r)
{
    return r->state != REQUEST_QUEUED && (r->state != REQUEST_FAILED || r->final);
}

static bool has_end(const struct request_record *r)
{
    return r->state == REQUEST_DONE || r->state == REQUEST_DELETED ||
           (r->state == REQUEST_FAILED && r->final);
}

/* One that an earlier coordinator dispatched is left for the next one to close, with what it has cost. A
 * refusal is all there is to a failure, so it is still known; an answer is in a chat that the backup lacks.
 */
static int carry_record(void *arg, const uint8_t key[REQUEST_KEY_SIZE], const struct request_record *old)
{
    struct carry *c = arg;
    struct request_record known, record = *old;
    if (!was_sent(old))
        return 0;
    int rc = requests_get(store_write_as_read(c->w), key, c->now_s, &known, c->e);
    bool lacks = rc == ERR_NOT_FOUND || rc == ERR_CORRUPT;
    if (rc && !lacks)
        return rc;
    if (!lacks && (has_end(&known) || (known.state == REQUEST_UNKNOWN && old->state == REQUEST_UNKNOWN)))
        return 0;
    if (lacks || (known.state != REQUEST_QUEUED && known.state != REQUEST_DISPATCHED))
        c->n++;
    record.submit = (struct slice){0};
    if (old->state == REQUEST_DONE) {
        record.state = REQUEST_UNKNOWN;
        record.chat_id = (struct uuid){{0}};
        record.refusal = buf_slice(&c->refusal);
    }
    rc = requests_delete(c->w, key, c->e); /* else it would end when the backup's does */
    return rc ? rc : requests_put(c->w, key, &record, c->now_s, c->e);
}

static int carry_step(struct store_write *w, void *arg, struct err *e)
{
    struct carry *step = arg, c = *step;
    c.w = w;
    c.e = e;
    int rc = requests_scan(c.old, c.begun ? c.at : NULL, STEP, c.now_s, carry_record, &c, c.next, &c.more, e);
    if (rc)
        return rc;
    memcpy(step->next, c.next, sizeof(step->next));
    step->more = c.more;
    step->n = c.n;
    return 0;
}

static int carry_all(struct store *s, struct carry *c, struct err *e)
{
    static const struct wire_refusal restored = {
        .status = 424,
        .error_type = SLICE_LITERAL("outcome_unknown"),
        .error_code = SLICE_LITERAL("OUTCOME_UNKNOWN"),
        .message =
            SLICE_LITERAL("A backup was restored after this request_id was sent, so its answer is lost "
                          "and it may have been charged; ask again under a new request_id."),
    };
    int rc = 0;
    wire_refusal_encode(&c->refusal, &restored);
    if (buf_failed(&c->refusal))
        return err_set(e, ERR_NOMEM, "There is not enough memory for the request ids.");
    for (c->more = true; !rc && c->more; c->begun = true) {
        rc = store_write(s, 0, carry_step, c, e);
        memcpy(c->at, c->next, sizeof(c->at));
    }
    return rc;
}

static void carry_spend(void *arg, const struct spend *old)
{
    struct carry *c = arg;
    struct spend more = *old;
    uint64_t known;
    if (!c->rc)
        c->rc = keys_spent(store_write_as_read(c->w), old->id, old->month, &known, c->e);
    if (c->rc || known >= old->picousd)
        return;
    more.picousd -= known;
    c->rc = spend_add(c->w, &more, c->e);
}

static int carry_spent(struct store_write *w, void *arg, struct err *e)
{
    struct carry *c = arg;
    c->w = w;
    c->e = e;
    c->rc = 0;
    int rc = spend_each(c->old, clock_month(c->now_s * US_PER_S), carry_spend, c, e);
    return rc ? rc : c->rc;
}

int restore_requests(struct store *s, struct store_read *old, uint64_t now_s, uint64_t *ret_carried,
                     struct err *e)
{
    struct carry c = {.old = old, .now_s = now_s};
    buf_init(&c.refusal, REFUSAL_MAX);
    int rc = carry_all(s, &c, e);
    if (!rc)
        rc = store_write(s, 0, carry_spent, &c, e);
    if (!rc)
        *ret_carried = c.n;
    buf_fini(&c.refusal);
    return rc;
}
