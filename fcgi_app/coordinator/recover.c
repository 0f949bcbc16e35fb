/*
 * What an earlier coordinator left behind (api.md "Request ids", after a crash), and the housekeeping that
 * runs once a second.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/budget.h"
#include "coordinator/control.h"
#include "coordinator/intake.h"
#include "coordinator/machines.h"
#include "coordinator/news.h"
#include "coordinator/probe.h"
#include "coordinator/publish.h"
#include "coordinator/rate.h"
#include "coordinator/record.h"

#define SWEEP_STEP                                                                                           \
    64 /* records a transaction: answers that share it wait little; while there is more, one follows the     \
          other */

/* What a recovery collects from the unfinished records. */
struct recovery {
    struct core *c;
    uint64_t now_us;
    uint8_t (*unknown)[REQUEST_KEY_SIZE]; /* keys of dispatched records of older epochs */
    struct request_record *records;       /* theirs, without lent parts */
    size_t n, cap;
    int rc;
};

static bool note_unknown(struct recovery *v, const uint8_t key[REQUEST_KEY_SIZE],
                         const struct request_record *record)
{
    if (v->n == v->cap) {
        size_t cap = v->cap ? v->cap * 2 : 64;
        void *keys = realloc(v->unknown, cap * sizeof(*v->unknown));
        if (keys)
            v->unknown = keys;
        void *records = realloc(v->records, cap * sizeof(*v->records));
        if (records)
            v->records = records;
        if (!keys || !records) {
            v->rc = ERR_NOMEM;
            return false;
        }
        v->cap = cap;
    }
    memcpy(v->unknown[v->n], key, REQUEST_KEY_SIZE);
    v->records[v->n] = *record;
    v->records[v->n].state = REQUEST_UNKNOWN;
    v->records[v->n].submit = v->records[v->n].refusal = (struct slice){0};
    v->n++;
    return true;
}

static bool take_up(void *arg, const uint8_t key[REQUEST_KEY_SIZE], const struct request_record *record)
{
    struct recovery *v = arg;
    struct core *c = v->c;
    struct job *j;
    if (record->state == REQUEST_DISPATCHED)
        return note_unknown(v, key, record);
    int rc = job_new(record->submit, v->now_us, &j);
    if (rc == ERR_INVAL)
        return true; /* not a request this version wrote: it expires */
    if (rc == 0 && (rc = intake_adopt(c, j, v->now_us)) < 0)
        job_free(j);
    v->rc = rc;
    return rc == 0;
}

static void free_recovery(void *arg)
{
    struct recovery *v = arg;
    free(v->unknown);
    free(v->records);
    free(v);
}

static void told_unknown(struct core *c, struct commit_op *op, uint64_t now_us)
{
    struct recovery *v = op->owner;
    (void)now_us;
    if (c->shared.reach != SHARED_OFF && !c->shared.lost) {
        c->shared.lost = v->unknown;
        c->shared.lost_n = v->n;
        v->unknown = NULL;
    }
    free_recovery(v);
}

/* Overwrites the dispatched records of older epochs. Lost (store down) they stay what they are, which means
 * the same. */
static int commit_unknown(struct core *c, struct recovery *v, struct err *e)
{
    struct commit_op *op = commit_op_new(v->n, 0, told_unknown);
    if (!op)
        return err_set(e, ERR_NOMEM, "Not enough memory to close %zu unfinished requests.", v->n);
    op->owner = v;
    op->drop = free_recovery;
    for (size_t i = 0; i < v->n; i++) {
        op->requests[i] = (struct commit_request){
            .key = v->unknown[i], .record = v->records[i], .spend = v->records[i].held};
        budget_spend(c, &v->records[i].held);
    }
    core_commit(c, op);
    return 0;
}

/* Chats go on behind the last one, though the clock may have been set back since then: whoever pages through
 * them with a cursor would miss what comes before it. Not when that one is far ahead: then the clock was
 * wrong when it was made, and what people read would be wrong from then on. */
static int follow_chats(struct core *c, struct store_read *r, struct err *e)
{
    struct uuid last;
    int rc = chats_last_id(r, &last, e);
    if (rc == 0 && uuid_time_us(&last) <= c->ports.real_us(c->ports.arg) + CHAT_ID_SLACK_US / 2)
        uuid_v7_follow(&last);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

int intake_recover(struct core *c, struct store_read *r, uint64_t now_us, struct err *e)
{
    struct recovery *v = calloc(1, sizeof(*v));
    if (!v)
        return err_set(e, ERR_NOMEM, "Not enough memory to start.");
    v->c = c;
    v->now_us = now_us;
    int rc = follow_chats(c, r, e);
    if (rc == 0)
        rc = requests_unfinished(r, c->epoch, take_up, v, e);
    if (rc == 0 && v->rc < 0)
        rc = err_set(e, v->rc, "Not enough memory to take up unfinished requests.");
    if (rc == 0 && v->n && (rc = commit_unknown(c, v, e)) == 0)
        return 0;
    free_recovery(v);
    return rc;
}

static void swept(struct core *c, struct commit_op *op, uint64_t now_us)
{
    (void)now_us;
    if (op->rc < 0)
        core_op_return_counters(c, op);
    c->sweeping = false;
    c->sweep_more = op->rc == 0 && op->more;
}

/* Drops some of what has expired, and takes along the counters that no answer carried. */
static void sweep(struct core *c)
{
    struct commit_op *op = commit_op_new(0, 0, swept);
    if (!op)
        return;
    uint64_t keep_s = (uint64_t)c->conf->storage.chat_retention_days * 86400;
    uint64_t ttl_s = record_kept_s(c), now_us = c->ports.real_bounds(c->ports.arg).earliest_us;
    op->sweep = true;
    op->sweep_max = SWEEP_STEP;
    uint64_t kept_us = (keep_s > ttl_s ? keep_s : ttl_s) * US_PER_S;
    /* An answer is kept as long as its request id is, whatever the retention. A clock that begins in 1970
     * keeps all. */
    if (keep_s && now_us > kept_us)
        op->chats_before_us = now_us - kept_us;
    if (c->store_fault.code)
        core_count(c, "probes", NULL, 1); /* something to write, to see whether the disk takes it again */
    core_op_take_counters(c, op);
    c->sweeping = true;
    core_commit(c, op);
}

void intake_sweep_on(struct core *c)
{
    /* Who leaves has nothing to wait for when only figures are left; unless the disk takes nothing. */
    bool last = c->counters && !core_works(c) && !c->store_fault.code;
    if (!c->sweeping && (c->draining ? last : c->sweep_more))
        sweep(c);
}

/* Whether a request of that key runs, or is on its way to the disk to be kept for later. */
static bool is_alive(const struct core *c, const uint8_t *key)
{
    list_for_each (it, &c->asked) {
        const struct commit_op *op = LIST_ENTRY(it, struct commit_op, asked_node);
        if (op->requests_n && memcmp(op->requests[0].key, key, REQUEST_KEY_SIZE) == 0)
            return true;
    }
    return job_find(c, key);
}

/* What takes a record back waits until nobody can have one who needs it. */
static void try_again(struct core *c, struct commit_op *op)
{
    if (op->requests_n && op->requests[0].only && is_alive(c, op->requests[0].key))
        return;
    list_remove(&op->node);
    core_commit(c, op);
}

void core_maintain(struct core *c, uint64_t now_us)
{
    core_count(c, "log.dropped", NULL, c->sink_dropped - c->sink_counted);
    c->sink_counted = c->sink_dropped;
    if (machines_hold(c) && now_us - c->shared.away_us >= US_PER_S)
        intake_refuse_held(c);
    news_tell(c);
    agree_maintain(c, now_us);
    intake_unpark(c, now_us);
    probe_ask(c, now_us);
    rate_tend(c, now_us);
    if (c->ports.publish)
        publish_metrics(c, now_us);
    list_for_each_safe (it, next, &c->stuck_ops)
        try_again(c, LIST_ENTRY(it, struct commit_op, node));
    if (!c->sweeping)
        sweep(c);
}
