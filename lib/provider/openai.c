/*
 * The codec of OpenAI's API as OpenAI, vLLM, Ollama, llama-server and others speak it: chat completions, and
 * in array mode the older completions, which take several prompts at once.
 * Source: platform.openai.com/docs/api-reference/chat; llama.cpp tools/server/README.md.
 */
#include <math.h>
#include <strings.h>

#include "provider/codec.h"
#include "provider/extra.h"
#include "json/write.h"

#define BASE_URL            "https://api.openai.com/v1"
#define KEY_HEADER          "Authorization"
#define KEY_SCHEME          "Bearer "
#define KEY_BYTES           64        /* longest name of a parameter in extra */
#define LOGPROBS_TOKENS_MAX 16384     /* at 1 KB each the response can still be read */
#define UNLIKELY            (-9999.0) /* what OpenAI says instead of a log-probability that it does not have */

const char codec_vendor[] = "https://api.openai.com/";

/* What this codec writes itself, or could not read the answer to. */
static bool reserved(struct slice key)
{
    static const char *const names[] = {"model",       "messages",       "prompt",
                                        "stream",      "stream_options", "n",
                                        "temperature", "max_tokens",     "max_completion_tokens"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_is(key, names[i]))
            return true;
    return false;
}

static int write_extra(struct json_writer *w, struct slice extra, struct err *e)
{
    struct extra_item item;
    char key[KEY_BYTES + 1];
    if (!extra.n)
        return 0;
    int rc = extra_check(extra, '{', "extra", e);
    if (rc)
        return rc;
    for (size_t at = 0; extra_next(extra, &at, &item);) {
        if (item.key.n > KEY_BYTES || memchr(item.key.p, '\\', item.key.n))
            return err_set(e, ERR_INVAL, "extra: a parameter's name is too long or has an escape in it.");
        if (reserved(item.key))
            continue;
        memcpy(key, item.key.p, item.key.n);
        key[item.key.n] = 0;
        json_key(w, key);
        json_raw(w, item.value);
    }
    return 0;
}

static bool begins(struct slice s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}

static bool is_vendor(const struct provider_call *call)
{
    return strncasecmp(call->url, codec_vendor, sizeof(codec_vendor) - 1) == 0;
}

static bool is_reasoning(const struct provider_call *call, struct slice model)
{
    bool named = begins(model, "o1") || begins(model, "o3") || begins(model, "o4") || begins(model, "gpt-5");
    return named && is_vendor(call);
}

/* OpenAI's reasoning models refuse max_tokens; most other servers know nothing else. */
static const char *max_tokens_key(const struct provider_call *call, struct slice model)
{
    return is_reasoning(call, model) ? "max_completion_tokens" : "max_tokens";
}

/* Only for whoever has the call to itself, and without parameters of their own that may say otherwise. Who
 * does not know it ignores it, or says so once (decode.c); OpenAI's reasoning models are known to refuse. */
static void write_logprobs(struct json_writer *w, const struct provider *p, const struct provider_member *m,
                           struct provider_call *call, struct slice model)
{
    call->logprobs = m->confidence && m->max_tokens <= LOGPROBS_TOKENS_MAX && call->mode == MODE_CONCURRENT &&
                     !m->extra.n && !p->logprobs_missing && !is_reasoning(call, model);
    if (!call->logprobs)
        return;
    json_field_bool(w, "logprobs", true);
    if (!is_vendor(call))
        json_field_u64(w, "top_logprobs", 1); /* llama-server would give the 20 likeliest of each token */
}

static void write_message(struct json_writer *w, const char *role, struct slice content)
{
    json_object_begin(w);
    json_field_cstr(w, "role", role);
    json_field_text(w, "content", content);
    json_object_end(w);
}

static int write_messages(struct json_writer *w, const struct provider_member *m, struct err *e)
{
    json_key(w, "messages");
    json_array_begin(w);
    if (m->system_prompt.n)
        write_message(w, "system", m->system_prompt);
    if (m->messages.n) {
        int rc = extra_check(m->messages, '[', "messages", e);
        if (rc)
            return rc;
        struct slice inside = extra_inside(m->messages);
        if (inside.n)
            json_raw(w, inside); /* several values at once: their commas are between them already */
    }
    if (m->prompt.n || !m->messages.n)
        write_message(w, "user", m->prompt);
    json_array_end(w);
    return 0;
}

static void write_combined(struct json_writer *w, const struct provider_member *members,
                           const struct provider_call *call)
{
    static const struct {
        const char *role;
        void (*compose)(struct buf *out, const struct provider_member *members, size_t n,
                        char (*ids)[PROVIDER_ID_SIZE]);
    } messages[] = {{"system", combined_instruction}, {"user", combined_questions}};
    json_key(w, "messages");
    json_array_begin(w);
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        json_object_begin(w);
        json_field_cstr(w, "role", messages[i].role);
        json_key(w, "content");
        codec_combined_text(w, messages[i].compose, members, call);
        json_object_end(w);
    }
    json_array_end(w);
    json_key(w, "response_format");
    json_object_begin(w);
    json_field_cstr(w, "type", "json_schema");
    json_key(w, "json_schema");
    json_object_begin(w);
    json_field_cstr(w, "name", "answers");
    json_field_bool(w, "strict", true);
    json_key(w, "schema");
    codec_combined_schema(w, call, COMBINED_OPENAI);
    json_object_end(w);
    json_object_end(w);
}

/* Completions have no roles, so the system prompt stands in front of each prompt. */
static void write_prompts(struct json_writer *w, const struct provider_member *members, size_t n)
{
    struct buf text;
    buf_init(&text, w->out->max);
    json_key(w, "prompt");
    json_array_begin(w);
    for (size_t i = 0; i < n; i++) {
        buf_clear(&text);
        if (members[i].system_prompt.n) {
            buf_append_slice(&text, members[i].system_prompt);
            buf_append_text(&text, "\n\n");
        }
        buf_append_slice(&text, members[i].prompt);
        json_text(w, buf_slice(&text));
        w->out->failed = w->out->failed || buf_failed(&text);
    }
    json_array_end(w);
    buf_fini(&text);
}

static uint32_t max_tokens(const struct provider_member *members, const struct provider_call *call)
{
    if (call->mode == MODE_COMBINED)
        return combined_max_tokens(members, call->members);
    uint32_t most = 0;
    for (size_t i = 0; i < call->members; i++)
        if (members[i].max_tokens > most)
            most = members[i].max_tokens;
    return most;
}

static int encode(const struct provider *p, const struct provider_member *members, size_t n,
                  struct provider_call *call, struct err *e)
{
    struct slice model = codec_model(p, &members[0]);
    const char *path = call->mode == MODE_ARRAY ? "/completions" : "/chat/completions";
    int rc = codec_url(p, BASE_URL, path, call, e);
    if (!rc)
        rc = codec_headers(p, KEY_HEADER, KEY_SCHEME, call, e);
    if (rc)
        return rc;
    struct json_writer w;
    json_writer_init(&w, &call->body);
    json_object_begin(&w);
    json_field_text(&w, "model", model.p ? model : SLICE_LITERAL(""));
    if (call->mode == MODE_COMBINED)
        write_combined(&w, members, call);
    else if (call->mode == MODE_ARRAY)
        write_prompts(&w, members, n);
    else
        rc = write_messages(&w, &members[0], e);
    if (rc)
        return rc;
    if (!isnan(members[0].temperature)) {
        json_key(&w, "temperature");
        json_double(&w, members[0].temperature);
    }
    json_field_u64(&w, max_tokens_key(call, model), max_tokens(members, call));
    write_logprobs(&w, p, &members[0], call, model);
    rc = write_extra(&w, members[0].extra, e);
    json_object_end(&w);
    return rc;
}

/* content is a text, or an array of parts of which those of type text count. */
static int read_content(const cJSON *content, struct arena *arena, struct slice *text)
{
    if (cJSON_IsString(content))
        *text = slice_of(content->valuestring);
    if (!cJSON_IsArray(content))
        return 0;
    const cJSON *part;
    cJSON_ArrayForEach (part, content) {
        int rc = 0;
        if (slice_is(codec_text(part, "type"), "text"))
            rc = codec_text_append(arena, text, codec_text(part, "text"));
        if (rc)
            return rc;
    }
    return 0;
}

/* exp of the mean log-probability of the answer's tokens, NaN without them. */
static double read_confidence(const cJSON *choice)
{
    const cJSON *logprobs = cJSON_GetObjectItemCaseSensitive(choice, "logprobs");
    const cJSON *tokens = cJSON_GetObjectItemCaseSensitive(logprobs, "content");
    const cJSON *token;
    double sum = 0;
    size_t n = 0;
    if (!cJSON_IsArray(tokens))
        return NAN;
    cJSON_ArrayForEach (token, tokens) {
        const cJSON *p = cJSON_GetObjectItemCaseSensitive(token, "logprob");
        if (!cJSON_IsNumber(p) || !(p->valuedouble <= 0 && p->valuedouble > UNLIKELY))
            return NAN;
        sum += p->valuedouble;
        n++;
    }
    return n ? exp(sum / (double)n) : NAN;
}

static void read_finish(const cJSON *choice, struct codec_answer *a)
{
    a->finish_reason = codec_text(choice, "finish_reason");
    a->truncated = slice_is(a->finish_reason, "length");
    a->filtered = slice_is(a->finish_reason, "content_filter") || a->refusal.n > 0;
}

static int read_chat(const cJSON *choice, struct arena *arena, struct codec_answer *a)
{
    const cJSON *message = cJSON_GetObjectItemCaseSensitive(choice, "message");
    if (!cJSON_IsObject(message))
        return 0;
    a->present = true;
    a->refusal = codec_text(message, "refusal");
    a->confidence = read_confidence(choice);
    read_finish(choice, a);
    return read_content(cJSON_GetObjectItemCaseSensitive(message, "content"), arena, &a->text);
}

static void read_completions(const cJSON *choices, struct codec_answers *ret)
{
    const cJSON *choice;
    cJSON_ArrayForEach (choice, choices) {
        const cJSON *index = cJSON_GetObjectItemCaseSensitive(choice, "index");
        double i = cJSON_IsNumber(index) ? index->valuedouble : -1;
        if (!(i >= 0 && i < (double)ret->n) || i != floor(i) || ret->items[(size_t)i].present) {
            ret->unusable = "an index twice, or one that was not sent";
            return;
        }
        struct codec_answer *a = &ret->items[(size_t)i];
        a->present = true;
        a->text = codec_text(choice, "text");
        read_finish(choice, a);
    }
}

static void read_usage(const cJSON *root, struct codec_answers *ret)
{
    const cJSON *usage = cJSON_GetObjectItemCaseSensitive(root, "usage");
    ret->prompt_tokens = codec_count(usage, "prompt_tokens");
    ret->completion_tokens = codec_count(usage, "completion_tokens");
}

static int answers(const cJSON *root, enum provider_mode mode, struct arena *arena, struct codec_answers *ret)
{
    const cJSON *choices = cJSON_GetObjectItemCaseSensitive(root, "choices");
    read_usage(root, ret);
    if (!cJSON_IsArray(choices))
        return 0;
    if (mode != MODE_ARRAY)
        return read_chat(choices->child, arena, &ret->items[0]);
    read_completions(choices, ret);
    return 0;
}

int openai_first_choice(const cJSON *root, struct arena *arena, struct codec_answers *ret)
{
    const cJSON *choices = cJSON_GetObjectItemCaseSensitive(root, "choices");
    const cJSON *first = cJSON_IsArray(choices) ? choices->child : NULL;
    struct codec_answer *a = &ret->items[0];
    read_usage(root, ret);
    a->text = codec_text(first, "text");
    a->present = a->text.p;
    if (!a->present)
        return read_chat(first, arena, a);
    read_finish(first, a);
    return 0;
}

static bool either_is(struct slice a, struct slice b, const char *word)
{
    return slice_is(a, word) || slice_is(b, word);
}

static bool says(struct slice text, const char *words)
{
    return text.n && memmem(text.p, text.n, words, strlen(words));
}

static void classify(struct slice code, struct slice type, struct codec_error *e)
{
    e->auth = either_is(code, type, "invalid_api_key") || either_is(code, type, "authentication_error");
    /* llama-server; its other 503s say "unavailable_error" too. */
    e->loading = says(e->message, "Loading model") || says(e->message, "loading model");
    e->filtered =
        either_is(code, type, "content_filter") || either_is(code, type, "content_policy_violation");
    e->quota = either_is(code, type, "insufficient_quota") || either_is(code, type, "billing_not_active") ||
               either_is(code, type, "billing_hard_limit_reached");
    e->context = either_is(code, type, "context_length_exceeded") ||
                 either_is(code, type, "exceed_context_size_error") ||
                 says(e->message, "maximum context length") || says(e->message, "context size");
}

static bool read_error(const cJSON *root, struct codec_error *ret_error)
{
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(root, "error");
    struct codec_error out = {0};
    if (cJSON_IsObject(error))
        out.message = codec_text(error, "message");
    else if (cJSON_IsString(error)) /* Ollama */
        out.message = slice_of(error->valuestring);
    else { /* vLLM before 0.10, and whatever is built on FastAPI */
        error = root;
        out.message = codec_text(root, "message");
        if (!out.message.p)
            out.message = codec_text(root, "detail");
        if (!out.message.p)
            return false;
    }
    out.param = codec_text(error, "param");
    classify(codec_text(error, "code"), codec_text(error, "type"), &out);
    *ret_error = out;
    return true;
}

const struct codec codec_openai = {.default_base_url = BASE_URL,
                                   .has_array = true,
                                   .probe_path = "/models",
                                   .key_header = KEY_HEADER,
                                   .key_scheme = KEY_SCHEME,
                                   .encode = encode,
                                   .encode_verbatim = openai_encode_verbatim,
                                   .answers = answers,
                                   .error = read_error};
