/* See server.h. */
#include "server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch/rate.h"
#include "process.h"
#include "reach.h"
#include "store/chats.h"
#include "store/counters.h"
#include "store/meta.h"

#define ALIVE_US     (3 * US_PER_S) /* after its connection broke, a machine counts as alive so long */
#define MACHINES_MAX 4
#define GHOST        2 /* machines that are no world: one that is alive, one that is not */

struct record {
    UT_hash_handle hh;
    uint8_t key[SHARED_KEY_SIZE], fingerprint[SHARED_KEY_SIZE];
    enum shared_state state;
    unsigned machine;
    char *value;
    size_t value_n;
    /* of an ending: may be given for other ids, too */
    bool caches;
    uint8_t cache_key[SHARED_KEY_SIZE];
    uint64_t cache_until_us;
};

/* A piece of news, as it was told. */
struct item {
    unsigned machine;
    uint64_t at_us;
    uint32_t day; /* 0: a deletion */
    char name[COUNTER_NAME_MAX];
    uint64_t delta;
};

/* What is left of a rate limit, with the arithmetic of one machine's own. */
struct tank {
    UT_hash_handle hh;
    char name[100];
    struct rate_bucket bucket;
};

struct server {
    struct item *news;
    size_t news_n, news_cap;
    uint64_t settings_version;
    char settings[8192];
    struct record *records;
    struct tank *tanks;
    struct record *cached; /* by cache key: the value is the chat, good until its time */
    uint64_t fence[MACHINES_MAX];
    bool here[MACHINES_MAX]; /* its connection is */
    uint64_t gone_us[MACHINES_MAX];
    bool was_away;
};

enum what { ASKS, CLAIMS, LOOKS, SETTLES, TELLS, PUTS };

/* A command and its answer. */
struct trip {
    struct list node;
    enum what what;
    void *op;            /* owned by the core; a SETTLES has none */
    struct record ended; /* SETTLES: what it says */
    struct item *told;   /* TELLS */
    size_t told_n;
    uint64_t there_us, back_us;
    bool carried;
    int rc;
    char *lent[WORLD_CLIENTS_MAX]; /* what the results lend */
    size_t lent_n;
};

struct connection {
    struct list trips;
    uint64_t settings_version; /* the newest that this process has had */
    size_t news_at;            /* of the news this process has had so many */
    uint64_t fence;
    uint64_t stands_us; /* all that is open was listed by then, and it counts as there; UINT64_MAX: said */
    bool there;
};

struct server *server_new(void)
{
    struct server *s = calloc(1, sizeof(*s));
    s->here[GHOST] = true;
    return s;
}

static void forget(struct record **table, struct record *r)
{
    HASH_DEL(*table, r);
    free(r->value);
    free(r);
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

static struct rate_bucket *tank_of(struct server *s, const char *name)
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
        b->ret_wait_ms = rate_wait_ms(tank_of(w->server, b->name), b->per_minute, b->cost, w->now_us);
        a->limited |= b->ret_wait_ms > 0;
    }
    for (size_t i = 0; i < a->buckets_n; i++) {
        struct shared_bucket *b = &a->buckets[i];
        struct rate_bucket *t = tank_of(w->server, b->name);
        if (!a->limited)
            rate_take(t, b->per_minute, b->cost, w->now_us);
        b->ret_remaining = rate_remaining(t, b->per_minute, w->now_us);
        b->ret_reset_ms = rate_reset_ms(t, w->now_us);
    }
}

static void carry_arrival(struct world *w, struct trip *t, struct shared_arrival *a)
{
    tell(w, t, a->key ? find(w->server, a->key) : NULL, &a->record);
    const struct record *cached = a->cache_key ? find_in(w->server->cached, a->cache_key) : NULL;
    bool may_run = a->record.state == SHARED_FREE || a->record.state == SHARED_REFUSED;
    if (may_run && cached && cached->cache_until_us > disk_real_us(w))
        a->cached = lend(t, cached);
    if (may_run && !a->cached.p)
        carry_buckets(w, a);
    if (a->key && may_run && a->queued && !a->cached.p && !a->limited)
        put(w->server, a->key, a->fingerprint, SHARED_QUEUED, w->machine, (struct slice){0});
}

static void carry_claim(struct world *w, struct trip *t, struct shared_claim *c)
{
    for (size_t i = 0; i < c->members_n; i++) {
        struct shared_claim_member *m = &c->members[i];
        const struct record *r = find(w->server, m->key);
        bool unended = r && (r->state == SHARED_QUEUED || r->state == SHARED_DISPATCHED);
        bool lost =
            r && (r->state == SHARED_UNKNOWN || (r->state == SHARED_DISPATCHED && !is_alive(w, r->machine)));
        m->ret_claimed = !r || r->state == SHARED_REFUSED || (unended && r->machine == w->machine) ||
                         (lost && c->take_unknown);
        if (m->ret_claimed && lost)
            REACH("a claim takes what may have been paid for");
        else if (!m->ret_claimed)
            REACH("a claim is lost to another machine");
        if (m->ret_claimed)
            put(w->server, m->key, m->fingerprint, SHARED_DISPATCHED, w->machine, (struct slice){0});
        else
            tell(w, t, r, &m->ret_record);
    }
}

static void carry_ending(struct world *w, const struct record *e)
{
    struct record *r = find(w->server, e->key);
    bool unended = r && (r->state == SHARED_QUEUED || r->state == SHARED_DISPATCHED);
    if (e->caches)
        put_in(&w->server->cached, e->cache_key, (struct slice){e->value, e->value_n})->cache_until_us =
            e->cache_until_us;
    if (r && e->state != SHARED_DELETED && (r->machine != w->machine || r->state == SHARED_DELETED))
        return;
    if (e->state != SHARED_FREE)
        put(w->server, e->key, e->fingerprint, e->state, w->machine, (struct slice){e->value, e->value_n});
    else if (unended)
        forget(&w->server->records, r);
}

static void carry_news(struct world *w, const struct trip *t)
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

static void carry(struct world *w, struct trip *t)
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
        carry_news(w, t);
    else if (t->what == PUTS)
        carry_settings(w, t, t->op);
    else {
        struct shared_look *l = t->op;
        for (size_t i = 0; i < l->members_n; i++)
            tell(w, t, find(w->server, l->members[i].key), &l->members[i].ret_record);
    }
}

/* ---- ports ---- */

static void send(struct world *w, struct trip *t)
{
    struct connection *o = w->connection;
    uint64_t half_us = w->server_us / 2;
    t->there_us = w->now_us + half_us;
    if (!list_empty(&o->trips)) {
        const struct trip *last = LIST_ENTRY(o->trips.prev, struct trip, node);
        if (last->there_us > t->there_us)
            t->there_us = last->there_us;
    }
    t->back_us = t->there_us + half_us;
    if (!o->there) {
        t->carried = true; /* never */
        t->rc = ERR_CLOSED;
    }
    list_append(&o->trips, &t->node);
}

static void send_op(struct world *w, enum what what, void *op)
{
    struct trip *t = calloc(1, sizeof(*t));
    t->what = what;
    t->op = op;
    bool dead = process_is_dead(w);
    send(w, t);
    if (dead) {
        t->carried = true; /* it never is */
        t->rc = ERR_CLOSED;
    }
}

static void port_arrive(void *arg, struct shared_arrival *a)
{
    send_op(arg, ASKS, a);
}

static void port_claim(void *arg, struct shared_claim *c)
{
    send_op(arg, CLAIMS, c);
}

static void port_look(void *arg, struct shared_look *l)
{
    send_op(arg, LOOKS, l);
}

static void port_settle(void *arg, const struct shared_ending *endings, size_t n)
{
    struct world *w = arg;
    for (size_t i = 0; i < n && !process_is_dead(w) && w->connection->there; i++) {
        const struct shared_ending *e = &endings[i];
        struct trip *t = calloc(1, sizeof(*t));
        t->what = SETTLES;
        memcpy(t->ended.key, e->key, SHARED_KEY_SIZE);
        memcpy(t->ended.fingerprint, e->fingerprint, SHARED_KEY_SIZE);
        t->ended.state = e->state;
        t->ended.caches = e->cache_key;
        if (e->cache_key)
            memcpy(t->ended.cache_key, e->cache_key, SHARED_KEY_SIZE);
        t->ended.cache_until_us = disk_real_us(w) + e->cache_ttl_s * US_PER_S;
        t->ended.value = e->value.n ? malloc(e->value.n) : NULL;
        t->ended.value_n = e->value.n;
        if (e->value.n)
            memcpy(t->ended.value, e->value.p, e->value.n);
        send(w, t);
    }
}

static void port_settings_put(void *arg, struct shared_settings_put *p)
{
    send_op(arg, PUTS, p);
}

static void tell_news(struct world *w, const struct item *items, size_t n)
{
    if (process_is_dead(w))
        return;
    struct trip *t = calloc(1, sizeof(*t));
    t->what = TELLS;
    t->told = malloc(n * sizeof(*items));
    memcpy(t->told, items, n * sizeof(*items));
    t->told_n = n;
    send(w, t);
}

static void port_tell_counters(void *arg, uint32_t day, const struct shared_difference *differences, size_t n)
{
    struct item *items = calloc(n, sizeof(*items));
    for (size_t i = 0; i < n; i++) {
        items[i].day = day;
        items[i].delta = differences[i].delta;
        memcpy(items[i].name, differences[i].name.p, differences[i].name.n);
    }
    tell_news(arg, items, n);
    free(items);
}

/* The real one tries again until it is told: what is on its way when the connection breaks gets there here.
 */
static void port_tell_deletion(void *arg, struct slice request_id)
{
    struct world *w = arg;
    struct item item = {.at_us = w->now_us};
    struct trip t = {.told = &item, .told_n = 1};
    memcpy(item.name, request_id.p, request_id.n);
    if (!process_is_dead(w))
        carry_news(w, &t);
}

static int port_chat_keys(void *arg, struct slice request_id, uint8_t (*ret_keys)[REQUEST_KEY_SIZE],
                          size_t max, size_t *ret_n)
{
    struct world *w = arg;
    struct store_read *r;
    int rc = store_read_begin(w->store, &r, NULL);
    if (rc < 0)
        return rc;
    rc = chats_request_keys(r, request_id, ret_keys, max, ret_n, NULL);
    store_read_end(r);
    return rc;
}

/* At once: nobody waits for it. */
static void port_charge(void *arg, const struct shared_bucket *buckets, size_t n)
{
    struct world *w = arg;
    bool heard =
        !process_is_dead(w) && w->connection->there && w->connection->fence == w->server->fence[w->machine];
    for (size_t i = 0; i < n && heard; i++)
        rate_take(tank_of(w->server, buckets[i].name), buckets[i].per_minute, buckets[i].cost, w->now_us);
}

void server_ports(struct world *w, struct core_ports *ports)
{
    if (!w->server)
        return;
    ports->arrive = port_arrive;
    ports->claim = port_claim;
    ports->look = port_look;
    ports->settle = port_settle;
    ports->tell_counters = port_tell_counters;
    ports->tell_deletion = port_tell_deletion;
    ports->chat_keys = port_chat_keys;
    ports->settings_put = port_settings_put;
    ports->charge = port_charge;
}

/* ---- coming back ---- */

static void trip_free(struct trip *t)
{
    list_remove(&t->node);
    while (t->lent_n)
        free(t->lent[--t->lent_n]);
    free(t->ended.value);
    free(t->told);
    free(t);
}

static void hand_back(struct world *w, struct trip *t)
{
    list_remove(&t->node);
    if (t->what == ASKS) {
        ((struct shared_arrival *)t->op)->rc = t->rc;
        core_arrived(w->core, t->op, w->now_us);
    } else if (t->what == CLAIMS) {
        ((struct shared_claim *)t->op)->rc = t->rc;
        core_claimed(w->core, t->op, w->now_us);
    } else if (t->what == PUTS) {
        struct shared_settings_put *p = t->op;
        p->rc = t->rc;
        if (t->rc == 0)
            w->connection->settings_version = p->ret_version;
        core_settings_put(w->core, p, w->now_us);
    } else if (t->what == LOOKS) {
        ((struct shared_look *)t->op)->rc = t->rc;
        core_looked(w->core, t->op, w->now_us);
    }
    trip_free(t);
}

/* When the next news of others come. */
static uint64_t news_due_us(const struct world *w)
{
    const struct server *s = w->server;
    const struct connection *o = w->connection;
    for (size_t i = o->news_at; o->there && i < s->news_n; i++)
        if (s->news[i].machine != w->machine)
            return s->news[i].at_us + w->server_us / 2;
    /* A put of this machine is answered before it would hear of it. */
    bool puts = false;
    list_for_each (it, &o->trips)
        puts |= LIST_ENTRY(it, struct trip, node)->what == PUTS;
    return o->there && !puts && s->settings_version > o->settings_version ? w->now_us : UINT64_MAX;
}

static void deliver_news(struct world *w)
{
    const struct server *s = w->server;
    struct connection *o = w->connection;
    if (s->settings_version > o->settings_version) {
        o->settings_version = s->settings_version;
        world_say(w, "-- settings of version %llu come", (unsigned long long)s->settings_version);
        REACH("a machine hears of settings");
        core_shared_settings(w->core, s->settings_version, slice_of(s->settings));
    }
    if (o->news_at == s->news_n)
        return;
    size_t room = s->news_n - o->news_at;
    struct shared_news news = {0};
    news.differences = calloc(room, sizeof(*news.differences));
    news.deletions = calloc(room, sizeof(*news.deletions));
    for (size_t i = o->news_at; i < s->news_n; i++) {
        const struct item *item = &s->news[i];
        if (item->machine == w->machine)
            continue;
        if (!item->day) {
            news.deletions[news.deletions_n++] = slice_of(item->name);
            continue;
        }
        news.differences[news.differences_n].day = item->day;
        news.differences[news.differences_n].name = slice_of(item->name);
        news.differences[news.differences_n++].delta = item->delta;
    }
    if (news.deletions_n)
        REACH("a machine hears of a deletion");
    REACH("a machine hears of figures");
    o->news_at = s->news_n;
    snprintf(news.position, sizeof(news.position), "%zu", o->news_at);
    core_shared_news(w->core, &news);
    free(news.differences);
    free(news.deletions);
}

uint64_t server_due_us(const struct world *w)
{
    uint64_t due = UINT64_MAX;
    if (!w->connection)
        return due;
    due = news_due_us(w);
    if (w->connection->stands_us < due)
        due = w->connection->stands_us;
    list_for_each (it, &w->connection->trips) {
        const struct trip *t = LIST_ENTRY(it, struct trip, node);
        uint64_t next = t->carried ? t->back_us : t->there_us;
        due = next < due ? next : due;
    }
    return due;
}

static void stand(struct world *w);

void server_deliver(struct world *w)
{
    struct list back;
    list_init(&back);
    if (!w->connection)
        return;
    list_for_each_safe (it, next, &w->connection->trips) {
        struct trip *t = LIST_ENTRY(it, struct trip, node);
        if (!t->carried && t->there_us <= w->now_us)
            carry(w, t);
        if (t->carried && t->back_us <= w->now_us) {
            list_remove(it);
            list_append(&back, it);
        }
    }
    list_for_each_safe (it, next, &back)
        hand_back(w, LIST_ENTRY(it, struct trip, node));
    if (w->connection->stands_us <= w->now_us)
        stand(w);
    if (news_due_us(w) <= w->now_us)
        deliver_news(w);
}

/* ---- connections ---- */

static void say(struct world *w, bool there)
{
    struct shared_standing standing = {.there = there, .keeps = true};
    if (!there)
        err_set(&standing.fault, ERR_CLOSED, "The connection broke, as the script says.");
    core_shared_standing(w->core, &standing, w->now_us);
}

/* Its records that have not ended, as the real one lists them: in steps. */
static void list_unended(struct world *w)
{
    struct record *r, *tmp;
    uint8_t(*keys)[SHARED_KEY_SIZE] = calloc(HASH_COUNT(w->server->records) + 1, SHARED_KEY_SIZE);
    size_t n = 0, half;
    HASH_ITER (hh, w->server->records, r, tmp)
        if (r->machine == w->machine && (r->state == SHARED_QUEUED || r->state == SHARED_DISPATCHED))
            memcpy(keys[n++], r->key, SHARED_KEY_SIZE);
    half = n / 2;
    if (half)
        core_shared_open(w->core, (const uint8_t(*)[SHARED_KEY_SIZE])keys, half);
    if (n)
        core_shared_open(w->core, (const uint8_t(*)[SHARED_KEY_SIZE])(keys + half), n - half);
    free(keys);
}

/* The listing is over. */
static void stand(struct world *w)
{
    w->connection->stands_us = UINT64_MAX;
    core_shared_open(w->core, NULL, 0);
    say(w, true);
}

/* opens_us: so long after its first step the listing is over. */
static void open_connection(struct world *w, uint64_t opens_us)
{
    w->connection->there = w->server->here[w->machine] = true;
    w->connection->fence = ++w->server->fence[w->machine];
    list_unended(w);
    if (opens_us)
        w->connection->stands_us = w->now_us + opens_us;
    else
        stand(w);
}

/* As the program does at its start. */
static size_t news_place(struct world *w, uint64_t *ret_settings_version)
{
    struct store_read *r;
    char position[META_POSITION_SIZE] = "";
    if (store_read_begin(w->store, &r, NULL) < 0 || meta_shared(r, position, ret_settings_version, NULL) < 0)
        world_blame(w, "the place in the news cannot be read");
    store_read_end(r);
    return (size_t)atoi(position);
}

bool server_deletes_later(struct world *w, struct slice request_id)
{
    const struct server *s = w->server;
    uint64_t version;
    for (size_t i = s ? news_place(w, &version) : 0; s && i < s->news_n; i++)
        if (!s->news[i].day && s->news[i].machine != w->machine && slice_is(request_id, s->news[i].name))
            return true;
    return false;
}

void server_connect(struct world *w)
{
    if (!w->server)
        return;
    w->connection = calloc(1, sizeof(*w->connection));
    list_init(&w->connection->trips);
    w->connection->stands_us = UINT64_MAX;
    w->connection->news_at = news_place(w, &w->connection->settings_version);
    if (!w->server_lost)
        open_connection(w, 0);
}

/* What was on its way there may get there all the same. */
static void carry_rest(struct world *w)
{
    list_for_each (it, &w->connection->trips) {
        struct trip *t = LIST_ENTRY(it, struct trip, node);
        if (!t->carried)
            carry(w, t);
    }
}

struct connection *server_hang_up(struct world *w)
{
    struct connection *o = w->connection;
    if (o && w->at_random && world_random(w, 2))
        carry_rest(w);
    w->connection = NULL;
    if (o && o->there && o->fence == w->server->fence[w->machine]) {
        w->server->here[w->machine] = false;
        w->server->gone_us[w->machine] = w->now_us;
    }
    return o;
}

static void close_all(struct world *w, bool carried)
{
    struct list back;
    list_init(&back);
    list_for_each_safe (it, next, &w->connection->trips) {
        struct trip *t = LIST_ENTRY(it, struct trip, node);
        if (!t->carried && carried)
            carry(w, t);
        t->rc = ERR_CLOSED;
        list_remove(it);
        list_append(&back, it);
    }
    list_for_each_safe (it, next, &back)
        hand_back(w, LIST_ENTRY(it, struct trip, node));
}

void server_close(struct world *w)
{
    if (!w->connection)
        return;
    while (!list_empty(&w->connection->trips))
        close_all(w, true);
    free(server_hang_up(w));
}

void server_lose(struct world *w, bool carried)
{
    bool said = world_random(w, 2);
    w->server->was_away = w->server_lost = true;
    if (!w->connection->there)
        return;
    world_say(w, "-- the server is lost%s", carried ? ", what was on its way there got there" : "");
    if (list_empty(&w->connection->trips))
        REACH("the server is lost");
    else if (carried)
        REACH("the server is lost with the answers");
    else
        REACH("the server is lost with the questions");
    w->connection->there = w->server->here[w->machine] = false;
    w->server->gone_us[w->machine] = w->now_us;
    w->connection->stands_us = UINT64_MAX;
    if (said)
        say(w, false);
    close_all(w, carried);
    if (!said)
        say(w, false);
    world_turn(w);
}

void server_return(struct world *w, uint64_t opens_us)
{
    w->server_lost = false;
    if (w->connection->there)
        return;
    world_say(w, "-- the server is back");
    REACH("the server is back");
    open_connection(w, opens_us);
    world_turn(w);
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
