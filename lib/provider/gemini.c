/*
 * The codec of Gemini's generateContent.
 * Source: ai.google.dev/api/generate-content, ai.google.dev/api/caching#Schema, google.rpc.ErrorInfo and
 * RetryInfo.
 */
#include <math.h>
#include <stdio.h>

#include "provider/codec.h"
#include "provider/extra.h"
#include "json/read.h"
#include "json/write.h"

#define BASE_URL    "https://generativelanguage.googleapis.com"
#define MODEL_BYTES 200

/* Parameters under OpenAI's names, and Gemini's. */
static const struct {
    const char *openai, *gemini;
} parameters[] = {
    {"top_p", "topP"},
    {"top_k", "topK"},
    {"seed", "seed"},
    {"presence_penalty", "presencePenalty"},
    {"frequency_penalty", "frequencyPenalty"},
    {"stop", "stopSequences"},
};

/* The name goes into the URL as it is, so nothing may be in it that means something there; curl would also
 * resolve "..". */
bool gemini_model_ok(struct slice model)
{
    bool after_slash = true;
    for (size_t i = 0; i < model.n; i++) {
        char c = model.p[i];
        bool word = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        bool mark = c == '.' || c == '_' || c == '-' || c == '/';
        if ((!word && !mark) || (after_slash && !word))
            return false;
        after_slash = c == '/';
    }
    return model.n && model.n <= MODEL_BYTES && !after_slash;
}

static bool begins(struct slice s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}

static int make_url(const struct provider *p, struct slice model, struct provider_call *call, struct err *e)
{
    char path[MODEL_BYTES + 64];
    if (!gemini_model_ok(model))
        return err_set(
            e, ERR_INVAL,
            "The model name must be 1 to %d characters of A-Z a-z 0-9 . _ - / and begin with a letter "
            "or digit, as must what follows a slash.",
            MODEL_BYTES);
    bool full = begins(model, "models/") || begins(model, "tunedModels/");
    snprintf(path, sizeof(path), "/v1beta/%s%.*s:generateContent", full ? "" : "models/", (int)model.n,
             model.p);
    return codec_url(p, BASE_URL, path, call, e);
}

static void write_part(struct json_writer *w, struct slice text)
{
    json_object_begin(w);
    json_field_text(w, "text", text);
    json_object_end(w);
}

enum role { ROLE_SYSTEM, ROLE_USER, ROLE_MODEL, ROLE_OTHER };

static enum role role_of(const cJSON *message)
{
    struct slice role = codec_text(message, "role");
    if (slice_is(role, "system") || slice_is(role, "developer"))
        return ROLE_SYSTEM;
    if (slice_is(role, "user"))
        return ROLE_USER;
    return slice_is(role, "assistant") ? ROLE_MODEL : ROLE_OTHER;
}

/* Every message must be of a known role and hold text only. */
static int check_messages(const cJSON *messages, struct err *e)
{
    const cJSON *m, *part;
    if (messages && !cJSON_IsArray(messages))
        return err_set(e, ERR_INVAL, "messages must be a JSON array");
    cJSON_ArrayForEach (m, messages) {
        const cJSON *content = cJSON_GetObjectItemCaseSensitive(m, "content");
        bool text = cJSON_IsString(content) || cJSON_IsArray(content);
        if (cJSON_IsArray(content))
            cJSON_ArrayForEach (part, content)
                text = text && slice_is(codec_text(part, "type"), "text") && codec_text(part, "text").p;
        if (role_of(m) == ROLE_OTHER || !text)
            return err_set(
                e, ERR_INVAL,
                "messages: the gemini provider takes text of the roles system, user and assistant.");
    }
    return 0;
}

static void write_content_parts(struct json_writer *w, const cJSON *message)
{
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content"), *part;
    if (cJSON_IsString(content))
        write_part(w, slice_of(content->valuestring));
    else
        cJSON_ArrayForEach (part, content)
            write_part(w, codec_text(part, "text"));
}

static void write_system(struct json_writer *w, const struct provider_member *m, const cJSON *messages)
{
    const cJSON *message;
    bool any = m->system_prompt.n > 0;
    cJSON_ArrayForEach (message, messages)
        any = any || role_of(message) == ROLE_SYSTEM;
    if (!any)
        return;
    json_key(w, "systemInstruction");
    json_object_begin(w);
    json_key(w, "parts");
    json_array_begin(w);
    if (m->system_prompt.n)
        write_part(w, m->system_prompt);
    cJSON_ArrayForEach (message, messages) {
        if (role_of(message) == ROLE_SYSTEM)
            write_content_parts(w, message);
    }
    json_array_end(w);
    json_object_end(w);
}

static void content_begin(struct json_writer *w, const char *role)
{
    json_object_begin(w);
    if (role)
        json_field_cstr(w, "role", role);
    json_key(w, "parts");
    json_array_begin(w);
}

static void content_end(struct json_writer *w)
{
    json_array_end(w);
    json_object_end(w);
}

static int write_plain(struct json_writer *w, const struct provider_member *m, struct err *e)
{
    cJSON *messages = NULL;
    int rc = m->messages.n ? json_parse(m->messages, &messages, e) : 0;
    if (!rc)
        rc = check_messages(messages, e);
    if (rc)
        goto out;
    write_system(w, m, messages);
    json_key(w, "contents");
    json_array_begin(w);
    const cJSON *message;
    cJSON_ArrayForEach (message, messages) {
        if (role_of(message) == ROLE_SYSTEM)
            continue;
        content_begin(w, role_of(message) == ROLE_USER ? "user" : "model");
        write_content_parts(w, message);
        content_end(w);
    }
    if (m->prompt.n || !messages) {
        content_begin(w, "user");
        write_part(w, m->prompt);
        content_end(w);
    }
    json_array_end(w);
out:
    cJSON_Delete(messages);
    return rc;
}

static void write_combined(struct json_writer *w, const struct provider_member *members,
                           const struct provider_call *call)
{
    json_key(w, "systemInstruction");
    content_begin(w, NULL);
    json_object_begin(w);
    json_key(w, "text");
    codec_combined_text(w, combined_instruction, members, call);
    json_object_end(w);
    content_end(w);
    json_key(w, "contents");
    json_array_begin(w);
    content_begin(w, "user");
    json_object_begin(w);
    json_key(w, "text");
    codec_combined_text(w, combined_questions, members, call);
    json_object_end(w);
    content_end(w);
    json_array_end(w);
}

static int write_parameter(struct json_writer *w, const struct extra_item *item, struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(parameters); i++) {
        if (!slice_is(item->key, parameters[i].openai))
            continue;
        json_key(w, parameters[i].gemini);
        bool wrap = slice_is(item->key, "stop") && item->value.p[0] == '"';
        if (wrap)
            json_array_begin(w);
        json_raw(w, item->value);
        if (wrap)
            json_array_end(w);
        return 0;
    }
    return err_set(e, ERR_INVAL, "The gemini provider does not take the parameter \"%.*s\".",
                   (int)(item->key.n > 64 ? 64 : item->key.n), item->key.p);
}

static int write_config(struct json_writer *w, const struct provider_member *members,
                        const struct provider_call *call, struct err *e)
{
    const struct provider_member *m = &members[0];
    bool combined = call->mode == MODE_COMBINED;
    int rc = 0;
    json_key(w, "generationConfig");
    json_object_begin(w);
    json_field_u64(w, "maxOutputTokens",
                   combined ? combined_max_tokens(members, call->members) : m->max_tokens);
    if (!isnan(m->temperature)) {
        json_key(w, "temperature");
        json_double(w, m->temperature);
    }
    if (combined) {
        json_field_cstr(w, "responseMimeType", "application/json");
        json_key(w, "responseSchema");
        codec_combined_schema(w, call, COMBINED_GEMINI);
    }
    if (m->extra.n)
        rc = extra_check(m->extra, '{', "extra", e);
    struct extra_item item;
    for (size_t at = 0; !rc && m->extra.n && extra_next(m->extra, &at, &item);)
        rc = write_parameter(w, &item, e);
    json_object_end(w);
    return rc;
}

static int encode(const struct provider *p, const struct provider_member *members, size_t n,
                  struct provider_call *call, struct err *e)
{
    (void)n;
    int rc = make_url(p, codec_model(p, &members[0]), call, e);
    if (!rc)
        rc = codec_headers(p, "x-goog-api-key", "", call, e);
    if (rc)
        return rc;
    struct json_writer w;
    json_writer_init(&w, &call->body);
    json_object_begin(&w);
    if (call->mode == MODE_COMBINED)
        write_combined(&w, members, call);
    else
        rc = write_plain(&w, &members[0], e);
    if (rc)
        return rc;
    rc = write_config(&w, members, call, e);
    json_object_end(&w);
    return rc;
}

static bool one_of(struct slice s, const char *const *words)
{
    while (*words && !slice_is(s, *words))
        words++;
    return *words;
}

static void read_finish(struct slice reason, struct codec_answer *a)
{
    static const char *const filters[] = {"SAFETY", "RECITATION", "BLOCKLIST",    "PROHIBITED_CONTENT",
                                          "SPII",   "LANGUAGE",   "IMAGE_SAFETY", NULL};
    a->finish_reason = reason;
    if (slice_is(reason, "STOP") || slice_is(reason, "FINISH_REASON_UNSPECIFIED"))
        a->finish_reason = SLICE_LITERAL("stop");
    a->truncated = slice_is(reason, "MAX_TOKENS");
    if (a->truncated)
        a->finish_reason = SLICE_LITERAL("length");
    a->filtered = one_of(reason, filters);
    if (a->filtered) {
        a->refusal = reason;
        a->finish_reason = SLICE_LITERAL("content_filter");
    }
}

static int read_candidate(const cJSON *candidate, struct arena *arena, struct codec_answer *a)
{
    if (!cJSON_IsObject(candidate))
        return 0;
    a->present = true;
    read_finish(codec_text(candidate, "finishReason"), a);
    const cJSON *mean = cJSON_GetObjectItemCaseSensitive(candidate, "avgLogprobs");
    if (cJSON_IsNumber(mean) && mean->valuedouble <= 0)
        a->confidence = exp(mean->valuedouble);
    const cJSON *content = cJSON_GetObjectItemCaseSensitive(candidate, "content");
    const cJSON *parts = cJSON_GetObjectItemCaseSensitive(content, "parts"), *part;
    if (!cJSON_IsArray(parts))
        return 0;
    cJSON_ArrayForEach (part, parts) {
        if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(part, "thought")))
            continue;
        int rc = codec_text_append(arena, &a->text, codec_text(part, "text"));
        if (rc)
            return rc;
    }
    return 0;
}

static int answers(const cJSON *root, enum provider_mode mode, struct arena *arena, struct codec_answers *ret)
{
    (void)mode;
    const cJSON *usage = cJSON_GetObjectItemCaseSensitive(root, "usageMetadata");
    ret->prompt_tokens = codec_count(usage, "promptTokenCount");
    ret->completion_tokens =
        codec_count(usage, "candidatesTokenCount") + codec_count(usage, "thoughtsTokenCount");
    const cJSON *feedback = cJSON_GetObjectItemCaseSensitive(root, "promptFeedback");
    struct slice blocked = codec_text(feedback, "blockReason");
    struct codec_answer *a = &ret->items[0];
    if (blocked.n) {
        a->present = a->filtered = true;
        a->refusal = blocked;
        return 0;
    }
    const cJSON *candidates = cJSON_GetObjectItemCaseSensitive(root, "candidates");
    return cJSON_IsArray(candidates) ? read_candidate(candidates->child, arena, a) : 0;
}

/* A quota of a day does not come back by waiting a moment, whatever retryDelay says. */
static bool daily_quota(const cJSON *detail)
{
    const cJSON *violations = cJSON_GetObjectItemCaseSensitive(detail, "violations"), *v;
    if (!cJSON_IsArray(violations))
        return false;
    cJSON_ArrayForEach (v, violations) {
        struct slice id = codec_text(v, "quotaId");
        if (id.n && memmem(id.p, id.n, "PerDay", 6))
            return true;
    }
    return false;
}

static bool read_error(const cJSON *root, struct codec_error *ret_error)
{
    if (cJSON_IsArray(root))
        root = root->child;
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(root, "error"), *detail;
    if (!cJSON_IsObject(error))
        return false;
    struct codec_error out = {.message = codec_text(error, "message")};
    struct slice status = codec_text(error, "status"), m = out.message;
    out.auth = slice_is(status, "UNAUTHENTICATED");
    out.context = m.n && memmem(m.p, m.n, "maximum number of tokens", 24);
    const cJSON *details = cJSON_GetObjectItemCaseSensitive(error, "details");
    if (cJSON_IsArray(details))
        cJSON_ArrayForEach (detail, details) {
            uint32_t ms = codec_duration_ms(codec_text(detail, "retryDelay"));
            out.retry_after_ms = ms > out.retry_after_ms ? ms : out.retry_after_ms;
            out.auth = out.auth || slice_is(codec_text(detail, "reason"), "API_KEY_INVALID");
            out.quota = out.quota || daily_quota(detail);
        }
    *ret_error = out;
    return true;
}

const struct codec codec_gemini = {
    .default_base_url = BASE_URL, .encode = encode, .answers = answers, .error = read_error};
