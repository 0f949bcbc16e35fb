/*
 * Chats: every answered prompt, in the order they were answered. The one place where an answer lives: a
 * finished request (requests.h) points here, and a replay is rendered from the chat.
 *
 * Tables: chats (id -> record), chats_by_user (username NUL id -> nothing), chats_by_request (request id NUL
 * id -> request key).
 */
#ifndef CARPOOL_STORE_CHATS_H
#define CARPOOL_STORE_CHATS_H

#include "base/buf.h"
#include "base/conf.h"
#include "base/uuid.h"
#include "store/store.h"
#include "wire/message.h"

#define CHAT_NAME_MAX 128 /* bytes of a username or a request id */

/* The time in a chat's id and its time_us differ by at most this; a scan from or to a time relies on it. */
#define CHAT_ID_SLACK_US 3600000000ull

/* All values of an answer, fixed by the coordinator before the commit. Absent slices were not given. A
 * decoded chat lends from its record. */
struct chat {
    struct uuid id; /* version 7: ordered by time */
    struct uuid batch_id;
    uint8_t key[REQUEST_KEY_SIZE]; /* of its request */
    enum endpoint endpoint;
    enum priority priority;
    bool cached;
    bool rate_limited; /* the provider said 429 on the way */
    uint32_t retries;
    uint64_t time_us;                          /* real time of the answer */
    uint64_t latency_us;                       /* intake to answer */
    uint64_t upstream_us;                      /* of which at the provider */
    uint64_t prompt_tokens, completion_tokens; /* this member's share of its calls' usage */
    double confidence;                         /* NaN: not known */
    struct slice request_id, username, prompt, system_prompt, created_at, metadata, model, text,
        finish_reason;
    struct slice response; /* of SUBMIT_VERBATIM: the provider's response as OpenAI's JSON object, of a stream
                              as it would have been without; text is its first choice's. Else absent. */
};

void chat_encode(struct buf *out, const struct chat *c); /* with a version byte in front */
/* ERR_CORRUPT. */
MUST_CHECK
int chat_decode(struct slice record, struct chat *ret_chat);

/* record is what chat_encode gave for c. ERR_EXISTS when that id is stored already; ERR_INVAL for a username
 * or request id over CHAT_NAME_MAX. */
MUST_CHECK
int chats_append(struct store_write *w, const struct chat *c, struct slice record, struct err *e);

/* Lends the record from the transaction. ERR_NOT_FOUND. */
MUST_CHECK
int chats_get(struct store_read *r, const struct uuid *id, struct slice *ret_record, struct err *e);

struct chats_filter {
    struct slice username; /* absent: all. Uses the index. */
    bool by_priority;
    enum priority priority;
    uint64_t from_us, to_us; /* time_us in [from, to); to 0: no end */
    bool newest_first;       /* the other way round: "after" and "behind" mean older ones then */
};

/*
 * The next chats after *after (oldest first, unless the filter says otherwise; all zeros: from the start)
 * that pass the filter: calls each until it returns false, max_visited records were looked at, or there are
 * no more. *ret_last is the id last looked at (*after when there was none; the one each returned false for
 * counts as looked at), *ret_more whether there are more behind it to look at. each must not write.
 * ERR_CORRUPT at a damaged record. A caller that renews the transaction between calls streams any number of
 * chats in constant memory.
 */
MUST_CHECK
int chats_scan(struct store_read *r, const struct chats_filter *filter, const struct uuid *after,
               uint32_t max_visited, bool (*each)(void *arg, const struct chat *c), void *arg,
               struct uuid *ret_last, bool *ret_more, struct err *e);

/* The keys of the requests whose chats have that request id, up to max of them, each once a chat. */
MUST_CHECK
int chats_request_keys(struct store_read *r, struct slice request_id, uint8_t (*ret_keys)[REQUEST_KEY_SIZE],
                       size_t max, size_t *ret_n, struct err *e);

/* Deletes up to max_chats chats of that request id, in all trust groups, with their index entries, and
 * replaces the request records they belong to by tombstones (requests.h) that expire as those would have.
 * *ret_deleted counts; *ret_more when some are left. */
MUST_CHECK
int chats_delete_request(struct store_write *w, struct slice request_id, uint32_t max_chats, uint64_t now_s,
                         uint32_t *ret_deleted, bool *ret_more, struct err *e);

/* Removes at most max_chats chats older than before_us, the oldest first; *ret_removed counts. For retention.
 * Request records that point to them stay: what is kept for less than idempotency.ttl_hours can be found DONE
 * with its chat gone. */
MUST_CHECK
int chats_drop_older(struct store_write *w, uint64_t before_us, uint32_t max_chats, uint32_t *ret_removed,
                     struct err *e);

/* The greatest id of all chats. ERR_NOT_FOUND when there is none. */
MUST_CHECK
int chats_last_id(struct store_read *r, struct uuid *ret_id, struct err *e);

MUST_CHECK
int chats_count(struct store_read *r, uint64_t *ret_count, struct err *e);

#endif
