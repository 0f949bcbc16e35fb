/*
 * One request and its answer, with what a thread keeps from one to the next: arena, buffers, connection to
 * the coordinator. Every endpoint gets one.
 */
#ifndef CARPOOL_WORKER_EXCHANGE_H
#define CARPOOL_WORKER_EXCHANGE_H

#include <cjson/cJSON.h>

#include "base/arena.h"
#include "client/link.h"
#include "worker/auth.h"
#include "worker/problem.h"
#include "worker/request.h"
#include "worker/response.h"

struct worker;

#define EXCHANGE_ID_SIZE 129

struct exchange {
    struct worker *worker;
    struct request request;
    struct response response;
    struct link link;
    struct arena arena; /* emptied after each exchange */
    struct caller caller;
    struct slice path, query;  /* decoded path without base_path; raw query string */
    struct slice path_id;      /* what stood for {id} in the path */
    unsigned route;            /* its number (route.h) */
    struct slice prompt_id;    /* the request id of a prompt, as soon as it is known; absent until then */
    enum error_shape shape;    /* of what goes wrong */
    struct slice chat_id;      /* source 5's, as soon as it is known; absent until then */
    char id[EXCHANGE_ID_SIZE]; /* see exchange_id() */
};

/* ERR_NOMEM. */
MUST_CHECK
int exchange_init(struct exchange *x, struct worker *w);
void exchange_fini(struct exchange *x);
/* Serves the request that request_accept() brought. */
void exchange_run(struct exchange *x);

/* X-Request-Id: the prompt's, or one made for this exchange. */
const char *exchange_id(struct exchange *x);
/* id must be valid (path.h) and live as long as the exchange. */
void exchange_set_prompt_id(struct exchange *x, struct slice id);

/* response_stream() under the exchange's id. */
bool exchange_stream(struct exchange *x);

/* The body as a JSON object: the caller frees *ret_root with cJSON_Delete. False: answered with what is wrong
 * with it. */
bool exchange_json(struct exchange *x, cJSON **ret_root);

#endif
