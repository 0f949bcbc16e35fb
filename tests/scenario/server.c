/* See server.h. */
#include "server_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"
#include "reach.h"
#include "store/chats.h"
#include "store/counters.h"
#include "store/meta.h"

struct server *server_new(void)
{
    struct server *s = calloc(1, sizeof(*s));
    s->here[GHOST] = true;
    return s;
}

static void record_free(struct record *r)
{
    if (!r)
        return;
    record_free(r->before);
    free(r->value);
    free(r);
}

static void forget(struct record **table, struct record *r)
{
    HASH_DEL(*table, r);
    record_free(r);
}

void server_free(struct server *s)
{
    struct record *r, *tmp;
    if (!s)
        return;
    HASH_ITER (hh, s->records, r, tmp)
        forget(&s->records, r);
    HASH_ITER (hh, s->cached, r, tmp)
        forget(&s->cached, r);
    free(s->news);
    struct tank *t, *next;
    HASH_ITER (hh, s->tanks, t, next) {
        HASH_DEL(s->tanks, t);
        free(t);
    }
    free(s);
}

bool server_was_away(const struct world *w)
{
    return w->server && w->server->was_away;
}

static struct record *find_in(struct record *table, const uint8_t *key)
{
    struct record *r;
    HASH_FIND(hh, table, key, SHARED_KEY_SIZE, r);
    return r;
}

static struct record *find(const struct server *s, const uint8_t *key)
{
    return find_in(s->records, key);
}

static bool is_alive(const struct world *w, unsigned machine)
{
    const struct server *s = w->server;
    return s->here[machine] || (s->gone_us[machine] && w->now_us - s->gone_us[machine] < ALIVE_US);
}

static struct record *put_in(struct record **table, const uint8_t *key, struct slice value)
{
    struct record *r = find_in(*table, key);
    if (!r) {
        r = calloc(1, sizeof(*r));
        memcpy(r->key, key, sizeof(r->key));
        HASH_ADD(hh, *table, key, SHARED_KEY_SIZE, r);
    }
    free(r->value);
    record_free(r->before);
    r->before = NULL;
    r->value = value.n ? malloc(value.n) : NULL;
    r->value_n = value.n;
    if (value.n)
        memcpy(r->value, value.p, value.n);
    return r;
}

static void put(struct server *s, const uint8_t *key, const uint8_t *fingerprint, enum shared_state state,
                unsigned machine, struct slice value)
{
    struct record *r = put_in(&s->records, key, value);
    memcpy(r->fingerprint, fingerprint, sizeof(r->fingerprint));
    r->state = state;
    r->machine = machine;
}

static bool is_unended(const struct record *r)
{
    return r->state == SHARED_QUEUED || r->state == SHARED_DISPATCHED;
}

/* This machine does not keep it behind r any more. */
static void step_out(const struct world *w, struct record *r)
{
    struct record **at = &r->before;
    while (*at && ((*at)->state != SHARED_QUEUED || (*at)->machine != w->machine))
        at = &(*at)->before;
    struct record *own = *at;
    if (!own)
        return;
    *at = own->before;
    own->before = NULL;
    record_free(own);
}

/* Another machine has it, and this one keeps it, too. */
static void step_behind(const struct world *w, struct record *r, const uint8_t *fingerprint)
{
    step_out(w, r);
    struct record *own = calloc(1, sizeof(*own));
    own->state = SHARED_QUEUED;
    own->machine = w->machine;
    memcpy(own->fingerprint, fingerprint, sizeof(own->fingerprint));
    own->before = r->before;
    r->before = own;
}

/* As put, by this machine, and what it takes the place of is remembered. */
static void take(struct world *w, const uint8_t *key, const uint8_t *fingerprint, enum shared_state state)
{
    struct record *r = find(w->server, key), *before = NULL;
    if (r && is_unended(r) && r->machine == w->machine) {
        before = r->before;
        r->before = NULL;
    } else if (r) {
        step_out(w, r);
        before = malloc(sizeof(*before));
        *before = *r;
        r->before = NULL;
        r->value = NULL;
    }
    put(w->server, key, fingerprint, state, w->machine, (struct slice){0});
    find(w->server, key)->before = before;
}

static void take_back(struct server *s, struct record *r)
{
    struct record *before = r->before;
    if (!before) {
        forget(&s->records, r);
        return;
    }
    REACH("what was told of an id holds again");
    r->before = NULL;
    put(s, r->key, before->fingerprint, before->state, before->machine,
        (struct slice){before->value, before->value_n});
    r->before = before->before;
    before->before = NULL;
    record_free(before);
}

/* ---- carrying out ---- */

static struct slice lend(struct trip *t, const struct record *r)
{
    if (!r->value_n)
        return (struct slice){0};
    char *copy = malloc(r->value_n);
    memcpy(copy, r->value, r->value_n);
    t->lent[t->lent_n++] = copy;
    return (struct slice){copy, r->value_n};
}

static void tell(const struct world *w, struct trip *t, const struct record *r, struct shared_record *ret)
{
    *ret = (struct shared_record){0};
    if (!r)
        return;
    ret->state = r->state;
    ret->mine = r->machine == w->machine;
    ret->owner_alive = is_alive(w, r->machine);
    memcpy(ret->fingerprint, r->fingerprint, sizeof(ret->fingerprint));
    ret->value = lend(t, r);
}

struct rate_bucket *server_tank(struct server *s, const char *name)
{
    struct tank *t;
    HASH_FIND_STR(s->tanks, name, t);
    if (!t) {
        t = calloc(1, sizeof(*t));
        snprintf(t->name, sizeof(t->name), "%s", name);
        HASH_ADD_STR(s->tanks, name, t);
    }
    return &t->bucket;
}

/* From all of them or from none. */
static void carry_buckets(struct world *w, struct shared_arrival *a)
{
    for (size_t i = 0; i < a->buckets_n; i++) {
        struct shared_bucket *b = &a->buckets[i];
        b->ret_wait_ms = rate_wait_ms(server_tank(w->server, b->name), b->per_minute, b->cost, w->now_us);
        a->limited |= b->ret_wait_ms > 0;
    }
    for (size_t i = 0; i < a->buckets_n; i++) {
        struct shared_bucket *b = &a->buckets[i];
        struct rate_bucket *t = server_tank(w->server, b->name);
        if (!a->limited)
            rate_take(t, b->per_minute, b->cost, w->now_us);
        b->ret_remaining = rate_remaining(t, b->per_minute, w->now_us);
        b->ret_reset_ms = rate_reset_ms(t, w->now_us);
    }
}

static void carry_arrival(struct world *w, struct trip *t, struct shared_arrival *a)
{
    struct record *r = a->key ? find(w->server, a->key) : NULL;
    tell(w, t, r, &a->record);
    const struct record *cached = a->cache_key ? find_in(w->server->cached, a->cache_key) : NULL;
    bool may_run = a->record.state == SHARED_FREE || a->record.state == SHARED_REFUSED;
    if (may_run && cached && cached->cache_until_us > disk_real_us(w))
        a->cached = lend(t, cached);
    if (may_run && !a->cached.p)
        carry_buckets(w, a);
    if (a->key && may_run && a->queued && !a->cached.p && !a->limited)
        take(w, a->key, a->fingerprint, SHARED_QUEUED);
    bool goes_on =
        r && (r->state == SHARED_QUEUED || (r->state == SHARED_DISPATCHED && a->record.owner_alive));
    if (!may_run && a->queued && goes_on && !a->record.mine)
        step_behind(w, r, a->fingerprint);
}

static void carry_claim(struct world *w, struct trip *t, struct shared_claim *c)
{
    for (size_t i = 0; i < c->members_n; i++) {
        struct shared_claim_member *m = &c->members[i];
        const struct record *r = find(w->server, m->key);
        bool unended = r && is_unended(r);
        bool lost =
            r && (r->state == SHARED_UNKNOWN || (r->state == SHARED_DISPATCHED && !is_alive(w, r->machine)));
        bool left = r && r->state == SHARED_QUEUED && !is_alive(w, r->machine);
        m->ret_claimed = !r || r->state == SHARED_REFUSED || (unended && r->machine == w->machine) || left ||
                         (lost && c->take_unknown);
        if (left && r->machine != w->machine)
            REACH("a claim takes what a machine that is gone has kept");
        else if (m->ret_claimed && lost)
            REACH("a claim takes what may have been paid for");
        else if (!m->ret_claimed)
            REACH("a claim is lost to another machine");
        if (m->ret_claimed)
            take(w, m->key, m->fingerprint, SHARED_DISPATCHED);
        else
            tell(w, t, r, &m->ret_record);
    }
}

static void carry_ending(struct world *w, const struct record *e)
{
    struct record *r = find(w->server, e->key);
    if (e->caches)
        put_in(&w->server->cached, e->cache_key, (struct slice){e->value, e->value_n})->cache_until_us =
            e->cache_until_us;
    if (r && e->state == SHARED_FREE && is_unended(r) && r->machine != w->machine)
        step_out(w, r);
    if (r && e->state != SHARED_DELETED && (r->machine != w->machine || r->state == SHARED_DELETED))
        return;
    if (e->state != SHARED_FREE)
        put(w->server, e->key, e->fingerprint, e->state, w->machine, (struct slice){e->value, e->value_n});
    else if (r && is_unended(r))
        take_back(w->server, r);
}

void server_carry_news(struct world *w, const struct trip *t)
{
    struct server *s = w->server;
    for (size_t i = 0; i < t->told_n; i++) {
        if (s->news_n == s->news_cap) {
            s->news_cap = s->news_cap ? 2 * s->news_cap : 64;
            s->news = realloc(s->news, s->news_cap * sizeof(*s->news));
        }
        s->news[s->news_n] = t->told[i];
        s->news[s->news_n].machine = w->machine;
        s->news[s->news_n++].at_us = w->now_us;
    }
}

static void carry_settings(struct world *w, struct trip *t, struct shared_settings_put *p)
{
    struct server *s = w->server;
    p->ret_version = s->settings_version;
    if (s->settings_version > p->based_on) {
        t->rc = ERR_EXISTS;
        REACH("another machine has put settings before");
        return;
    }
    p->ret_version = s->settings_version = p->based_on + 1;
    snprintf(s->settings, sizeof(s->settings), "%.*s", (int)p->document.n, p->document.p);
}

void server_carry(struct world *w, struct trip *t)
{
    t->carried = true;
    if (w->connection->fence != w->server->fence[w->machine]) {
        t->rc = ERR_FENCED;
        REACH("the server fences a machine's earlier life off");
        return;
    }
    if (t->what == ASKS)
        carry_arrival(w, t, t->op);
    else if (t->what == CLAIMS)
        carry_claim(w, t, t->op);
    else if (t->what == SETTLES)
        carry_ending(w, &t->ended);
    else if (t->what == TELLS)
        server_carry_news(w, t);
    else if (t->what == PUTS)
        carry_settings(w, t, t->op);
    else {
        struct shared_look *l = t->op;
        for (size_t i = 0; i < l->members_n; i++)
            tell(w, t, find(w->server, l->members[i].key), &l->members[i].ret_record);
    }
}

/* ---- what a script says and sees ---- */

static const char *const states[] = {"none",   "queued",  "dispatched", "done",
                                     "failed", "unknown", "deleted",    "refused"};

static void put_chat(struct world *w, const struct client *c, const uint8_t *fingerprint)
{
    struct chat chat = {.endpoint = ENDPOINT_V1_QUERY,
                        .priority = c->submit.priority,
                        .time_us = disk_real_us(w),
                        .request_id = c->submit.request_id,
                        .prompt = c->submit.prompt,
                        .model = SLICE_LITERAL("test")};
    struct buf text, record;
    buf_init(&text, 1 << 20);
    buf_init(&record, 1 << 20);
    buf_printf(&text, "Answer to: %.*s", (int)c->submit.prompt.n, c->submit.prompt.p);
    chat.text = buf_slice(&text);
    memcpy(chat.key, c->submit.key, sizeof(chat.key));
    uuid_v7(chat.time_us, &chat.id);
    chat_encode(&record, &chat);
    put(w->server, c->submit.key, fingerprint, SHARED_DONE, GHOST, buf_slice(&record));
    buf_fini(&text);
    buf_fini(&record);
}

bool server_has(struct world *w, const struct client *c, const char *state, bool alive, bool other)
{
    uint8_t fingerprint[SHARED_KEY_SIZE];
    struct wire_refusal refusal = {.status = 422,
                                   .error_type = SLICE_LITERAL("provider_error"),
                                   .error_code = SLICE_LITERAL("CONTENT_FILTERED"),
                                   .message = SLICE_LITERAL("As the script says.")};
    struct buf value;
    size_t s = 0;
    memcpy(fingerprint, c->submit.fingerprint, sizeof(fingerprint));
    fingerprint[0] ^= other;
    while (s < ARRAY_LEN(states) && strcmp(states[s], state) != 0)
        s++;
    if (s == ARRAY_LEN(states))
        return false;
    struct record *old = find(w->server, c->submit.key);
    if (s == SHARED_FREE && old)
        forget(&w->server->records, old);
    if (s == SHARED_DONE)
        put_chat(w, c, fingerprint);
    if (s == SHARED_FREE || s == SHARED_DONE)
        return true;
    buf_init(&value, 1 << 16);
    if (s == SHARED_FAILED || s == SHARED_UNKNOWN || s == SHARED_REFUSED)
        wire_refusal_encode(&value, &refusal);
    put(w->server, c->submit.key, fingerprint, (enum shared_state)s, alive ? GHOST : GHOST + 1,
        buf_slice(&value));
    buf_fini(&value);
    return true;
}

const char *server_state(struct world *w, const struct client *c)
{
    const struct record *r = w->server ? find(w->server, c->submit.key) : NULL;
    return states[r ? r->state : SHARED_FREE];
}

struct slice server_chat(struct world *w, const uint8_t key[REQUEST_KEY_SIZE])
{
    const struct record *r = w->server ? find(w->server, key) : NULL;
    return r && r->state == SHARED_DONE ? (struct slice){r->value, r->value_n} : (struct slice){0};
}
