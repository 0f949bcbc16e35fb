/*
 * Request records: what is durably known of a request id (api.md "Request ids"). Key: BLAKE2b(trust group,
 * family, request id). Each record has one entry in `expiry` (time -> key), made with the first put of
 * a run and kept by later ones.
 */
#ifndef CARPOOL_STORE_REQUESTS_H
#define CARPOOL_STORE_REQUESTS_H

#include "base/uuid.h"
#include "store/spend.h"
#include "store/store.h"
#include "wire/message.h"

/* Values are stored: never renumber. "accepted" has no record. */
enum request_state {
    REQUEST_QUEUED = 1,     /* async: submit holds the whole request */
    REQUEST_DISPATCHED = 2, /* a call that contains it may have been sent */
    REQUEST_DONE = 3,       /* chat_id has the answer */
    REQUEST_FAILED = 4,     /* refusal says why; final: replayed, else the id may run again (async only) */
    REQUEST_UNKNOWN = 5,    /* it may have been charged; refusal says why */
    REQUEST_DELETED = 6,    /* tombstone */
};

/* A decoded record lends from the transaction. */
struct request_record {
    enum request_state state;
    bool is_async;
    bool final;
    uint8_t repairs; /* calls after the first one */
    uint8_t fingerprint[REQUEST_KEY_SIZE];
    uint64_t epoch;     /* of the coordinator that dispatched it */
    uint64_t expires_s; /* real time, seconds */
    struct uuid batch_id;
    struct uuid chat_id;  /* DONE */
    struct slice submit;  /* QUEUED, and DISPATCHED if async: payload of wire_submit_encode */
    struct slice refusal; /* FAILED, UNKNOWN: payload of wire_refusal_encode */
    struct spend held;    /* DISPATCHED: what it may cost its key, and has cost it so far */
};

/* ERR_NOT_FOUND: no record, or one that has expired by now_s. */
MUST_CHECK
int requests_get(struct store_read *r, const uint8_t key[REQUEST_KEY_SIZE], uint64_t now_s,
                 struct request_record *ret_record, struct err *e);
/* Inserts or replaces. When a record is there, its expires_s is kept (record->expires_s is ignored) unless it
 * has expired already, or the id runs anew: QUEUED or DISPATCHED over a state in which nothing ran any more.
 */
MUST_CHECK
int requests_put(struct store_write *w, const uint8_t key[REQUEST_KEY_SIZE],
                 const struct request_record *record, uint64_t now_s, struct err *e);
/* 0 also when there is none. */
MUST_CHECK
int requests_delete(struct store_write *w, const uint8_t key[REQUEST_KEY_SIZE], struct err *e);

/* Visits every QUEUED record (async requests to take up again at start), and every DISPATCHED one of an epoch
 * other than the one given. each returns false to stop. Walks the `unfinished` table, which holds the keys of
 * exactly these two states, so its cost is that of what is unfinished. */
MUST_CHECK
int requests_unfinished(struct store_read *r, uint64_t epoch,
                        bool (*each)(void *arg, const uint8_t key[REQUEST_KEY_SIZE],
                                     const struct request_record *record),
                        void *arg, struct err *e);

/* Calls each for the next max_visited records behind *after, in the order of keys (NULL: from the first), but
 * not for those that have expired by now_s or are damaged; each returns 0, or what ends it and is returned.
 * *ret_last is the key last looked at (untouched when there was none), *ret_more whether there are more
 * behind it. each may write, but not through r's own transaction. */
MUST_CHECK
int requests_scan(struct store_read *r, const uint8_t *after, uint32_t max_visited, uint64_t now_s,
                  int (*each)(void *arg, const uint8_t key[REQUEST_KEY_SIZE],
                              const struct request_record *record),
                  void *arg, uint8_t ret_last[REQUEST_KEY_SIZE], bool *ret_more, struct err *e);

/* Drops at most max_records records whose time has come. */
MUST_CHECK
int requests_expire(struct store_write *w, uint64_t now_s, uint32_t max_records, uint32_t *ret_dropped,
                    struct err *e);

#endif
