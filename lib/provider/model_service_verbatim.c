/*
 * A request of OpenAI's API for a model service, which knows texts only: what is said in words becomes one
 * text, and what is not is refused by name.
 */
#include "provider/codec.h"
#include "provider/made.h"
#include "provider/option.h"
#include "json/read.h"

#define TOKENS_MAX 10000000

static int refuse_message(struct err *e)
{
    return err_set(e, ERR_NOT_FOUND,
                   "messages: a model service takes texts of the roles system, developer, user "
                   "and assistant only.");
}

/* What a message says: a string, or parts that all are texts. */
static int append_content(struct buf *text, const cJSON *content, struct err *e)
{
    const cJSON *part;
    if (cJSON_IsString(content)) {
        buf_append_text(text, content->valuestring);
        return 0;
    }
    if (!cJSON_IsArray(content))
        return refuse_message(e);
    cJSON_ArrayForEach (part, content) {
        struct slice said = codec_text(part, "text");
        if (!slice_is(codec_text(part, "type"), "text") || !said.p)
            return refuse_message(e);
        buf_append_slice(text, said);
    }
    return 0;
}

enum said_by { BY_NOBODY, BY_SYSTEM, BY_USER, BY_MODEL };

static enum said_by said_by(const cJSON *message)
{
    struct slice role = codec_text(message, "role");
    if (slice_is(role, "system") || slice_is(role, "developer"))
        return BY_SYSTEM;
    if (slice_is(role, "user"))
        return BY_USER;
    return slice_is(role, "assistant") ? BY_MODEL : BY_NOBODY;
}

/* A single question stands as it is behind what the system says, as in a plain prompt; of several messages
 * each line says whose it is. */
static int write_messages(struct buf *text, const cJSON *messages, struct err *e)
{
    const cJSON *message;
    size_t others = 0;
    int rc = cJSON_IsArray(messages) && messages->child ? 0 : refuse_message(e);
    cJSON_ArrayForEach (message, messages)
        others += said_by(message) != BY_SYSTEM;
    cJSON_ArrayForEach (message, messages) {
        enum said_by by = said_by(message);
        if (rc || by == BY_NOBODY)
            return rc ? rc : refuse_message(e);
        if (others > 1)
            buf_printf(text, "%s: ", by == BY_SYSTEM ? "system" : by == BY_USER ? "user" : "assistant");
        rc = append_content(text, cJSON_GetObjectItemCaseSensitive(message, "content"), e);
        if (others > 1 || by == BY_SYSTEM)
            buf_append_text(text, "\n\n");
    }
    return rc;
}

static int write_chat(struct buf *text, struct slice messages, struct err *e)
{
    cJSON *root;
    int rc = json_parse(messages, &root, e);
    if (rc)
        return rc;
    rc = write_messages(text, root, e);
    cJSON_Delete(root);
    return rc;
}

/* Sets *ret_tokens and *ret_prompt (of a completion: a string, quoted) to what extra says of them. */
static int read_extra(const struct provider_member *m, uint32_t *ret_tokens, struct slice *ret_prompt,
                      struct err *e)
{
    struct extra_item item;
    int rc = m->extra.n ? extra_check(m->extra, '{', "extra", e) : 0;
    for (size_t at = 0; !rc && m->extra.n && extra_next(m->extra, &at, &item);) {
        bool tokens = slice_is(item.key, "max_tokens") || slice_is(item.key, "max_completion_tokens");
        int64_t number = option_number(item.value, TOKENS_MAX);
        if (tokens && number > 0)
            *ret_tokens = (uint32_t)number;
        else if (m->completion && slice_is(item.key, "prompt") && option_prompt(item.value).p)
            *ret_prompt = option_prompt(item.value);
        else if (!option_idle(&item) && !option_sampling(item.key) && !slice_is(item.key, "temperature"))
            rc = option_refuse(&item, "a model service", e);
    }
    return rc;
}

int model_service_encode_verbatim(const struct provider *p, const struct provider_member *m,
                                  struct provider_call *call, struct err *e)
{
    struct slice prompt = {0};
    struct buf text;
    struct json_writer w;
    uint32_t tokens = m->max_tokens;
    int rc = codec_url(p, codec_model_service.default_base_url, "/generate", call, e);
    if (!rc)
        rc = codec_headers(p, codec_model_service.key_header, "", call, e);
    if (!rc)
        rc = read_extra(m, &tokens, &prompt, e);
    if (!rc && m->completion && !prompt.p)
        rc = err_set(e, ERR_NOT_FOUND, "prompt: a model service takes one text.");
    if (rc)
        return rc;
    buf_init(&text, call->body.max);
    if (!m->completion)
        rc = write_chat(&text, m->messages, e);
    json_writer_init(&w, &call->body);
    json_object_begin(&w);
    json_key(&w, "prompt");
    if (m->completion)
        json_raw(&w, prompt);
    else
        json_text(&w, buf_slice(&text));
    json_field_u64(&w, "max_new_tokens", tokens);
    json_object_end(&w);
    if (!rc && buf_failed(&text))
        rc = ERR_NOMEM;
    buf_fini(&text);
    return rc;
}

/* The service may have put the prompt in front of its continuation. */
static int take_off_prompt(const struct provider_call *call, struct slice *text)
{
    cJSON *root;
    struct err e;
    int rc = json_parse(buf_slice(&call->body), &root, &e);
    if (rc)
        return rc;
    struct slice prompt = codec_text(root, "prompt");
    if (prompt.n && text->n > prompt.n && memcmp(text->p, prompt.p, prompt.n) == 0)
        *text = (struct slice){text->p + prompt.n, text->n - prompt.n};
    cJSON_Delete(root);
    return 0;
}

int model_service_response(const cJSON *root, struct slice body, const struct provider_call *call,
                           struct arena *arena, struct slice *ret_response)
{
    (void)body;
    struct made made = made_of(call);
    struct slice text = codec_text(root, "generated_text");
    int rc = 0;
    if (!text.p)
        return 0;
    if (call->completion)
        rc = take_off_prompt(call, &text);
    return rc ? rc : made_text(&made, text, 0, 0, arena, ret_response);
}
