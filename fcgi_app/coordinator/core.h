/*
 * The core of the coordinator: everything that decides, nothing that blocks. Time comes in as an argument;
 * what leaves goes through struct core_ports, so that the program (loop.c) drives it with sockets, disk and
 * curl, and the scenario tests with a script and a seed.
 *
 * A turn: the driver feeds what happened (core_receive, core_committed, core_called, …), then calls core_turn
 * once, which seals batches, starts calls, frees what is finished and leaves output in the links on
 * core.dirty_links.
 */
#ifndef CARPOOL_COORDINATOR_CORE_H
#define CARPOOL_COORDINATOR_CORE_H

#include "base/conf.h"
#include "base/meter.h"
#include "base/steady.h"
#include "batch/breaker.h"
#include "batch/pace.h"
#include "batch/retry.h"
#include "coordinator/cache_index.h"
#include "coordinator/commit.h"
#include "coordinator/job.h"
#include "coordinator/key_index.h"
#include "coordinator/keyfile.h"
#include "provider/provider.h"
#include "shared/shared.h"
#include "sink/sink.h"
#include "store/requests.h"
#include "store/settings.h"
#include "store/spend.h"
#include "wire/frame.h"

/* A pool of prompt threads, known by its hellos. */
struct pool {
    UT_hash_handle hh;
    struct uuid id;
    uint32_t capacity;
    uint32_t links;
};

/* The core's side of a connection; embedded in the driver's. */
struct core_link {
    struct list waiters;    /* struct waiter.link_node */
    struct list dirty_node; /* in core.dirty_links while out holds bytes for the driver */
    uint32_t waiting;       /* of them wait for an answer */
    struct pool *pool;      /* NULL until hello */
    struct list held;       /* struct call.held_node: streams that wait until out is read */
    struct buf out;
};

struct rate_entry; /* rate.c */

/* The provider in force, kept alive by the calls that use it. */
struct provider_ref {
    unsigned refs;
    struct provider provider;
    enum provider_mode mode;
    uint32_t endpoint;                  /* another number for another kind, address or key */
    uint64_t array_missing_until_us;    /* until then it is not asked for several prompts at once */
    uint64_t logprobs_missing_until_us; /* until then it is not asked for log-probabilities */
    char base_url[CONF_TEXT], model[CONF_TEXT], key[CONF_TEXT];
};

/* What is known of the provider in force (guard.h). */
struct guard {
    struct breaker breaker;
    uint64_t loading_until_us; /* the provider loads its model: not asked before */
    struct retry_budget budget;
    struct pace pace;
};

/* The question to a model server how it is (probe.h). */
struct probe {
    struct provider_call request; /* while running */
    bool running, wanted;
    uint32_t endpoint; /* of the provider asked */
    uint64_t at_us;    /* not before */
    struct err fault;  /* what it said last; code 0: all is well, or it was not asked */
};

/* The server that several machines share, as far as it concerns this one. */
enum shared_reach { SHARED_OFF, SHARED_AWAY, SHARED_THERE };
struct core_shared {
    enum shared_reach reach; /* OFF: redis is not enabled */
    bool keeps;              /* what it acknowledges */
    struct err fault;        /* why it is away, or does not keep; code 0: all is well */
    uint64_t away_us;        /* since when */
    bool looking;            /* a look at what runs elsewhere is on its way */
    uint64_t look_at_us;     /* the next one; UINT64_MAX: nothing runs elsewhere */
    struct list inquiries;   /* struct inquiry.node */
    struct list deletions;   /* struct deletion.node: that ask the other machines first (delete.c) */
    struct list news;        /* struct commit_op.node: not yet handed in, since one is on its way */
    bool news_going;
    uint64_t settings_version; /* of the machines' settings: in force here */
    uint64_t heard_version; /* of those that another machine has put, the newest that is being taken over */
    struct settings_patch unpublished; /* put here while the server was away */
    /* Requests of an earlier coordinator of this machine whose outcome nobody knows; owned, until the server
     * has been told of them. */
    uint8_t (*lost)[REQUEST_KEY_SIZE];
    size_t lost_n;
    uint64_t missed_version; /* another machine's settings, for which there was no memory; 0: none */
    char missed[4096];
    size_t missed_n;
    struct settings_change *unapplied; /* another machine's, that the disk did not take; NULL: none */
    struct counter *untold;            /* differences that the other machines have not heard of */
    uint32_t untold_day;
};

struct core_ports {
    void *arg;
    uint64_t (*mono_us)(void *arg); /* for measuring inside a turn; decisions use the now_us they are given */
    uint64_t (*real_us)(void *arg);
    /* For what expires. lookup() goes by the earliest. */
    struct steady_bounds (*real_bounds)(void *arg);
    void (*random)(void *arg, void *bytes, size_t n);
    /* The newest committed record of a key (and the chat of a DONE one; absent if it is gone), lent until
     * lookup_end. ERR_NOT_FOUND. */
    int (*lookup)(void *arg, const uint8_t key[REQUEST_KEY_SIZE], struct request_record *ret_record,
                  struct slice *ret_chat, struct err *e);
    /* A chat of the newest commit, lent until lookup_end. ERR_NOT_FOUND. */
    int (*chat)(void *arg, const struct uuid *id, struct slice *ret_chat, struct err *e);
    void (*lookup_end)(void *arg);
    /* Calls each for every key that has spent anything in that month, by the newest commit. NULL: nobody
     * has. */
    int (*spent)(void *arg, uint32_t month, void (*each)(void *each_arg, const struct spend *s),
                 void *each_arg, struct err *e);
    /* Takes the operation; core_committed() follows in a later turn. */
    void (*commit)(void *arg, struct commit_op *op);
    /* Sends the call; core_called() follows in a later turn. Not used for the mock provider. ERR_NOMEM and
     * the like: nothing was sent. */
    int (*send)(void *arg, struct call *call, struct err *e);
    /* Of a call that streams (call->request.streams): lets it go on after core_streamed() was false; ends it,
     * so that core_called() does not follow. */
    void (*resume)(void *arg, struct call *call);
    void (*abort)(void *arg, struct call *call);
    /* Sends a GET; core_probed() follows in a later turn. NULL: there is nobody to ask. */
    int (*probe)(void *arg, const struct provider_call *request);
    /* Queues a record of the event log. */
    void (*log)(void *arg, enum sink_stream stream, struct slice record);
    /* Queues a record for a topic. NULL: there are none, so that none is built. */
    void (*publish)(void *arg, enum sink_topic topic, struct slice key, struct slice record);
    /* A new provider key (an empty one removes it): prepared durably beside the one in force, then kept or
     * dropped once the settings it came with are committed or not. */
    int (*key_prepare)(void *arg, const struct saved_key *key, struct err *e);
    void (*key_settle)(void *arg, const struct saved_key *key, bool keep);
    /* What several machines share (shared/shared.h); NULL when redis is not enabled. The operations come back
     * in a later turn through core_arrived() and so on, also at the end, before core_fini. */
    void (*arrive)(void *arg, struct shared_arrival *a);
    void (*claim)(void *arg, struct shared_claim *c);
    void (*look)(void *arg, struct shared_look *l);
    void (*settle)(void *arg, const struct shared_ending *endings, size_t n);
    void (*tell_counters)(void *arg, uint32_t day, const struct shared_difference *differences, size_t n);
    void (*tell_deletion)(void *arg, struct slice request_id);
    void (*settings_put)(void *arg, struct shared_settings_put *put);
    /* The keys of the chats of that request id in this machine's store. */
    int (*chat_keys)(void *arg, struct slice request_id, uint8_t (*ret_keys)[REQUEST_KEY_SIZE], size_t max,
                     size_t *ret_n);
    void (*charge)(void *arg, const struct shared_bucket *buckets, size_t n);
};

struct core {
    const struct conf *conf;
    struct core_ports ports;
    uint64_t epoch;
    uint64_t started_us;
    uint64_t started_real_us;
    struct meter prompts; /* that came in, those included that workers answered again from a record */
    struct settings settings;
    struct settings_patch overrides;
    struct list changes;        /* of settings, in the order they came; the first is on its way to the disk */
    struct saved_key saved_key; /* put through settings */
    struct {
        struct key_index index;
        struct list changes; /* struct key_change.node: that wait for the one before (keys.c) */
        uint32_t changes_n;
        bool changing; /* one is on its way to the disk */
    } keys;
    struct provider_ref *provider;
    struct guard guard;
    struct probe probe;
    struct core_shared shared;
    struct {
        struct rate_entry *by_name; /* uthash */
        struct list by_use;         /* the one used least lately first */
    } rates;
    struct {
        struct budget_account *by_id; /* uthash */
        uint32_t month;
        bool unread;
    } budgets;
    struct batcher *batcher;
    struct job *by_key;     /* uthash of every job but reaped ones */
    uint64_t payload_bytes; /* of all of them */
    struct list jobs[JOB_STATES];
    uint32_t jobs_n[JOB_STATES];
    struct list asked;       /* commit_op.asked_node: operations that a link waits for */
    struct list stuck_ops;   /* outcomes that could not be committed; tried again by core_maintain */
    struct list calls;       /* struct call.all_node: every call there is */
    struct list ready_calls; /* follow-up calls that want a slot */
    struct heap timers;      /* struct call.timer: delayed calls and running mock calls */
    struct heap deadlines;   /* struct waiter.deadline */
    uint32_t calls_running[PRIORITIES];
    uint32_t waiters_n;     /* that wait for an answer */
    uint32_t links_waiting; /* links with such waiters: as many clients */
    struct pool *pools;
    uint32_t capacity; /* sum of pools */
    struct list dirty_links;
    struct counter *counters;  /* differences not yet committed */
    struct cache_index cached; /* answers that may be given again; empty with cache.mode = off */
    struct buf scratch;        /* for one record at a time */
    bool sweeping, sweep_more; /* a sweep is on its way; the last one left some: another follows at once */
    bool draining;
    bool fenced;               /* another coordinator took over: leave at once */
    struct err store_fault;    /* code 0: the store works */
    struct err provider_fault; /* of the last call; code 0: it worked; ERR_AGAIN: a probe may find it gone */
    struct err key_fault; /* the key that is here is for another host; code 0: it is not, or a call has worked
                             without one */
    uint64_t sink_counted; /* of sink_dropped stand in the counters */
    uint64_t sink_dropped; /* kept up to date by the driver, as is */
    struct sink_kafka kafka;
    struct counter *totals;     /* with topics: what was counted since the start */
    uint64_t metrics_us;        /* when the next record of metrics is due */
    const struct job *incoming; /* the prompt that is being taken in; NULL: none */
    struct waiter *hearing;     /* who is told what core_streamed() takes in; NULL: nobody */
};

/* Takes what is stored (settings, async requests left behind, dispatched records of older epochs) from r.
 * conf must outlive the core. */
MUST_CHECK
int core_init(struct core *c, const struct conf *conf, const struct core_ports *ports, uint64_t epoch,
              struct store_read *r, const struct saved_key *saved_key, uint64_t now_us, struct err *e);
/* A zeroed core is allowed. */
void core_fini(struct core *c);

void core_link_init(struct core_link *l);
/* Everybody waiting on it is gone: queued jobs that nobody else waits for are dropped. */
void core_link_fini(struct core *c, struct core_link *l, uint64_t now_us);
/* One frame from a worker. ERR_INVAL: not our protocol; the driver closes the link. */
MUST_CHECK
int core_receive(struct core *c, struct core_link *l, const struct wire_frame *frame, uint64_t now_us);

/* A commit operation came back (its rc says how); frees it. */
void core_committed(struct core *c, struct commit_op *op, uint64_t now_us);
/* A call came back. response is only lent. */
void core_called(struct core *c, struct call *call, const struct provider_response *response,
                 uint64_t now_us);

/* The next bytes of a call that streams. False: whoever hears it does not keep up; the same bytes again once
 * the resume port was called. */
MUST_CHECK
bool core_streamed(struct core *c, struct call *call, struct slice bytes, uint64_t now_us);

/* What was left in out has been taken: streams that waited for it go on. Also when nothing waited. */
void core_link_flows(struct core *c, struct core_link *l);

/* The answer to a probe. response is only lent. */
void core_probed(struct core *c, const struct provider_response *response, uint64_t now_us);

/* Operations on what several machines share came back; frees them. */
void core_arrived(struct core *c, struct shared_arrival *a, uint64_t now_us);
void core_claimed(struct core *c, struct shared_claim *claim, uint64_t now_us);
void core_looked(struct core *c, struct shared_look *l, uint64_t now_us);
void core_settings_put(struct core *c, struct shared_settings_put *put, uint64_t now_us);
/* What the server that they share says by itself; as the calls of struct shared_options. */
void core_shared_standing(struct core *c, const struct shared_standing *standing, uint64_t now_us);
void core_shared_open(struct core *c, const uint8_t (*keys)[SHARED_KEY_SIZE], size_t n);
void core_shared_news(struct core *c, const struct shared_news *news);
void core_shared_settings(struct core *c, uint64_t version, struct slice document);

/* Does what has fallen due. Once after each round of events. */
void core_turn(struct core *c, uint64_t now_us);
/* When core_turn must run again even if nothing happens; UINT64_MAX: never. */
uint64_t core_next_us(const struct core *c, uint64_t now_us);

/* Housekeeping, about once a second: counters that no answer carried, expiry, parked jobs, outcomes
 * that could not be committed. */
void core_maintain(struct core *c, uint64_t now_us);

/* No new prompts; queued ones are refused; running calls finish. */
void core_drain(struct core *c);
/* Nothing runs and nothing is on its way to the disk. */
bool core_idle(const struct core *c);
/* Somebody wants something of it. Figures that wait for the disk are nothing of the kind: /health is counted,
 * too, and whoever looks there does not keep it up. */
bool core_works(const struct core *c);

/* Hands an operation to the commit port. */
void core_commit(struct core *c, struct commit_op *op);
/* Notes that a link waits for op (frame id); op->link is cleared when the link goes first. */
void core_op_ask(struct core *c, struct commit_op *op, struct core_link *l, uint64_t id);
/* Moves the counters collected so far into op. */
void core_op_take_counters(struct core *c, struct commit_op *op);
/* Takes them back from one that failed. */
void core_op_return_counters(struct core *c, struct commit_op *op);

/* Adds to a counter (store/counters.h); name and suffix are joined by a dot. */
void core_count(struct core *c, const char *name, const char *suffix, uint64_t delta);
/* The same for a bucket of a histogram, and its sum. */
void core_count_value(struct core *c, const char *name, const char *suffix, uint64_t value);
/* Counts that somebody is refused. */
void core_count_refusal(struct core *c, const struct wire_refusal *refusal);

/* Output for a link: append frames, then core_link_dirty. */
void core_link_dirty(struct core *c, struct core_link *l);
/* DONE: the change asked for is in force. */
void core_answer_done(struct core *c, struct core_link *l, uint64_t id);
void core_refuse(struct core *c, struct core_link *l, uint64_t id, const struct wire_refusal *refusal);

#endif
