/* One request and its answer; see exchange.h. */
#include "worker/exchange.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/uuid.h"
#include "worker/route.h"
#include "worker/state.h"
#include "json/read.h"

#define ARENA_MAX (96u << 20) /* a stored answer of the largest size, and what is decoded of the request */

int exchange_init(struct exchange *x, struct worker *w)
{
    *x = (struct exchange){.worker = w};
    arena_init(&x->arena, ARENA_MAX);
    response_init(&x->response);
    link_init(&x->link, &w->host);
    return request_init(&x->request, w->conf->server.max_body_bytes);
}

void exchange_fini(struct exchange *x)
{
    link_fini(&x->link);
    response_fini(&x->response);
    arena_fini(&x->arena);
    request_fini(&x->request);
}

const char *exchange_id(struct exchange *x)
{
    if (!x->id[0]) {
        struct uuid id;
        uuid_v7(clock_real_us(), &id);
        uuid_format(&id, x->id);
    }
    return x->id;
}

void exchange_set_prompt_id(struct exchange *x, struct slice id)
{
    memcpy(x->id, id.p, id.n);
    x->id[id.n] = 0;
    x->prompt_id = id;
}

bool exchange_stream(struct exchange *x)
{
    exchange_id(x);
    return response_stream(&x->response);
}

bool exchange_json(struct exchange *x, cJSON **ret_root)
{
    cJSON *root;
    struct err e;
    int rc = json_parse(buf_slice(&x->request.body), &root, &e);
    if (rc == ERR_NOMEM)
        problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for this request now.");
    else if (rc)
        problem_respond(x, PROBLEM_INVALID_JSON, NULL, "The body is not valid JSON: %s", e.text);
    else if (!cJSON_IsObject(root)) {
        cJSON_Delete(root);
        problem_respond(x, PROBLEM_INVALID_JSON, NULL, "The body must be a JSON object.");
        rc = ERR_INVAL;
    } else
        *ret_root = root;
    return rc == 0;
}

void exchange_run(struct exchange *x)
{
    x->id[0] = 0;
    x->prompt_id = x->path = x->query = x->path_id = x->chat_id = (struct slice){0};
    x->shape = ERROR_NATIVE;
    x->route = ROUTE_NONE;
    x->caller = (struct caller){0};
    response_reset(&x->response, x->request.fcgi, x->id, x->request.method == METHOD_HEAD);
    request_read_body(&x->request);
    auth_cors(x);
    route_run(x);
    exchange_id(x);
    response_send(&x->response);
    log_write(LOG_LEVEL_DEBUG, exchange_id(x), "%.*s %.*s: %d", (int)x->request.method_text.n,
              x->request.method_text.p, (int)x->path.n, x->path.p,
              x->response.gone ? COUNTS_GONE : x->response.status);
    counts_add_response(&x->worker->counts, x->route, x->response.gone ? COUNTS_GONE : x->response.status);
    arena_reset(&x->arena);
}
