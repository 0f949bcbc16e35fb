/*
 * POST /chat and POST /chat/batched (source 5): questions under a chat_id that is echoed and nothing more. A
 * batch is answered in the order it was asked, each query by its response or by its own error.
 */
#include <math.h>
#include <stdio.h>

#include "worker/answer.h"
#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/fields.h"
#include "worker/prompt_many.h"
#include "json/read.h"

#define CHAT_ID_MAX 256
#define QUERIES_MAX 256

/* One query, checked: wrong is NULL or what is wrong with it. Texts lend from the tree. */
struct query {
    struct slice chat_id; /* absent: it has none */
    struct wire_submit m;
    const char *wrong;
    char words[sizeof(((struct err *)0)->text)]; /* where wrong may point */
};

/* A text that must be there. Lends; false: wrong is set. */
static bool get_text(struct query *q, const cJSON *object, const char *key, size_t max, bool needed,
                     struct slice *ret_text)
{
    struct err e = {0};
    bool present = false;
    if (json_get_text(object, key, max, ret_text, &present, &e)) {
        memcpy(q->words, e.text, sizeof(q->words));
        q->wrong = q->words;
    } else if (needed && (!present || field_is_blank(*ret_text))) {
        snprintf(q->words, sizeof(q->words), "%s required", key);
        q->wrong = q->words;
    }
    return !q->wrong;
}

static void read_query(struct exchange *x, const cJSON *object, enum endpoint endpoint, struct query *ret_q)
{
    size_t most = x->request.body.max;
    *ret_q = (struct query){
        .m = {.family = FAMILY_QUERY, .endpoint = endpoint, .temperature = NAN},
    };
    if (!cJSON_IsObject(object)) {
        ret_q->wrong = "each query must be an object with chat_id and user_prompt";
        return;
    }
    if (get_text(ret_q, object, "chat_id", CHAT_ID_MAX, true, &ret_q->chat_id) &&
        get_text(ret_q, object, "user_prompt", most, true, &ret_q->m.prompt))
        get_text(ret_q, object, "system_prompt", most, false, &ret_q->m.system_prompt);
    if (ret_q->m.system_prompt.p && field_is_blank(ret_q->m.system_prompt))
        ret_q->m.system_prompt = (struct slice){0};
}

static void run_one(struct exchange *x, const cJSON *root)
{
    struct json_writer w;
    struct prompt_result result;
    struct query q;
    read_query(x, root, ENDPOINT_CHAT, &q);
    x->chat_id = q.chat_id;
    if (q.wrong) {
        problem_respond(x, PROBLEM_INVALID_QUERY, NULL, "%s", q.wrong);
        return;
    }
    if (!field_priority(x, NULL, &q.m.priority) || !field_created_now(x, &q.m.created_at) ||
        !prompt_run(x, &q.m, &result))
        return;
    answer_headers(x, &result);
    json_writer_init(&w, &x->response.body);
    json_object_begin(&w);
    json_field_text(&w, "chat_id", q.chat_id);
    json_field_text(&w, "response", result.chat.text);
    json_object_end(&w);
}

static void write_outcome(struct json_writer *w, const struct query *q, const struct prompt_outcome *o)
{
    json_object_begin(w);
    json_field_text(w, "chat_id", q->chat_id);
    if (o->answered)
        json_field_text(w, "response", o->chat.text);
    else if (q->wrong)
        json_field_cstr(w, "error", q->wrong);
    else {
        json_field_text(w, "error", o->refusal.message);
        json_field_text(w, "error_code", o->refusal.error_code);
    }
    json_object_end(w);
}

static void respond(struct exchange *x, const struct query *queries, const struct prompt_outcome *outcomes,
                    size_t n, uint64_t accept_us)
{
    struct json_writer w;
    struct prompt_result all = {.accept_us = accept_us};
    size_t answered = 0;
    for (size_t i = 0; i < n; i++) {
        answered += outcomes[i].answered;
        prompt_timing_stretch(&all.timing, &outcomes[i].timing);
    }
    answer_headers(x, &all);
    json_writer_init(&w, &x->response.body);
    json_object_begin(&w);
    json_field_bool(&w, "partial_success", answered && answered < n);
    json_key(&w, "responses");
    json_array_begin(&w);
    for (size_t i = 0; i < n; i++)
        write_outcome(&w, &queries[i], &outcomes[i]);
    json_array_end(&w);
    json_object_end(&w);
}

/* The array of queries; NULL: answered with what is wrong with it. */
static const cJSON *get_queries(struct exchange *x, const cJSON *root)
{
    const cJSON *queries = cJSON_GetObjectItemCaseSensitive(root, "queries");
    int n = cJSON_IsArray(queries) ? cJSON_GetArraySize(queries) : 0;
    if (!queries || cJSON_IsNull(queries))
        problem_respond(x, PROBLEM_INVALID_QUERY, "queries", "queries required");
    else if (!cJSON_IsArray(queries))
        problem_respond(x, PROBLEM_INVALID_QUERY, "queries", "queries must be an array.");
    else if (n < 1 || n > QUERIES_MAX)
        problem_respond(x, PROBLEM_INVALID_QUERY, "queries", "queries must hold 1 to %d queries, not %d.",
                        QUERIES_MAX, n);
    else
        return queries;
    return NULL;
}

static void run_batch(struct exchange *x, const cJSON *root)
{
    const cJSON *array = get_queries(x, root), *object;
    enum priority priority;
    struct slice now;
    uint64_t accept_us = 0;
    size_t n = 0;
    if (!array || !field_priority(x, NULL, &priority) || !field_created_now(x, &now))
        return;
    size_t count = (size_t)cJSON_GetArraySize(array);
    struct query *queries = arena_alloc(&x->arena, count * sizeof(*queries));
    struct prompt_outcome *outcomes = arena_alloc(&x->arena, count * sizeof(*outcomes));
    if (!queries || !outcomes) {
        problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for this request now.");
        return;
    }
    cJSON_ArrayForEach (object, array) {
        struct query *q = &queries[n];
        read_query(x, object, ENDPOINT_CHAT_BATCHED, q);
        q->m.priority = priority;
        q->m.created_at = now;
        outcomes[n++].m = q->wrong ? NULL : &q->m;
    }
    if (prompt_run_many(x, outcomes, n, &accept_us))
        respond(x, queries, outcomes, n, accept_us);
}

void api_chat_post(struct exchange *x)
{
    cJSON *root;
    if (!exchange_json(x, &root))
        return;
    run_one(x, root);
    cJSON_Delete(root);
}

void api_chat_batched_post(struct exchange *x)
{
    cJSON *root;
    if (!exchange_json(x, &root))
        return;
    run_batch(x, root);
    cJSON_Delete(root);
}
