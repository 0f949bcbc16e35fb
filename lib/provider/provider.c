/*
 * The switchboard: which codec builds a call, in which mode, within which limits. decode.c is the way back.
 * Called by the coordinator's dispatch.
 */
#include "provider/provider.h"

#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "provider/codec.h"
#include "provider/option.h"

/* Escapes lengthen a byte at most seven times (a control character inside JSON inside a JSON string), and
 * every member adds an id, a schema entry and a length; so a body that passed the check of its parts never
 * meets this ceiling, and a failed buffer means an exhausted heap. */
#define BODY_GROWTH 8
#define BODY_MEMBER 4096

#define PICTURE_TOKENS 1000 /* OpenAI counts 85 to 1,445, Gemini 258 a tile */
#define ANSWERS_MAX    1000000
#define NUMBER_BYTES   64

enum provider_mode provider_mode_for(enum provider_kind kind, enum provider_mode mode)
{
    const struct codec *codec = codec_for(kind);
    if (mode == MODE_DEFAULT) {
        if (kind == PROVIDER_MOCK)
            return MODE_CONCURRENT;
        return kind == PROVIDER_MODEL_SERVICE ? MODE_ARRAY : MODE_COMBINED;
    }
    return mode == MODE_ARRAY && codec && !codec->has_array ? MODE_COMBINED : mode;
}

bool provider_model_ok(enum provider_kind kind, struct slice model)
{
    return kind != PROVIDER_GEMINI || gemini_model_ok(model);
}

bool provider_needs_key(enum provider_kind kind, const char *base_url)
{
    const struct codec *codec = codec_for(kind);
    if (!codec || kind == PROVIDER_MODEL_SERVICE)
        return false;
    size_t n = strcspn(codec->default_base_url + strlen("https://"), "/") + strlen("https://");
    bool public = strncasecmp(base_url, codec->default_base_url, n) == 0;
    return !base_url[0] || (public && strchr("/:", base_url[n])); /* strchr finds the end, too */
}

bool provider_takes_caller_key(enum provider_kind kind)
{
    return kind == PROVIDER_OPENAI;
}

bool provider_combinable(const struct provider_member *m, enum provider_mode mode)
{
    if (m->verbatim || m->messages.n || !m->prompt.n || (m->completion && mode != MODE_ARRAY))
        return false;
    if (!m->extra.n)
        return true;
    if (extra_check(m->extra, '{', "extra", NULL))
        return false;
    struct extra_item item;
    for (size_t at = 0; extra_next(m->extra, &at, &item);)
        if (!option_sampling(item.key))
            return false;
    return true;
}

/* The bytes of text but for what stands there in base64, each of which counts as if it were a picture. */
static uint64_t text_bytes(struct slice text)
{
    static const struct slice mark = SLICE_LITERAL(";base64,");
    if (!text.n)
        return 0;
    uint64_t bytes = text.n;
    const char *at = text.p, *end = text.p + text.n;
    while ((at = memmem(at, (size_t)(end - at), mark.p, mark.n))) {
        const char *quote = memchr(at, '"', (size_t)(end - at)), *past = quote ? quote : end;
        bytes += 3 * PICTURE_TOKENS;
        bytes -= (uint64_t)(past - at);
        at = past;
    }
    return bytes;
}

uint64_t provider_estimate_tokens(const struct provider_member *m)
{
    uint64_t bytes = m->verbatim ? text_bytes(m->messages) + text_bytes(m->extra)
                                 : (uint64_t)m->prompt.n + m->system_prompt.n + m->messages.n;
    return (bytes + 2) / 3 + m->max_tokens;
}

/* A number of times that a client wrote, in whatever way; 1: none, or no such number. */
static uint64_t times(struct slice value)
{
    char text[NUMBER_BYTES];
    if (!option_is_number(value))
        return 1;
    snprintf(text, sizeof(text), "%.*s", (int)value.n, value.p);
    double n = ceil(strtod(text, NULL));
    return n > ANSWERS_MAX ? ANSWERS_MAX : n > 1 ? (uint64_t)n : 1;
}

/* An array of numbers is one prompt, in tokens. */
static uint64_t prompts(struct slice prompt)
{
    struct slice element;
    uint64_t n = 0;
    if (!prompt.n || prompt.p[0] != '[')
        return 1;
    for (size_t at = 0; n < ANSWERS_MAX && extra_element(prompt, &at, &element); n++)
        if (option_is_number(element))
            return 1;
    return n > 1 ? n : 1;
}

uint64_t provider_answers(const struct provider_member *m)
{
    if (!m->verbatim || extra_check(m->extra, '{', "extra", NULL))
        return 1;
    uint64_t n = times(extra_get(m->extra, "n")), best = 1;
    if (m->completion) {
        best = times(extra_get(m->extra, "best_of"));
        n = (best > n ? best : n) * prompts(extra_get(m->extra, "prompt"));
    }
    return n < ANSWERS_MAX ? n : ANSWERS_MAX;
}

void provider_call_fini(struct provider_call *c)
{
    if (!c)
        return;
    if (c->headers)
        sodium_memzero(c->headers, strlen(c->headers));
    free(c->headers);
    free(c->url);
    free(c->model);
    free(c->socket);
    free(c->ids);
    buf_fini(&c->body);
    *c = (struct provider_call){0};
}

static int check_members(enum provider_mode mode, const struct provider_member *members, size_t n,
                         size_t max_body_bytes, struct err *e)
{
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        const struct provider_member *m = &members[i];
        bytes += m->prompt.n + m->system_prompt.n + m->messages.n + m->extra.n;
        if (n > 1 && !provider_combinable(m, mode))
            return err_set(e, ERR_INVAL, "A prompt with a history or parameters of its own shares no call.");
    }
    if (n > 1 && mode == MODE_CONCURRENT)
        return err_set(e, ERR_INVAL, "In concurrent mode a call carries one prompt.");
    if (bytes > max_body_bytes)
        return err_set(e, ERR_LIMIT, "The call would be larger than %zu bytes.", max_body_bytes);
    return 0;
}

static int make_ids(const struct provider_member *members, size_t n,
                    void (*random)(void *arg, void *bytes, size_t n), void *random_arg,
                    char (**ret_ids)[PROVIDER_ID_SIZE], struct err *e)
{
    char(*ids)[PROVIDER_ID_SIZE] = calloc(n, sizeof(*ids));
    if (!ids)
        return ERR_NOMEM;
    int rc = combined_ids(members, n, random, random_arg, ids);
    if (rc) {
        free(ids);
        return err_set(e, rc, "The random source repeats itself, so no ids can be made.");
    }
    *ret_ids = ids;
    return 0;
}

/* For a provider that only answers: what to do stands in the system prompt (whoever asks for a continuation
 * has none of their own). */
static struct provider_member tell_to_continue(const struct provider_member *m)
{
    struct provider_member told = *m;
    told.system_prompt = slice_of(codec_continue);
    return told;
}

static int encode_verbatim(const struct codec *codec, const struct provider *p,
                           const struct provider_member *m, struct provider_call *call, struct err *e)
{
    struct slice model = codec_model(p, m);
    call->mode = MODE_CONCURRENT;
    call->verbatim = true;
    call->completion = m->completion;
    call->created_s = m->created_s;
    call->prompt_tokens = provider_estimate_tokens(m) - m->max_tokens;
    snprintf(call->id, sizeof(call->id), "%.*s", (int)m->id.n, m->id.n ? m->id.p : "");
    call->model = strndup(model.n ? model.p : "", model.n);
    if (!call->model)
        return ERR_NOMEM;
    return codec->encode_verbatim(p, m, call, e);
}

int provider_encode(const struct provider *p, enum provider_mode mode, const struct provider_member *members,
                    size_t n, size_t max_body_bytes, void (*random)(void *arg, void *bytes, size_t n),
                    void *random_arg, struct provider_call *ret_call, struct err *e)
{
    const struct codec *codec = codec_for(p->kind);
    if (!codec)
        return err_set(e, ERR_INVAL, "A provider of kind %s makes no calls over HTTP.",
                       conf_provider_name(p->kind));
    struct provider_call call = {.members = n};
    call.mode = n == 1 ? MODE_CONCURRENT : provider_mode_for(p->kind, mode);
    bool array_of_one = codec->continues ? mode == MODE_ARRAY : members[0].completion;
    if (n == 1 && array_of_one && codec->has_array && !p->array_missing)
        call.mode = MODE_ARRAY;
    buf_init(&call.body, max_body_bytes * BODY_GROWTH + (n + 1) * BODY_MEMBER);

    int rc = check_members(call.mode, members, n, max_body_bytes, e);
    if (rc)
        goto out;
    if (call.mode == MODE_COMBINED)
        rc = make_ids(members, n, random, random_arg, &call.ids, e);
    if (rc)
        goto out;
    struct provider_member told;
    bool told_what = members[0].completion && !members[0].verbatim && call.mode != MODE_ARRAY;
    if (n == 1 && told_what && !codec->continues) {
        told = tell_to_continue(&members[0]);
        members = &told;
    }
    rc = members[0].verbatim ? encode_verbatim(codec, p, &members[0], &call, e)
                             : codec->encode(p, members, n, &call, e);
    if (rc)
        goto out;
    if (buf_failed(&call.body))
        rc = ERR_NOMEM;
    else if (call.body.len > max_body_bytes)
        rc = err_set(e, ERR_LIMIT, "The call is larger than %zu bytes.", max_body_bytes);
out:
    if (rc == ERR_NOMEM)
        err_set(e, ERR_NOMEM, "Memory ran out while a call was built.");
    if (rc)
        provider_call_fini(&call);
    else
        *ret_call = call;
    return rc;
}
