/*
 * POST /invoke (source 4): one prompt with everything that belongs to it: system prompt, history, model,
 * sampling, and perhaps the caller's own key, which is handed on and kept nowhere.
 */
#include <math.h>
#include <sodium.h>
#include <stdio.h>

#include "base/clock.h"
#include "provider/provider.h"
#include "wire/frame.h"
#include "worker/answer.h"
#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/fields.h"
#include "worker/models.h"
#include "worker/prompt.h"
#include "worker/state.h"
#include "json/read.h"

#define MAX_TOKENS_MAX 1000000
#define KEY_MAX        500 /* bytes of a caller's key */
#define KEY_FIELD      "openai_api_key"
#define SETTLE_US      (5 * US_PER_S) /* for a coordinator to start and say what is in force */

static bool refuse_key(struct exchange *x)
{
    problem_respond_details(x, PROBLEM_INVALID_API_KEY, KEY_FIELD,
                            SLICE_LITERAL("{\"expected_format\":\"sk-...\"}"),
                            "Invalid OpenAI API key format");
    return false;
}

/* It goes into a header, so nothing may be in it that means something there; nor anything that JSON writes
 * otherwise, since it must be found, to be struck out, in what a provider says of it. */
static bool get_key(struct exchange *x, const cJSON *root, struct slice *ret_key)
{
    struct slice key = {0};
    if (json_get_text(root, KEY_FIELD, KEY_MAX, &key, NULL, NULL))
        return refuse_key(x);
    if (key.p && (key.n <= 3 || memcmp(key.p, "sk-", 3) != 0))
        return refuse_key(x);
    for (size_t i = 0; i < key.n; i++)
        if (key.p[i] <= ' ' || key.p[i] >= 0x7f || strchr("\"\\'<>&", key.p[i]))
            return refuse_key(x);
    if (key.p && request_lists(x->request.prefer, "respond-async")) {
        problem_respond(x, PROBLEM_ASYNC_WITH_KEY, KEY_FIELD,
                        "A request that brings its own provider key cannot be answered later, since that key "
                        "is never stored; leave Prefer: respond-async out.");
        return false;
    }
    *ret_key = key;
    return true;
}

static bool get_sampling(struct exchange *x, const cJSON *root, struct wire_submit *m)
{
    struct err e = {0};
    uint64_t tokens = 0; /* as the settings have it */
    if (json_get_double(root, "temperature", 0, 2, &m->temperature, NULL, &e)) {
        problem_respond(x, PROBLEM_INVALID_TEMPERATURE, "temperature", "%s", e.text);
        return false;
    }
    if (json_get_u64(root, "max_tokens", 1, MAX_TOKENS_MAX, &tokens, NULL, &e)) {
        problem_respond(x, PROBLEM_INVALID_MAX_TOKENS, "max_tokens", "%s", e.text);
        return false;
    }
    m->max_tokens = (uint32_t)tokens;
    return true;
}

static bool get_system_prompt(struct exchange *x, const cJSON *root, struct slice *ret_prompt)
{
    struct err e = {0};
    if (json_get_text(root, "system_prompt", x->request.body.max, ret_prompt, NULL, &e)) {
        problem_respond(x, PROBLEM_INVALID_SYSTEM_PROMPT, "system_prompt", "%s", e.text);
        return false;
    }
    if (ret_prompt->p && field_is_blank(*ret_prompt))
        *ret_prompt = (struct slice){0};
    return true;
}

/* "system", "human" and "ai" as the providers call them; NULL: none of them. */
static const char *role_of(const cJSON *message)
{
    static const char *const roles[][2] = {{"system", "system"}, {"human", "user"}, {"ai", "assistant"}};
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(message, "type");
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (cJSON_IsString(type) && !strcmp(type->valuestring, roles[i][0]))
            return roles[i][1];
    return NULL;
}

static bool write_message(struct exchange *x, struct json_writer *w, const cJSON *message, unsigned i)
{
    const char *role = role_of(message);
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content");
    bool text = cJSON_IsString(content) && !field_is_blank(slice_of(content->valuestring));
    char field[48];
    if (!role || !text) {
        snprintf(field, sizeof(field), "messages[%u]%s", i,
                 !cJSON_IsObject(message) ? ""
                 : !role                  ? ".type"
                                          : ".content");
        problem_respond(x, PROBLEM_INVALID_MESSAGES, field, "%s must be %s.", field,
                        !cJSON_IsObject(message) ? "an object with type and content"
                        : !role                  ? "system, human or ai"
                                                 : "a text that holds more than white space");
        return false;
    }
    json_object_begin(w);
    json_field_cstr(w, "role", role);
    json_field_cstr(w, "content", content->valuestring);
    json_object_end(w);
    return true;
}

/* The history as the providers' codecs read it, in out; absent when there is none. */
static bool get_messages(struct exchange *x, const cJSON *root, struct buf *out, struct wire_submit *m)
{
    const cJSON *messages = cJSON_GetObjectItemCaseSensitive(root, "messages"), *message;
    struct json_writer w;
    unsigned i = 0;
    if (!messages || cJSON_IsNull(messages))
        return true;
    if (!cJSON_IsArray(messages)) {
        problem_respond(x, PROBLEM_INVALID_MESSAGES, "messages",
                        "messages must be an array of objects with type and content.");
        return false;
    }
    json_writer_init(&w, out);
    json_array_begin(&w);
    cJSON_ArrayForEach (message, messages)
        if (!write_message(x, &w, message, i++))
            return false;
    json_array_end(&w);
    if (buf_failed(out)) {
        problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for this request now.");
        return false;
    }
    if (i) {
        m->messages = buf_slice(out);
        m->flags |= SUBMIT_ALONE;
    }
    return true;
}

static bool get_all(struct exchange *x, const cJSON *root, struct buf *history, struct wire_submit *m)
{
    return field_request_id(x, root, &m->request_id) && field_prompt(x, root, "user_prompt", &m->prompt) &&
           get_key(x, root, &m->caller_key) && field_model(x, root, &m->model) && get_sampling(x, root, m) &&
           get_system_prompt(x, root, &m->system_prompt) && get_messages(x, root, history, m) &&
           field_priority(x, root, &m->priority) && field_username(x, root, &m->username) &&
           field_metadata(x, root, &m->metadata) && field_created_now(x, &m->created_at);
}

static bool is_offered(const struct settings *s, const char *models, struct slice model)
{
    struct slice name;
    bool any = false;
    if (s->provider != PROVIDER_OPENAI && s->provider != PROVIDER_MOCK)
        return provider_model_ok(s->provider, model);
    while (models_next(&models, &name)) {
        any = true;
        if (slice_equal(name, model))
            return true;
    }
    return !any || slice_is(model, s->model);
}

/* What the settings in force have against the request; PROBLEMS: nothing. */
static enum problem objection(const struct wire_submit *m, const struct settings *s, const char *models)
{
    if (m->caller_key.p && s->provider != PROVIDER_MOCK && !provider_takes_caller_key(s->provider))
        return PROBLEM_API_KEY_NOT_ACCEPTED;
    if (!m->caller_key.p && !s->has_key && provider_needs_key(s->provider, s->base_url))
        return PROBLEM_MISSING_API_KEY;
    if (m->model.p && !is_offered(s, models, m->model))
        return PROBLEM_INVALID_MODEL;
    return PROBLEMS;
}

static void refuse_model(struct exchange *x, const struct settings *s)
{
    const char *models = x->worker->conf->provider.models;
    struct json_writer w;
    struct buf details;
    struct slice name;
    bool listed = false;
    buf_init(&details, 8 * CONF_TEXT);
    json_writer_init(&w, &details);
    json_object_begin(&w);
    json_key(&w, "supported_models");
    json_array_begin(&w);
    while (s->provider != PROVIDER_GEMINI && models_next(&models, &name)) {
        json_text(&w, name);
        listed = listed || slice_is(name, s->model);
    }
    if (!listed)
        json_text(&w, slice_of(s->model));
    json_array_end(&w);
    json_object_end(&w);
    problem_respond_details(x, PROBLEM_INVALID_MODEL, "model",
                            buf_failed(&details) ? (struct slice){0} : buf_slice(&details),
                            "This model is not offered here; ask for one of supported_models, or for none.");
    buf_fini(&details);
}

static void refuse(struct exchange *x, enum problem p, const struct settings *s)
{
    const char *provider = conf_provider_name(s->provider);
    if (p == PROBLEM_INVALID_MODEL)
        refuse_model(x, s);
    else if (p == PROBLEM_API_KEY_NOT_ACCEPTED)
        problem_respond(x, p, KEY_FIELD,
                        "The provider here is %s, and a key that a request brings is sent to an OpenAI one "
                        "only; leave openai_api_key out.",
                        provider);
    else if (s->provider == PROVIDER_OPENAI)
        problem_respond(x, p, KEY_FIELD,
                        "This server has no OpenAI key of its own: send yours as openai_api_key, or have the "
                        "administrator set OPENAI_API_KEY or put api_key to /v1/settings.");
    else
        problem_respond(x, p, KEY_FIELD,
                        "This server has no key for its provider, %s, and none that a request brings is sent "
                        "there; have the administrator put api_key to /v1/settings.",
                        provider);
}

/* Before it is refused for what the settings say, a coordinator is brought up, which first of all stores what
 * is in force now: what is stored may be of a run with another configuration. */
static bool accept_terms(struct exchange *x, struct wire_submit *m)
{
    const char *models = x->worker->conf->provider.models;
    struct settings s;
    struct err e;
    worker_settings(x->worker, &s);
    enum problem p = objection(m, &s, models);
    if (p != PROBLEMS && !link_connect(&x->link, LINK_AUTOSTART, x->request.accepted_us + SETTLE_US, &e)) {
        worker_settings(x->worker, &s);
        p = objection(m, &s, models);
    }
    if (p != PROBLEMS) {
        refuse(x, p, &s);
        return false;
    }
    if (s.provider == PROVIDER_MODEL_SERVICE)
        m->model = (struct slice){0}; /* it has one, and is not asked for another */
    return true;
}

static void write_performance(struct json_writer *w, const struct chat *c, uint64_t latency_us, bool cached)
{
    json_key(w, "performance");
    json_object_begin(w);
    json_key(w, "request_latency_ms");
    json_us_as_ms(w, latency_us);
    json_key(w, "llm_latency_ms");
    json_us_as_ms(w, c->upstream_us);
    json_field_bool(w, "cache_hit", cached);
    json_field_u64(w, "retry_count", c->retries);
    json_field_bool(w, "rate_limited", c->rate_limited);
    json_object_end(w);
}

static void write_data(struct json_writer *w, const struct chat *c)
{
    json_key(w, "data");
    json_object_begin(w);
    json_field_text(w, "response", c->text);
    json_key(w, "confidence");
    json_double(w, c->confidence);
    json_object_end(w);
    json_key(w, "usage");
    json_object_begin(w);
    json_field_u64(w, "prompt_tokens", c->prompt_tokens);
    json_field_u64(w, "completion_tokens", c->completion_tokens);
    json_field_u64(w, "total_tokens", c->prompt_tokens + c->completion_tokens);
    json_object_end(w);
}

/* Time and latency are this request's own, all else is the record's. */
static void respond(struct exchange *x, const struct prompt_result *result)
{
    const struct chat *c = &result->chat;
    struct json_writer w;
    char time[CLOCK_RFC3339_SIZE], batch[UUID_TEXT_SIZE];
    bool cached = result->replayed || c->cached;
    clock_format_rfc3339(result->replayed ? clock_real_us() : c->time_us, time);
    uuid_format(&c->batch_id, batch);
    answer_headers(x, result);
    json_writer_init(&w, &x->response.body);
    json_object_begin(&w);
    json_field_bool(&w, "success", true);
    json_field_text(&w, "request_id", c->request_id);
    write_data(&w, c);
    write_performance(&w, c, clock_mono_us() - x->request.accepted_us, cached);
    json_field_text(&w, "model", c->model);
    json_field_bool(&w, "cached", cached);
    json_field_cstr(&w, "timestamp", time);
    json_key(&w, "error");
    json_null(&w);
    json_field_cstr(&w, "batch_id", batch);
    json_field_cstr(&w, "priority", conf_priority_name(c->priority));
    if (c->metadata.p) {
        json_key(&w, "metadata");
        json_raw(&w, c->metadata);
    }
    json_object_end(&w);
}

static void run(struct exchange *x, const cJSON *root)
{
    struct prompt_result result;
    struct buf history;
    struct wire_submit m = {.family = FAMILY_INVOKE, .endpoint = ENDPOINT_INVOKE, .temperature = NAN};
    buf_init(&history, WIRE_MAX_PAYLOAD);
    if (get_all(x, root, &history, &m) && accept_terms(x, &m) && prompt_run(x, &m, &result))
        respond(x, &result);
    buf_fini(&history);
}

static void wipe(struct buf *b)
{
    if (b->data)
        sodium_memzero(b->data, b->cap);
    buf_clear(b);
}

/* A caller's key passes through this process once and stays in none of its buffers. */
static void forget_key(struct exchange *x, cJSON *root)
{
    cJSON *key = cJSON_GetObjectItemCaseSensitive(root, KEY_FIELD);
    if (!cJSON_IsString(key))
        return;
    sodium_memzero(key->valuestring, strlen(key->valuestring));
    wipe(&x->request.body);
    wipe(&x->link.out);
}

void api_invoke_post(struct exchange *x)
{
    cJSON *root;
    if (!exchange_json(x, &root))
        return;
    run(x, root);
    forget_key(x, root);
    cJSON_Delete(root);
}
