/* Commands on their way to the server that machines share, and back; see server.h. */
#include "server_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "batch/rate.h"
#include "process.h"
#include "reach.h"
#include "store/chats.h"
#include "store/counters.h"
#include "store/meta.h"

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
        server_carry_news(w, &t);
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
        rate_take(server_tank(w->server, buckets[i].name), buckets[i].per_minute, buckets[i].cost, w->now_us);
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

void server_hand_back(struct world *w, struct trip *t)
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

/* Settings that this machine has not heard of. A put of its own is answered before it would hear of it, or of
 * what was put after it. */
static bool hears_settings(const struct world *w)
{
    const struct connection *o = w->connection;
    list_for_each (it, &o->trips)
        if (LIST_ENTRY(it, struct trip, node)->what == PUTS)
            return false;
    return o->there && w->server->settings_version > o->settings_version;
}

/* When the next news of others come. */
static uint64_t news_due_us(const struct world *w)
{
    const struct server *s = w->server;
    const struct connection *o = w->connection;
    for (size_t i = o->news_at; o->there && i < s->news_n; i++)
        if (s->news[i].machine != w->machine)
            return s->news[i].at_us + w->server_us / 2;
    return hears_settings(w) ? w->now_us : UINT64_MAX;
}

static void deliver_news(struct world *w)
{
    const struct server *s = w->server;
    struct connection *o = w->connection;
    if (hears_settings(w)) {
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

void server_deliver(struct world *w)
{
    struct list back;
    list_init(&back);
    if (!w->connection)
        return;
    list_for_each_safe (it, next, &w->connection->trips) {
        struct trip *t = LIST_ENTRY(it, struct trip, node);
        if (!t->carried && t->there_us <= w->now_us)
            server_carry(w, t);
        if (t->carried && t->back_us <= w->now_us) {
            list_remove(it);
            list_append(&back, it);
        }
    }
    list_for_each_safe (it, next, &back)
        server_hand_back(w, LIST_ENTRY(it, struct trip, node));
    if (w->connection->stands_us <= w->now_us)
        server_stand(w);
    if (news_due_us(w) <= w->now_us)
        deliver_news(w);
}
