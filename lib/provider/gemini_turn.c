/* What Gemini says, piece by piece or in one, as OpenAI's chunks; see gemini.h. A response that comes in one
 * is a stream of one piece, put together like any other. Texts and numbers stay as they stand in the JSON. */
#include <stdio.h>

#include "provider/gather.h"
#include "provider/gemini.h"
#include "provider/made.h"
#include "provider/option.h"

#define CALLS_MAX  256 /* of functions in one answer */
#define TOKENS_MAX 1000000000

static bool is_name(struct slice text, size_t max_bytes)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] <= ' ' || (unsigned char)text.p[i] >= 0x7f || text.p[i] == '\\')
            return false;
    return text.n && text.n <= max_bytes;
}

static struct slice text_of(struct slice object, const char *key)
{
    return option_text(extra_get(object, key));
}

/* The names that all chunks of an answer bear. */
static void begin(struct gemini_turn *t, const struct provider_call *call, struct slice event)
{
    struct slice id = text_of(event, "responseId"), model = text_of(event, "modelVersion");
    if (t->begun)
        return;
    t->begun = true;
    if (!is_name(id, sizeof(t->id) - 1))
        id = slice_of(call->id);
    if (!is_name(model, sizeof(t->model) - 1))
        model = slice_of(call->model);
    snprintf(t->id, sizeof(t->id), "%.*s", (int)id.n, id.p);
    snprintf(t->model, sizeof(t->model), "%.*s", (int)model.n, model.p);
}

/* One candidate of one event. */
struct piece {
    struct gemini_turn *turn;
    const struct provider_call *call;
    size_t index; /* of the choice */
    struct slice parts;
    bool first;
};

static bool is_thought(struct slice part)
{
    return slice_is(extra_get(part, "thought"), "true");
}

/* A word that continues a text must not grow together with the text's last one. */
static bool needs_blank(const struct piece *p, struct slice text)
{
    unsigned char c = (unsigned char)(text.n ? text.p[0] : ' ');
    bool word = c >= 0x80 || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
    return p->first && p->call->completion && p->call->ends_in_word && word;
}

/* Everything it says in words, as one JSON string; absent when it says nothing. The string lives in scratch.
 */
static struct slice read_words(const struct piece *p, struct buf *scratch)
{
    struct slice part;
    bool any = false;
    buf_clear(scratch);
    buf_append_text(scratch, "\"");
    for (size_t at = 0; p->parts.n && extra_element(p->parts, &at, &part);) {
        struct slice text = text_of(part, "text");
        if (!text.p || is_thought(part))
            continue;
        if (!any && needs_blank(p, text))
            buf_append_text(scratch, " ");
        buf_append_slice(scratch, text);
        any = true;
    }
    buf_append_text(scratch, "\"");
    return any ? buf_slice(scratch) : (struct slice){0};
}

static void write_signature(struct json_writer *w, struct slice signature)
{
    json_key(w, "extra_content");
    json_object_begin(w);
    json_key(w, "google");
    json_object_begin(w);
    json_key(w, "thought_signature");
    json_raw(w, signature);
    json_object_end(w);
    json_object_end(w);
}

static int write_call(struct json_writer *w, const struct piece *p, struct slice part)
{
    struct slice call = extra_get(part, "functionCall"), args = extra_get(call, "args");
    struct slice name = extra_get(call, "name"), id = extra_get(call, "id");
    struct slice signature = extra_get(part, "thoughtSignature");
    unsigned n = p->turn->choices[p->index].calls++;
    char made[PROVIDER_NAME_SIZE + 32];
    if (!option_text(name).n || n >= CALLS_MAX || (args.n && args.p[0] != '{'))
        return ERR_INVAL;
    json_object_begin(w);
    json_field_u64(w, "index", n);
    json_key(w, "id");
    if (option_text(id).n) {
        json_raw(w, id);
    } else {
        snprintf(made, sizeof(made), "call_%s_%zu_%u", p->turn->id, p->index, n);
        json_text(w, slice_of(made));
    }
    json_field_cstr(w, "type", "function");
    json_key(w, "function");
    json_object_begin(w);
    json_key(w, "name");
    json_raw(w, name);
    json_field_text(w, "arguments", args.n ? args : SLICE_LITERAL("{}"));
    json_object_end(w);
    if (option_text(signature).p)
        write_signature(w, signature);
    json_object_end(w);
    return 0;
}

static int write_calls(struct json_writer *w, const struct piece *p)
{
    struct slice part;
    bool any = false;
    int rc = 0;
    for (size_t at = 0; !rc && p->parts.n && extra_element(p->parts, &at, &part);) {
        if (!extra_get(part, "functionCall").p)
            continue;
        if (!any) {
            json_key(w, "tool_calls");
            json_array_begin(w);
        }
        any = true;
        rc = write_call(w, p, part);
    }
    if (any)
        json_array_end(w);
    return rc;
}

static int write_delta(struct json_writer *w, const struct piece *p, struct buf *scratch)
{
    struct slice words = read_words(p, scratch);
    if (p->call->completion) {
        json_key(w, "text");
        json_raw(w, words.p ? words : SLICE_LITERAL("\"\""));
        return 0;
    }
    json_key(w, "delta");
    json_object_begin(w);
    if (p->first)
        json_field_cstr(w, "role", "assistant");
    if (words.p) {
        json_key(w, "content");
        json_raw(w, words);
    }
    int rc = write_calls(w, p);
    json_object_end(w);
    return rc;
}

static void write_token(struct json_writer *w, struct slice token)
{
    struct slice text = extra_get(token, "token"), likely = extra_get(token, "logProbability");
    json_key(w, "token");
    json_raw(w, option_text(text).p ? text : SLICE_LITERAL("\"\""));
    json_key(w, "logprob");
    json_raw(w, option_is_number(likely) ? likely : SLICE_LITERAL("0")); /* what is 0 is left out */
    json_key(w, "bytes");
    json_null(w);
}

/* logprobsResult as OpenAI's logprobs: each token with those that were as likely. */
static void write_logprobs(struct json_writer *w, struct slice result)
{
    struct slice chosen = extra_get(result, "chosenCandidates"), top = extra_get(result, "topCandidates");
    struct slice token, others, other;
    size_t top_at = 0;
    json_key(w, "logprobs");
    if (!chosen.n || chosen.p[0] != '[') {
        json_null(w);
        return;
    }
    json_object_begin(w);
    json_key(w, "content");
    json_array_begin(w);
    for (size_t at = 0; extra_element(chosen, &at, &token);) {
        json_object_begin(w);
        write_token(w, token);
        json_key(w, "top_logprobs");
        json_array_begin(w);
        bool any = top.n && top.p[0] == '[' && extra_element(top, &top_at, &others);
        struct slice list = any ? extra_get(others, "candidates") : (struct slice){0};
        for (size_t i = 0; list.n && list.p[0] == '[' && extra_element(list, &i, &other);) {
            json_object_begin(w);
            write_token(w, other);
            json_object_end(w);
        }
        json_array_end(w);
        json_object_end(w);
    }
    json_array_end(w);
    json_object_end(w);
}

/* Gemini ends a turn that calls functions like any other. */
static void write_finish(struct json_writer *w, struct slice reason, bool calls)
{
    bool filtered;
    json_key(w, "finish_reason");
    if (!reason.n) {
        json_null(w);
        return;
    }
    struct slice word = gemini_finish(reason, &filtered);
    json_text(w, calls && slice_is(word, "stop") ? SLICE_LITERAL("tool_calls") : word);
}

static int write_choice(struct json_writer *w, struct gemini_turn *t, const struct provider_call *call,
                        struct slice candidate, struct buf *scratch)
{
    struct slice told = extra_get(candidate, "index");
    int64_t index = told.p ? option_number(told, GEMINI_CHOICES_MAX - 1) : 0;
    if (candidate.p[0] != '{' || index < 0)
        return ERR_INVAL;
    struct piece p = {.turn = t,
                      .call = call,
                      .index = (size_t)index,
                      .parts = extra_get(extra_get(candidate, "content"), "parts"),
                      .first = !t->choices[index].begun};
    if (p.parts.n && p.parts.p[0] != '[')
        return ERR_INVAL;
    t->choices[index].begun = true;
    json_object_begin(w);
    json_field_u64(w, "index", (uint64_t)index);
    int rc = write_delta(w, &p, scratch);
    write_logprobs(w, call->completion ? (struct slice){0} : extra_get(candidate, "logprobsResult"));
    write_finish(w, text_of(candidate, "finishReason"), t->choices[index].calls > 0);
    json_object_end(w);
    return rc;
}

/* The prompt was refused as a whole: an answer that the filter left nothing of. */
static const struct slice blocked = SLICE_LITERAL("[{\"finishReason\":\"SAFETY\"}]");

static int write_chunk(struct json_writer *w, struct gemini_turn *t, const struct provider_call *call,
                       struct slice candidates, struct buf *scratch)
{
    struct made made = made_of(call);
    struct slice candidate;
    int rc = 0;
    made.id = slice_of(t->id);
    made.model = slice_of(t->model);
    made.chunk = true;
    made_begin(w, &made);
    json_key(w, "choices");
    json_array_begin(w);
    for (size_t at = 0; !rc && extra_element(candidates, &at, &candidate);)
        rc = write_choice(w, t, call, candidate, scratch);
    json_array_end(w);
    json_object_end(w);
    return rc;
}

static uint64_t count(struct slice usage, const char *key)
{
    int64_t n = option_number(extra_get(usage, key), TOKENS_MAX);
    return n > 0 ? (uint64_t)n : 0;
}

static void write_details(struct json_writer *w, const char *key, const char *name, uint64_t n)
{
    json_key(w, key);
    json_object_begin(w);
    json_field_u64(w, name, n);
    json_object_end(w);
}

static void write_usage(struct json_writer *w, struct slice usage)
{
    uint64_t prompt = count(usage, "promptTokenCount"), thoughts = count(usage, "thoughtsTokenCount");
    uint64_t completion = count(usage, "candidatesTokenCount") + thoughts;
    json_object_begin(w);
    json_field_u64(w, "prompt_tokens", prompt);
    json_field_u64(w, "completion_tokens", completion);
    json_field_u64(w, "total_tokens", prompt + completion);
    write_details(w, "prompt_tokens_details", "cached_tokens", count(usage, "cachedContentTokenCount"));
    write_details(w, "completion_tokens_details", "reasoning_tokens", thoughts);
    json_object_end(w);
}

int gemini_turn_chunk(struct gemini_turn *t, const struct provider_call *call, struct slice event,
                      struct buf *chunk, struct buf *usage)
{
    struct slice candidates = extra_get(event, "candidates"), said = extra_get(event, "usageMetadata");
    struct json_writer w;
    struct buf scratch;
    int rc = 0;
    if (!candidates.p && text_of(extra_get(event, "promptFeedback"), "blockReason").n)
        candidates = blocked;
    if (candidates.p && candidates.p[0] != '[')
        return ERR_INVAL;
    begin(t, call, event);
    if (candidates.p && extra_inside(candidates).n) {
        buf_init(&scratch, chunk->max);
        json_writer_init(&w, chunk);
        rc = write_chunk(&w, t, call, candidates, &scratch);
        chunk->failed = chunk->failed || buf_failed(&scratch);
        buf_fini(&scratch);
    }
    if (!rc && said.n && said.p[0] == '{') {
        json_writer_init(&w, usage);
        write_usage(&w, said);
    }
    return rc;
}

/* ERR_INVAL: it is no response, or holds no answer. */
static int gather_one(struct gather *g, const struct provider_call *call, struct slice body)
{
    struct gemini_turn turn = {.begun = false};
    struct buf chunk, usage;
    buf_init(&chunk, g->max_bytes);
    buf_init(&usage, 1024);
    int rc = gemini_turn_chunk(&turn, call, body, &chunk, &usage);
    if (!rc && (buf_failed(&chunk) || buf_failed(&usage)))
        rc = ERR_NOMEM;
    if (!rc)
        rc = chunk.len ? gather_add(g, buf_slice(&chunk)) : ERR_INVAL;
    if (!rc && usage.len)
        rc = gather_set(g, "usage", buf_slice(&usage));
    buf_fini(&chunk);
    buf_fini(&usage);
    return rc;
}

int gemini_response(const cJSON *root, struct slice body, const struct provider_call *call,
                    struct arena *arena, struct slice *ret_response)
{
    struct gather g;
    struct buf b;
    size_t most = 32 * body.n + 4096; /* a token without a word is written as nearly so many bytes */
    if (!cJSON_IsObject(root))
        return 0;
    gather_init(&g, most + 256 * 1024);
    buf_init(&b, most);
    int rc = gather_one(&g, call, slice_trim(body));
    if (!rc) {
        gather_write(&g, &b);
        rc = made_keep(&b, arena, ret_response);
    }
    gather_fini(&g);
    return rc == ERR_NOMEM ? rc : 0;
}
