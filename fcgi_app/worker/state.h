/*
 * What a worker process knows: configuration, its place in the pool, the store it reads, the settings in
 * force, keys, counters and caches. Shared by all threads of the process; each part keeps its own lock.
 */
#ifndef CARPOOL_WORKER_STATE_H
#define CARPOOL_WORKER_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "client/link.h"
#include "store/keys.h"
#include "store/settings.h"
#include "store/store.h"
#include "worker/auth.h"
#include "worker/counts.h"
#include "worker/waiting.h"

/* A rendered body kept for a while. Invariants: made_us is 0 while body holds nothing; making is true while a
 * thread renders the next one, without the lock. */
struct body_cache {
    pthread_mutex_t lock;
    pthread_cond_t made;
    bool making;
    uint64_t made_us, version;
    int status;
    struct buf key, body;
};

struct worker {
    const struct conf *conf; /* without the provider key: that is the coordinator's */
    struct link_host host;   /* the process's place in the pool, and where the coordinator is */
    struct waiting waiting;
    uint32_t wait_max_ms; /* of a poll that waits; 0: as long as it asks for */
    struct auth auth;
    struct counts counts;
    struct body_cache health, analytics;

    pthread_mutex_t store_lock; /* for opening */
    _Atomic(struct store *) store;
    _Atomic uint64_t store_tried_us; /* of the last try, if it failed; 0: try at once */
    int store_rc;                    /* of that try, under store_lock; 0: there is none yet */
    struct err store_fault;          /* with it */

    pthread_rwlock_t settings_lock;
    struct settings settings;          /* version 0: from the configuration alone */
    _Atomic uint64_t settings_version; /* of settings; to look at without the lock */
};

/* settings: what the configuration alone makes of them. ERR_NOMEM. */
MUST_CHECK
int worker_init(struct worker *w, const struct conf *conf, const struct settings *settings, struct err *e);
void worker_fini(struct worker *w);

/* Whether the time to stop is over: whoever still waits answers now. */
bool worker_leaving(const struct worker *w);

/* The store, opened when it is first there; NULL: no coordinator has made one yet (0 is returned). ERR_*: it
 * is there but cannot be opened. */
MUST_CHECK
int worker_store(struct worker *w, struct store **ret_store, struct err *e);
/* The store that is open is no longer the one that is there. */
bool worker_store_lost(struct worker *w);
/* A read transaction; *ret_read is NULL when there is no store yet. */
MUST_CHECK
int worker_read(struct worker *w, struct store_read **ret_read, struct err *e);

/* What the store says of the keys; all of it of one moment. */
struct worker_keys {
    bool any;   /* there is or was one (keys_any) */
    bool found; /* the one that was looked up, usable or not */
    struct key_record key;
};

/* What a request asks the store when it begins, in one transaction: takes newer settings over, and looks the
 * key of that hash up (NULL: none). ERR_*: the store cannot be read; the settings stay those known. */
MUST_CHECK
int worker_begin_request(struct worker *w, const uint8_t *hash, struct worker_keys *ret_keys, struct err *e);

/* The settings in force now: read again when their version moved. When the store cannot be read, those known.
 */
void worker_settings(struct worker *w, struct settings *ret_settings);
/* As it was when the request began. */
uint32_t worker_latency_ms(struct worker *w, enum priority p);

#endif
