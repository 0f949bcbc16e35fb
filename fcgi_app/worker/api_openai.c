/*
 * POST /v1/chat/completions and POST /v1/completions: OpenAI's API in front of everything that carpool does
 * with a prompt. What a request asks for is openai_request.c's to find out.
 */
#include "worker/answer.h"
#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/idempotency.h"
#include "worker/json_span.h"
#include "worker/openai_answer.h"
#include "worker/openai_error.h"
#include "worker/openai_request.h"
#include "worker/openai_stream.h"
#include "worker/prompt_many.h"

static void run_one(struct exchange *x, struct openai_request *r)
{
    struct prompt_result result;
    if (!prompt_run(x, &r->m, &result))
        return;
    answer_headers(x, &result);
    openai_answer_write(&x->response.body, (const struct chat *const[]){&result.chat}, 1);
}

/* Every prompt of the array as one of its own, under an id of its own if the request has one. */
static bool divide(struct exchange *x, const struct openai_request *r, struct wire_submit *submits,
                   struct prompt_outcome *outcomes)
{
    struct slice whole = json_member_span(buf_slice(&x->request.body), "prompt");
    const cJSON *text;
    size_t i = 0;
    cJSON_ArrayForEach (text, r->prompts) {
        struct wire_submit *m = &submits[i];
        *m = r->m;
        m->prompt = slice_of(text->valuestring);
        if (r->m.request_id.p && !idempotency_part(x, r->m.request_id, i, &m->request_id))
            return false;
        outcomes[i++] =
            (struct prompt_outcome){.m = m, .whole = r->m.request_id.p ? whole : (struct slice){0}};
    }
    return true;
}

/* All in one response, or one refusal for all. */
static void respond_many(struct exchange *x, const struct prompt_outcome *outcomes, const struct chat **chats,
                         size_t n, struct prompt_result *all)
{
    const struct prompt_outcome *refused = NULL;
    bool bought = false; /* some of it, perhaps */
    all->replayed = true;
    for (size_t i = 0; i < n; i++) {
        const struct prompt_outcome *o = &outcomes[i];
        chats[i] = &o->chat;
        bought = bought || o->answered || o->lost || openai_error_final(&o->refusal);
        refused = o->answered || refused ? refused : o;
        all->replayed = all->replayed && o->replayed;
        prompt_timing_stretch(&all->timing, &o->timing);
    }
    if (refused) {
        /* Asked again, they are bought again, unless they are known by an id. */
        if (bought && !x->prompt_id.p && !openai_error_final(&refused->refusal))
            response_header(&x->response, "x-should-retry", "false");
        problem_respond_refusal(x, &refused->refusal);
        return;
    }
    answer_headers(x, all);
    openai_answer_write(&x->response.body, chats, n);
}

static void run_many(struct exchange *x, struct openai_request *r)
{
    struct prompt_result all = {0};
    size_t n = (size_t)cJSON_GetArraySize(r->prompts);
    struct wire_submit *submits = arena_alloc(&x->arena, n * sizeof(*submits));
    struct prompt_outcome *outcomes = arena_alloc(&x->arena, n * sizeof(*outcomes));
    const struct chat **chats = arena_alloc(&x->arena, n * sizeof(*chats));
    if (!submits || !outcomes || !chats) {
        problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for this request now.");
        return;
    }
    if (divide(x, r, submits, outcomes) && prompt_run_many(x, outcomes, n, &all.accept_us))
        respond_many(x, outcomes, chats, n, &all);
}

static void run(struct exchange *x, enum endpoint endpoint)
{
    struct openai_request r;
    cJSON *root;
    if (!exchange_json(x, &root))
        return;
    if (openai_request_read(x, root, endpoint, &r)) {
        if (r.prompts)
            run_many(x, &r);
        else if (r.stream)
            openai_stream_run(x, &r.m, r.include_usage);
        else
            run_one(x, &r);
    }
    openai_request_fini(&r);
    cJSON_Delete(root);
}

void api_chat_completions_post(struct exchange *x)
{
    run(x, ENDPOINT_CHAT_COMPLETIONS);
}

void api_completions_post(struct exchange *x)
{
    run(x, ENDPOINT_COMPLETIONS);
}
