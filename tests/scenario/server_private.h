/* The server that machines share, from the inside: for server.c (what it holds, and what a command does to
 * it) and trips.c (commands on their way, connections) only. */
#ifndef SCENARIO_SERVER_PRIVATE_H
#define SCENARIO_SERVER_PRIVATE_H

#include "batch/rate.h"
#include "server.h"
#include "store/counters.h"

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
    struct record *before; /* QUEUED and DISPATCHED: who keeps it, too, and what it took the place of; owned,
                              in no table */
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

/* server.c: does what a command says; its results are in the trip, or in its operation, from then on. */
void server_carry(struct world *w, struct trip *t);
struct rate_bucket *server_tank(struct server *s, const char *name);
/* Puts news on the stream at once. */
void server_carry_news(struct world *w, const struct trip *t);

/* lines.c: the connection counts as there from now on. */
void server_stand(struct world *w);
/* trips.c: it comes back to the core, and ends. */
void server_hand_back(struct world *w, struct trip *t);

#endif
