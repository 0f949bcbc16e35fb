/*
 * What a provider's codec gives to provider.c and decode.c: one table of functions a kind. A codec knows its
 * provider's JSON and nothing of verdicts, batches or shares. Private to lib/provider.
 */
#ifndef CARPOOL_PROVIDER_CODEC_H
#define CARPOOL_PROVIDER_CODEC_H

#include <cjson/cJSON.h>

#include "provider/combined.h"
#include "provider/provider.h"
#include "json/write.h"

/* One model's text out of a response. Slices lend from the tree or the arena. */
struct codec_answer {
    bool present;               /* the response holds an answer of the provider's shape, if perhaps no text */
    struct slice text;          /* may be absent */
    struct slice finish_reason; /* in OpenAI's words: "stop", "length", "content_filter", … */
    struct slice refusal;       /* what the model or the filter said when it would not answer */
    bool truncated;             /* max_tokens were used up */
    bool filtered;              /* stopped by a content filter, or refused */
    double confidence;          /* NaN: unknown */
};

struct codec_answers {
    struct codec_answer
        *items; /* n of them, zeroed but for confidence NaN: the members' in array mode, else 1 */
    size_t n;
    const char *unusable; /* array mode: why nothing of it can be told apart; NULL: it can */
    uint64_t prompt_tokens, completion_tokens; /* 0 where the provider did not say */
};

/* What an error body says. Slices lend from the tree. */
struct codec_error {
    struct slice message; /* may be absent, as the next */
    struct slice param;   /* the parameter that was refused */
    bool auth;            /* the key is the matter, whatever the status says */
    bool filtered;        /* a content filter refused the prompt */
    bool quota;           /* waiting does not help */
    bool context;         /* prompt and answer do not fit into the context */
    bool loading;         /* the model is still being loaded: a matter of time */
    uint32_t retry_after_ms;
};

struct codec {
    const char *default_base_url;
    bool has_array;         /* a native call of several prompts, and text completion */
    bool continues;         /* a plain call continues its prompt, too, rather than answers it */
    bool echoes;            /* a continuation may come with its prompt in front */
    const char *probe_path; /* what answers GET without costing anything; NULL: nothing does */
    const char *key_header, *key_scheme;
    /* Fills url, headers and body of a call whose mode, members and ids are set. */
    MUST_CHECK
    int (*encode)(const struct provider *p, const struct provider_member *members, size_t n,
                  struct provider_call *call, struct err *e);
    /* The same for a verbatim member. */
    MUST_CHECK
    int (*encode_verbatim)(const struct provider *p, const struct provider_member *m,
                           struct provider_call *call, struct err *e);
    /* A response to it, parsed and as it stands, as OpenAI's JSON object from the arena; absent: it is no
     * answer. NULL: what comes is that object. Only ERR_NOMEM. */
    MUST_CHECK
    int (*response)(const cJSON *root, struct slice body, const struct provider_call *call,
                    struct arena *arena, struct slice *ret_response);
    /* root may be NULL. Only ERR_NOMEM. */
    MUST_CHECK
    int (*answers)(const cJSON *root, enum provider_mode mode, struct arena *arena,
                   struct codec_answers *ret);
    /* Returns false when the tree (root may be NULL) is no error of this provider. */
    bool (*error)(const cJSON *root, struct codec_error *ret_error);
};

extern const struct codec codec_openai, codec_gemini, codec_model_service;
bool gemini_model_ok(struct slice model);
MUST_CHECK
int openai_encode_verbatim(const struct provider *p, const struct provider_member *m,
                           struct provider_call *call, struct err *e);
MUST_CHECK
int model_service_encode_verbatim(const struct provider *p, const struct provider_member *m,
                                  struct provider_call *call, struct err *e);
MUST_CHECK
int model_service_response(const cJSON *root, struct slice body, const struct provider_call *call,
                           struct arena *arena, struct slice *ret_response);
/* The first choice of OpenAI's response to a verbatim member, and the usage; ret->items[0] as answers(). */
MUST_CHECK
int openai_first_choice(const cJSON *root, struct arena *arena, struct codec_answers *ret);

extern const char codec_continue[]; /* the instruction to continue a text, for who only answers */
extern const char codec_vendor[];   /* the address of OpenAI itself, which needs no asking how it is */

/* NULL for kinds that make no HTTP calls. */
const struct codec *codec_for(enum provider_kind kind);

/* The model of a call: the first member's, else the provider's default. */
struct slice codec_model(const struct provider *p, const struct provider_member *m);
/* Sets the call's url (and socket, for a base_url "unix:/path"): base_url (p's or the codec's default)
 * without its trailing slashes and path after it; checked to be a URL without spaces, control characters,
 * query or fragment. ERR_INVAL, ERR_NOMEM. */
MUST_CHECK
int codec_url(const struct provider *p, const char *default_base_url, const char *path,
              struct provider_call *call, struct err *e);
/* JSON headers (of a call that streams, events are accepted first) and, when there is a key, a line of name,
 * scheme and key. The call wipes and frees. */
MUST_CHECK
int codec_headers(const struct provider *p, const char *name, const char *scheme, struct provider_call *call,
                  struct err *e);
/* What compose (combined_instruction, combined_questions) writes, as a JSON string into w; the schema as a
 * value. */
void codec_combined_text(struct json_writer *w,
                         void (*compose)(struct buf *out, const struct provider_member *members, size_t n,
                                         char (*ids)[PROVIDER_ID_SIZE]),
                         const struct provider_member *members, const struct provider_call *call);
void codec_combined_schema(struct json_writer *w, const struct provider_call *call,
                           enum combined_dialect dialect);

/* "17", "1.5", "17s", "250ms" as milliseconds, at most a day; 0 for anything else, HTTP dates included, since
 * there is no clock here. */
uint32_t codec_duration_ms(struct slice text);
/* A whole count of 0 .. 1e9; 0 for everything else. */
uint64_t codec_count(const cJSON *object, const char *key);
/* The string under key, absent when it is none. Lends. */
struct slice codec_text(const cJSON *object, const char *key);
/* Appends to a text that grows in the arena; copies only when there was one already. ERR_NOMEM. */
MUST_CHECK
int codec_text_append(struct arena *arena, struct slice *text, struct slice more);

#endif
