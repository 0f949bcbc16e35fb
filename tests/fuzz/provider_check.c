/* What must hold of calls and outcomes; see provider_check.h. */
#include "provider_check.h"

#include <math.h>
#include <string.h>

#include "base/utf8.h"
#include "reference.h"
#include "json/read.h"

static struct slice string_at(const cJSON *object, const char *key)
{
    return slice_of(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key)));
}

/* The text of the last message, where each provider has it. */
static struct slice last_text(const cJSON *root, bool openai)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, openai ? "messages" : "contents");
    const cJSON *last = cJSON_GetArrayItem(list, cJSON_GetArraySize(list) - 1);
    if (openai)
        return string_at(last, "content");
    const cJSON *parts = cJSON_GetObjectItemCaseSensitive(last, "parts");
    return string_at(cJSON_GetArrayItem(parts, 0), "text");
}

static void check_questions(const struct provider_case *c, const struct provider_call *call,
                            struct slice text)
{
    cJSON *list = NULL;
    struct err e = {0};
    FUZZ_CHECK(json_parse(text, &list, &e) == 0 && (size_t)cJSON_GetArraySize(list) == c->n,
               "the questions of a combined call: %s", e.text);
    for (size_t i = 0; i < c->n; i++) {
        const cJSON *item = cJSON_GetArrayItem(list, (int)i);
        FUZZ_CHECK(slice_is(string_at(item, "id"), call->ids[i]), "question %zu has another id", i);
        FUZZ_CHECK(slice_equal(string_at(item, "question"), c->members[i].prompt), "question %zu is another",
                   i);
        for (size_t j = 0; j < i; j++)
            FUZZ_CHECK(strcmp(call->ids[i], call->ids[j]) != 0, "an id twice");
    }
    cJSON_Delete(list);
}

static void check_prompts(const struct provider_case *c, const cJSON *root)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "prompt");
    FUZZ_CHECK((size_t)cJSON_GetArraySize(list) == c->n, "an array of another length");
    for (size_t i = 0; i < c->n; i++) {
        struct slice sent = slice_of(cJSON_GetStringValue(cJSON_GetArrayItem(list, (int)i)));
        struct slice system = c->members[i].system_prompt, prompt = c->members[i].prompt;
        size_t before = system.n ? system.n + 2 : 0;
        FUZZ_CHECK(sent.n == before + prompt.n && memcmp(sent.p, system.n ? system.p : "", system.n) == 0 &&
                       memcmp(sent.p + before, prompt.p, prompt.n) == 0,
                   "prompt %zu is sent as another", i);
    }
}

static void check_headers(const char *headers)
{
    for (const char *at = headers; *at;) {
        size_t n = strcspn(at, "\n");
        const char *colon = memchr(at, ':', n);
        FUZZ_CHECK(at[n] == '\n' && colon && colon > at && !memchr(at, '\r', n), "a broken header: %s", at);
        at += n + 1;
    }
}

void check_call(const struct provider_case *c, const struct provider_call *call)
{
    cJSON *root = NULL;
    struct err e = {0};
    bool openai = c->provider.kind == PROVIDER_OPENAI;
    FUZZ_CHECK(reference_check(buf_slice(&call->body)), "the request is no strict JSON: %s", call->body.data);
    FUZZ_CHECK(json_parse(buf_slice(&call->body), &root, &e) == 0, "%s", e.text);
    FUZZ_CHECK(strncmp(call->url, "https://provider.example/base/", 30) == 0 &&
                   !strpbrk(call->url, " \r\n\t?#\"\\"),
               "the URL is %s", call->url);
    FUZZ_CHECK(!strstr(call->url, c->key) && !fuzz_holds(buf_slice(&call->body), slice_of(c->key)),
               "the key is outside its header");
    check_headers(call->headers);
    FUZZ_CHECK(call->members == c->n && (call->mode == MODE_COMBINED) == (call->ids != NULL), "a call of %zu",
               call->members);
    if (call->mode == MODE_COMBINED)
        check_questions(c, call, last_text(root, openai));
    else if (call->mode == MODE_ARRAY)
        check_prompts(c, root);
    else
        FUZZ_CHECK(c->n == 1 && slice_equal(last_text(root, openai), c->members[0].prompt),
                   "another prompt is sent");
    cJSON_Delete(root);
}

/* What was said to somebody else must not be in it. */
static void check_part(const struct provider_case *c, const struct provider_part *part, size_t i)
{
    char answer[40];
    bool answered = part->verdict == VERDICT_ANSWERED;
    FUZZ_CHECK(answered == (part->text.p != NULL) && (!answered || part->text.n),
               "verdict %d with a text of %zu", part->verdict, part->text.n);
    FUZZ_CHECK(answered == (part->finish_reason.p != NULL), "verdict %d and a finish reason", part->verdict);
    FUZZ_CHECK(isnan(part->confidence) || (part->confidence >= 0 && part->confidence <= 1), "confidence %g",
               part->confidence);
    FUZZ_CHECK(utf8_valid_prefix(part->text) == part->text.n, "an answer that is no UTF-8");
    for (size_t j = 0; j < c->n; j++)
        FUZZ_CHECK(i == j || !fuzz_holds(part->text, slice_of(case_answer(c, j, answer))),
                   "member %zu is given the answer of %zu", i, j);
    if (c->right)
        FUZZ_CHECK(answered && slice_is(part->text, case_answer(c, i, answer)),
                   "member %zu goes without its answer", i);
}

/* An array that has an index twice, or one that was not sent. */
static bool is_doubled(const struct provider_case *c, const cJSON *root)
{
    const cJSON *choice;
    bool seen[CASE_MEMBERS] = {false};
    cJSON_ArrayForEach (choice, cJSON_GetObjectItemCaseSensitive(root, "choices")) {
        const cJSON *index = cJSON_GetObjectItemCaseSensitive(choice, "index");
        double i = cJSON_IsNumber(index) ? index->valuedouble : -1;
        if (!(i >= 0 && i < (double)c->n) || i != floor(i) || seen[(size_t)i])
            return true;
        seen[(size_t)i] = true;
    }
    return false;
}

/* An object with a member that no id of the call names, or that is not an echo and an answer. */
static bool is_foreign(const struct provider_case *c, const struct provider_call *call, const cJSON *object)
{
    const cJSON *entry;
    bool foreign = !cJSON_IsObject(object);
    cJSON_ArrayForEach (entry, object) {
        bool sent = false;
        for (size_t i = 0; entry->string && i < c->n; i++)
            sent = sent || strcmp(call->ids[i], entry->string) == 0;
        foreign = foreign || !sent || cJSON_GetArraySize(entry) != 2 || !string_at(entry, "echo").p ||
                  !string_at(entry, "answer").p;
    }
    return foreign;
}

/* Nothing of an answer that is wrong in one place may be used. */
static void check_suspicious(const struct provider_case *c, const struct provider_call *call,
                             const struct provider_response *response, bool any)
{
    cJSON *root = NULL, *object = NULL;
    struct err e = {0};
    if (!any || json_parse(response->body, &root, &e) < 0)
        return;
    if (call->mode == MODE_ARRAY)
        FUZZ_CHECK(!is_doubled(c, root), "an array with a doubled index is used");
    const cJSON *choice = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(root, "choices"), 0);
    struct slice text = string_at(cJSON_GetObjectItemCaseSensitive(choice, "message"), "content");
    if (call->mode == MODE_COMBINED && text.p && text.p[0] == '{') {
        FUZZ_CHECK(json_parse(text, &object, &e) == 0, "a combined answer is used that is no JSON: %s",
                   e.text);
        FUZZ_CHECK(!is_foreign(c, call, object), "a combined answer of another shape is used: %s", text.p);
    }
    cJSON_Delete(object);
    cJSON_Delete(root);
}

/* api.md "Request ids": what certainly was not bought, and what may have been. */
static void check_verdict(const struct provider_case *c, const struct provider_call *call,
                          const struct provider_outcome *o, enum verdict v)
{
    int s = c->status;
    bool success = c->transport == TRANSPORT_COMPLETE && s >= 200 && s <= 299;
    bool refused = c->transport == TRANSPORT_COMPLETE &&
                   ((s >= 400 && s <= 499) || s == 500 || s == 503 || s == 301 || s == 307 ||
                    (s == 501 && call->mode == MODE_ARRAY)); /* it has no such call */
    if (success)
        FUZZ_CHECK(v == VERDICT_ANSWERED || v == VERDICT_MISSING || v == VERDICT_FILTERED,
                   "verdict %d of a success", v);
    else if (c->transport == TRANSPORT_NOT_SENT)
        FUZZ_CHECK(v == VERDICT_FAILED, "verdict %d of what was not sent", v);
    else if (refused)
        FUZZ_CHECK(v == VERDICT_FAILED || v == VERDICT_FILTERED || (v == VERDICT_MISSING && o->nothing_ran),
                   "verdict %d of a refusal with %d", v, s);
    else
        FUZZ_CHECK(v == VERDICT_UNKNOWN, "verdict %d of what may have been bought (%d)", v, s);
}

static void check_reason(const struct provider_case *c, const struct provider_outcome *o, bool all)
{
    FUZZ_CHECK(all == (o->status == 0), "status %d and all answered: %d", o->status, all);
    FUZZ_CHECK(!fuzz_holds(o->message, slice_of(c->key)), "the key is told: %.*s", (int)o->message.n,
               o->message.p);
    if (all)
        return;
    FUZZ_CHECK(o->status >= 400 && o->status <= 599 && o->error_type && o->error_code && o->message.n,
               "status %d without a reason", o->status);
    FUZZ_CHECK(utf8_valid_prefix(o->message) == o->message.n, "a message that is no UTF-8");
    for (size_t i = 0; i < o->message.n; i++)
        FUZZ_CHECK((unsigned char)o->message.p[i] >= 0x20, "a control character in the message");
    FUZZ_CHECK(!o->retry_helps || o->parts[0].verdict == VERDICT_FAILED,
               "a retry of what may have been bought");
    FUZZ_CHECK(!o->rate_limited || c->status == 429, "rate limited with %d", c->status);
    FUZZ_CHECK(o->retry_after_ms <= 86400000, "a retry after %u ms", o->retry_after_ms);
}

void check_outcome(const struct provider_case *c, const struct provider_call *call,
                   const struct provider_response *response, const struct provider_outcome *o)
{
    uint64_t in = 0, out = 0;
    bool all = true, any = false;
    for (size_t i = 0; i < c->n; i++) {
        const struct provider_part *part = &o->parts[i];
        check_part(c, part, i);
        check_verdict(c, call, o, part->verdict);
        FUZZ_CHECK(!o->discarded || part->verdict == VERDICT_MISSING, "a part of what was discarded");
        FUZZ_CHECK(!o->nothing_ran || (part->verdict == VERDICT_MISSING && (c->n > 1 || o->logprobs_missing)),
                   "nothing ran, and yet");
        FUZZ_CHECK(!o->logprobs_missing || (o->nothing_ran && call->logprobs && c->n == 1 &&
                                            fuzz_holds(response->body, SLICE_LITERAL("logprobs"))),
                   "what was not asked for is missing");
        all = all && part->verdict == VERDICT_ANSWERED;
        any = any || part->verdict == VERDICT_ANSWERED;
        in += part->prompt_tokens;
        out += part->completion_tokens;
    }
    FUZZ_CHECK(in == o->prompt_tokens && out == o->completion_tokens, "shares that do not add up");
    FUZZ_CHECK(!o->discarded || (call->members > 1 && o->discard_reason.n), "discarded without a reason");
    check_reason(c, o, all);
    check_suspicious(c, call, response, any);
}
