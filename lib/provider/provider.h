/*
 * Providers: what a language model's HTTP API wants to read and what it answers, one codec a kind (mock,
 * openai, gemini; model_service joins them). Pure: bytes in, bytes out; no I/O, no clock. The coordinator's
 * upstream does the HTTP.
 *
 * A call carries one member, or several in combined mode (combined.h) or array mode.
 */
#ifndef CARPOOL_PROVIDER_PROVIDER_H
#define CARPOOL_PROVIDER_PROVIDER_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/slice.h"

/* The provider in force. Texts lend. */
struct provider {
    enum provider_kind kind;
    const char *base_url;    /* as that provider's SDK takes it; empty for mock */
    const char *model;       /* default model */
    const char *api_key;     /* may be empty */
    uint32_t context_tokens; /* 0: unknown, no limit */
};

/* One prompt of a call. Slices lend. */
struct provider_member {
    struct slice prompt, system_prompt, messages, model, extra; /* as in struct wire_submit */
    double temperature;                                         /* NaN: leave it to the provider */
    uint32_t max_tokens;                                        /* never 0 */
    enum priority priority;
};

#define PROVIDER_ID_SIZE 12 /* bytes of a member's random id in a combined call, terminator included */

/* A call ready to send. Owns everything in it. */
struct provider_call {
    char *url;
    char *headers;   /* "Name: value\n" lines, terminated; without Content-Length. May hold the key: wiped by
                        provider_call_fini. */
    struct buf body; /* JSON */
    enum provider_mode mode;
    size_t members;
    char (*ids)[PROVIDER_ID_SIZE]; /* combined calls of more than one member: one id each; else NULL */
};

/*
 * Builds the call for n >= 1 members that share a batch key. n == 1 is always a plain call, whatever the
 * mode. random fills bytes (libsodium in production, a seeded generator in tests). ERR_LIMIT: larger than
 * max_body_bytes. ERR_INVAL: a header value with CR or LF; e says which. ERR_NOMEM.
 */
MUST_CHECK
int provider_encode(const struct provider *p, enum provider_mode mode, const struct provider_member *members,
                    size_t n, size_t max_body_bytes, void (*random)(void *arg, void *bytes, size_t n),
                    void *random_arg, struct provider_call *ret_call, struct err *e);
void provider_call_fini(struct provider_call *c);

/* bytes/3, the estimate of api.md for what a member takes of the context: prompt, system prompt, and
 * max_tokens for the answer. */
uint64_t provider_estimate_tokens(const struct provider_member *m);

/* What came back, as the upstream saw it. */
enum transport {
    TRANSPORT_COMPLETE, /* a whole HTTP response */
    TRANSPORT_NOT_SENT, /* certainly no byte of the request was read: connect, TLS or DNS failed */
    TRANSPORT_LOST      /* reset, time-out, cut short, too large: it may have run */
};
struct provider_response {
    enum transport transport;
    int status;                /* COMPLETE */
    struct slice content_type; /* may be absent */
    struct slice retry_after;  /* header value; may be absent */
    struct slice body;
    const char *transport_error; /* NOT_SENT, LOST: a sentence; static or lent */
};

enum verdict {
    VERDICT_ANSWERED, /* text is its answer */
    VERDICT_MISSING,  /* a complete answer that does not hold its part: ask for it again, alone */
    VERDICT_FILTERED, /* the content filter stopped the call: bisect when it had several members, else final
                       */
    VERDICT_FAILED,   /* certainly not bought: complete 4xx, 429, 500, 503, or not sent */
    VERDICT_UNKNOWN   /* it may have been bought: lost, or 502/504 and any other 5xx */
};

/* What the call came to for one member. Slices lend from the arena given to provider_decode. */
struct provider_part {
    enum verdict verdict;
    struct slice text;                         /* ANSWERED */
    struct slice finish_reason;                /* ANSWERED: "stop", "length", … */
    uint64_t prompt_tokens, completion_tokens; /* its share of the call's usage; shares add up to the whole */
    double confidence; /* exp(mean log-probability) when the provider gave them, else NaN */
};

/* What the call came to as a whole. */
struct provider_outcome {
    struct provider_part *parts;               /* members, in the order of provider_encode; from the arena */
    uint64_t prompt_tokens, completion_tokens; /* the call's usage (estimated for mock) */
    bool discarded; /* a combined answer was thrown away whole (doubled, extra, mismatched ids, unparseable,
                       truncated) */
    /* When not every part is ANSWERED: why, for the client. */
    int status;        /* HTTP status for the client (api.md): 400, 401, 429, 502, 503, 504 … */
    bool retry_helps;  /* FAILED only: waiting may help (429 without quota exhaustion, 500, 503, not sent) */
    bool rate_limited; /* the provider said 429 */
    uint32_t retry_after_ms;             /* 0: it did not say */
    const char *error_type, *error_code; /* static */
    struct slice message;                /* a sentence; from the arena. Never holds the key. */
    struct slice discard_reason;         /* discarded: why, for the log */
};

/* Never fails for what the provider sent, however hostile: that becomes verdicts. ERR_NOMEM only. */
MUST_CHECK
int provider_decode(const struct provider *p, const struct provider_call *call,
                    const struct provider_member *members, const struct provider_response *response,
                    struct arena *arena, struct provider_outcome *ret_outcome);

/* The embedded mock: answers n members as `Processed: <prompt>`. */
MUST_CHECK
int mock_answer(const struct provider_member *members, size_t n, struct arena *arena,
                struct provider_outcome *ret_outcome);

#endif
