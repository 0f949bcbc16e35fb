/*
 * What the files of lib/shared have in common. session.c: that there is a connection, and what
 * ends it, refused.c among it; handshake.c: who we are there; promise.c: records and buckets; exchange.c:
 * settings and news.
 */
#ifndef CARPOOL_SHARED_SHARED_PRIVATE_H
#define CARPOOL_SHARED_SHARED_PRIVATE_H

#include <uv.h>

#include "base/buf.h"
#include "shared/connection.h"
#include "shared/record.h"
#include "shared/scripts.h"
#include "shared/shared.h"
#include "shared/url.h"

#define FENCE_SIZE       32 /* epoch (20 digits), a dot, count (10 digits), the end */
#define SHA_SIZE         41
#define BORN_SIZE        17
#define STREAM_ID_SIZE   44
#define DELETIONS_MAX    1024
#define ALIVE_MS         5000 /* a machine that has said nothing for so long counts as dead */
#define REQUEST_ID_BYTES 128

/* A deletion that has not been acknowledged. */
struct deletion {
    struct list in;
    size_t n;
    char request_id[REQUEST_ID_BYTES];
};

/* Steps of getting there, each with an operation of its own. */
enum step {
    STEP_AUTH,
    STEP_SELECT,
    STEP_INFO,
    STEP_CONFIG,
    STEP_LOAD,
    STEP_TAKE = STEP_LOAD + SCRIPT_N,
    STEP_OPEN,
    STEP_TICK,
    STEP_DELETIONS,
    STEP_N
};

/* Invariants: `ended` holds operations whose done is due; connection is NULL while away. `usable` is set
 * between the fence and the loss of the connection, standing.there from a little later. */
struct shared {
    struct uv_loop_s *loop;
    struct shared_options options; /* its texts are not kept */
    struct shared_url url, there;  /* as told; where a cluster has sent us */
    uv_timer_t timer;
    uv_idle_t idle;
    unsigned holds; /* handles that are open */
    bool closed;

    struct connection *connection;
    bool usable, fenced;
    bool moved;          /* `there` is where a cluster has just sent us */
    bool keeps;          /* what the server said last of how it keeps things, and why not */
    struct err careless; /* code 0 when it keeps */
    unsigned attempts;   /* since it was there last */
    unsigned redirects;  /* likewise, one after the other */
    uint64_t retry_us, there_since_us;
    struct shared_standing standing;

    char fence[FENCE_SIZE];
    uint32_t count; /* connections that took a number */
    char shas[SCRIPT_N][SHA_SIZE];
    struct record_key key_fence, key_alive, key_open, key_settings, key_news, key_born;
    struct shared_op steps[STEP_N];
    struct list ended; /* struct shared_op */

    /* exchange.c */
    uint64_t settings_version;
    char born[BORN_SIZE], position[STREAM_ID_SIZE];
    uint64_t tick_us, beat_us, check_us; /* when the last of each began */
    bool ticking, checking;
    struct list deletions;
    size_t deletions_n, deletions_told; /* told: how many of the first are on their way */
};

/* Begins a call of a script; false, and op ends as it must, when the server is not there. The caller then
 * adds the keys it has announced, session_number(), the arguments it has announced, and ends with
 * connection_expect(). Fence and number do not count. */
bool session_call(struct shared *s, struct shared_op *op, enum script script, size_t keys, size_t arguments);
void session_number(struct shared *s);
/* As connection_argument, for the key of a kind. */
void session_key(struct shared *s, const char *kind, const void *rest, size_t n);
/* An operation whose answer nobody waits for; NULL: not there, or no memory (then the connection goes). */
struct shared_op *session_unanswered(struct shared *s);
/* Gives the connection up. */
void session_fail(struct shared *s, enum err_code code, const char *format, ...) PRINTF_LIKE(3, 4);
/* refused.c: the server has answered op with an error. */
void session_refused(struct shared *s, const struct shared_op *op, const char *text);
/* op's done is due, with rc, when the loop comes round. */
void session_end(struct shared *s, struct shared_op *op, int rc);

/* exchange.c: begins a tick when it is time for one, or now; and tells deletions again. */
void exchange_init(struct shared *s);
void exchange_fini(struct shared *s);
void exchange_tick(struct shared *s, bool now);
void exchange_connected(struct shared *s);

/* handshake.c: from a connected socket to a fence of ours, the first tick, and what is open. */
void handshake_begin(struct shared *s);
void handshake_ticked(struct shared *s); /* the first tick was answered */
void handshake_check(struct shared *s);  /* asks again whether the server keeps things */
/* All that had to be done first is done, or keeps has been found out anew: says how it stands. */
void session_ready(struct shared *s);

/* An element of an array, or NULL; a text, or an absent slice. */
const struct redisReply *reply_at(const struct redisReply *reply, size_t i);
struct slice reply_text(const struct redisReply *reply);
int64_t reply_number(const struct redisReply *reply);
bool reply_is_nothing(const struct redisReply *reply); /* it was answered, with nil */

#endif
