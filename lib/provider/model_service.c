/*
 * The codec of a model service of one's own: POST {base}/generate_batch with all prompts of a call, POST
 * {base}/generate with one. It has no roles, no model names and no usage; the system prompt stands in front
 * of the prompt. A service may answer with the prompt and its continuation or with the continuation alone.
 * Source: the two-service design of "SmolLM2 Q&A API Server" and of "LLM Inference Microservice", whose POST
 * /generate it is.
 */
#include <string.h>

#include "provider/codec.h"
#include "json/read.h"

#define BASE_URL   "http://127.0.0.1:8001"
#define KEY_HEADER "X-API-Key"

/* {"role", "content"} of a history, as lines that a plain text model can go on from. */
static int write_history(struct buf *text, struct slice messages, struct err *e)
{
    cJSON *history;
    const cJSON *message;
    int rc = json_parse(messages, &history, e);
    if (rc)
        return rc;
    cJSON_ArrayForEach (message, history) {
        struct slice role = codec_text(message, "role"), content = codec_text(message, "content");
        if (!content.p) {
            rc = err_set(e, ERR_NOT_FOUND, "messages: a model service takes histories of texts only.");
            break;
        }
        buf_append_slice(text, role.p ? role : SLICE_LITERAL("user"));
        buf_append_text(text, ": ");
        buf_append_slice(text, content);
        buf_append_text(text, "\n\n");
    }
    cJSON_Delete(history);
    return rc;
}

static int write_prompt(struct json_writer *w, const struct provider_member *m, struct err *e)
{
    struct buf text;
    int rc = 0;
    buf_init(&text, w->out->max);
    if (m->system_prompt.n) {
        buf_append_slice(&text, m->system_prompt);
        buf_append_text(&text, "\n\n");
    }
    if (m->messages.n)
        rc = write_history(&text, m->messages, e);
    buf_append_slice(&text, m->prompt);
    json_text(w, buf_slice(&text));
    w->out->failed = w->out->failed || buf_failed(&text);
    buf_fini(&text);
    return rc;
}

static int encode(const struct provider *p, const struct provider_member *members, size_t n,
                  struct provider_call *call, struct err *e)
{
    bool array = call->mode == MODE_ARRAY;
    uint32_t most = 0;
    int rc = codec_url(p, BASE_URL, array ? "/generate_batch" : "/generate", call, e);
    if (!rc)
        rc = codec_headers(p, KEY_HEADER, "", call, e);
    if (rc)
        return rc;
    struct json_writer w;
    json_writer_init(&w, &call->body);
    json_object_begin(&w);
    json_key(&w, array ? "prompts" : "prompt");
    if (array)
        json_array_begin(&w);
    for (size_t i = 0; !rc && i < n; i++) {
        rc = write_prompt(&w, &members[i], e);
        most = members[i].max_tokens > most ? members[i].max_tokens : most;
    }
    if (array)
        json_array_end(&w);
    json_field_u64(&w, "max_new_tokens", most);
    json_object_end(&w);
    return rc;
}

static void read_text(const cJSON *item, struct codec_answer *a)
{
    a->present = cJSON_IsString(item);
    if (a->present)
        a->text = slice_of(item->valuestring);
}

static int answers(const cJSON *root, enum provider_mode mode, struct arena *arena, struct codec_answers *ret)
{
    (void)arena;
    if (mode != MODE_ARRAY) {
        read_text(cJSON_GetObjectItemCaseSensitive(root, "generated_text"), &ret->items[0]);
        return 0;
    }
    const cJSON *texts = cJSON_GetObjectItemCaseSensitive(root, "generated_texts"), *item;
    size_t i = 0;
    if (!cJSON_IsArray(texts))
        return 0;
    if ((size_t)cJSON_GetArraySize(texts) != ret->n) {
        ret->unusable = "another number of texts than of prompts";
        return 0;
    }
    cJSON_ArrayForEach (item, texts)
        read_text(item, &ret->items[i++]);
    return 0;
}

/* {"detail": "…"} and {"detail": [{"msg": "…"}, …]} as FastAPI has it, {"error": "…"} or {"error":
 * {"message": "…"}}. */
static bool read_error(const cJSON *root, struct codec_error *ret_error)
{
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(root, "error");
    const cJSON *detail = cJSON_GetObjectItemCaseSensitive(root, "detail");
    struct codec_error out = {.message = codec_text(root, "detail")};
    if (cJSON_IsArray(detail))
        out.message = codec_text(detail->child, "msg");
    if (!out.message.p)
        out.message = cJSON_IsObject(error) ? codec_text(error, "message") : codec_text(root, "error");
    if (!out.message.p)
        return false;
    out.loading = strcasestr(out.message.p, "loading"); /* in words of its own: believed with a 503 only */
    *ret_error = out;
    return true;
}

const struct codec codec_model_service = {.default_base_url = BASE_URL,
                                          .has_array = true,
                                          .continues = true,
                                          .echoes = true,
                                          .probe_path = "/health",
                                          .key_header = KEY_HEADER,
                                          .key_scheme = "",
                                          .encode = encode,
                                          .encode_verbatim = model_service_encode_verbatim,
                                          .response = model_service_response,
                                          .answers = answers,
                                          .error = read_error};
