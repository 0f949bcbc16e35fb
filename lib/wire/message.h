/*
 * The typed messages in wire frames: one encode and one decode each. Decoded slices lend from the frame.
 * encode appends the payload only (between wire_frame_begin and _end); decode gives ERR_INVAL for anything
 * that encode would not have written.
 */
#ifndef CARPOOL_WIRE_MESSAGE_H
#define CARPOOL_WIRE_MESSAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/slice.h"
#include "base/uuid.h"

#define REQUEST_KEY_SIZE  32
#define REQUEST_KEY_STAMP 6 /* leading bytes of a key that are the time stamp of a version 7 UUID */
#define TRUST_GROUP_SIZE  16

/* Families of request ids: ids of different families never meet (api.md "Request ids"). */
enum family { FAMILY_QUERY = 1, FAMILY_INVOKE = 2, FAMILY_OPENAI = 3 };

/* Where a prompt came in; kept with the chat. Values are stored: never renumber. */
enum endpoint {
    ENDPOINT_QUERY = 1,    /* POST /query */
    ENDPOINT_V1_QUERY = 2, /* POST /v1/query */
    ENDPOINT_GENERATE = 3,
    ENDPOINT_INVOKE = 4,
    ENDPOINT_CHAT = 5,
    ENDPOINT_CHAT_BATCHED = 6,
    ENDPOINT_CHAT_COMPLETIONS = 7,
    ENDPOINT_COMPLETIONS = 8,
};
/* "/v1/query" and so on; "?" for a value that is none. */
const char *endpoint_path(enum endpoint e);

/* A pool of prompt threads introduces itself; the coordinator adds up capacities of distinct pools. */
struct wire_hello {
    struct uuid pool;  /* the same for all processes and threads of one pool */
    uint32_t capacity; /* prompts that can wait in the whole pool at once; 0: unknown, never flush for it */
    uint32_t pid;
};
struct wire_welcome {
    uint64_t epoch; /* of this coordinator */
    uint32_t pid;
};

enum submit_flags {
    SUBMIT_ASYNC = 1, /* answer QUEUED as soon as the request is durable; nobody waits on this connection */
    SUBMIT_FRESH_ID = 2, /* the id was made by the worker just now, so no record of it can exist */
    SUBMIT_ALONE = 4,    /* never shares a call: a history, tools, images */
    SUBMIT_NO_CACHE = 8,
    SUBMIT_COMPLETION = 16, /* the prompt is a text to be continued, not a question */
    SUBMIT_VERBATIM =
        32,              /* OpenAI's request, to be answered as the provider answers it: messages and extra
                            hold all of it but model, stream and stream_options, nothing is added to it, and
                            the chat keeps the whole response; prompt only says what it was about. With ALONE */
    SUBMIT_STREAM = 64,  /* what the model says is wanted as it comes, in DELTA frames before the end; with
                            ALONE and VERBATIM, never with ASYNC */
    SUBMIT_OWN_ID = 128, /* the id was made by the worker: nobody else could ask under it, now or later.
                            Not with ASYNC, so that an older version reads what is stored, too */
};

/* One prompt. Absent slices (p == NULL) were not given by the client. */
struct wire_submit {
    uint8_t key[REQUEST_KEY_SIZE];         /* BLAKE2b(trust group, family, request_id) */
    uint8_t fingerprint[REQUEST_KEY_SIZE]; /* BLAKE2b of what determines the answer */
    uint8_t trust_group[TRUST_GROUP_SIZE]; /* zeros: keyless */
    enum family family;
    enum endpoint endpoint;
    enum priority priority;
    unsigned flags;                              /* enum submit_flags */
    uint32_t wait_ms;                            /* how long the client will wait from now */
    struct slice request_id;                     /* never absent */
    struct slice username, created_at, metadata; /* metadata: JSON object */
    struct slice prompt;                         /* never absent */
    struct slice system_prompt;
    struct slice messages; /* JSON array of a history, for SUBMIT_ALONE */
    struct slice model;
    struct slice extra;      /* JSON object of parameters passed through to the provider */
    double temperature;      /* NaN: the default */
    uint32_t max_tokens;     /* 0: the default of the priority */
    struct slice caller_key; /* a provider key the caller brought */
};

/* Where an answer's time went. Microseconds. */
struct wire_timing {
    uint64_t queue_us, upstream_us, split_us, commit_us;
};

/* How one of the caller's limits stands. per_minute 0: there is none. */
struct wire_limit {
    uint32_t per_minute, remaining;
    uint32_t reset_ms; /* until it is all there again */
};
/* The tightest of each kind that the prompt took from. */
struct wire_limits {
    struct wire_limit requests, tokens;
};
static inline bool wire_limits_any(const struct wire_limits *l)
{
    return l->requests.per_minute || l->tokens.per_minute;
}

enum answer_flags {
    ANSWER_REPLAYED = 1, /* from a finished record */
    ANSWER_JOINED = 2,   /* of a request that ran already when this one came */
    ANSWER_LIMITS = 4,   /* limits says something; set by encode */
};

struct wire_answer {
    unsigned flags; /* enum answer_flags */
    struct wire_timing timing;
    struct slice chat;         /* a chat record as store/chat.h encodes it */
    struct wire_limits limits; /* unless ANSWER_LIMITS: none */
};

/* Why a prompt has no answer, in the words the client will read. */
struct wire_refusal {
    uint16_t status;         /* HTTP */
    uint32_t retry_after_ms; /* 0: none */
    struct slice
        error_type; /* "validation_error", "rate_limit_error", "provider_error", "timeout_error", … */
    struct slice error_code;   /* "QUEUE_FULL", "OUTCOME_UNKNOWN", … */
    struct slice message;      /* a sentence a person can act on */
    struct slice field;        /* absent: none */
    struct wire_limits limits; /* of a refusal for one of them */
};

struct wire_watch {
    uint8_t key[REQUEST_KEY_SIZE];
    uint32_t wait_ms; /* 0: answer at once */
};
enum wire_progress { PROGRESS_UNKNOWN_ID, PROGRESS_QUEUED, PROGRESS_RUNNING, PROGRESS_FINISHED };

/* A change of settings or keys, and who makes it. */
struct wire_change {
    struct slice actor;    /* for the audit trail (store/audit.h); never absent or empty */
    struct slice document; /* a JSON object */
};

void wire_hello_encode(struct buf *out, const struct wire_hello *m);
MUST_CHECK
int wire_hello_decode(struct slice payload, struct wire_hello *ret_m);
void wire_welcome_encode(struct buf *out, const struct wire_welcome *m);
MUST_CHECK
int wire_welcome_decode(struct slice payload, struct wire_welcome *ret_m);
void wire_submit_encode(struct buf *out, const struct wire_submit *m);
MUST_CHECK
int wire_submit_decode(struct slice payload, struct wire_submit *ret_m);
void wire_answer_encode(struct buf *out, const struct wire_answer *m);
MUST_CHECK
int wire_answer_decode(struct slice payload, struct wire_answer *ret_m);
void wire_refusal_encode(struct buf *out, const struct wire_refusal *m);
MUST_CHECK
int wire_refusal_decode(struct slice payload, struct wire_refusal *ret_m);
void wire_watch_encode(struct buf *out, const struct wire_watch *m);
MUST_CHECK
int wire_watch_decode(struct slice payload, struct wire_watch *ret_m);

void wire_change_encode(struct buf *out, const struct wire_change *m);
MUST_CHECK
int wire_change_decode(struct slice payload, struct wire_change *ret_m);

/* COUNT: a sequence of (name, delta). Encoding appends one pair; the payload is the pairs one after the
 * other. */
void wire_count_append(struct buf *out, struct slice name, uint64_t delta);
/* Calls add for each pair; ERR_INVAL when the payload is cut short. */
MUST_CHECK
int wire_count_decode(struct slice payload, void (*add)(void *arg, struct slice name, uint64_t delta),
                      void *arg);

/* The two hashes of a request (api.md "Request ids"), unkeyed BLAKE2b-256 over unambiguous encodings. The
 * fingerprint covers prompt, system prompt, messages, model, extra, temperature, max_tokens, priority and
 * family, and COMPLETION of the flags; not created_at, metadata, username or keys, nor STREAM.
 *
 * The key of a version 7 UUID begins with that id's own time stamp instead of hash: requests of one moment
 * then share pages of the store, which a commit would otherwise write one by one. 26 bytes of hash remain. */
void wire_request_key(const uint8_t trust_group[TRUST_GROUP_SIZE], enum family family,
                      struct slice request_id, uint8_t ret_key[REQUEST_KEY_SIZE]);
void wire_submit_fingerprint(const struct wire_submit *m, uint8_t ret_fingerprint[REQUEST_KEY_SIZE]);

#endif
