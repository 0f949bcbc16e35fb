/*
 * What several machines have in common, kept in Redis or Valkey: who runs a request id and what came of it,
 * answers that may be given again (cache), rate limits, settings, counters, deletions. The promise of api.md
 * ("Request ids") then holds across machines, as far as the server keeps what it acknowledged.
 *
 * Asynchronous on a libuv loop, one connection, commands pipelined; nothing here blocks, and nothing is for
 * another thread than the loop's. Every operation is owned by its caller, stays where it is until its done
 * was called, and done is called exactly once: never from inside the call that began it, with rc 0, or
 * ERR_CLOSED when the server is not there or did not answer in time (then it may have been carried out or
 * not), ERR_FENCED when a later life of this machine has taken over, or ERR_CORRUPT for a record that no
 * version of this program wrote. What results lend is good until done returns. done may begin operations, or
 * close. The program ignores SIGPIPE.
 *
 * Fencing: with each connection this machine takes a number greater than all before (epoch of the
 * coordinator, then a count) and leaves it at the server; a command with another number is refused there. So
 * a command that a paused server finds in the buffer of a connection given up long ago changes nothing.
 */
#ifndef CARPOOL_SHARED_SHARED_H
#define CARPOOL_SHARED_SHARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"
#include "base/uuid.h"

#define SHARED_KEY_SIZE 32 /* of request keys, fingerprints and cache keys */

struct uv_loop_s;
struct redisReply;
struct shared;

/* The module's place inside an operation, so that beginning one needs no memory; nothing for its owner to set
 * or to look at. */
struct shared_op {
    struct list in;
    uint64_t begun_us;
    int rc;
    void (*answered)(struct shared *s, struct shared_op *op, const struct redisReply *reply);
};

/* Stored: never renumber. */
enum shared_state {
    SHARED_FREE = 0,       /* nothing is known of the id: it may run */
    SHARED_QUEUED = 1,     /* async: durable on its machine, not sent yet */
    SHARED_DISPATCHED = 2, /* claimed by its machine: it may have been sent */
    SHARED_DONE = 3,       /* value: the chat record (store/chats.h) */
    SHARED_FAILED = 4,     /* answered, with no; value: payload of wire_refusal_encode */
    SHARED_UNKNOWN = 5,    /* it may have been charged; value as for FAILED */
    SHARED_DELETED = 6,    /* tombstone */
    SHARED_REFUSED = 7,    /* accepted (202), then refused and not bought: that is told, and yet it may run;
                              value as    for FAILED */
};

struct shared_record {
    enum shared_state state;
    bool mine;        /* of this machine */
    bool owner_alive; /* its machine has said so in the last seconds; else what QUEUED or DISPATCHED says may
                         never end */
    uint8_t fingerprint[SHARED_KEY_SIZE];
    struct slice value; /* of QUEUED and DISPATCHED the server's own: what holds again should that end FREE */
};

/* A bucket that fills evenly, per_minute a minute, and holds as much at most. A cost above that is taken when
 * it is full, and owed. The ret_ are 0 where a record or a cached answer made it unnecessary to look. */
struct shared_bucket {
    const char *name;    /* whose; at most 100 bytes */
    uint32_t per_minute; /* never 0 */
    int64_t cost;        /* taken if it is there; 0 only looks; may be negative in shared_charge */
    int64_t ret_remaining;
    uint32_t ret_reset_ms; /* until it is full */
    uint32_t ret_wait_ms;  /* until cost is there; 0: it was taken, if no other bucket was short */
};

/* A prompt has come in. One trip: looks the id up; if that is free (or REFUSED), the cache; if there is
 * nothing, takes from all the buckets or from none; if it was taken and `queued` is set, notes the id as
 * QUEUED by this machine. */
struct shared_arrival {
    struct shared_op op;
    void (*done)(struct shared_arrival *a, void *arg); /* arg: shared_open's */
    const uint8_t *key;                                /* NULL: the id is a new one, no need to look */
    const uint8_t *cache_key;                          /* NULL: not to be looked at */
    const uint8_t *fingerprint;
    bool queued;
    struct shared_bucket *buckets;
    size_t buckets_n;
    int rc;
    struct shared_record record; /* state FREE or REFUSED: nothing stands against it */
    struct slice cached;         /* chat record; absent: none */
    bool limited;                /* a bucket was short: nothing was taken */
};

/* Members of a call that is about to be sent become DISPATCHED by this machine, one by one: those that are
 * free or REFUSED, this machine's QUEUED or DISPATCHED, or QUEUED by a machine that is not alive (it claims,
 * too, before it sends); with take_unknown also UNKNOWN ones and DISPATCHED ones whose machine is not alive
 * (idempotency.on_unknown = retry). */
struct shared_claim_member {
    const uint8_t *key, *fingerprint;
    bool ret_claimed;
    struct shared_record ret_record; /* of whoever has it; unless claimed */
};
struct shared_claim {
    struct shared_op op;
    void (*done)(struct shared_claim *c, void *arg);
    bool take_unknown;
    struct shared_claim_member *members;
    size_t members_n;
    int rc;
};

/* How requests of this machine ended, after that is durable here; bytes are copied before shared_settle
 * returns. State FREE: it is as if it had never been claimed, the id may run again. What another machine
 * holds by now is left alone (but a deletion), and a tombstone stays. cache_key: the value may be given for
 * other ids, too, for cache_ttl_s; with DELETED, no longer. key NULL: only that. */
struct shared_ending {
    const uint8_t *key, *fingerprint;
    enum shared_state state; /* FREE, DONE, FAILED, UNKNOWN, DELETED */
    struct slice value;
    const uint8_t *cache_key;
    uint32_t cache_ttl_s;
};
/* Not answered: what is lost with the connection is settled by the next reconciliation. */
void shared_settle(struct shared *s, const struct shared_ending *endings, size_t n);

/* What became of ids that run elsewhere; as the look of an arrival, for many at once. */
struct shared_look_member {
    const uint8_t *key;
    struct shared_record ret_record;
};
struct shared_look {
    struct shared_op op;
    void (*done)(struct shared_look *l, void *arg);
    struct shared_look_member *members;
    size_t members_n;
    int rc;
};

/* What a prompt really took of the buckets beyond its estimate. Not answered. */
void shared_charge(struct shared *s, const struct shared_bucket *buckets, size_t n);

/* A change of settings: document is the overrides as JSON (settings_patch_encode, without the key). based_on:
 * the version it was made from; when that is not the newest, rc is ERR_EXISTS and the newest follows as news.
 */
struct shared_settings_put {
    struct shared_op op;
    void (*done)(struct shared_settings_put *p, void *arg);
    uint64_t based_on;
    struct slice document;
    int rc;
    uint64_t ret_version;
};

/* Differences of this machine's counters and ids whose chats were deleted here, for the other machines.
 * Copied. Not answered; what is lost with the connection is lost (figures), or tried again (deletions). */
struct shared_difference {
    struct slice name;
    uint64_t delta;
};
void shared_tell_counters(struct shared *s, uint32_t day, const struct shared_difference *differences,
                          size_t n);
void shared_tell_deletion(struct shared *s, struct slice request_id);

/* What others did since the last news, in the order they did it, each once as long as position is kept with
 * it. */
struct shared_news {
    char position[64]; /* of the stream, to be stored in the transaction that stores the rest */
    struct {
        uint32_t day;
        struct slice name;
        uint64_t delta;
    } * differences;
    size_t differences_n;
    struct slice *deletions; /* request ids */
    size_t deletions_n;
};

/* Said at each change of it. */
struct shared_standing {
    bool there;
    bool keeps;       /* appendfsync always (and appendonly): the promise holds across machines */
    struct err fault; /* why it is not there, or does not keep; code 0: all is well */
};

struct shared_options {
    const char *url; /* redis://[user:password@]host[:port][/db], unix://[:password@]/path[?db=n] */
    struct uuid machine;
    uint64_t epoch;
    const char *position;      /* of the last news taken in; "" at first */
    uint64_t settings_version; /* the last one in force here; 0: none */
    uint32_t answer_ms;        /* a command not answered in that time: the server is away */
    uint32_t record_ttl_s;     /* records are kept so long */
    void (*on_standing)(void *arg, const struct shared_standing *standing);
    /* The records of this machine that have not ended, after each connection, before on_standing says there:
     * those that do not run here are to be settled by what the store says of them (in steps; last with n 0).
     */
    void (*on_open)(void *arg, const uint8_t (*keys)[SHARED_KEY_SIZE], size_t n);
    void (*on_settings)(void *arg, uint64_t version, struct slice document);
    void (*on_news)(void *arg, const struct shared_news *news);
    void *arg;
};

/* Begins to connect, and goes on trying until closed (100 ms .. 2 s, with jitter). ERR_INVAL: a URL that is
 * none, or of a kind this build cannot speak (rediss://). Built without hiredis: ERR_INVAL, with a sentence.
 */
MUST_CHECK
int shared_open(struct uv_loop_s *loop, const struct shared_options *options, struct shared **ret_shared,
                struct err *e);
/* Ends every operation with ERR_CLOSED, then frees; the loop must run once more for the close callbacks. NULL
 * is allowed. */
void shared_close(struct shared *s);

void shared_arrive(struct shared *s, struct shared_arrival *a);
void shared_claim(struct shared *s, struct shared_claim *c);
void shared_look(struct shared *s, struct shared_look *l);
void shared_settings_put(struct shared *s, struct shared_settings_put *p);

#endif
