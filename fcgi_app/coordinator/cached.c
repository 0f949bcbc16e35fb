/* Answers given again; see cached.h. */
#include "coordinator/cached.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "coordinator/call.h"
#include "coordinator/hash.h"
#include "coordinator/intake.h"
#include "coordinator/machines.h"
#include "coordinator/rate.h"
#include "coordinator/record.h"
#include "coordinator/refusal.h"

#define KEY_VERSION 1 /* another one whenever the key is made of something else */

/* Everything that determines the answer, with the defaults in force filled in, and whose it is. The priority
 * is part of it: calls of several prompts ask for answers in its style. */
static void make_key(const struct core *c, const struct provider_ref *p, struct job *j)
{
    const struct wire_submit *s = &j->submit;
    struct provider_member m;
    crypto_generichash_state h;
    job_member(c, j, &m);
    double temperature = isnan(m.temperature) ? -1.0 : m.temperature;
    uint32_t kind_of_text = (uint32_t)m.completion | (uint32_t)m.verbatim << 1;
    uint32_t numbers[] = {KEY_VERSION, (uint32_t)p->provider.kind, (uint32_t)m.priority, kind_of_text,
                          m.max_tokens};
    crypto_generichash_init(&h, NULL, 0, CACHE_KEY_SIZE);
    crypto_generichash_update(&h, (const unsigned char *)numbers, sizeof(numbers));
    crypto_generichash_update(&h, (const unsigned char *)&temperature, sizeof(temperature));
    crypto_generichash_update(&h, s->trust_group, TRUST_GROUP_SIZE);
    hash_text(&h, s->caller_key);
    hash_text(&h, slice_of(p->base_url));
    hash_text(&h, m.model.p ? m.model : slice_of(p->model));
    hash_text(&h, m.prompt);
    hash_text(&h, m.system_prompt);
    hash_text(&h, m.messages);
    hash_text(&h, m.extra);
    crypto_generichash_final(&h, j->cache_key, CACHE_KEY_SIZE);
    j->cache_version = c->settings.version;
    j->cacheable = true;
}

void cached_note_call(struct core *c, struct call *call)
{
    /* A call that follows another keeps the other's provider, whatever is in force by now. */
    bool in_force = call->provider == c->provider;
    if (c->conf->cache.mode == CACHE_OFF)
        return;
    for (size_t i = 0; i < call->n; i++) {
        struct job *j = call->members[i];
        if (j->cacheable && in_force && j->cache_version == c->settings.version)
            continue;
        make_key(c, call->provider, j);
        if (!in_force)
            j->cache_version = UINT64_MAX;
    }
}

void cached_store(const struct core *c, const struct job *j, struct commit_chat *chat)
{
    if (!j->cacheable)
        return;
    chat->cache_key = j->cache_key;
    chat->cache_until_s =
        c->ports.real_bounds(c->ports.arg).earliest_us / US_PER_S + (uint64_t)c->conf->cache.ttl_hours * 3600;
}

void cached_stored(struct core *c, const struct commit_chat *chat)
{
    if (chat->cache_key)
        cache_index_add(&c->cached, chat->cache_key, &chat->chat.id, chat->cache_until_s);
}

static bool find_again(void *arg, const struct uuid *chat_id, const uint8_t key[CACHE_KEY_SIZE],
                       uint64_t expires_s)
{
    return cache_index_add_older(arg, key, chat_id, expires_s);
}

int cached_init(struct core *c, struct store_read *r, struct err *e)
{
    if (c->conf->cache.mode == CACHE_OFF)
        return 0;
    if (cache_index_init(&c->cached, c->conf->cache.entries) < 0)
        return err_set(e, ERR_NOMEM, "Not enough memory for the %u entries of the cache.",
                       c->conf->cache.entries);
    uint64_t now_s = c->ports.real_bounds(c->ports.arg).latest_us / US_PER_S;
    return cache_newest(r, now_s, find_again, &c->cached, e);
}

/* The chat that answers j, lent until lookup_end. ERR_NOT_FOUND. */
static int find(const struct core *c, const struct job *j, struct slice *ret_chat)
{
    struct uuid id;
    uint64_t now_s = c->ports.real_bounds(c->ports.arg).latest_us / US_PER_S;
    bool known = cache_index_find(&c->cached, j->cache_key, now_s, &id);
    return known ? c->ports.chat(c->ports.arg, &id, ret_chat, NULL) : ERR_NOT_FOUND;
}

int cached_keep(struct core *c, struct job *j, struct core_link *l, uint64_t id, uint64_t deadline_us)
{
    int rc = job_add_waiter(c, j, l, id, false, deadline_us);
    if (rc == 0)
        LIST_ENTRY(j->waiters.prev, struct waiter, job_node)->fetches = true;
    return rc;
}

/* The commit came back. Nothing was bought, so where nothing was written the id is as free as before; where
 * that is not known it is tried again until it is there, as any answer is. */
static void given(struct core *c, struct commit_op *op, uint64_t now_us)
{
    struct job *j = op->owner;
    struct chat chat;
    if (op->rc < 0 && !op->refused && (op->rc == ERR_IO || op->again)) {
        op->kept = op->again = true;
        list_append(&c->stuck_ops, &op->node);
        return;
    }
    if (c->fenced)
        return; /* whoever waits asks the other coordinator next */
    j->timing.commit_us = now_us - op->queued_us;
    if (op->rc < 0) {
        core_count_refusal(c, refusal_get(REFUSAL_STORE_DOWN));
        buf_clear(&j->chat);
        j->ended = SHARED_FREE;
        job_refuse(j, refusal_get(REFUSAL_STORE_DOWN));
    } else if (chat_decode(buf_slice(&j->chat), &chat) == 0)
        event_pair(c, &chat);
    job_tell(c, j);
    job_set_state(c, j, JOB_REAPED);
}

/* Counted with the answer, or not at all. */
static void count_hit(struct commit_op *op, const struct job *j, const struct chat *chat)
{
    char name[COUNTER_NAME_MAX], latency[COUNTER_NAME_MAX / 2];
    const char *priority = priority_key(j->submit.priority);
    counter_add(&op->counters, "cache.hits", 1);
    snprintf(name, sizeof(name), "answered.%s", priority);
    counter_add(&op->counters, name, 1);
    snprintf(latency, sizeof(latency), "latency.%s", priority);
    histogram_bucket_name(name, latency, chat->latency_us);
    counter_add(&op->counters, name, 1);
    histogram_sum_name(name, latency);
    counter_add(&op->counters, name, chat->latency_us);
    counter_add(&op->counters, "saved.tokens.cache", chat->prompt_tokens + chat->completion_tokens);
}

/* Puts a DONE record and a chat of its own on the way to the disk. found is lent by the store. */
static int give(struct core *c, struct job *j, const struct chat *found, uint64_t now_us)
{
    struct commit_op *op = commit_op_new(1, 1, given);
    if (!op)
        return ERR_NOMEM;
    rate_return(c, j); /* the machines' server had no such answer, but this machine has */
    int rc = record_given(c, j, found, now_us, &op->chats[0].chat);
    if (rc < 0) {
        commit_op_free(op);
        return rc;
    }
    op->chats[0].record = buf_slice(&j->chat);
    op->requests[0] = (struct commit_request){.key = j->submit.key, .record = record_of(c, j, REQUEST_DONE)};
    op->requests[0].record.chat_id = op->chats[0].chat.id;
    op->owner = j;
    op->queued_us = now_us;
    count_hit(op, j, &op->chats[0].chat);
    j->given_again = true;
    j->ended = SHARED_DONE;
    job_set_state(c, j, JOB_COMMITTING);
    core_commit(c, op);
    return 0;
}

/* Somebody waits for it from now on; ERR_NOMEM: nobody does. */
static int begin(struct core *c, struct core_link *l, uint64_t id, struct job *j, const struct chat *found,
                 uint64_t now_us)
{
    uint64_t deadline_us = now_us + j->submit.wait_ms * US_PER_MS;
    int rc = job_is_async(j) ? cached_keep(c, j, l, id, deadline_us)
                             : job_add_waiter(c, j, l, id, false, deadline_us);
    if (rc == 0 && (rc = give(c, j, found, now_us)) < 0)
        waiter_free(c, LIST_ENTRY(list_first(&j->waiters), struct waiter, job_node));
    if (rc == 0 && c->shared.reach != SHARED_OFF)
        machines_note(c, j); /* so that it is told there even after a crash */
    return rc;
}

bool cached_applies(const struct core *c, struct job *j)
{
    if (c->conf->cache.mode == CACHE_OFF)
        return false;
    if (!j->cacheable)
        make_key(c, c->provider, j);
    return !(j->submit.flags & SUBMIT_NO_CACHE);
}

bool cached_has(const struct core *c, struct job *j)
{
    struct slice record;
    if (!cached_applies(c, j) || find(c, j, &record) < 0)
        return false;
    c->ports.lookup_end(c->ports.arg);
    return true;
}

/* This machine's own first. */
static int give_any(struct core *c, struct job *j, struct slice shared, uint64_t now_us)
{
    struct slice record;
    struct chat found;
    int rc = find(c, j, &record);
    if (rc == 0) {
        rc = chat_decode(record, &found);
        if (rc == 0)
            rc = give(c, j, &found, now_us);
        c->ports.lookup_end(c->ports.arg);
    }
    if (rc < 0 && shared.p && chat_decode(shared, &found) == 0)
        rc = give(c, j, &found, now_us);
    return rc;
}

bool cached_go_on(struct core *c, struct job *j, struct slice shared, uint64_t now_us)
{
    if (!cached_applies(c, j))
        return false;
    int rc = give_any(c, j, shared, now_us);
    if (rc == 0)
        intake_count(c, j);
    else
        core_count(c, "cache.misses", NULL, 1);
    return rc == 0;
}

bool cached_answer(struct core *c, struct core_link *l, uint64_t id, struct job *j, uint64_t now_us)
{
    struct slice record;
    struct chat found;
    if (c->conf->cache.mode == CACHE_OFF)
        return false;
    make_key(c, c->provider, j);
    if (j->submit.flags & SUBMIT_NO_CACHE)
        return false;
    if (find(c, j, &record) < 0) {
        /* The machines' server is asked next, if there is one. */
        core_count(c, "cache.misses", NULL, c->shared.reach != SHARED_THERE);
        return false;
    }
    int rc = chat_decode(record, &found);
    if (rc == 0)
        rc = begin(c, l, id, j, &found, now_us);
    c->ports.lookup_end(c->ports.arg);
    if (rc == 0)
        intake_count(c, j);
    else if (rc == ERR_NOMEM) {
        core_refuse(c, l, id, refusal_get(REFUSAL_NO_MEMORY));
        job_leave(c, j);
        job_free(j);
    } else
        core_count(c, "cache.misses", NULL, 1); /* a chat that cannot be read is no answer */
    return rc == 0 || rc == ERR_NOMEM;
}
