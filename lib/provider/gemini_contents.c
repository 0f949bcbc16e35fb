/* OpenAI's messages as Gemini's contents; see gemini.h. */
#include "provider/extra.h"
#include "provider/gemini.h"
#include "json/read.h"

#define NAME_MAX_BYTES 256 /* of a function: each of its results repeats it */
#define CALLS_MAX      128 /* of functions in one message, as many as there may be tools */
#define WORD_MAX       40  /* bytes of a client's word in a sentence */

enum role { ROLE_SYSTEM, ROLE_USER, ROLE_MODEL, ROLE_TOOL, ROLE_FUNCTION, ROLE_OTHER };

static enum role role_of(const cJSON *message)
{
    static const struct {
        const char *name;
        enum role role;
    } roles[] = {{"system", ROLE_SYSTEM},   {"developer", ROLE_SYSTEM}, {"user", ROLE_USER},
                 {"assistant", ROLE_MODEL}, {"tool", ROLE_TOOL},        {"function", ROLE_FUNCTION}};
    struct slice role = codec_text(message, "role");
    for (size_t i = 0; i < ARRAY_LEN(roles); i++)
        if (slice_is(role, roles[i].name))
            return roles[i].role;
    return ROLE_OTHER;
}

static const cJSON *get(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

static void write_text(struct json_writer *w, struct slice text)
{
    json_object_begin(w);
    json_field_text(w, "text", text);
    json_object_end(w);
}

static void write_data(struct json_writer *w, struct slice type, struct slice base64)
{
    json_object_begin(w);
    json_key(w, "inlineData");
    json_object_begin(w);
    json_field_text(w, "mimeType", type);
    json_field_text(w, "data", base64);
    json_object_end(w);
    json_object_end(w);
}

/* "data:image/png;base64,…"; parameters between type and base64 are of no use to Gemini. */
static int write_data_url(struct json_writer *w, struct slice url, const char *what, struct err *e)
{
    static const struct slice scheme = SLICE_LITERAL("data:"), mark = SLICE_LITERAL(";base64,");
    const char *at = url.n ? memmem(url.p, url.n, mark.p, mark.n) : NULL;
    if (!at || url.n < scheme.n || memcmp(url.p, scheme.p, scheme.n) != 0)
        return err_set(
            e, ERR_NOT_FOUND,
            "messages: the gemini provider takes %s as a data: URL in base64 only, since it fetches "
            "none.",
            what);
    struct slice type = {url.p + scheme.n, (size_t)(at - url.p) - scheme.n};
    const char *parameters = memchr(type.p, ';', type.n);
    if (parameters)
        type.n = (size_t)(parameters - type.p);
    write_data(w, type, (struct slice){at + mark.n, url.n - (size_t)(at - url.p) - mark.n});
    return 0;
}

static int write_audio(struct json_writer *w, const cJSON *audio, struct err *e)
{
    struct slice format = codec_text(audio, "format"), data = codec_text(audio, "data");
    bool wav = slice_is(format, "wav");
    if (!data.p || (!wav && !slice_is(format, "mp3")))
        return err_set(e, ERR_NOT_FOUND, "messages: input_audio needs data and a format of wav or mp3.");
    write_data(w, wav ? SLICE_LITERAL("audio/wav") : SLICE_LITERAL("audio/mp3"), data);
    return 0;
}

static int refuse_part(struct slice type, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "messages: the gemini provider takes no content of type \"%.*s\" there.",
                   (int)(type.n > WORD_MAX ? WORD_MAX : type.n), type.n ? type.p : "");
}

static int write_part(struct json_writer *w, const cJSON *part, enum role role, struct err *e)
{
    struct slice type = codec_text(part, "type"), text = codec_text(part, "text");
    if (slice_is(type, "refusal") && role == ROLE_MODEL)
        text = codec_text(part, "refusal");
    else if (!slice_is(type, "text"))
        text.p = NULL;
    if (text.p) {
        write_text(w, text);
        return 0;
    }
    if (role != ROLE_USER)
        return refuse_part(type, e);
    if (slice_is(type, "image_url"))
        return write_data_url(w, codec_text(get(part, "image_url"), "url"), "pictures", e);
    if (slice_is(type, "input_audio"))
        return write_audio(w, get(part, "input_audio"), e);
    if (slice_is(type, "file"))
        return write_data_url(w, codec_text(get(part, "file"), "file_data"), "files", e);
    return refuse_part(type, e);
}

/* *ret_any: whether anything was said; Gemini refuses a content without parts. */
static int write_parts(struct json_writer *w, const cJSON *message, enum role role, bool *ret_any,
                       struct err *e)
{
    const cJSON *content = get(message, "content"), *part;
    int rc = 0;
    if (cJSON_IsString(content)) {
        *ret_any = content->valuestring[0];
        if (*ret_any)
            write_text(w, slice_of(content->valuestring));
        return 0;
    }
    *ret_any = cJSON_IsArray(content) && content->child;
    if (cJSON_IsArray(content)) {
        cJSON_ArrayForEach (part, content)
            rc = rc ? rc : write_part(w, part, role, e);
        return rc;
    }
    bool absent = !content || cJSON_IsNull(content);
    if (role == ROLE_MODEL && absent && codec_text(message, "refusal").n) {
        *ret_any = true;
        write_text(w, codec_text(message, "refusal"));
        return 0;
    }
    if (role == ROLE_MODEL && absent && cJSON_IsArray(get(message, "tool_calls")))
        return 0;
    return err_set(e, ERR_NOT_FOUND, "messages: each needs a role and content that is a text or an array.");
}

/* The object that a model called a function with, or that a function gave back; anything else under key. A
 * value is written in any case: the writer is behind its key. */
static int write_object(struct json_writer *w, struct slice json, const char *key, struct err *e)
{
    struct err ignored;
    int rc = extra_check(json, '{', "", &ignored);
    bool refused = rc == ERR_INVAL && !key && slice_trim(json).n;
    if (rc != ERR_INVAL || refused)
        json_raw(w, rc ? SLICE_LITERAL("null") : json);
    if (rc != ERR_INVAL)
        return rc;
    if (refused)
        return err_set(e, ERR_NOT_FOUND, "messages: the arguments of a tool call must be a JSON object.");
    json_object_begin(w);
    if (key)
        json_field_text(w, key, json);
    json_object_end(w);
    return 0;
}

static int write_call(struct json_writer *w, const cJSON *call, struct err *e)
{
    const cJSON *function = get(call, "function");
    struct slice name = codec_text(function, "name"), arguments = codec_text(function, "arguments");
    struct slice signature = codec_text(get(get(call, "extra_content"), "google"), "thought_signature");
    if (!name.n || name.n > NAME_MAX_BYTES || !slice_is(codec_text(call, "type"), "function"))
        return err_set(e, ERR_NOT_FOUND,
                       "messages: tool_calls must be of type function and have a name of at most %d bytes.",
                       NAME_MAX_BYTES);
    json_object_begin(w);
    json_key(w, "functionCall");
    json_object_begin(w);
    if (codec_text(call, "id").p)
        json_field_text(w, "id", codec_text(call, "id"));
    json_field_text(w, "name", name);
    json_key(w, "args");
    int rc = write_object(w, arguments.p ? arguments : SLICE_LITERAL(""), NULL, e);
    json_object_end(w);
    if (signature.p)
        json_field_text(w, "thoughtSignature", signature);
    json_object_end(w);
    return rc;
}

static int write_model(struct json_writer *w, const cJSON *message, struct err *e)
{
    const cJSON *calls = get(message, "tool_calls"), *call;
    bool any;
    int rc = write_parts(w, message, ROLE_MODEL, &any, e);
    if (get(message, "function_call") && !cJSON_IsNull(get(message, "function_call")))
        rc = err_set(e, ERR_NOT_FOUND,
                     "messages: the gemini provider takes tool_calls, but no function_call.");
    if (cJSON_GetArraySize(calls) > CALLS_MAX)
        rc = err_set(e, ERR_NOT_FOUND, "messages: at most %d tool_calls may be in one.", CALLS_MAX);
    if (cJSON_IsArray(calls))
        cJSON_ArrayForEach (call, calls) {
            rc = rc ? rc : write_call(w, call, e);
            any = true;
        }
    if (!rc && !any)
        write_text(w, SLICE_LITERAL(""));
    return rc;
}

/* The name of the function whose call a message answers: Gemini wants it said again. */
static struct slice name_of_call(const cJSON *calls, struct slice id)
{
    const cJSON *call;
    if (id.n && cJSON_IsArray(calls))
        cJSON_ArrayForEach (call, calls)
            if (slice_equal(codec_text(call, "id"), id))
                return codec_text(get(call, "function"), "name");
    return (struct slice){0};
}

/* A text, or parts that are texts, joined. */
static int read_text(const cJSON *content, struct buf *text, struct err *e)
{
    const cJSON *part;
    if (cJSON_IsString(content)) {
        buf_append_text(text, content->valuestring);
        return 0;
    }
    if (!cJSON_IsArray(content))
        return err_set(e, ERR_NOT_FOUND, "messages: what a tool says must be a text.");
    cJSON_ArrayForEach (part, content) {
        if (!slice_is(codec_text(part, "type"), "text") || !codec_text(part, "text").p)
            return refuse_part(codec_text(part, "type"), e);
        buf_append_slice(text, codec_text(part, "text"));
    }
    return 0;
}

/* calls: those of the model's message before it. */
static int write_result(struct json_writer *w, const cJSON *message, const cJSON *calls, struct err *e)
{
    struct buf text;
    struct slice id = codec_text(message, "tool_call_id");
    struct slice name = role_of(message) == ROLE_TOOL ? name_of_call(calls, id) : codec_text(message, "name");
    if (!name.n)
        return err_set(
            e, ERR_NOT_FOUND,
            "messages: what a tool says must name, with tool_call_id, a call of the assistant's message "
            "before it.");
    buf_init(&text, w->out->max);
    int rc = read_text(get(message, "content"), &text, e);
    json_object_begin(w);
    json_key(w, "functionResponse");
    json_object_begin(w);
    if (id.p)
        json_field_text(w, "id", id);
    json_field_text(w, "name", name);
    json_key(w, "response");
    if (rc)
        json_null(w);
    else
        rc = write_object(w, buf_slice(&text), "output", e);
    json_object_end(w);
    json_object_end(w);
    if (!rc && buf_failed(&text))
        rc = ERR_NOMEM;
    buf_fini(&text);
    return rc;
}

static bool is_result(const cJSON *message)
{
    return role_of(message) == ROLE_TOOL || role_of(message) == ROLE_FUNCTION;
}

static void content_begin(struct json_writer *w, const char *role)
{
    json_object_begin(w);
    json_field_cstr(w, "role", role);
    json_key(w, "parts");
    json_array_begin(w);
}

static void content_end(struct json_writer *w)
{
    json_array_end(w);
    json_object_end(w);
}

/* One message, or the results of several calls, which belong into one content. Moves *message on. */
static int write_content(struct json_writer *w, const cJSON **message, const cJSON **calls, struct err *e)
{
    enum role role = role_of(*message);
    int rc = 0;
    if (role == ROLE_OTHER)
        return err_set(e, ERR_NOT_FOUND,
                       "messages: the gemini provider takes the roles system, developer, user, "
                       "assistant and tool.");
    content_begin(w, role == ROLE_MODEL ? "model" : "user");
    if (is_result(*message)) {
        for (; !rc && *message && is_result(*message); *message = (*message)->next)
            rc = write_result(w, *message, *calls, e);
    } else {
        bool any = true;
        rc = role == ROLE_MODEL ? write_model(w, *message, e) : write_parts(w, *message, role, &any, e);
        if (!any)
            write_text(w, SLICE_LITERAL(""));
        *calls = role == ROLE_MODEL ? get(*message, "tool_calls") : NULL;
        *message = (*message)->next;
    }
    content_end(w);
    return rc;
}

static int write_system(struct json_writer *w, const struct provider_member *m, const cJSON *messages,
                        struct err *e)
{
    const cJSON *message;
    bool any = m->system_prompt.n > 0, said;
    int rc = 0;
    cJSON_ArrayForEach (message, messages)
        any = any || role_of(message) == ROLE_SYSTEM;
    if (!any)
        return 0;
    json_key(w, "systemInstruction");
    json_object_begin(w);
    json_key(w, "parts");
    json_array_begin(w);
    if (m->system_prompt.n)
        write_text(w, m->system_prompt);
    cJSON_ArrayForEach (message, messages)
        if (!rc && role_of(message) == ROLE_SYSTEM)
            rc = write_parts(w, message, ROLE_SYSTEM, &said, e);
    json_array_end(w);
    json_object_end(w);
    return rc;
}

static int write_all(struct json_writer *w, const struct provider_member *m, const cJSON *messages,
                     struct err *e)
{
    const cJSON *message = messages ? messages->child : NULL, *calls = NULL;
    int rc = write_system(w, m, messages, e);
    bool any = false;
    json_key(w, "contents");
    json_array_begin(w);
    while (!rc && message) {
        if (role_of(message) == ROLE_SYSTEM) {
            message = message->next;
            continue;
        }
        any = true;
        rc = write_content(w, &message, &calls, e);
    }
    if (!rc && !m->verbatim && (m->prompt.n || !messages)) {
        any = true;
        content_begin(w, "user");
        write_text(w, m->prompt);
        content_end(w);
    }
    json_array_end(w);
    if (!rc && !any)
        rc = err_set(e, ERR_NOT_FOUND, "messages: the gemini provider needs one that is not the system's.");
    return rc;
}

int gemini_write_contents(struct json_writer *w, const struct provider_member *m, struct err *e)
{
    cJSON *messages = NULL;
    struct provider_member asked = *m;
    int rc = m->messages.n ? json_parse(m->messages, &messages, e) : 0;
    if (!rc && messages && !cJSON_IsArray(messages))
        rc = err_set(e, ERR_INVAL, "messages must be a JSON array");
    if (m->verbatim)
        asked.system_prompt = (struct slice){0};
    if (!rc)
        rc = write_all(w, &asked, messages, e);
    cJSON_Delete(messages);
    return rc;
}
