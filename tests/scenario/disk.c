/*
 * The disk of a world: commits that take their time, in groups as the commit thread makes them, and lookups.
 * The store is real.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"
#include "reach.h"
#include "store/audit.h"
#include "store/chats.h"
#include "store/counters.h"
#include "store/table.h"

uint64_t disk_real_us(const struct world *w)
{
    return w->real_base_us + world_time(w);
}

void disk_commit(void *arg, struct commit_op *op)
{
    struct world *w = arg;
    (void)process_is_dead(w);
    list_append(&w->fresh, &op->node);
}

void disk_submit(struct world *w)
{
    list_for_each_safe (it, next, &w->fresh) {
        list_remove(it);
        list_append(&w->ops, it);
    }
}

/* The disk takes everything that waits as one group once it is free. */
void disk_start_group(struct world *w)
{
    if (!list_empty(&w->group) || list_empty(&w->ops))
        return;
    list_for_each_safe (it, next, &w->ops) {
        list_remove(it);
        list_append(&w->group, it);
    }
    w->group_due_us = w->now_us + w->commit_us;
}

/* A disk that is full takes what needs no room. */
static bool is_failing(const struct world *w)
{
    if (!w->commit_fails || w->commit_error != ERR_NOSPC)
        return w->commit_fails;
    list_for_each (it, &w->group)
        if (commit_op_writes(LIST_ENTRY(it, struct commit_op, node)))
            return true;
    return false;
}

/* Counts which states records went to from which. */
static void note_transitions(struct world *w)
{
    static const char *const names[] = {"none",   "queued",  "dispatched", "done",
                                        "failed", "unknown", "deleted"};
    if (!reach_wanted())
        return;
    list_for_each (it, &w->group) {
        const struct commit_op *op = LIST_ENTRY(it, struct commit_op, node);
        for (size_t i = 0; i < op->requests_n; i++) {
            struct request_record record = {0};
            struct slice chat;
            if (disk_lookup(w, op->requests[i].key, &record, &chat, NULL) == 0)
                disk_lookup_end(w);
            else
                record.state = 0;
            char text[64];
            snprintf(text, sizeof(text), "%s to %s", names[record.state],
                     op->requests[i].remove ? "none" : names[op->requests[i].record.state]);
            reach_word("record", text);
        }
    }
}

static int apply(struct world *w, struct err *e)
{
    bool fails = is_failing(w);
    note_transitions(w);
    int rc = fails && !w->commit_reaches ? 0 : commit_apply_group(w->store, w->epoch, &w->group, e);
    if (w->elder_acts && (!fails || w->commit_reaches)) {
        REACH("a commit of the elder is fenced off");
        if (rc != ERR_FENCED)
            world_blame(w, "a coordinator writes after another took over");
    } else if (rc < 0)
        world_blame(w, "a commit fails: %s", e->text);
    if (!fails)
        return rc;
    w->commit_fails -= w->commit_fails != UINT32_MAX;
    w->lossy |= w->commit_reaches;
    if (w->commit_error == ERR_NOSPC)
        REACH("a commit meets a full disk");
    else if (w->commit_reaches)
        REACH("a commit fails that reached the disk");
    else
        REACH("a commit fails");
    world_say(w, "-- commit fails");
    return err_set(e, w->commit_error, "The disk fails as the script says.");
}

void disk_finish_group(struct world *w)
{
    struct err e = {0};
    struct list group;
    int rc = w->group_reached ? 0 : apply(w, &e);
    w->group_reached = false;
    list_init(&group);
    list_for_each_safe (it, next, &w->group) {
        struct commit_op *op = LIST_ENTRY(it, struct commit_op, node);
        list_remove(it);
        list_append(&group, it);
        op->rc = rc;
        op->err = e;
    }
    list_for_each_safe (done, next_done, &group) {
        list_remove(done);
        core_committed(w->core, LIST_ENTRY(done, struct commit_op, node), w->now_us);
    }
}

static void flush_list(struct world *w, struct list *ops)
{
    struct err e = {0};
    if (!list_empty(ops) && (!w->commit_fails || w->commit_reaches) &&
        commit_apply_group(w->store, w->epoch, ops, &e) < 0)
        world_blame(w, "a commit fails: %s", e.text);
}

void disk_flush(struct world *w, enum survives what)
{
    if (list_empty(&w->group))
        disk_start_group(w);
    flush_list(w, &w->group);
    if (what == SURVIVES_QUEUED)
        flush_list(w, &w->ops);
}

void disk_lookup_end(void *arg)
{
    struct world *w = arg;
    store_read_end(w->reading);
    w->reading = NULL;
}

int disk_lookup(void *arg, const uint8_t key[REQUEST_KEY_SIZE], struct request_record *ret_record,
                struct slice *ret_chat, struct err *e)
{
    struct world *w = arg;
    int rc = store_read_begin(w->store, &w->reading, e);
    if (rc < 0)
        return rc;
    rc = requests_get(w->reading, key, disk_real_us(w) / US_PER_S, ret_record, e);
    if (rc == 0 && ret_record->state == REQUEST_DONE &&
        chats_get(w->reading, &ret_record->chat_id, ret_chat, e) < 0)
        *ret_chat = (struct slice){0};
    if (rc < 0)
        disk_lookup_end(w);
    return rc;
}

int disk_chat(void *arg, const struct uuid *id, struct slice *ret_chat, struct err *e)
{
    struct world *w = arg;
    int rc = store_read_begin(w->store, &w->reading, e);
    if (rc < 0)
        return rc;
    rc = chats_get(w->reading, id, ret_chat, e);
    if (rc < 0)
        disk_lookup_end(w);
    return rc;
}

int disk_spent(void *arg, uint32_t month, void (*each)(void *each_arg, const struct spend *s), void *each_arg,
               struct err *e)
{
    struct store_read *r;
    int rc = store_read_begin(((struct world *)arg)->store, &r, e);
    if (rc < 0)
        return rc;
    rc = spend_each(r, month, each, each_arg, e);
    store_read_end(r);
    return rc;
}

static int drop_chats(struct store_write *write, void *arg, struct err *e)
{
    uint32_t dropped;
    return chats_drop_older(write, disk_real_us(arg) + 1, UINT32_MAX, &dropped, e);
}

void disk_forget_chats(struct world *w)
{
    struct err e = {0};
    w->deletions++;
    rules_chats_gone(w);
    if (store_write(w->store, 0, drop_chats, w, &e) < 0)
        world_blame(w, "the chats cannot be dropped: %s", e.text);
}

const char *disk_state(struct world *w, const struct client *c)
{
    static const char *const names[] = {
        [REQUEST_QUEUED] = "queued", [REQUEST_DISPATCHED] = "dispatched", [REQUEST_DONE] = "done",
        [REQUEST_FAILED] = "failed", [REQUEST_UNKNOWN] = "unknown",       [REQUEST_DELETED] = "deleted"};
    struct request_record record;
    struct slice chat;
    struct err e = {0};
    int rc = disk_lookup(w, c->submit.key, &record, &chat, &e);
    if (rc < 0)
        return rc == ERR_NOT_FOUND ? "none" : "unreadable";
    disk_lookup_end(w);
    return names[record.state];
}

uint64_t disk_cache_entries(struct world *w)
{
    struct store_read *r;
    uint64_t n = 0;
    if (store_read_begin(w->store, &r, NULL) < 0)
        return 0;
    if (table_count(r, TABLE_CACHE, &n, NULL) < 0)
        n = 0;
    store_read_end(r);
    return n;
}

struct newest {
    uint64_t n;
    char *text;
};

static int note_entry(void *arg, const struct audit_entry *a)
{
    struct newest *x = arg;
    if (!x->n++)
        snprintf(x->text, 512, "%.*s: %.*s", (int)a->actor.n, a->actor.p, (int)a->details.n, a->details.p);
    return 0;
}

uint64_t disk_audit_entries(struct world *w, char ret_newest[512])
{
    struct store_read *r;
    struct newest newest = {0, ret_newest};
    ret_newest[0] = 0;
    if (store_read_begin(w->store, &r, NULL) < 0)
        return 0;
    if (audit_each(r, note_entry, &newest, NULL) < 0)
        newest.n = 0;
    store_read_end(r);
    return newest.n;
}

uint64_t disk_counter(struct world *w, const char *name)
{
    struct store_read *r;
    uint64_t sum = 0;
    if (store_read_begin(w->store, &r, NULL) < 0)
        return 0;
    if (counters_sum(r, slice_of(name), 0, 0, &sum, NULL) < 0)
        sum = 0;
    store_read_end(r);
    return sum;
}
