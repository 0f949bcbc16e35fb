/* The connections to the server that machines share: how they begin, break, and end; see server.h. */
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
void server_stand(struct world *w)
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
        server_stand(w);
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
            server_carry(w, t);
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
            server_carry(w, t);
        t->rc = ERR_CLOSED;
        list_remove(it);
        list_append(&back, it);
    }
    list_for_each_safe (it, next, &back)
        server_hand_back(w, LIST_ENTRY(it, struct trip, node));
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
