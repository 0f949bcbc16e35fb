/*
 * The endpoints: one function each, called by route.c when path, method, key and body are in order. Each
 * fills the response of its exchange.
 */
#ifndef CARPOOL_WORKER_API_H
#define CARPOOL_WORKER_API_H

struct exchange;

void api_query_post(struct exchange *x);            /* POST /query */
void api_query_v1_post(struct exchange *x);         /* POST /v1/query */
void api_generate_post(struct exchange *x);         /* POST /generate */
void api_invoke_post(struct exchange *x);           /* POST /invoke */
void api_chat_post(struct exchange *x);             /* POST /chat */
void api_chat_batched_post(struct exchange *x);     /* POST /chat/batched */
void api_chat_completions_post(struct exchange *x); /* POST /v1/chat/completions */
void api_completions_post(struct exchange *x);      /* POST /v1/completions */
void api_models_get(struct exchange *x);            /* GET /v1/models */
void api_models_one_get(struct exchange *x);        /* GET /v1/models/{name} */
void api_requests_get(struct exchange *x);          /* GET /v1/requests/{id} */
void api_chats_get(struct exchange *x);             /* GET /v1/chat */
void api_chats_delete(struct exchange *x);          /* DELETE /v1/chat/{request_id} */
void api_settings_get(struct exchange *x);          /* GET /v1/settings */
void api_settings_put(struct exchange *x);          /* PUT /v1/settings */
void api_analytics_get(struct exchange *x);         /* GET /v1/analytics */
void api_stats_get(struct exchange *x);             /* GET /stats */
void api_metrics_get(struct exchange *x);           /* GET /metrics */
void api_health_get(struct exchange *x);            /* GET /health */
void api_docs_openapi_get(struct exchange *x);      /* GET /openapi.json */
void api_docs_get(struct exchange *x);              /* GET /docs */

#endif
