/* What runs where and what came of it, answers that may be given again, and rate limits; see shared.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/shared_private.h"

static void put_record(struct shared *s, enum shared_state state, const uint8_t *fingerprint,
                       struct slice value)
{
    uint8_t head[RECORD_HEAD];
    record_encode_head(head, state, &s->options.machine, fingerprint);
    connection_argument_two(s->connection, head, sizeof(head), value.p, value.p ? value.n : 0);
}

static void put_ttl(struct shared *s)
{
    connection_number(s->connection, (int64_t)s->options.record_ttl_s * 1000);
}

static void put_machine(struct shared *s)
{
    connection_argument(s->connection, s->options.machine.bytes, sizeof(s->options.machine.bytes));
}

/* A record at i and whether its machine is alive at i + 1 of an answer. Nothing at all there is no answer of
 * a script. */
static int take_record(const struct shared *s, const struct redisReply *reply, size_t i,
                       struct shared_record *ret_record)
{
    if (!reply_at(reply, i))
        return ERR_CORRUPT;
    return record_decode(reply_text(reply_at(reply, i)), reply_number(reply_at(reply, i + 1)) != 0,
                         &s->options.machine, ret_record);
}

/* Buckets */

static void put_bucket_keys(struct shared *s, const struct shared_bucket *buckets, size_t n)
{
    for (size_t i = 0; i < n; i++)
        session_key(s, KEY_BUCKET, buckets[i].name, strlen(buckets[i].name));
}

static void put_bucket_numbers(struct shared *s, const struct shared_bucket *buckets, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        connection_number(s->connection, buckets[i].per_minute ? buckets[i].per_minute : 1);
        connection_number(s->connection, buckets[i].cost);
    }
}

void shared_charge(struct shared *s, const struct shared_bucket *buckets, size_t n)
{
    struct shared_op *op = n ? session_unanswered(s) : NULL;
    if (!op || !session_call(s, op, SCRIPT_CHARGE, n, 2 * n))
        return;
    put_bucket_keys(s, buckets, n);
    session_number(s);
    put_bucket_numbers(s, buckets, n);
    connection_expect(s->connection, op);
}

/* Arrivals */

static void on_arrived(struct shared *s, struct shared_op *op, const struct redisReply *reply)
{
    struct shared_arrival *a = CONTAINER_OF(op, struct shared_arrival, op);
    a->rc = op->rc;
    a->record = (struct shared_record){.state = SHARED_FREE};
    a->cached = (struct slice){NULL, 0};
    a->limited = false;
    if (reply) {
        a->rc = take_record(s, reply, 0, &a->record);
        a->cached = reply_text(reply_at(reply, 2));
        a->limited = reply_number(reply_at(reply, 3)) != 0;
    }
    for (size_t i = 0; i < a->buckets_n; i++) {
        struct shared_bucket *b = &a->buckets[i];
        b->ret_remaining = reply_number(reply_at(reply, 4 + 3 * i));
        b->ret_reset_ms = (uint32_t)reply_number(reply_at(reply, 5 + 3 * i));
        b->ret_wait_ms = (uint32_t)reply_number(reply_at(reply, 6 + 3 * i));
    }
    a->done(a, s->options.arg);
}

void shared_arrive(struct shared *s, struct shared_arrival *a)
{
    bool queued = a->queued && a->key;
    char letters[4];
    snprintf(letters, sizeof(letters), "%s%s%s", a->key ? "r" : "", a->cache_key ? "c" : "",
             queued ? "q" : "");
    a->op.answered = on_arrived;
    if (!session_call(s, &a->op, SCRIPT_ARRIVE, strlen(letters) + a->buckets_n, 3 + 2 * a->buckets_n))
        return;
    if (a->key)
        session_key(s, KEY_RECORD, a->key, SHARED_KEY_SIZE);
    if (a->cache_key)
        session_key(s, KEY_CACHE, a->cache_key, SHARED_KEY_SIZE);
    if (queued)
        connection_argument(s->connection, s->key_open.bytes, s->key_open.n);
    put_bucket_keys(s, a->buckets, a->buckets_n);
    session_number(s);
    connection_text(s->connection, letters);
    put_ttl(s);
    put_record(s, SHARED_QUEUED, a->fingerprint, (struct slice){NULL, 0});
    put_bucket_numbers(s, a->buckets, a->buckets_n);
    connection_expect(s->connection, &a->op);
}

/* Claims */

static void on_claimed(struct shared *s, struct shared_op *op, const struct redisReply *reply)
{
    struct shared_claim *c = CONTAINER_OF(op, struct shared_claim, op);
    c->rc = op->rc;
    for (size_t i = 0; i < c->members_n; i++) {
        struct shared_claim_member *m = &c->members[i];
        m->ret_claimed = reply_is_nothing(reply_at(reply, 2 * i));
        m->ret_record = (struct shared_record){.state = SHARED_FREE};
        if (reply && !m->ret_claimed && take_record(s, reply, 2 * i, &m->ret_record) < 0)
            c->rc = ERR_CORRUPT;
    }
    c->done(c, s->options.arg);
}

void shared_claim(struct shared *s, struct shared_claim *c)
{
    c->op.answered = on_claimed;
    if (!session_call(s, &c->op, SCRIPT_CLAIM, 1 + c->members_n, 3 + c->members_n))
        return;
    connection_argument(s->connection, s->key_open.bytes, s->key_open.n);
    for (size_t i = 0; i < c->members_n; i++)
        session_key(s, KEY_RECORD, c->members[i].key, SHARED_KEY_SIZE);
    session_number(s);
    connection_text(s->connection, c->take_unknown ? "1" : "0");
    put_machine(s);
    put_ttl(s);
    for (size_t i = 0; i < c->members_n; i++)
        put_record(s, SHARED_DISPATCHED, c->members[i].fingerprint, (struct slice){NULL, 0});
    connection_expect(s->connection, &c->op);
}

/* Endings */

static bool is_cached(const struct shared_ending *e)
{
    return e->cache_key && (e->cache_ttl_s || e->state == SHARED_DELETED);
}

void shared_settle(struct shared *s, const struct shared_ending *endings, size_t n)
{
    size_t keys = 1;
    for (size_t i = 0; i < n; i++)
        keys += (endings[i].key ? 1 : 0) + (is_cached(&endings[i]) ? 1 : 0);
    struct shared_op *op = n ? session_unanswered(s) : NULL;
    if (!op || !session_call(s, op, SCRIPT_SETTLE, keys, 2 + 3 * n))
        return;
    connection_argument(s->connection, s->key_open.bytes, s->key_open.n);
    for (size_t i = 0; i < n; i++) {
        if (endings[i].key)
            session_key(s, KEY_RECORD, endings[i].key, SHARED_KEY_SIZE);
        if (is_cached(&endings[i]))
            session_key(s, KEY_CACHE, endings[i].cache_key, SHARED_KEY_SIZE);
    }
    session_number(s);
    put_machine(s);
    put_ttl(s);
    for (size_t i = 0; i < n; i++) {
        const struct shared_ending *e = &endings[i];
        char letters[3];
        snprintf(letters, sizeof(letters), "%s%s", e->key ? "r" : "", is_cached(e) ? "c" : "");
        connection_text(s->connection, letters);
        put_record(s, e->state, e->fingerprint, e->value);
        connection_number(s->connection, (int64_t)e->cache_ttl_s * 1000);
    }
    connection_expect(s->connection, op);
}

/* Looking */

static void on_looked(struct shared *s, struct shared_op *op, const struct redisReply *reply)
{
    struct shared_look *l = CONTAINER_OF(op, struct shared_look, op);
    l->rc = op->rc;
    for (size_t i = 0; i < l->members_n; i++) {
        l->members[i].ret_record = (struct shared_record){.state = SHARED_FREE};
        if (reply && take_record(s, reply, 2 * i, &l->members[i].ret_record) < 0)
            l->rc = ERR_CORRUPT;
    }
    l->done(l, s->options.arg);
}

void shared_look(struct shared *s, struct shared_look *l)
{
    l->op.answered = on_looked;
    if (!session_call(s, &l->op, SCRIPT_LOOK, l->members_n, 0))
        return;
    for (size_t i = 0; i < l->members_n; i++)
        session_key(s, KEY_RECORD, l->members[i].key, SHARED_KEY_SIZE);
    session_number(s);
    connection_expect(s->connection, &l->op);
}
