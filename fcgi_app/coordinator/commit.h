/*
 * The commit thread: the only writer of the store. Operations that are ready together share one transaction
 * and one fdatasync (group commit); each comes back when it is durable, or with the reason why it is not.
 */
#ifndef CARPOOL_COORDINATOR_COMMIT_H
#define CARPOOL_COORDINATOR_COMMIT_H

#include <uthash.h>

#include "base/list.h"
#include "store/audit.h"
#include "store/cache.h"
#include "store/chats.h"
#include "store/counters.h"
#include "store/keys.h"
#include "store/requests.h"
#include "store/settings.h"
#include "store/spend.h"
#include "store/store.h"

struct core;
struct commit_op;

/* A counter's difference; a uthash by name. */
struct counter {
    UT_hash_handle hh;
    uint64_t delta;
    char name[COUNTER_NAME_MAX];
};
void counter_add(struct counter **table, const char *name, uint64_t delta);
void counters_free(struct counter **table);

struct commit_request {
    const uint8_t *key;
    bool remove;
    const uint8_t *only; /* remove: if what is there has that fingerprint, and record's state and batch; NULL:
                            whatever is */
    struct request_record record; /* unless remove */
    struct spend spend;           /* what it has cost so far is counted with it */
};

struct commit_chat {
    struct chat chat;
    struct slice record;      /* chat_encode of it */
    const uint8_t *cache_key; /* its answer may be given again under that key; NULL: not */
    uint64_t cache_until_s;   /* real time */
};

/* What other machines did (shared/shared.h), to be done here, too. One allocation; texts lend from it. */
struct commit_news {
    char position[64];
    size_t differences_n, deletions_n;
    struct commit_difference {
        uint32_t day;
        struct slice name;
        uint64_t delta;
    } * differences;
    struct slice *deletions; /* request ids */
};

/* A change to the keys: n records to put, and behind them gone_n whose texts go. One allocation. */
struct commit_keys {
    size_t n, gone_n;
    struct key_record keys[];
};

/* Who made the change that the operation is. One allocation; texts lend from it. */
struct commit_audit {
    struct audit_entry entry;
    char text[];
};

/*
 * One operation: any of its parts may be empty. What its pointers lend must stay as it is until the operation
 * comes back. Invariant: on one list at a time (the thread's queue, its group, or the finished ones).
 */
struct commit_op {
    struct list node;
    void (*done)(struct core *c, struct commit_op *op,
                 uint64_t now_us); /* looks at rc; then the core frees the operation */
    void *owner;                   /* what done needs */
    void (*drop)(void *owner);     /* frees it when the operation ends without done; NULL: not its own */
    struct list asked_node;        /* in core.asked while somebody waits for the operation itself */
    struct core_link *link;        /* who: NULL once it is gone */
    uint64_t id;                   /* of the frame to answer */
    bool kept;                     /* done wants it to live on */
    bool again;                    /* tried before; that try may have been written */
    bool written;                  /* that try was written */
    int rc;
    bool refused; /* rc < 0 for what the operation is: it would fail again */
    struct err err;
    uint64_t queued_us;

    struct commit_request *requests;
    size_t requests_n;
    struct commit_chat *chats;
    size_t chats_n;
    struct counter *counters; /* owned */
    uint64_t real_us;         /* when it was handed in, for the counters' day */
    uint64_t expiry_us;       /* the same, for what has expired (base/steady.h) */

    struct settings_patch *overrides; /* settings change; owned */
    struct settings *settings;        /* with it; owned */

    struct commit_keys *keys;   /* owned */
    struct commit_audit *audit; /* owned */

    uint64_t shared_version;  /* that the settings have among several machines; 0: none */
    struct commit_news *news; /* owned */

    char *delete_id;          /* request id whose chats go; owned */
    uint32_t delete_max;      /* at most that many in this operation */
    uint32_t deleted;         /* how many went, here and before */
    uint32_t deleted_now;     /* in the transaction that is being tried */
    bool sweep;               /* drop what has expired */
    uint32_t sweep_max;       /* records of each kind */
    uint64_t chats_before_us; /* sweep: chats older than this go too; 0: none */
    bool more;                /* delete, sweep: there is more to do */
};

/* Copies the texts; an actor longer than AUDIT_ACTOR_MAX is cut. details: a JSON object. NULL when memory is
 * short. */
struct commit_audit *commit_audit_new(uint64_t real_us, struct slice actor, const char *action,
                                      struct slice details);

/* An operation with room for that many requests and chats, zeroed; NULL when memory is short. */
struct commit_op *commit_op_new(size_t requests_n, size_t chats_n,
                                void (*done)(struct core *c, struct commit_op *op, uint64_t now_us));
void commit_op_free(struct commit_op *op);
/* Whether it has anything to write: one that has not tells nothing about the disk. */
bool commit_op_writes(const struct commit_op *op);

/* What a group of operations does to the store, inside one transaction. Also for drivers without a thread. */
MUST_CHECK
int commit_apply_group(struct store *s, uint64_t epoch, struct list *group, struct err *e);

struct commit_thread;

/* notify is called from the thread when operations have come back. */
MUST_CHECK
int commit_start(struct store *s, uint64_t epoch, void (*notify)(void *arg), void *arg,
                 struct commit_thread **ret_thread, struct err *e);
/* Finishes what is queued, then ends the thread. NULL is allowed. */
void commit_stop(struct commit_thread *t);
/* Takes the operations on the list (emptied). Never blocks on the disk. */
void commit_submit(struct commit_thread *t, struct list *ops);
/* Appends the operations that came back to the list. */
void commit_collect(struct commit_thread *t, struct list *ret_ops);

#endif
