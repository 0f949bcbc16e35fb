/*
 * Providers: what a language model's HTTP API wants to read and what it answers, one codec a kind (mock,
 * openai, gemini, model_service). Pure: bytes in, bytes out; no I/O, no clock. The coordinator's
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
    bool array_missing;    /* it said of late that it has no call of several prompts and no text completion */
    bool logprobs_missing; /* it said of late that it gives no log-probabilities */
};

/* One prompt of a call. Slices lend. */
struct provider_member {
    struct slice prompt;        /* empty only when messages end with the question */
    struct slice system_prompt; /* may be absent, as all below */
    struct slice messages;      /* JSON array of a history, each {"role", "content"} as OpenAI has it */
    struct slice model;         /* absent: the provider's default */
    struct slice extra;         /* JSON object of further parameters, named as OpenAI names them */
    bool completion;            /* the prompt is a text to be continued, not a question */
    bool verbatim; /* messages and extra (of a completion extra alone, its prompt in it) are OpenAI's request
                      but for model, stream and stream_options: nothing is added to it, neither prompt,
                      temperature nor max_tokens, and the part has the response. Goes alone. */
    bool stream; /* with verbatim: asked for as a stream, see stream.h; the caller's wish, which the codec may
                    not be able to grant: then call.streams is false, and the answer comes in one */
    struct slice id;     /* with verbatim, as created_s: what its response is called where the provider does
                            not say, without "chatcmpl-"; [A-Za-z0-9-], at most PROVIDER_NAME_SIZE - 1 bytes */
    uint64_t created_s;  /* Unix time of that response */
    bool confidence;     /* wanted, if the provider can say it and the call is this member's alone */
    double temperature;  /* NaN: leave it to the provider */
    uint32_t max_tokens; /* never 0 */
    enum priority priority;
};

#define PROVIDER_NAME_SIZE 64
#define PROVIDER_ID_SIZE   12 /* bytes of a member's random id in a combined call, terminator included */

/* A call ready to send. Owns everything in it. */
struct provider_call {
    char *url;
    char *socket;    /* path of the Unix socket to reach it by; NULL: by the network */
    char *headers;   /* "Name: value\n" lines, terminated; without Content-Length. May hold the key: wiped by
                        provider_call_fini. */
    struct buf body; /* JSON; empty for GET */
    bool is_get;
    bool streams; /* the response is a stream of events, to be read by stream.h, if it is a 200 and says so */
    bool verbatim, completion;   /* what its one member is */
    char id[PROVIDER_NAME_SIZE]; /* with verbatim, as the next three: what the member says */
    char *model;
    uint64_t created_s;
    uint64_t prompt_tokens; /* estimated: a stream may end without a word on its usage */
    bool ends_in_word;      /* a verbatim completion that is asked for in words: its prompt does */
    enum provider_mode mode;
    size_t members;
    bool logprobs;                 /* asked for */
    char (*ids)[PROVIDER_ID_SIZE]; /* combined calls of more than one member: one id each; else NULL */
};

/* The mode a kind works in when mode is configured: MODE_DEFAULT resolved (combined for gemini and openai,
 * array for model_service, concurrent for mock, which makes no calls), and combined where the provider has
 * no native call of several prompts (gemini in array mode). */
enum provider_mode provider_mode_for(enum provider_kind kind, enum provider_mode mode);
/* Whether nothing is answered there without a key: at the public addresses of OpenAI and Gemini, which an
 * empty base_url means too. A server of one's own may do without. */
bool provider_needs_key(enum provider_kind kind, const char *base_url);
/* Whether a key that a caller brought may be sent to that kind of provider: such a key is one of OpenAI's. */
bool provider_takes_caller_key(enum provider_kind kind);
/* Whether a provider of that kind could take the model's name (gemini puts it into the URL). */
bool provider_model_ok(enum provider_kind kind, struct slice model);
/* False for a member that must go alone in that mode: a continuation (but in array mode), a history, an empty
 * prompt, or parameters in extra that would break or change a shared answer (stop, response_format, tools, …:
 * all but a short list of sampling ones). */
bool provider_combinable(const struct provider_member *m, enum provider_mode mode);

/*
 * Builds the call for n >= 1 members that share a batch key. n == 1 is a plain call, whatever the mode, with
 * two exceptions while the provider is not known to lack it: a continuation takes the provider's text
 * completion where it has one (and is asked for in words where it has not), and to a model service, which
 * knows one kind of prompt only, one prompt in array mode is an array of one. random fills bytes (libsodium
 * in production, a seeded generator in tests). ERR_LIMIT: larger than max_body_bytes. ERR_NOT_FOUND: the
 * provider has no counterpart of what a member asks for; the sentence in e is "name: …" with the name of the
 * parameter ("messages", "tools", …). ERR_INVAL, with a sentence in e: a header value with CR or LF, a
 * base_url or a model name that makes no URL, messages or extra that are no such JSON, several members in
 * concurrent mode or with one that is not combinable, a kind that makes no calls. ERR_NOMEM.
 */
MUST_CHECK
int provider_encode(const struct provider *p, enum provider_mode mode, const struct provider_member *members,
                    size_t n, size_t max_body_bytes, void (*random)(void *arg, void *bytes, size_t n),
                    void *random_arg, struct provider_call *ret_call, struct err *e);
void provider_call_fini(struct provider_call *c);

/* bytes/3, the estimate of api.md for what a member takes of the context: prompt, system prompt, and
 * max_tokens for the answer. What a verbatim member carries in base64 (images) counts a fixed number. */
uint64_t provider_estimate_tokens(const struct provider_member *m);
/* How many answers of max_tokens each the member may come to: more than one is for verbatim ones to ask for,
 * by n, best_of and several prompts. At most a million. */
uint64_t provider_answers(const struct provider_member *m);

/* What came back, as the upstream saw it. */
enum transport {
    TRANSPORT_COMPLETE, /* a whole HTTP response */
    TRANSPORT_NOT_SENT, /* certainly no byte of the request was read: connect, TLS or DNS failed */
    TRANSPORT_LOST,     /* reset, cut short, too large: it may have run */
    TRANSPORT_TIMED_OUT /* no whole response in the time a call may take: it may have run */
};
struct provider_response {
    enum transport transport;
    int status;                /* COMPLETE */
    struct slice content_type; /* may be absent */
    struct slice retry_after;  /* header value; may be absent */
    struct slice body;
    const char *transport_error; /* not COMPLETE: a sentence; static or lent */
};

enum verdict {
    VERDICT_ANSWERED, /* text is its answer */
    VERDICT_MISSING,  /* a complete answer that does not hold its part: ask for it again, alone */
    VERDICT_FILTERED, /* the content filter stopped the call: bisect when it had several, else final */
    VERDICT_FAILED,   /* certainly not bought: complete 4xx, 429, 500, 503, or not sent */
    VERDICT_UNKNOWN   /* it may have been bought: lost, or 502/504 and any other 5xx */
};

/* What the call came to for one member. Slices lend from the arena given to provider_decode. */
struct provider_part {
    enum verdict verdict;
    struct slice text;          /* ANSWERED */
    struct slice finish_reason; /* ANSWERED: "stop", "length", … */
    struct slice response; /* ANSWERED, of a verbatim member: the response as OpenAI's JSON object, one value;
                              text is its first choice's, empty where that has none (tool calls) */
    uint64_t prompt_tokens, completion_tokens; /* its share of the call's usage; shares add up to the whole */
    double confidence; /* exp(mean log-probability) when the provider gave them, else NaN */
};

/* What the call came to as a whole. */
struct provider_outcome {
    struct provider_part *parts;               /* members, in the order of provider_encode; from the arena */
    uint64_t prompt_tokens, completion_tokens; /* the call's usage (estimated for mock) */
    bool discarded;   /* a combined answer was thrown away whole (doubled, extra, mismatched ids, unparseable,
                         truncated) */
    bool nothing_ran; /* MISSING only because the call was refused as a whole: asking again pays for nothing
                         twice, and a member that then fails was never bought */
    bool array_missing;    /* nothing_ran, since the provider has no call of several prompts, or no text
                              completion: ask otherwise for a while (provider.array_missing) */
    bool logprobs_missing; /* nothing_ran, since the provider gives no log-probabilities: ask without for a
                              while (provider.logprobs_missing) */
    bool loading;          /* the server is still loading its model: FAILED, and only a matter of time */
    bool away;             /* nobody was there, or not to the end: the connection failed */
    /* When not every part is ANSWERED: why, for the client. */
    int status; /* HTTP status for the client (api.md): 400, 401, 429, 502, 503, 504 …; 0 when all are.
                   401 is the provider's word on the key: the client's own business only when the client
                   brought it; with the server's key the coordinator makes it 502. */
    bool retry_helps;  /* FAILED only: waiting may help (429 without quota exhaustion, 500, 503, not sent) */
    bool rate_limited; /* the provider said 429 */
    uint32_t retry_after_ms;             /* 0: it did not say */
    const char *error_type, *error_code; /* static */
    struct slice message; /* a sentence; from the arena. Never holds the key. The provider's own words where
                             it refused a verbatim member and said why. */
    struct slice param;   /* the parameter that it then named; may be absent */
    struct slice discard_reason; /* discarded: why, for the log */
};

/*
 * Never fails for what the provider sent, however hostile: that becomes verdicts. ERR_NOMEM only. A complete
 * answer of another shape (HTML with 200, a refused shape of JSON) is MISSING for all with status 502. So is
 * a call of several members that the provider refused as such (400, 413, 422: too long for its context, too
 * many max_tokens, no structured output), with status 400 and nothing_ran: each member alone may pass.
 */
MUST_CHECK
int provider_decode(const struct provider *p, const struct provider_call *call,
                    const struct provider_member *members, const struct provider_response *response,
                    struct arena *arena, struct provider_outcome *ret_outcome);

/*
 * A question to a model server that costs nothing: is it there, is its model loaded, does it have the one
 * that is configured? encode: ERR_NOT_FOUND for providers that are not asked (OpenAI, Gemini, mock),
 * ERR_INVAL, ERR_NOMEM. decode: 0: all is well, as far as it says; else what is wrong, in a sentence.
 */
MUST_CHECK
int provider_probe_encode(const struct provider *p, struct provider_call *ret_call, struct err *e);
MUST_CHECK
int provider_probe_decode(const struct provider *p, const struct provider_response *response,
                          struct err *ret_fault);

/* The embedded mock: answers n members as `Processed: <prompt>`. A verbatim member's prompt is that of its
 * record, and it gets one choice: more are refused. */
MUST_CHECK
int mock_answer(const struct provider_member *members, size_t n, struct arena *arena,
                struct provider_outcome *ret_outcome);

#endif
