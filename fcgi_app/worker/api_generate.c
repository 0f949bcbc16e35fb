/*
 * POST /generate (source 3): a text goes in, the text and its continuation come out. How the provider is
 * asked for one is provider.h's business.
 */
#include <math.h>

#include "worker/answer.h"
#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/fields.h"
#include "worker/prompt.h"
#include "json/read.h"

#define NEW_TOKENS_DEFAULT 50
#define NEW_TOKENS_MAX     200

static bool get_new_tokens(struct exchange *x, const cJSON *root, uint32_t *ret_tokens)
{
    struct err e = {0};
    uint64_t tokens = NEW_TOKENS_DEFAULT;
    if (json_get_u64(root, "max_new_tokens", 1, NEW_TOKENS_MAX, &tokens, NULL, &e)) {
        problem_respond(x, PROBLEM_INVALID_MAX_NEW_TOKENS, "max_new_tokens", "%s", e.text);
        return false;
    }
    *ret_tokens = (uint32_t)tokens;
    return true;
}

/* The two texts as one. */
static bool join(struct exchange *x, struct slice prompt, struct slice text, struct slice *ret_joined)
{
    char *joined = arena_alloc(&x->arena, prompt.n + text.n + 1);
    if (!joined) {
        problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for this answer now.");
        return false;
    }
    memcpy(joined, prompt.p, prompt.n);
    memcpy(joined + prompt.n, text.p, text.n);
    *ret_joined = (struct slice){joined, prompt.n + text.n};
    return true;
}

static void run(struct exchange *x, const cJSON *root)
{
    struct json_writer w;
    struct prompt_result result;
    struct slice joined;
    struct wire_submit m = {.family = FAMILY_QUERY,
                            .endpoint = ENDPOINT_GENERATE,
                            .flags = SUBMIT_COMPLETION,
                            .temperature = NAN};
    if (!field_prompt(x, root, "prompt", &m.prompt) || !get_new_tokens(x, root, &m.max_tokens) ||
        !field_priority(x, NULL, &m.priority) || !field_created_now(x, &m.created_at) ||
        !prompt_run(x, &m, &result) || !join(x, m.prompt, result.chat.text, &joined))
        return;
    answer_headers(x, &result);
    json_writer_init(&w, &x->response.body);
    json_object_begin(&w);
    json_field_text(&w, "generated_text", joined);
    json_object_end(&w);
}

void api_generate_post(struct exchange *x)
{
    cJSON *root;
    if (!exchange_json(x, &root))
        return;
    run(x, root);
    cJSON_Delete(root);
}
