/* Operations, and the thread that commits them; see commit.h. */
#include "coordinator/commit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/utf8.h"

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
