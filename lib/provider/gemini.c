/*
 * The codec of Gemini's generateContent.
 * Source: ai.google.dev/api/generate-content, ai.google.dev/api/caching#Schema, google.rpc.ErrorInfo and
 * RetryInfo.
 */
#include <math.h>
#include <stdio.h>

#include "provider/gemini.h"
#include "provider/option.h"

#define BASE_URL "https://generativelanguage.googleapis.com"

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
    return model.n && model.n <= GEMINI_MODEL_BYTES && !after_slash;
}

static bool begins(struct slice s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}

static int make_url(const struct provider *p, const struct provider_member *m, struct provider_call *call,
                    struct err *e)
{
    struct slice model = codec_model(p, m);
    const char *verb = call->streams ? "streamGenerateContent?alt=sse" : "generateContent";
    char path[GEMINI_MODEL_BYTES + 64];
    if (!gemini_model_ok(model))
        return err_set(e, m->model.n ? ERR_NOT_FOUND : ERR_INVAL,
                       "model: the name must be 1 to %d characters of A-Z a-z 0-9 . _ - / and begin with a "
                       "letter or digit, as must what follows a slash.",
                       GEMINI_MODEL_BYTES);
    bool full = begins(model, "models/") || begins(model, "tunedModels/");
    snprintf(path, sizeof(path), "/v1beta/%s%.*s:%s", full ? "" : "models/", (int)model.n, model.p, verb);
    return codec_url(p, BASE_URL, path, call, e);
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

static int write_config(struct json_writer *w, const struct provider *p,
                        const struct provider_member *members, const struct provider_call *call,
                        struct err *e)
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
    struct slice model = codec_model(p, m);
    char name[GEMINI_MODEL_BYTES + 1];
    snprintf(name, sizeof(name), "%.*s", (int)model.n, model.p);
    rc = gemini_write_options(w, m, name, e);
    json_object_end(w);
    return rc;
}

static int encode(const struct provider *p, const struct provider_member *members, size_t n,
                  struct provider_call *call, struct err *e)
{
    (void)n;
    int rc = make_url(p, &members[0], call, e);
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
        rc = gemini_write_contents(&w, &members[0], e);
    if (rc)
        return rc;
    rc = write_config(&w, p, members, call, e);
    json_object_end(&w);
    return rc;
}

/* A text to be continued, as the instruction says. */
static int write_completion(struct json_writer *w, const struct provider_member *m,
                            struct provider_call *call, struct err *e)
{
    struct slice prompt;
    int rc = gemini_prompt(m->extra, &prompt, e);
    if (rc)
        return rc;
    struct slice text = option_text(prompt);
    bool escape = text.n > 1 && text.p[text.n - 2] == '\\';
    call->ends_in_word =
        text.n && text.p[text.n - 1] != ' ' && !(escape && strchr("nrt", text.p[text.n - 1]));
    json_key(w, "systemInstruction");
    content_begin(w, NULL);
    json_object_begin(w);
    json_field_cstr(w, "text", codec_continue);
    json_object_end(w);
    content_end(w);
    json_key(w, "contents");
    json_array_begin(w);
    content_begin(w, "user");
    json_object_begin(w);
    json_key(w, "text");
    json_raw(w, prompt);
    json_object_end(w);
    content_end(w);
    json_array_end(w);
    return 0;
}

static int write_verbatim(struct json_writer *w, const struct provider_member *m, struct provider_call *call,
                          struct err *e)
{
    int rc = 0;
    if (m->extra.n)
        rc = extra_check(m->extra, '{', "extra", e);
    if (!rc)
        rc = m->completion ? write_completion(w, m, call, e) : gemini_write_contents(w, m, e);
    if (rc)
        return rc;
    json_key(w, "generationConfig");
    json_object_begin(w);
    rc = gemini_write_options(w, m, call->model, e);
    json_object_end(w);
    return rc || m->completion ? rc : gemini_write_tools(w, slice_trim(m->extra), e);
}

static int encode_verbatim(const struct provider *p, const struct provider_member *m,
                           struct provider_call *call, struct err *e)
{
    struct json_writer w;
    call->streams = m->stream;
    int rc = make_url(p, m, call, e);
    if (!rc)
        rc = codec_headers(p, "x-goog-api-key", "", call, e);
    if (rc)
        return rc;
    json_writer_init(&w, &call->body);
    json_object_begin(&w);
    rc = write_verbatim(&w, m, call, e);
    json_object_end(&w);
    return rc;
}

static bool one_of(struct slice s, const char *const *words)
{
    while (*words && !slice_is(s, *words))
        words++;
    return *words;
}

struct slice gemini_finish(struct slice reason, bool *ret_filtered)
{
    static const char *const filters[] = {"SAFETY", "RECITATION", "BLOCKLIST",    "PROHIBITED_CONTENT",
                                          "SPII",   "LANGUAGE",   "IMAGE_SAFETY", NULL};
    *ret_filtered = one_of(reason, filters);
    if (*ret_filtered)
        return SLICE_LITERAL("content_filter");
    if (slice_is(reason, "STOP") || slice_is(reason, "FINISH_REASON_UNSPECIFIED"))
        return SLICE_LITERAL("stop");
    return slice_is(reason, "MAX_TOKENS") ? SLICE_LITERAL("length") : reason;
}

static void read_finish(struct slice reason, struct codec_answer *a)
{
    a->finish_reason = gemini_finish(reason, &a->filtered);
    a->truncated = slice_is(reason, "MAX_TOKENS");
    if (a->filtered)
        a->refusal = reason;
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

const struct codec codec_gemini = {.default_base_url = BASE_URL,
                                   .encode = encode,
                                   .encode_verbatim = encode_verbatim,
                                   .response = gemini_response,
                                   .answers = answers,
                                   .error = read_error};
