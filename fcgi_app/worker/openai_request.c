/* Requests of OpenAI's API; see openai_request.h. */
#include "worker/openai_request.h"

#include <math.h>

#include "provider/provider.h"
#include "wire/frame.h"
#include "worker/exchange.h"
#include "worker/fields.h"
#include "worker/idempotency.h"
#include "worker/json_span.h"
#include "worker/state.h"
#include "json/write.h"

#define MAX_TOKENS_MAX 1000000
#define USERNAME_MAX   128
#define METADATA_MAX   (8 * 1024)
#define PROMPTS_MAX    256 /* that are handed in each for itself */

static const cJSON *member(const cJSON *object, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, name);
    return cJSON_IsNull(item) ? NULL : item;
}

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

/* The text of a message's content, or of its only part; NULL: it is more than that. */
static const char *only_text(const cJSON *content)
{
    const cJSON *part = cJSON_IsArray(content) && cJSON_GetArraySize(content) == 1 ? content->child : NULL;
    const cJSON *type = cJSON_GetObjectItemCaseSensitive(part, "type");
    if (cJSON_IsString(content))
        return content->valuestring;
    if (!part || cJSON_GetArraySize(part) != 2 || !cJSON_IsString(type) || strcmp(type->valuestring, "text"))
        return NULL;
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(part, "text"));
}

/* A message of that role that says a text and nothing else. */
static bool plain_message(const cJSON *message, bool system, struct slice *ret_text)
{
    static const char *const meant[] = {"role", "content"};
    const cJSON *item;
    const char *role = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(message, "role"));
    const char *text = only_text(cJSON_GetObjectItemCaseSensitive(message, "content"));
    if (!role || !text || field_is_blank(slice_of(text)))
        return false;
    cJSON_ArrayForEach (item, message)
        if (!cJSON_IsNull(item) && !is_one_of(item->string, meant, ARRAY_LEN(meant)))
            return false;
    *ret_text = slice_of(text);
    return system ? !strcmp(role, "system") || !strcmp(role, "developer") : !strcmp(role, "user");
}

/* One question, perhaps with instructions in front. */
static bool plain_messages(const cJSON *messages, struct wire_submit *m)
{
    int n = cJSON_GetArraySize(messages);
    const cJSON *first = messages->child;
    return n == 2 ? plain_message(first, true, &m->system_prompt) &&
                        plain_message(first->next, false, &m->prompt)
                  : n == 1 && plain_message(first, false, &m->prompt);
}

static bool plain_prompts(const cJSON *prompt, struct openai_request *r)
{
    const cJSON *item;
    int n = cJSON_IsArray(prompt) ? cJSON_GetArraySize(prompt) : 1;
    if (n < 1 || n > PROMPTS_MAX)
        return false;
    cJSON_ArrayForEach (item, prompt)
        if (cJSON_IsArray(prompt) && (!cJSON_IsString(item) || field_is_blank(slice_of(item->valuestring))))
            return false;
    if (n > 1)
        r->prompts = prompt;
    else if (cJSON_IsArray(prompt))
        prompt = prompt->child;
    r->m.prompt = slice_of(n > 1 ? prompt->child->valuestring : cJSON_GetStringValue(prompt));
    return r->m.prompt.p && !field_is_blank(r->m.prompt);
}

/* What has a place of its own in a submit, or is as if it were not there. */
static bool plain_parameters(const cJSON *root, struct wire_submit *m)
{
    const cJSON *n = member(root, "n"), *temperature = member(root, "temperature");
    const cJSON *tokens = member(root, "max_tokens"), *more = member(root, "max_completion_tokens");
    if ((n && (!cJSON_IsNumber(n) || n->valuedouble != 1)) || (tokens && more))
        return false;
    if (temperature &&
        (!cJSON_IsNumber(temperature) || !(temperature->valuedouble >= 0) || temperature->valuedouble > 2))
        return false;
    if (temperature)
        m->temperature = temperature->valuedouble;
    return (!tokens && !more) || m->max_tokens;
}

/* For what it may cost; 0: it is not said in a way that can be counted. */
static uint32_t max_tokens(const cJSON *root)
{
    const cJSON *item = member(root, "max_completion_tokens");
    if (!item)
        item = member(root, "max_tokens");
    if (!cJSON_IsNumber(item) || item->valuedouble != floor(item->valuedouble) || item->valuedouble < 1 ||
        item->valuedouble > MAX_TOKENS_MAX)
        return 0;
    return (uint32_t)item->valuedouble;
}

/* Writes r->extra: the members of the body that are not among names, as they stand. What is null says nothing
 * to a plain request. */
static bool write_extra(struct exchange *x, const cJSON *root, const char *const *names, size_t n, bool nulls,
                        struct openai_request *r)
{
    struct slice body = buf_slice(&x->request.body), key, value;
    const cJSON *item = root->child; /* in the order of the body, too */
    struct json_writer w;
    bool any = false;
    buf_clear(&r->extra);
    json_writer_init(&w, &r->extra);
    json_object_begin(&w);
    for (size_t at = 0; item && json_span_next(body, &at, &key, &value); item = item->next) {
        if ((cJSON_IsNull(item) && !nulls) || is_one_of(item->string, names, n))
            continue;
        json_key(&w, item->string);
        json_raw(&w, value);
        any = true;
    }
    json_object_end(&w);
    if (buf_failed(&r->extra)) {
        problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for this request now.");
        return false;
    }
    r->m.extra = any ? buf_slice(&r->extra) : (struct slice){0};
    return true;
}

/* Whether what is left of a plain request could stand in a call with others. seed could, but not be kept. */
static bool plain_extra(const cJSON *root, const struct openai_request *r)
{
    struct provider_member m = {.prompt = r->m.prompt, .extra = r->m.extra, .temperature = NAN};
    return !member(root, "seed") && provider_combinable(&m, MODE_COMBINED);
}

/* What the prompts of an array have in common is handed in with each: no more of it than a body may have. */
static bool divisible(const struct exchange *x, const struct openai_request *r)
{
    size_t n = r->prompts ? (size_t)cJSON_GetArraySize(r->prompts) : 1;
    return n == 1 || n * (r->m.extra.n + r->m.metadata.n) <= x->request.body.max;
}

/* *ret_plain: r->m is ready. False: no memory, answered. */
static bool read_plain(struct exchange *x, const cJSON *root, const cJSON *subject, struct openai_request *r,
                       bool *ret_plain)
{
    static const char *const placed[] = {"model",       "messages",       "prompt",
                                         "stream",      "stream_options", "n",
                                         "temperature", "max_tokens",     "max_completion_tokens"};
    bool chat = r->m.endpoint == ENDPOINT_CHAT_COMPLETIONS;
    struct wire_submit as_it_was = r->m;
    *ret_plain = !r->stream && !member(root, chat ? "prompt" : "messages") && plain_parameters(root, &r->m) &&
                 (chat ? plain_messages(subject, &r->m) : plain_prompts(subject, r));
    if (*ret_plain) {
        if (!write_extra(x, root, placed, ARRAY_LEN(placed), false, r))
            return false;
        *ret_plain = plain_extra(root, r) && divisible(x, r);
    }
    if (!*ret_plain) {
        r->m = as_it_was;
        r->prompts = NULL;
    }
    return true;
}

static const char *text_of(const cJSON *part)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(part, "text"));
}

/* The content of the last message in which the user said something, or NULL. */
static const cJSON *last_said(const cJSON *messages)
{
    const cJSON *message, *part, *last = NULL;
    cJSON_ArrayForEach (message, messages) {
        const char *role = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(message, "role"));
        const cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content");
        if (!role || strcmp(role, "user"))
            continue;
        if (cJSON_IsString(content))
            last = content;
        else if (cJSON_IsArray(content))
            cJSON_ArrayForEach (part, content)
                last = text_of(part) ? content : last;
    }
    return last;
}

/* What stands for the question in the chat: what the user said last, its texts one below the other. False: no
 * memory. */
static bool last_text(struct exchange *x, const cJSON *messages, struct slice *ret_text)
{
    const cJSON *content = last_said(messages), *part;
    if (!cJSON_IsArray(content)) {
        *ret_text = slice_of(content ? content->valuestring : "");
        return true;
    }
    size_t size = 0, n = 0;
    cJSON_ArrayForEach (part, content)
        size += text_of(part) ? strlen(text_of(part)) + 1 : 0;
    char *joined = arena_alloc(&x->arena, size);
    if (!joined)
        return false;
    cJSON_ArrayForEach (part, content) {
        struct slice text = text_of(part) ? slice_of(text_of(part)) : (struct slice){0};
        if (!text.p)
            continue;
        if (n)
            joined[n++] = '\n';
        memcpy(joined + n, text.p, text.n);
        n += text.n;
    }
    *ret_text = (struct slice){joined, n};
    return true;
}

static bool read_verbatim(struct exchange *x, const cJSON *root, const cJSON *subject,
                          struct openai_request *r)
{
    static const char *const apart[] = {"model", "stream", "stream_options", "messages"};
    bool chat = r->m.endpoint == ENDPOINT_CHAT_COMPLETIONS;
    r->m.flags |= SUBMIT_ALONE | SUBMIT_VERBATIM | (r->stream ? SUBMIT_STREAM : 0);
    if (chat) {
        r->m.messages = json_member_span(buf_slice(&x->request.body), "messages");
        if (!last_text(x, subject, &r->m.prompt)) {
            problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for this request now.");
            return false;
        }
    } else {
        const cJSON *text = cJSON_IsArray(subject) ? subject->child : subject;
        r->m.prompt = cJSON_IsString(text) ? slice_of(text->valuestring) : SLICE_LITERAL("");
    }
    return write_extra(x, root, apart, ARRAY_LEN(apart) - !chat, true, r);
}

static bool refuse(struct exchange *x, enum problem p, const char *field, const char *rule)
{
    problem_respond(x, p, field, "%s %s", field, rule);
    return false;
}

/* Its name is written without escapes, so that it is found in the body. */
static bool has_span(struct exchange *x, const char *name)
{
    return json_member_span(buf_slice(&x->request.body), name).p != NULL;
}

/* messages, or prompt: there, and of a kind that can be one. */
static bool get_subject(struct exchange *x, const cJSON *root, enum endpoint endpoint,
                        const cJSON **ret_subject)
{
    const cJSON *item;
    if (endpoint == ENDPOINT_COMPLETIONS) {
        *ret_subject = member(root, "prompt");
        return ((cJSON_IsString(*ret_subject) || cJSON_IsArray(*ret_subject)) && has_span(x, "prompt")) ||
               refuse(x, PROBLEM_INVALID_PROMPT, "prompt", "must be a text, or an array of them.");
    }
    *ret_subject = member(root, "messages");
    bool good = cJSON_IsArray(*ret_subject) && (*ret_subject)->child && has_span(x, "messages");
    cJSON_ArrayForEach (item, *ret_subject)
        good = good && cJSON_IsString(cJSON_GetObjectItemCaseSensitive(item, "role"));
    return good || refuse(x, PROBLEM_INVALID_MESSAGES, "messages",
                          "must be an array of at least one object with role and content.");
}

static bool get_stream(struct exchange *x, const cJSON *root, struct openai_request *r)
{
    const cJSON *stream = member(root, "stream"), *options = member(root, "stream_options");
    if (stream && !cJSON_IsBool(stream))
        return refuse(x, PROBLEM_INVALID_PARAMETER, "stream", "must be true or false.");
    r->stream = cJSON_IsTrue(stream);
    const cJSON *usage = member(options, "include_usage");
    if ((options && !cJSON_IsObject(options)) || (usage && !cJSON_IsBool(usage)))
        return refuse(x, PROBLEM_INVALID_PARAMETER, "stream_options",
                      "must be an object, and its include_usage true or false.");
    r->include_usage = cJSON_IsTrue(usage);
    return true;
}

static bool get_model(struct exchange *x, const cJSON *root, struct slice *ret_model)
{
    struct settings s;
    if (!field_model(x, root, ret_model))
        return false;
    worker_settings(x->worker, &s);
    if (s.provider == PROVIDER_MODEL_SERVICE)
        *ret_model = (struct slice){0}; /* it has one, and is not asked for another */
    if (!ret_model->p || provider_model_ok(s.provider, *ret_model))
        return true;
    problem_respond(x, PROBLEM_MODEL_NOT_FOUND, "model", "The provider here, %s, has no model of that name.",
                    conf_provider_name(s.provider));
    return false;
}

/* What is kept with the chat, where it fits; the provider gets it in any case. */
static void note(struct exchange *x, const cJSON *root, struct wire_submit *m)
{
    const char *user = cJSON_GetStringValue(member(root, "user"));
    struct slice metadata = json_member_span(buf_slice(&x->request.body), "metadata");
    if (user && *user && strlen(user) <= USERNAME_MAX)
        m->username = slice_of(user);
    if (cJSON_IsObject(member(root, "metadata")) && metadata.n <= METADATA_MAX)
        m->metadata = metadata;
}

bool openai_request_read(struct exchange *x, const cJSON *root, enum endpoint endpoint,
                         struct openai_request *ret_request)
{
    struct openai_request *r = ret_request;
    const cJSON *subject;
    bool plain;
    *r = (struct openai_request){.m = {.family = FAMILY_OPENAI,
                                       .endpoint = endpoint,
                                       .flags = endpoint == ENDPOINT_COMPLETIONS ? SUBMIT_COMPLETION : 0,
                                       .temperature = NAN}};
    buf_init(&r->extra, WIRE_MAX_PAYLOAD);
    if (!idempotency_id(x, &r->m.request_id))
        return false;
    if (r->m.request_id.p)
        exchange_set_prompt_id(x, r->m.request_id); /* so that what is wrong is told under it */
    if (!get_model(x, root, &r->m.model) || !get_subject(x, root, endpoint, &subject) ||
        !get_stream(x, root, r) || !field_priority(x, NULL, &r->m.priority) ||
        !field_created_now(x, &r->m.created_at))
        return false;
    r->m.max_tokens = max_tokens(root);
    note(x, root, &r->m);
    return read_plain(x, root, subject, r, &plain) && (plain || read_verbatim(x, root, subject, r));
}

void openai_request_fini(struct openai_request *r)
{
    buf_fini(&r->extra);
}
