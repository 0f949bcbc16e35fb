/*
 * The provider of a world: reads the call that the codec wrote as OpenAI would (a model service: service.c),
 * and answers it, or fails, as the script orders.
 */
#include "upstream.h"

#include "money.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"
#include "reach.h"
#include "speech.h"

#define PREFIX "Answer to: "

bool upstream_is_answer(struct slice prompt, struct slice text)
{
    static const char *const prefixes[] = {PREFIX, "Processed: "};
    if (text.n && text.p[0] == ' ') /* a continuation, kept apart from the word before it */
        text = (struct slice){text.p + 1, text.n - 1};
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        size_t n = strlen(prefixes[i]);
        if (text.n == n + prompt.n && memcmp(text.p, prefixes[i], n) == 0 &&
            memcmp(text.p + n, prompt.p, prompt.n) == 0)
            return true;
    }
    return false;
}

char *upstream_answer_to(const char *question)
{
    size_t n = strlen(question);
    char *text = malloc(sizeof(PREFIX) + n);
    memcpy(text, PREFIX, sizeof(PREFIX) - 1);
    memcpy(text + sizeof(PREFIX) - 1, question, n + 1);
    return text;
}

static void add_entry(cJSON *object, const char *id, const char *question)
{
    cJSON *entry = cJSON_AddObjectToObject(object, id);
    char *answer = upstream_answer_to(question);
    cJSON_AddStringToObject(entry, "echo", question);
    cJSON_AddStringToObject(entry, "answer", answer);
    free(answer);
}

bool upstream_is_who(const struct call *call, size_t i, const struct order *o)
{
    return slice_is(call->members[i]->submit.request_id, o->who);
}

/* The object of a combined answer, as text. questions is the array that the call sent. */
static char *combined_content(const struct call *call, const cJSON *questions, const struct order *o)
{
    cJSON *object = cJSON_CreateObject();
    size_t n = (size_t)cJSON_GetArraySize(questions);
    for (size_t i = 0; i < n; i++) {
        size_t from = o->conduct == CONDUCT_SHIFTED ? (i + 1) % n : i;
        const char *id = cJSON_GetArrayItem(questions, (int)i)->child->valuestring;
        const char *question = cJSON_GetArrayItem(questions, (int)from)->child->next->valuestring;
        if (o->conduct == CONDUCT_MISSING && upstream_is_who(call, i, o))
            continue;
        add_entry(object, id, question);
        if (o->conduct == CONDUCT_DOUBLE && upstream_is_who(call, i, o))
            add_entry(object, id, question);
    }
    if (o->conduct == CONDUCT_EXTRA)
        add_entry(object, "qnobody00", "Who?");
    char *text = cJSON_PrintUnformatted(object);
    cJSON_Delete(object);
    if (o->conduct == CONDUCT_TRUNCATED)
        text[strlen(text) / 2] = 0;
    return text;
}

/* Whether the filter stops that part: in array mode each is looked at by itself. */
static bool is_filtered(const struct call *call, size_t i, const struct order *o)
{
    struct slice prompt = call->members[i]->submit.prompt;
    if (o->conduct != CONDUCT_FILTERED)
        return false;
    if (call->request.mode != MODE_ARRAY)
        return true;
    if (o->word[0])
        return memmem(prompt.p, prompt.n, o->word, strlen(o->word));
    return !o->who[0] || upstream_is_who(call, i, o);
}

static void add_choice(cJSON *choices, const struct call *call, size_t i, const char *prompt,
                       const struct order *o)
{
    bool filtered = is_filtered(call, i, o);
    char *said = filtered ? strdup("") : upstream_answer_to(prompt);
    cJSON *choice = cJSON_CreateObject();
    cJSON_AddItemToArray(choices, choice);
    cJSON_AddNumberToObject(choice, "index", (double)i);
    cJSON_AddStringToObject(choice, "text", said);
    cJSON_AddStringToObject(choice, "finish_reason", filtered ? "content_filter" : "stop");
    free(said);
}

/* Completions have no roles: the system prompt stands in front, and its answer is not asked for. */
const char *upstream_past_system(const struct call *call, const char *prompt)
{
    struct slice system = call->members[0]->submit.system_prompt;
    if (prompt && system.n && strncmp(prompt, system.p, system.n) == 0)
        prompt += system.n + strspn(prompt + system.n, "\n");
    return prompt;
}

/* Array mode: one choice a prompt. */
static void add_choices(cJSON *choices, const struct call *call, const struct order *o)
{
    cJSON *body = cJSON_Parse(call->request.body.data);
    const cJSON *prompts = cJSON_GetObjectItemCaseSensitive(body, "prompt");
    for (size_t i = 0; i < call->n; i++) {
        const char *prompt =
            upstream_past_system(call, cJSON_GetStringValue(cJSON_GetArrayItem(prompts, (int)i)));
        if (o->conduct == CONDUCT_MISSING && upstream_is_who(call, i, o))
            continue;
        add_choice(choices, call, i, prompt ? prompt : "?", o);
        if (o->conduct == CONDUCT_DOUBLE && upstream_is_who(call, i, o))
            add_choice(choices, call, i, prompt ? prompt : "?", o);
    }
    cJSON_Delete(body);
}

/* What the model says to the call; NULL when the call cannot be understood. */
static char *content(const struct call *call, const struct order *o)
{
    cJSON *body = cJSON_Parse(call->request.body.data);
    const cJSON *messages = cJSON_GetObjectItemCaseSensitive(body, "messages");
    const cJSON *last = cJSON_GetArrayItem(messages, cJSON_GetArraySize(messages) - 1);
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(last, "content"));
    char *said = NULL;
    if (text && call->n > 1) {
        cJSON *questions = cJSON_Parse(text);
        if ((size_t)cJSON_GetArraySize(questions) == call->n)
            said = combined_content(call, questions, o);
        cJSON_Delete(questions);
    } else if (text)
        said = o->conduct == CONDUCT_MISSING && upstream_is_who(call, 0, o) ? strdup("")
                                                                            : upstream_answer_to(text);
    cJSON_Delete(body);
    return said;
}

static void add_message(cJSON *choices, const char *said, bool filtered, const struct order *o)
{
    cJSON *choice = cJSON_CreateObject();
    cJSON *message = cJSON_AddObjectToObject(choice, "message");
    cJSON_AddItemToArray(choices, choice);
    cJSON_AddStringToObject(message, "role", "assistant");
    cJSON_AddStringToObject(message, "content", said);
    cJSON_AddStringToObject(choice, "finish_reason",
                            filtered                          ? "content_filter"
                            : o->conduct == CONDUCT_TRUNCATED ? "length"
                                                              : "stop");
}

static char *completion(const struct call *call, const struct order *o)
{
    bool filtered = o->conduct == CONDUCT_FILTERED;
    bool array = call->request.mode == MODE_ARRAY;
    char *said = filtered || array ? strdup("") : content(call, o);
    if (!said)
        return NULL;
    cJSON *root = cJSON_CreateObject();
    cJSON *choices = cJSON_AddArrayToObject(root, "choices");
    cJSON *usage = cJSON_AddObjectToObject(root, "usage");
    if (array)
        add_choices(choices, call, o);
    else
        add_message(choices, said, filtered, o);
    cJSON_AddNumberToObject(usage, "prompt_tokens", (double)(10 * call->n));
    cJSON_AddNumberToObject(usage, "completion_tokens", (double)(7 * call->n));
    char *text = cJSON_PrintUnformatted(root);
    cJSON_Delete(root);
    free(said);
    return text;
}

static enum verdict fate_of_status(const struct call *call, int status)
{
    bool complete = (status >= 400 && status <= 499) || status == 500 || status == 503;
    bool missing = status == 501 && call->request.mode == MODE_ARRAY; /* no such call */
    return complete || missing ? VERDICT_FAILED : VERDICT_UNKNOWN;
}

static bool is_service(const struct call *call)
{
    return call->provider->provider.kind == PROVIDER_MODEL_SERVICE;
}

/* What the conduct means for a member of the call, by api.md. */
static enum verdict fate(const struct call *call, size_t i, const struct order *o)
{
    bool several = call->n > 1 || call->request.mode == MODE_ARRAY;
    switch (o->conduct) {
    case CONDUCT_ANSWER:
    case CONDUCT_ONE:
        return VERDICT_ANSWERED;
    case CONDUCT_BROKEN:
        return VERDICT_UNKNOWN;
    case CONDUCT_LOADING:
    case CONDUCT_LOGPROBS:
        return VERDICT_FAILED;
    case CONDUCT_STATUS:
        return fate_of_status(call, o->status);
    case CONDUCT_RESET:
    case CONDUCT_TIMEOUT:
        return call->request.streams && o->after >= SPEECH_ALL ? VERDICT_ANSWERED : VERDICT_UNKNOWN;
    case CONDUCT_REFUSED:
    case CONDUCT_UNSENT:
        return VERDICT_FAILED;
    case CONDUCT_MISSING:
        if (is_service(call))
            return service_fate(call, o);
        return upstream_is_who(call, i, o) ? VERDICT_MISSING : VERDICT_ANSWERED;
    case CONDUCT_DOUBLE:
    case CONDUCT_EXTRA:
    case CONDUCT_SHIFTED:
    case CONDUCT_TRUNCATED:
        if (is_service(call))
            return service_fate(call, o);
        return several ? VERDICT_MISSING : VERDICT_ANSWERED;
    case CONDUCT_HTML:
        return VERDICT_MISSING;
    case CONDUCT_FILTERED:
        return is_filtered(call, i, o) ? VERDICT_FILTERED : VERDICT_ANSWERED;
    }
    return VERDICT_UNKNOWN;
}

static bool holds_word(const struct call *call, const char *word)
{
    for (size_t i = 0; word[0] && i < call->n; i++) {
        struct slice prompt = call->members[i]->submit.prompt;
        if (memmem(prompt.p, prompt.n, word, strlen(word)))
            return true;
    }
    return false;
}

static bool is_verbatim(const struct call *call)
{
    return call->members[0]->submit.flags & SUBMIT_VERBATIM;
}

static struct order next_order(struct world *w, const struct call *call)
{
    struct order o = {.conduct = CONDUCT_ANSWER};
    if (w->orders_at < w->orders_n)
        o = w->orders[w->orders_at++];
    /* A doubled or missing part of somebody who is not in the call is an answer as it should be. */
    if (o.conduct == CONDUCT_DOUBLE || o.conduct == CONDUCT_MISSING) {
        bool present = false;
        for (size_t i = 0; i < call->n; i++)
            present = present || upstream_is_who(call, i, &o);
        o.conduct = present ? o.conduct : CONDUCT_ANSWER;
    }
    bool foreign =
        o.conduct == CONDUCT_SHIFTED || o.conduct == CONDUCT_TRUNCATED || o.conduct == CONDUCT_FILTERED;
    if (is_service(call) && foreign)
        o.conduct = CONDUCT_ANSWER;
    if (o.conduct == CONDUCT_LOGPROBS && !call->request.logprobs)
        o.conduct = CONDUCT_ANSWER;
    if ((o.conduct == CONDUCT_BROKEN && !o.after) || (o.conduct >= CONDUCT_BROKEN && !call->request.streams))
        o.conduct = CONDUCT_ANSWER;
    if (o.conduct == CONDUCT_ANSWER && !is_service(call) && holds_word(call, w->filter)) {
        o.conduct = CONDUCT_FILTERED;
        memcpy(o.word, w->filter, sizeof(o.word));
    }
    /* What goes through as it is has no parts, and what the filter leaves
     * of it is an answer. */
    if (is_verbatim(call) && o.conduct >= CONDUCT_MISSING && o.conduct <= CONDUCT_FILTERED &&
        o.conduct != CONDUCT_TRUNCATED && o.conduct != CONDUCT_HTML)
        o.conduct = CONDUCT_ANSWER;
    return o;
}

static void respond(struct world *w, struct flight *f, const struct order *o)
{
    struct provider_response *r = &f->response;
    r->status = 200;
    r->content_type = SLICE_LITERAL("application/json");
    if (o->conduct == CONDUCT_RESET || o->conduct == CONDUCT_TIMEOUT) {
        r->transport = TRANSPORT_LOST;
        r->transport_error = o->conduct == CONDUCT_RESET ? "Connection reset by peer" : "Operation timed out";
    } else if (o->conduct == CONDUCT_REFUSED) {
        r->transport = TRANSPORT_NOT_SENT;
        r->transport_error = "Connection refused";
    } else if (o->conduct == CONDUCT_STATUS) {
        r->status = o->status;
        f->body = strdup("{\"error\":{\"message\":\"ordered by the script\",\"type\":\"test\"}}");
        r->retry_after = o->retry_after[0] ? slice_of(f->retry_after) : (struct slice){0};
    } else if (o->conduct == CONDUCT_LOADING) {
        r->status = 503;
        f->body =
            strdup("{\"error\":{\"message\":\"Loading model\",\"type\":\"unavailable_error\",\"code\":503}}");
    } else if (o->conduct == CONDUCT_LOGPROBS) {
        r->status = 403;
        f->body = strdup("{\"error\":{\"message\":\"You may not ask for logprobs.\",\"type\":\"test\"}}");
    } else if (o->conduct == CONDUCT_HTML) {
        f->body = strdup("<html><body>It works!</body></html>");
        r->content_type = SLICE_LITERAL("text/html");
    } else {
        f->body = is_service(f->call) ? service_answer(f->call, o) : completion(f->call, o);
        if (!f->body)
            world_blame(w, "the provider cannot read the call: %.300s", f->call->request.body.data);
    }
    r->body = slice_of(f->body);
    if (!f->call->request.streams || is_service(f->call))
        return;
    char *said = content(f->call, o);
    f->speech = speech_new(w, f->call, o, said);
    free(said);
    if (f->speech) {
        r->content_type = SLICE_LITERAL("text/event-stream");
        r->body = (struct slice){0};
    }
}

static void note_conduct(struct world *w, const struct call *call, const struct order *o)
{
    static const char *const names[] = {[CONDUCT_ANSWER] = "answers",
                                        [CONDUCT_STATUS] = "answers with an error",
                                        [CONDUCT_RESET] = "is cut off",
                                        [CONDUCT_TIMEOUT] = "times out",
                                        [CONDUCT_REFUSED] = "is not there",
                                        [CONDUCT_UNSENT] = "is not sent to",
                                        [CONDUCT_MISSING] = "misses a part",
                                        [CONDUCT_DOUBLE] = "doubles a part",
                                        [CONDUCT_EXTRA] = "adds a part",
                                        [CONDUCT_SHIFTED] = "shifts its parts",
                                        [CONDUCT_TRUNCATED] = "is cut short",
                                        [CONDUCT_HTML] = "answers with a page",
                                        [CONDUCT_FILTERED] = "filters",
                                        [CONDUCT_LOADING] = "loads its model",
                                        [CONDUCT_LOGPROBS] = "refuses log-probabilities",
                                        [CONDUCT_BROKEN] = "spoils its stream",
                                        [CONDUCT_ONE] = "answers a stream in one"};
    reach_word("the provider", names[o->conduct]);
    reach_word("a call in mode", call->n == 1 ? "of one" : conf_mode_name(call->request.mode));
    if (is_service(call))
        REACH("a call of a model service");
    if (call->request.mode == MODE_ARRAY && (o->status == 404 || o->status == 405) &&
        o->conduct == CONDUCT_STATUS)
        REACH("there is no call of several");
    if (o->conduct == CONDUCT_STATUS) {
        char text[16];
        snprintf(text, sizeof(text), "%d", o->status);
        reach_word("status", text);
    }
    if (o->retry_after[0])
        REACH("retry-after");
    if (o->conduct != CONDUCT_ANSWER)
        w->trouble_us = w->now_us;
}

int upstream_port_send(void *arg, struct call *call, struct err *e)
{
    struct world *w = arg;
    enum verdict fates[WORLD_BATCH_MAX];
    if (process_is_dead(w))
        return 0;
    struct order o = next_order(w, call);
    for (size_t i = 0; i < call->n && i < ARRAY_LEN(fates); i++)
        fates[i] = fate(call, i, &o);
    watch_call(w, call);
    rules_called(w, call, fates);
    rules_sent(w, call);
    uint64_t billed = money_sent(w, call, fates);
    note_conduct(w, call, &o);
    if (o.conduct == CONDUCT_UNSENT)
        return err_set(e, ERR_NOMEM, "Out of memory, as the script says.");
    struct flight *f = calloc(1, sizeof(*f));
    f->call = call;
    f->billed = billed;
    f->due_us = w->now_us + (o.slow_us ? o.slow_us : w->latency_us);
    memcpy(f->retry_after, o.retry_after, sizeof(f->retry_after));
    respond(w, f, &o);
    if (o.conduct == CONDUCT_TIMEOUT && !(f->speech && f->speech->n))
        f->due_us = w->now_us + w->conf.provider.timeout_ms * US_PER_MS;
    list_append(&w->flights, &f->node);
    return 0;
}

void upstream_key(const struct call *call, char ret_key[64])
{
    static const char *const before[] = {"Authorization: Bearer ", "X-API-Key: ", "x-goog-api-key: "};
    ret_key[0] = 0;
    for (size_t i = 0; i < ARRAY_LEN(before); i++) {
        const char *at = call->request.headers ? strstr(call->request.headers, before[i]) : NULL;
        if (!at)
            continue;
        at += strlen(before[i]);
        snprintf(ret_key, 64, "%.*s", (int)strcspn(at, "\n"), at);
    }
}

static struct flight *earliest(const struct world *w)
{
    struct flight *first = NULL;
    list_for_each (it, &w->flights) {
        struct flight *f = LIST_ENTRY(it, struct flight, node);
        if (!first || f->due_us < first->due_us)
            first = f;
    }
    return first;
}

uint64_t upstream_due_us(const struct world *w)
{
    const struct flight *f = earliest(w);
    return f ? f->due_us : UINT64_MAX;
}

void upstream_deliver(struct world *w)
{
    struct flight *f;
    while ((f = earliest(w)) && f->due_us <= w->now_us) {
        if (speech_go_on(w, f))
            continue;
        list_remove(&f->node);
        core_called(w->core, f->call, &f->response, w->now_us);
        upstream_free(f);
    }
}

void upstream_free(struct flight *f)
{
    speech_free(f->speech);
    free(f->body);
    free(f);
}
