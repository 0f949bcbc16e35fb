/* The commit thread; see commit.h. */
#include "coordinator/commit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "store/meta.h"

void counter_add(struct counter **table, const char *name, uint64_t delta)
{
    struct counter *n;
    HASH_FIND_STR(*table, name, n);
    if (!n) {
        n = malloc(sizeof(*n));
        if (!n)
            return; /* a figure in the statistics; nothing that was promised */
        n->delta = 0;
        strncpy(n->name, name, sizeof(n->name) - 1);
        n->name[sizeof(n->name) - 1] = 0;
        HASH_ADD_STR(*table, name, n);
        if (!n->hh.tbl) {
            free(n);
            return;
        }
    }
    n->delta += delta;
}

void counters_free(struct counter **table)
{
    struct counter *n, *tmp;
    HASH_ITER (hh, *table, n, tmp) {
        HASH_DEL(*table, n);
        free(n);
    }
}

struct commit_audit *commit_audit_new(uint64_t real_us, struct slice actor, const char *action,
                                      struct slice details)
{
    struct slice doing = slice_of(action);
    actor = utf8_truncate(actor, AUDIT_ACTOR_MAX);
    struct commit_audit *a = malloc(sizeof(*a) + actor.n + doing.n + details.n);
    if (!a)
        return NULL;
    memcpy(a->text, actor.p, actor.n);
    memcpy(a->text + actor.n, doing.p, doing.n);
    memcpy(a->text + actor.n + doing.n, details.p, details.n);
    a->entry = (struct audit_entry){.at_us = real_us,
                                    .actor = {a->text, actor.n},
                                    .action = {a->text + actor.n, doing.n},
                                    .details = {a->text + actor.n + doing.n, details.n}};
    return a;
}

struct commit_op *commit_op_new(size_t requests_n, size_t chats_n,
                                void (*done)(struct core *c, struct commit_op *op, uint64_t now_us))
{
    struct commit_op *op =
        calloc(1, sizeof(*op) + requests_n * sizeof(*op->requests) + chats_n * sizeof(*op->chats));
    if (!op)
        return NULL;
    list_init(&op->node);
    list_init(&op->asked_node);
    op->done = done;
    op->requests = (struct commit_request *)(op + 1);
    op->requests_n = requests_n;
    op->chats = (struct commit_chat *)(op->requests + requests_n);
    op->chats_n = chats_n;
    return op;
}

void commit_op_free(struct commit_op *op)
{
    if (!op)
        return;
    list_remove(&op->node);
    list_remove(&op->asked_node);
    counters_free(&op->counters);
    if (op->overrides)
        settings_patch_wipe(op->overrides);
    free(op->overrides);
    free(op->settings);
    free(op->keys);
    free(op->audit);
    free(op->news);
    free(op->delete_id);
    if (op->drop && op->owner)
        op->drop(op->owner);
    free(op);
}

bool commit_op_writes(const struct commit_op *op)
{
    return op->requests_n || op->chats_n || op->counters || op->settings || op->keys || op->news || op->audit;
}

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

/* Invariants: an operation is on queued, in the group of the thread, or on finished; sleeping says that the
 * thread waits for wake. */
struct commit_thread {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct list queued, finished;
    bool sleeping, stop;
    struct store *store;
    uint64_t epoch;
    void (*notify)(void *arg);
    void *arg;
};

static void move_all(struct list *from, struct list *to)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

/* Commits the group and notes how it went. An operation that the store refuses for what it is must not take
 * the others with it. */
static void apply_all(struct commit_thread *t, struct list *group)
{
    struct err e = {0};
    int rc = commit_apply_group(t->store, t->epoch, group, &e);
    /* The operations come back as failed all the same: nobody knows what became of them. */
    if (rc == ERR_IO && store_reopen(t->store, NULL) < 0)
        log_error("The store cannot be opened again; tried again with the next commit.");
    bool alone = group->next->next == group;
    bool refused = rc == ERR_INVAL || rc == ERR_EXISTS || rc == ERR_CORRUPT || rc == ERR_LIMIT;
    struct list rest, one;
    list_init(&rest);
    if (refused && !alone)
        move_all(group, &rest);
    list_for_each (it, group) {
        struct commit_op *op = LIST_ENTRY(it, struct commit_op, node);
        op->rc = rc;
        op->err = e;
        op->refused = refused;
    }
    while (!list_empty(&rest)) {
        struct list *first = list_first(&rest);
        list_remove(first);
        list_init(&one);
        list_append(&one, first);
        apply_all(t, &one);
        move_all(&one, group);
    }
}

static void *run(void *arg)
{
    struct commit_thread *t = arg;
    pthread_setname_np(pthread_self(), "commit");
    pthread_mutex_lock(&t->lock);
    for (;;) {
        while (list_empty(&t->queued) && !t->stop) {
            t->sleeping = true;
            pthread_cond_wait(&t->wake, &t->lock);
            t->sleeping = false;
        }
        if (list_empty(&t->queued))
            break;
        struct list group;
        list_init(&group);
        move_all(&t->queued, &group);
        pthread_mutex_unlock(&t->lock);

        apply_all(t, &group);
        pthread_mutex_lock(&t->lock);
        move_all(&group, &t->finished);
        t->notify(t->arg);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

int commit_start(struct store *s, uint64_t epoch, void (*notify)(void *arg), void *arg,
                 struct commit_thread **ret_thread, struct err *e)
{
    struct commit_thread *t = calloc(1, sizeof(*t));
    if (!t)
        return err_set(e, ERR_NOMEM, "Not enough memory for the commit thread.");
    t->store = s;
    t->epoch = epoch;
    t->notify = notify;
    t->arg = arg;
    list_init(&t->queued);
    list_init(&t->finished);
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->wake, NULL);
    int number = pthread_create(&t->thread, NULL, run, t);
    if (number) {
        free(t);
        return err_set(e, ERR_LIMIT, "The commit thread cannot be started: %s.", strerror(number));
    }
    *ret_thread = t;
    return 0;
}

void commit_stop(struct commit_thread *t)
{
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    list_for_each_safe (it, next, &t->finished)
        commit_op_free(LIST_ENTRY(it, struct commit_op, node));
    pthread_cond_destroy(&t->wake);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

void commit_submit(struct commit_thread *t, struct list *ops)
{
    if (list_empty(ops))
        return;
    pthread_mutex_lock(&t->lock);
    move_all(ops, &t->queued);
    if (t->sleeping)
        pthread_cond_signal(&t->wake);
    pthread_mutex_unlock(&t->lock);
}

void commit_collect(struct commit_thread *t, struct list *ret_ops)
{
    pthread_mutex_lock(&t->lock);
    move_all(&t->finished, ret_ops);
    pthread_mutex_unlock(&t->lock);
}
