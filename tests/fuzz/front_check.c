/* The rules that hold for whatever a client sends; see front_check.h. */
#include "front_check.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "provider/provider.h"
#include "store/audit.h"
#include "worker/path.h"
#include "json/read.h"
#include "json/scan.h"

static void check_text(const char *what, struct slice s, size_t max)
{
    FUZZ_CHECK(s.n <= max, "%s of %zu bytes is handed in", what, s.n);
    FUZZ_CHECK(utf8_valid_prefix(s) == s.n, "%s is no UTF-8", what);
    FUZZ_CHECK(!memchr(s.p ? s.p : "x", 0, s.n), "%s holds a zero byte", what);
}

static void check_hashes(const struct wire_submit *m)
{
    uint8_t key[REQUEST_KEY_SIZE], fingerprint[REQUEST_KEY_SIZE];
    wire_request_key(m->trust_group, m->family, m->request_id, key);
    wire_submit_fingerprint(m, fingerprint);
    FUZZ_CHECK(memcmp(key, m->key, sizeof(key)) == 0, "the key is of another id");
    /* That of a text of an array covers the array, too. */
    FUZZ_CHECK(m->endpoint == ENDPOINT_COMPLETIONS ||
                   memcmp(fingerprint, m->fingerprint, sizeof(fingerprint)) == 0,
               "the fingerprint is of another body");
}

/* A history as lib/provider reads it: at least one message, each of a role and with a text. */
static void check_history(struct slice history)
{
    static const char *const roles[] = {"system", "user", "assistant"};
    cJSON *root = NULL;
    const cJSON *message;
    struct err e = {0};
    check_text("the history", history, 2 * FRONT_BODY_MAX);
    FUZZ_CHECK(json_parse(history, &root, &e) == 0 && cJSON_IsArray(root) && root->child, "no history: %s",
               e.text);
    cJSON_ArrayForEach (message, root) {
        const char *role = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(message, "role"));
        const char *content = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(message, "content"));
        bool known = false;
        for (size_t i = 0; role && i < ARRAY_LEN(roles); i++)
            known = known || strcmp(role, roles[i]) == 0;
        FUZZ_CHECK(known && content && slice_trim(slice_of(content)).n, "a bad message in %.*s",
                   (int)history.n, history.p);
    }
    cJSON_Delete(root);
}

static void check_invocation(const struct wire_submit *m)
{
    FUZZ_CHECK(m->family == FAMILY_INVOKE, "an id of another family");
    FUZZ_CHECK(isnan(m->temperature) || (m->temperature >= 0 && m->temperature <= 2), "temperature %g",
               m->temperature);
    FUZZ_CHECK(m->max_tokens <= 1000000, "%u tokens", m->max_tokens);
    FUZZ_CHECK(!m->messages.p == !(m->flags & SUBMIT_ALONE), "a history goes alone");
    FUZZ_CHECK(!(m->flags & SUBMIT_ASYNC), "nobody would fetch its answer");
    check_text("the system prompt", m->system_prompt, FRONT_BODY_MAX);
    if (m->messages.p)
        check_history(m->messages);
    /* The provider is the mock, whose models are those of the default list and its own. */
    static const char *const models[] = {"gpt-4o-mini", "gpt-4o", "gpt-3.5-turbo", "gpt-3.5-turbo-16k",
                                         "mock"};
    bool offered = !m->model.p;
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        offered = offered || slice_is(m->model, models[i]);
    FUZZ_CHECK(offered, "the model %.*s is not offered", (int)m->model.n, m->model.p);
    FUZZ_CHECK(!m->caller_key.p || (m->caller_key.n > 3 && memcmp(m->caller_key.p, "sk-", 3) == 0),
               "a bad key");
    for (size_t i = 0; i < m->caller_key.n; i++)
        FUZZ_CHECK(m->caller_key.p[i] > ' ' && m->caller_key.p[i] < 0x7f, "a key that breaks a header");
}

/* What has its own place in the call is not among the rest of it. */
static void check_extra(const struct wire_submit *m)
{
    static const char *const apart[] = {"model", "stream", "stream_options", "messages"};
    cJSON *root = NULL;
    struct err e = {0};
    if (!m->extra.p)
        return;
    check_text("extra", m->extra, 2 * FRONT_BODY_MAX);
    FUZZ_CHECK(json_parse(m->extra, &root, &e) == 0 && cJSON_IsObject(root), "extra is no object: %s",
               e.text);
    for (size_t i = 0; i < ARRAY_LEN(apart) - (m->endpoint == ENDPOINT_COMPLETIONS); i++)
        FUZZ_CHECK(!cJSON_GetObjectItemCaseSensitive(root, apart[i]), "%s is among the rest", apart[i]);
    cJSON_Delete(root);
}

static void check_openai(const struct wire_submit *m)
{
    bool verbatim = m->flags & SUBMIT_VERBATIM, chat = m->endpoint == ENDPOINT_CHAT_COMPLETIONS;
    struct provider_member plain = {.prompt = m->prompt, .extra = m->extra};
    struct json_fault fault;
    FUZZ_CHECK(m->family == FAMILY_OPENAI && !m->caller_key.p && !(m->flags & SUBMIT_ASYNC), "a bad submit");
    FUZZ_CHECK(!(m->flags & SUBMIT_COMPLETION) == chat, "a text to be continued is no chat");
    FUZZ_CHECK(verbatim == !!(m->flags & SUBMIT_ALONE), "only what goes through goes alone");
    FUZZ_CHECK(verbatim || provider_combinable(&plain, MODE_COMBINED), "a prompt that could share no call");
    FUZZ_CHECK(verbatim ? isnan(m->temperature) && !m->system_prompt.p
                        : isnan(m->temperature) || (m->temperature >= 0 && m->temperature <= 2),
               "temperature %g", m->temperature);
    FUZZ_CHECK(!!m->messages.p == (verbatim && chat), "messages are handed in as they stand, or not at all");
    FUZZ_CHECK(!m->messages.p || (json_scan(m->messages, &fault) == 0 && m->messages.p[0] == '['),
               "messages are no array");
    check_extra(m);
}

static void check_submit(struct slice payload)
{
    struct wire_submit m;
    struct json_fault fault;
    uint64_t us;
    FUZZ_CHECK(wire_submit_decode(payload, &m) == 0, "the submit cannot be read");
    FUZZ_CHECK(request_id_valid(m.request_id), "a bad request_id is handed in");
    check_text("the prompt", m.prompt, FRONT_BODY_MAX);
    check_text("the username", m.username, 128);
    check_text("created_at", m.created_at, 64);
    FUZZ_CHECK(m.flags & SUBMIT_VERBATIM || slice_trim(m.prompt).n, "a blank prompt is handed in");
    FUZZ_CHECK(clock_parse_rfc3339(m.created_at, &us), "created_at is no time");
    bool generates = m.endpoint == ENDPOINT_GENERATE;
    if (m.endpoint == ENDPOINT_INVOKE)
        check_invocation(&m);
    else if (m.endpoint >= ENDPOINT_CHAT_COMPLETIONS)
        check_openai(&m);
    else
        FUZZ_CHECK(m.family == FAMILY_QUERY && !m.extra.p && isnan(m.temperature) &&
                       (generates ? m.max_tokens - 1 < 200 : !m.max_tokens) && !m.messages.p &&
                       !m.caller_key.p && !m.model.p && !(m.flags & SUBMIT_ALONE),
                   "something is handed in that these endpoints do not take");
    if (m.metadata.p) {
        check_text("metadata", m.metadata, 8192);
        FUZZ_CHECK(json_scan(m.metadata, &fault) == 0 && m.metadata.p[0] == '{',
                   "metadata is no JSON object");
    }
    check_hashes(&m);
}

static void check_settings(struct slice payload)
{
    cJSON *root;
    struct wire_change change;
    struct settings_patch patch, again;
    struct err e = {0};
    char field[128];
    struct buf out;
    FUZZ_CHECK(wire_change_decode(payload, &change) == 0 && change.actor.n <= AUDIT_ACTOR_MAX,
               "nobody changes the settings");
    payload = change.document;
    FUZZ_CHECK(json_parse(payload, &root, &e) == 0, "settings that are no JSON: %s", e.text);
    FUZZ_CHECK(settings_patch_parse(root, &patch, field, &e) == 0, "settings that are refused: %s", e.text);
    cJSON_Delete(root);
    buf_init(&out, 1 << 20);
    settings_patch_encode(&out, &patch, true);
    FUZZ_CHECK(slice_equal(buf_slice(&out), payload), "settings change by being read: %s", out.data);
    /* Once more, over nothing: what was put is what is kept. */
    again = (struct settings_patch){0};
    settings_patch_merge(&again, &patch);
    buf_clear(&out);
    settings_patch_encode(&out, &again, true);
    FUZZ_CHECK(slice_equal(buf_slice(&out), payload), "settings change by being merged: %s", out.data);
    buf_fini(&out);
}

void front_check_questions(struct slice questions, struct front_asked *ret_asked)
{
    struct wire_frame frame;
    struct wire_watch watch;
    size_t size = 0;
    *ret_asked = (struct front_asked){0};
    for (; questions.n; questions = (struct slice){questions.p + size, questions.n - size}) {
        int rc = wire_frame_parse(questions, &frame, &size);
        FUZZ_CHECK(rc == 1, "%d: the last %zu bytes that the worker sends are no frame", rc, questions.n);
        switch (frame.type) {
        case WIRE_SUBMIT:
            check_submit(frame.payload);
            ret_asked->submits++;
            break;
        case WIRE_SETTINGS_PUT:
            check_settings(frame.payload);
            ret_asked->settings++;
            break;
        case WIRE_CHAT_DELETE:
            FUZZ_CHECK(request_id_valid(frame.payload), "a bad request_id is to be deleted");
            ret_asked->deletes++;
            break;
        case WIRE_WATCH:
            FUZZ_CHECK(wire_watch_decode(frame.payload, &watch) == 0 && watch.wait_ms <= 60000,
                       "a bad watch");
            ret_asked->watches++;
            break;
        case WIRE_STATUS_ASK:
            ret_asked->statuses++;
            break;
        default:
            FUZZ_CHECK(frame.type == WIRE_CANCEL, "the worker asks with a frame of type %d", frame.type);
        }
    }
}

static bool status_known(int status)
{
    static const int known[] = {200, 202, 204, 400, 401, 403, 404, 405, 409,
                                410, 413, 415, 422, 424, 429, 500, 503, 504};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (status == known[i])
            return true;
    return false;
}

/* "Name: value\r\n" lines without anything in them that would end a line early. */
static void check_headers(struct slice headers)
{
    const char *at = headers.p, *end = headers.p + headers.n;
    while (at < end) {
        const char *line_end = memmem(at, (size_t)(end - at), "\r\n", 2);
        const char *colon = memchr(at, ':', (size_t)(end - at));
        FUZZ_CHECK(line_end && colon && colon < line_end && colon > at, "a broken header line: %.*s",
                   (int)(end - at), at);
        for (const char *c = at; c < line_end; c++)
            FUZZ_CHECK((unsigned char)*c >= 0x20 && *c != 0x7f, "a control character in a header: %.*s",
                       (int)(line_end - at), at);
        at = line_end + 2;
    }
}

/* What /chat and /chat/batched answer: source 5's own shape, and our code. */
static bool is_chat_error(const cJSON *root)
{
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(root, "chat_id");
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(root, "error");
    return (cJSON_IsString(id) || cJSON_IsNull(id)) && cJSON_IsString(error) && *error->valuestring &&
           cJSON_IsString(cJSON_GetObjectItemCaseSensitive(root, "error_code")) &&
           cJSON_GetArraySize(root) == 3;
}

/* OpenAI's. */
static bool is_openai_error(const cJSON *root, const cJSON *error)
{
    const cJSON *param = cJSON_GetObjectItemCaseSensitive(error, "param");
    return cJSON_GetArraySize(root) == 1 && cJSON_GetArraySize(error) == 4 &&
           cJSON_IsString(cJSON_GetObjectItemCaseSensitive(error, "message")) &&
           cJSON_IsString(cJSON_GetObjectItemCaseSensitive(error, "type")) &&
           cJSON_IsString(cJSON_GetObjectItemCaseSensitive(error, "code")) &&
           (cJSON_IsString(param) || cJSON_IsNull(param));
}

/* Native endpoints answer errors in one shape. */
static void check_error(struct slice body)
{
    cJSON *root = NULL;
    struct err e = {0};
    FUZZ_CHECK(json_parse(body, &root, &e) == 0, "%s", e.text);
    const cJSON *error = cJSON_GetObjectItemCaseSensitive(root, "error");
    if (is_chat_error(root) || is_openai_error(root, error)) {
        cJSON_Delete(root);
        return;
    }
    FUZZ_CHECK(cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(root, "success")), "no \"success\": false");
    FUZZ_CHECK(cJSON_IsString(cJSON_GetObjectItemCaseSensitive(error, "error_type")) &&
                   cJSON_IsString(cJSON_GetObjectItemCaseSensitive(error, "error_code")) &&
                   cJSON_IsString(cJSON_GetObjectItemCaseSensitive(error, "message")),
               "an error of another shape: %.*s", (int)body.n, body.p);
    cJSON_Delete(root);
}

void front_check_response(int status, struct slice headers, struct slice body, bool json)
{
    struct json_fault fault;
    FUZZ_CHECK(status_known(status), "status %d", status);
    check_headers(headers);
    if (!json || !body.p)
        return;
    FUZZ_CHECK(json_scan(body, &fault) == 0, "the answer (%d) is no JSON: byte %zu: %s in %.*s", status,
               fault.offset, fault.reason, (int)body.n, body.p);
    if (status >= 400 && !fuzz_holds(body, SLICE_LITERAL("\"dependencies\"")))
        check_error(body);
}
