/*
 * POST /query (source 1) and POST /v1/query (source 2): what a prompt looks like on the wire, checked and
 * turned into a submit; everything after that is prompt.c's.
 */
#include <math.h>

#include "worker/answer.h"
#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/fields.h"
#include "worker/prompt.h"
#include "worker/state.h"

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

    if (!field_request_id(x, root, &m.request_id) || !field_prompt(x, root, "prompt", &m.prompt) ||
        !field_priority(x, root, &m.priority) || !field_username(x, root, &m.username) ||
        !field_created_at(x, root, &m.created_at) || !field_metadata(x, root, &m.metadata))
        return;
    if (request_lists(x->request.prefer, "respond-async"))
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
