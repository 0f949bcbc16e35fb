/*
 * What operations do to the store, each part of them in its own function; see commit.h. Runs in the commit
 * thread, inside the one transaction of their group.
 */
#include <string.h>

#include "base/clock.h"
#include "coordinator/commit.h"
#include "store/meta.h"

static int apply_settings(struct store_write *w, struct commit_op *op, struct err *e)
{
    int rc = op->settings ? settings_save(w, op->overrides, op->settings, e) : 0;
    return rc == 0 && op->shared_version ? meta_put_settings_version(w, op->shared_version, e) : rc;
}

static int apply_keys(struct store_write *w, const struct commit_keys *k, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; k && rc == 0 && i < k->n; i++)
        rc = keys_put(w, &k->keys[i], e);
    for (size_t i = 0; k && rc == 0 && i < k->gone_n; i++)
        rc = keys_delete(w, k->keys[k->n + i].hash, e);
    return rc;
}

static int apply_audit(struct store_write *w, const struct commit_op *op, struct err *e)
{
    return op->audit ? audit_append(w, &op->audit->entry, e) : 0;
}

static int apply_news(struct store_write *w, const struct commit_op *op, struct err *e)
{
    const struct commit_news *n = op->news;
    char position[META_POSITION_SIZE] = "";
    uint64_t version;
    struct spend of_key; /* of which no days are counted */
    int rc = n ? meta_shared(store_write_as_read(w), position, &version, e) : 0;
    if (n && rc == 0 && strcmp(position, n->position) == 0)
        return 0; /* an earlier try reached the disk */
    for (size_t i = 0; n && rc == 0 && i < n->deletions_n; i++) {
        uint32_t deleted;
        bool more;
        rc = chats_delete_request(w, n->deletions[i], UINT32_MAX, op->expiry_us / US_PER_S, &deleted, &more,
                                  e);
        if (rc == ERR_INVAL)
            rc = 0; /* no id that this version knows */
    }
    for (size_t i = 0; n && rc == 0 && i < n->differences_n; i++) {
        const struct commit_difference *d = &n->differences[i];
        rc = counters_add(w, d->name, spend_parse_name(d->name, &of_key) ? 0 : d->day, d->delta, e);
        if (rc == ERR_CORRUPT || rc == ERR_INVAL)
            rc = 0; /* a figure lost */
    }
    return n && rc == 0 ? meta_put_position(w, n->position, e) : rc;
}

static int apply_delete(struct store_write *w, struct commit_op *op, struct err *e)
{
    if (!op->delete_id)
        return 0;
    uint32_t deleted = 0;
    int rc = chats_delete_request(w, slice_of(op->delete_id), op->delete_max, op->expiry_us / US_PER_S,
                                  &deleted, &op->more, e);
    op->deleted_now = deleted;
    return rc;
}

static int apply_sweep(struct store_write *w, struct commit_op *op, struct err *e)
{
    uint32_t records = 0, chats = 0, cached = 0;
    if (!op->sweep)
        return 0;
    int rc = requests_expire(w, op->expiry_us / US_PER_S, op->sweep_max, &records, e);
    if (rc == 0 && op->chats_before_us)
        rc = chats_drop_older(w, op->chats_before_us, op->sweep_max, &chats, e);
    if (rc == 0)
        rc = cache_expire(w, op->expiry_us / US_PER_S, op->sweep_max, &cached, e);
    op->more = records == op->sweep_max || chats == op->sweep_max || cached == op->sweep_max;
    return rc;
}

/* Whether the record is the one that is to go and no later one. */
static bool is_meant(const struct commit_request *r, const struct request_record *there)
{
    return !r->only || (there->state == r->record.state &&
                        memcmp(&there->batch_id, &r->record.batch_id, sizeof(there->batch_id)) == 0 &&
                        memcmp(there->fingerprint, r->only, sizeof(there->fingerprint)) == 0);
}

static int apply_request(struct store_write *w, const struct commit_request *r, uint64_t now_s, struct err *e)
{
    struct request_record there;
    if (!r->remove)
        return requests_put(w, r->key, &r->record, now_s, e);
    int rc = r->only ? requests_get(store_write_as_read(w), r->key, now_s, &there, e) : 0;
    if (rc < 0)
        return rc == ERR_NOT_FOUND ? 0 : rc;
    return !is_meant(r, &there) ? 0 : requests_delete(w, r->key, e);
}

static int apply_chat(struct store_write *w, struct commit_op *op, const struct commit_chat *c, struct err *e)
{
    int rc = chats_append(w, &c->chat, c->record, e);
    if (rc == ERR_EXISTS && op->again) {
        op->written = true; /* the first try reached the disk after all */
        return 0;
    }
    return rc == 0 && c->cache_key ? cache_append(w, &c->chat.id, c->cache_key, c->cache_until_s, e) : rc;
}

/* Whether an earlier try reached the disk after all, with what was spent. */
static bool is_spent(struct store_write *w, const struct commit_op *op)
{
    struct request_record there;
    for (size_t i = 0; op->again && i < op->requests_n; i++) {
        const struct commit_request *r = &op->requests[i];
        if (!r->spend.picousd)
            continue;
        return requests_get(store_write_as_read(w), r->key, 0, &there, NULL) == 0 &&
               there.state == r->record.state &&
               memcmp(&there.batch_id, &r->record.batch_id, sizeof(there.batch_id)) == 0;
    }
    return false;
}

static int apply_spend(struct store_write *w, const struct commit_op *op, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < op->requests_n; i++) {
        if (op->requests[i].spend.picousd)
            rc = spend_add(w, &op->requests[i].spend, e);
        if (rc == ERR_CORRUPT)
            rc = 0; /* as any damaged counter */
    }
    return rc;
}

static int apply(struct store_write *w, struct commit_op *op, struct err *e)
{
    int rc = is_spent(w, op) ? 0 : apply_spend(w, op, e);
    op->written = false;
    for (size_t i = 0; rc == 0 && i < op->requests_n; i++)
        rc = apply_request(w, &op->requests[i], op->expiry_us / US_PER_S, e);
    for (size_t i = 0; rc == 0 && i < op->chats_n; i++)
        rc = apply_chat(w, op, &op->chats[i], e);
    if (rc == 0)
        rc = apply_settings(w, op, e);
    if (rc == 0)
        rc = apply_keys(w, op->keys, e);
    if (rc == 0)
        rc = apply_audit(w, op, e);
    if (rc == 0)
        rc = apply_news(w, op, e);
    if (rc == 0)
        rc = apply_delete(w, op, e);
    return rc == 0 ? apply_sweep(w, op, e) : rc;
}

/* A group and the sum of its counters. */
struct group {
    struct list *ops;
    struct counter *counters;
    uint32_t day;
};

static void sum_counters(struct group *g, const struct commit_op *op)
{
    struct counter *n, *tmp;
    if (!op->counters || op->written)
        return;
    g->day = clock_day(op->real_us);
    HASH_ITER (hh, op->counters, n, tmp)
        counter_add(&g->counters, n->name, n->delta);
}

/* Runs again from the start when the map had to grow. */
static int apply_group(struct store_write *w, void *arg, struct err *e)
{
    struct group *g = arg;
    int rc = 0;
    counters_free(&g->counters);
    list_for_each (it, g->ops) {
        struct commit_op *op = LIST_ENTRY(it, struct commit_op, node);
        rc = apply(w, op, e);
        if (rc < 0)
            return rc;
        sum_counters(g, op);
    }
    struct counter *n, *tmp;
    HASH_ITER (hh, g->counters, n, tmp) {
        rc = counters_add(w, slice_of(n->name), g->day, n->delta, e);
        /* A damaged counter is a figure lost; the answers beside it were paid for. */
        if (rc < 0 && rc != ERR_CORRUPT && rc != ERR_INVAL)
            return rc;
    }
    return 0;
}

int commit_apply_group(struct store *s, uint64_t epoch, struct list *group, struct err *e)
{
    struct group g = {.ops = group};
    int rc = store_write(s, epoch, apply_group, &g, e);
    counters_free(&g.counters);
    list_for_each (it, group) {
        struct commit_op *op = LIST_ENTRY(it, struct commit_op, node);
        if (rc == 0)
            op->deleted += op->deleted_now;
        op->deleted_now = 0;
    }
    return rc;
}
