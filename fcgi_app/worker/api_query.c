/*
 * POST /query (source 1) and POST /v1/query (source 2): what a prompt looks like on the wire, checked and
 * turned into a submit; everything after that is prompt.c's.
 */
#include <math.h>
#include <strings.h>

#include "base/clock.h"
#include "worker/answer.h"
#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/fields.h"
#include "worker/json_span.h"
#include "worker/path.h"
#include "worker/prompt.h"
#include "worker/state.h"
#include "json/read.h"

#define USERNAME_MAX   128
#define METADATA_MAX   (8 * 1024)
#define CREATED_AT_MAX 64

static bool get_request_id(struct exchange *x, const cJSON *root, struct slice *ret_id)
{
    struct err e = {0};
    bool present = false;
    if (json_get_text(root, "request_id", EXCHANGE_ID_SIZE - 1, ret_id, &present, &e)) {
        problem_respond(x, PROBLEM_INVALID_REQUEST_ID, "request_id", "%s", e.text);
        return false;
    }
    if (present && !request_id_valid(*ret_id)) {
        problem_respond(x, PROBLEM_INVALID_REQUEST_ID, "request_id",
                        "request_id must be 1 to 128 characters of A-Z, a-z, 0-9 and . _ : -");
        return false;
    }
    if (present)
        exchange_set_prompt_id(x, *ret_id); /* so that what is wrong with the rest is told under it */
    return true;
}

static bool get_created_at(struct exchange *x, const cJSON *root, struct slice *ret_text)
{
    struct err e = {0};
    bool present = false;
    uint64_t us;
    if (json_get_text(root, "created_at", CREATED_AT_MAX, ret_text, &present, &e)) {
        problem_respond(x, PROBLEM_INVALID_CREATED_AT, "created_at", "%s", e.text);
        return false;
    }
    /* A bare date is fit for a filter but is no date-time of RFC 3339. */
    if (present && (ret_text->n <= 10 || !clock_parse_rfc3339(*ret_text, &us))) {
        problem_respond(x, PROBLEM_INVALID_CREATED_AT, "created_at",
                        "created_at must be a date-time of RFC 3339, such as 2026-02-01T12:00:00Z.");
        return false;
    }
    return present || field_created_now(x, ret_text);
}

/* As it stood in the body; written anew only when its key was spelt with escapes. */
static bool get_metadata(struct exchange *x, const cJSON *root, struct slice *ret_json)
{
    struct err e = {0};
    const cJSON *object = NULL;
    bool present = false;
    struct slice json = {0};
    if (json_get_object(root, "metadata", &object, &present, &e)) {
        problem_respond(x, PROBLEM_INVALID_METADATA, "metadata", "%s", e.text);
        return false;
    }
    if (present) {
        json = json_member_span(buf_slice(&x->request.body), "metadata");
        char *printed = json.p ? NULL : cJSON_PrintUnformatted(object);
        char *copy = printed ? arena_copy(&x->arena, slice_of(printed)) : NULL;
        cJSON_free(printed);
        if (!json.p && !copy) {
            problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for this request now.");
            return false;
        }
        if (!json.p)
            json = slice_of(copy);
    }
    if (json.n > METADATA_MAX) {
        problem_respond(x, PROBLEM_INVALID_METADATA, "metadata", "metadata is larger than %d bytes.",
                        METADATA_MAX);
        return false;
    }
    *ret_json = json;
    return true;
}

/* RFC 7240: whether Prefer lists respond-async. */
static bool prefers_async(struct slice prefer)
{
    static const char token[] = "respond-async";
    for (const char *at = prefer.n ? prefer.p : ""; *at;) {
        at += strspn(at, " \t,");
        size_t n = strcspn(at, ",; \t=");
        if (n == sizeof(token) - 1 && !strncasecmp(at, token, n))
            return true;
        at += strcspn(at, ",");
    }
    return false;
}

static bool get_username(struct exchange *x, const cJSON *root, struct slice *ret_name)
{
    struct err e = {0};
    if (!json_get_text(root, "username", USERNAME_MAX, ret_name, NULL, &e))
        return true;
    problem_respond(x, PROBLEM_INVALID_USERNAME, "username", "%s", e.text);
    return false;
}

static void respond_queued(struct exchange *x)
{
    struct json_writer w;
    x->response.status = 202;
    response_header(&x->response, "Location", "%s/v1/requests/%s", x->worker->conf->server.base_path,
                    exchange_id(x));
    response_header(&x->response, "Preference-Applied", "respond-async");
    json_writer_init(&w, &x->response.body);
    json_object_begin(&w);
    json_field_text(&w, "request_id", x->prompt_id);
    json_field_cstr(&w, "status", "queued");
    json_key(&w, "response");
    json_null(&w);
    json_key(&w, "error");
    json_null(&w);
    json_object_end(&w);
}

static void run_v1(struct exchange *x, const cJSON *root)
{
    struct json_writer w;
    struct prompt_result result;
    struct wire_submit m = {.family = FAMILY_QUERY, .endpoint = ENDPOINT_V1_QUERY, .temperature = NAN};

    if (!get_request_id(x, root, &m.request_id) || !field_prompt(x, root, "prompt", &m.prompt) ||
        !field_priority(x, root, &m.priority) || !get_username(x, root, &m.username) ||
        !get_created_at(x, root, &m.created_at) || !get_metadata(x, root, &m.metadata))
        return;
    if (prefers_async(x->request.prefer))
        m.flags |= SUBMIT_ASYNC;
    if (!prompt_run(x, &m, &result))
        return;
    if (result.queued) {
        respond_queued(x);
        return;
    }
    answer_headers(x, &result);
    json_writer_init(&w, &x->response.body);
    answer_write(&w, &result.chat);
}

static void run_plain(struct exchange *x, const cJSON *root)
{
    struct json_writer w;
    struct prompt_result result;
    struct wire_submit m = {.family = FAMILY_QUERY, .endpoint = ENDPOINT_QUERY, .temperature = NAN};

    if (!field_prompt(x, root, "query", &m.prompt) || !field_priority(x, NULL, &m.priority) ||
        !field_created_now(x, &m.created_at) || !prompt_run(x, &m, &result))
        return;
    answer_headers(x, &result);
    json_writer_init(&w, &x->response.body);
    json_object_begin(&w);
    json_field_text(&w, "result", result.chat.text);
    json_object_end(&w);
}

void api_query_v1_post(struct exchange *x)
{
    cJSON *root;
    if (!exchange_json(x, &root))
        return;
    run_v1(x, root);
    cJSON_Delete(root);
}

void api_query_post(struct exchange *x)
{
    cJSON *root;
    if (!exchange_json(x, &root))
        return;
    run_plain(x, root);
    cJSON_Delete(root);
}
