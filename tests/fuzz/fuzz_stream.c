/* ROOMS: tests/fuzz/reference.c */
/*
 * Requests of OpenAI's API that go through as they are, and the streams that answer them. An input is four
 * sections with lines of "----" between them: a line of choices (a character each: kind, completion,
 * transport, room), messages and extra (JSON), and the bytes of the stream, which are taken for a response in
 * one, too; $K in them stands for the key. Held against: the same bytes cut elsewhere, a reader of events
 * written down again, cJSON, and the response told again as a stream.
 */
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "fuzz.h"
#include "provider/stream.h"
#include "reference.h"
#include "json/read.h"

#define BODY_MAX (1u << 20)
#define TOLD_MAX (64u << 20)
#define SECTIONS 4

void fuzz_start(void)
{
}

/* Everything of an input. */
struct test {
    struct provider provider;
    bool completion;
    enum transport transport;
    size_t room;
    struct slice messages, extra, bytes;
    struct buf said; /* bytes */
    uint64_t seed;
    char key[20]; /* follows from the whole input, so that no input holds it */
};

/* What the input says of the response, with the key for $K. */
static void put_said(struct slice input, const char *key, struct buf *out)
{
    for (const char *at; (at = input.n ? memmem(input.p, input.n, "$K", 2) : NULL);) {
        size_t before = (size_t)(at - input.p);
        buf_append(out, input.p, before);
        buf_append_text(out, key);
        input = (struct slice){at + 2, input.n - before - 2};
    }
    buf_append_slice(out, input);
}

static void read_test(struct slice input, struct test *t)
{
    static const enum provider_kind kinds[] = {PROVIDER_OPENAI, PROVIDER_GEMINI, PROVIDER_MODEL_SERVICE};
    static const enum transport transports[] = {TRANSPORT_COMPLETE, TRANSPORT_LOST, TRANSPORT_TIMED_OUT};
    static const size_t rooms[] = {1u << 20, 1500};
    static const char mark[] = "\n----\n";
    struct slice s[SECTIONS] = {{NULL, 0}};
    uint64_t key = fuzz_hash(input.p, input.n, 2);
    size_t n = 0;
    for (const char *end; n < SECTIONS - 1 && input.n; n++) {
        end = memmem(input.p, input.n, mark, sizeof(mark) - 1);
        if (!end)
            break;
        s[n] = (struct slice){input.p, (size_t)(end - input.p)};
        input.n -= s[n].n + sizeof(mark) - 1;
        input.p = end + sizeof(mark) - 1;
    }
    s[SECTIONS - 1] = input;
    struct fuzz_reader r = fuzz_reader_of(s[0]);
    *t = (struct test){.seed = fuzz_hash(input.p, input.n, 1)};
    t->provider = (struct provider){.kind = kinds[fuzz_choice(fuzz_u8(&r), ARRAY_LEN(kinds))],
                                    .base_url = "https://provider.example/base/",
                                    .model = "test-model",
                                    .api_key = t->key};
    snprintf(t->key, sizeof(t->key), "sk-%016" PRIx64, key);
    t->completion = fuzz_choice(fuzz_u8(&r), 2);
    t->transport = transports[fuzz_choice(fuzz_u8(&r), ARRAY_LEN(transports))];
    t->room = rooms[fuzz_choice(fuzz_u8(&r), ARRAY_LEN(rooms))];
    t->messages = s[1];
    t->extra = s[2];
    buf_init(&t->said, TOLD_MAX);
    put_said(s[SECTIONS - 1], t->key, &t->said);
    t->bytes = buf_slice(&t->said);
}

static struct provider_member member_of(const struct test *t)
{
    return (struct provider_member){.prompt = SLICE_LITERAL("what it is about"),
                                    .messages = SLICE_LITERAL("[{\"role\":\"user\",\"content\":\"hi\"}]"),
                                    .extra = SLICE_LITERAL("{\"prompt\":\"hi\"}"),
                                    .id = SLICE_LITERAL("0192-00"),
                                    .created_s = 1,
                                    .completion = t->completion,
                                    .verbatim = true,
                                    .temperature = NAN,
                                    .max_tokens = 100};
}

/* ---- requests ---- */

/* Whether text, put that deep into something else, is still within the depth that JSON may have here. */
static bool is_shallow(struct slice text)
{
    struct buf b, canon;
    static const char deeper[] = "[[[[[[[[[[", back[] = "]]]]]]]]]]";
    buf_init(&b, 2 * BODY_MAX);
    buf_init(&canon, 16 * BODY_MAX);
    buf_append_text(&b, deeper);
    buf_append_slice(&b, text.n ? text : SLICE_LITERAL("0"));
    buf_append_text(&b, back);
    bool good = reference_parse(buf_slice(&b), &canon);
    buf_fini(&b);
    buf_fini(&canon);
    return good;
}

static bool holds_text(const cJSON *tree, const char *text)
{
    for (const cJSON *child = tree->child; child; child = child->next)
        if (holds_text(child, text))
            return true;
    return cJSON_IsString(tree) && strstr(tree->valuestring, text);
}

/* What was asked is asked. */
static void check_asked(const struct test *t, const struct provider_call *call)
{
    cJSON *messages = NULL, *body = NULL;
    const cJSON *message;
    struct err e;
    FUZZ_CHECK(json_parse(buf_slice(&call->body), &body, &e) == 0, "%s", e.text);
    if (!t->completion && json_parse(t->messages, &messages, &e) == 0)
        cJSON_ArrayForEach (message, messages) {
            const cJSON *content = cJSON_GetObjectItemCaseSensitive(message, "content");
            const cJSON *role = cJSON_GetObjectItemCaseSensitive(message, "role");
            /* What a function gave back may be an object in a text. */
            if (cJSON_IsString(role) && strchr("tf", role->valuestring[0]))
                continue;
            FUZZ_CHECK(!cJSON_IsString(content) || holds_text(body, content->valuestring), "not asked: %s",
                       content->valuestring);
        }
    cJSON_Delete(messages);
    cJSON_Delete(body);
}

static void check_request(const struct test *t)
{
    struct provider_member m = member_of(t);
    struct provider_call call;
    struct err e = {0};
    uint64_t random = t->seed;
    m.messages = t->messages;
    m.extra = t->extra;
    m.stream = t->seed & 1;
    int rc = provider_encode(&t->provider, MODE_DEFAULT, &m, 1, BODY_MAX, fuzz_random, &random, &call, &e);
    if (rc) {
        FUZZ_CHECK((rc == ERR_INVAL || rc == ERR_NOT_FOUND || rc == ERR_LIMIT) && e.text[0],
                   "encode: %d \"%s\"", rc, e.text);
        return;
    }
    FUZZ_CHECK(call.streams == (m.stream && t->provider.kind != PROVIDER_MODEL_SERVICE), "streams: %d",
               call.streams);
    FUZZ_CHECK(!fuzz_holds(buf_slice(&call.body), slice_of(t->key)) && !strstr(call.url, t->key),
               "the key is outside its header");
    if (is_shallow(t->messages) && is_shallow(t->extra)) {
        FUZZ_CHECK(reference_check(buf_slice(&call.body)), "the request is no strict JSON: %s",
                   call.body.data);
        check_asked(t, &call);
    }
    provider_call_fini(&call);
}

/* ---- streams ---- */

static void listen(void *arg, struct slice chunk)
{
    FUZZ_CHECK(!memchr(chunk.p, '\n', chunk.n) && !memchr(chunk.p, '\r', chunk.n), "a chunk of two lines");
    FUZZ_CHECK(reference_check(chunk), "a chunk that is no strict JSON: %.*s", (int)chunk.n, chunk.p);
    buf_append_slice(arg, chunk);
    buf_append_byte(arg, '\n');
}

struct heard {
    struct buf told; /* a chunk a line */
    struct arena arena;
    struct provider_outcome outcome;
};

/* step 0: all at once. */
static void hear(const struct test *t, const struct provider_call *call, struct slice bytes, uint64_t cuts,
                 struct heard *h)
{
    struct provider_stream *s;
    struct provider_response r = {.transport = t->transport, .status = 200};
    buf_init(&h->told, TOLD_MAX);
    arena_init(&h->arena, TOLD_MAX);
    FUZZ_CHECK(provider_stream_open(&t->provider, call, t->room, listen, &h->told, &s) == 0, "no memory");
    for (size_t at = 0, n; at < bytes.n; at += n) {
        n = cuts ? 1 + fuzz_hash(&at, sizeof(at), cuts) % 40 : bytes.n;
        n = n < bytes.n - at ? n : bytes.n - at;
        char *piece = malloc(n); /* so that nobody reads beyond it */
        memcpy(piece, bytes.p + at, n);
        provider_stream_feed(s, (struct slice){piece, n});
        free(piece);
    }
    FUZZ_CHECK(provider_stream_heard(s) == (h->told.len > 0), "heard and not told");
    FUZZ_CHECK(provider_stream_end(s, &r, &h->arena, &h->outcome) == 0, "the end has no memory");
    provider_stream_free(s);
}

static void forget(struct heard *h)
{
    buf_fini(&h->told);
    arena_fini(&h->arena);
}

/* The data of the next event, by the plainest reading of the standard; false: there is none. */
static bool next_event(struct slice bytes, size_t *at, struct buf *ret_data)
{
    buf_clear(ret_data);
    for (bool any = false; *at < bytes.n;) {
        size_t end = *at;
        while (end < bytes.n && bytes.p[end] != '\n' && bytes.p[end] != '\r')
            end++;
        if (end == bytes.n)
            return false;
        struct slice line = {bytes.p + *at, end - *at};
        *at = end + 1 + (bytes.p[end] == '\r' && end + 1 < bytes.n && bytes.p[end + 1] == '\n');
        if (line.n >= 3 && line.p == bytes.p && memcmp(line.p, "\xef\xbb\xbf", 3) == 0)
            line = (struct slice){line.p + 3, line.n - 3};
        if (!line.n && ret_data->len)
            return true;
        if (!line.n)
            any = false;
        if (line.n < 4 || memcmp(line.p, "data", 4) != 0 || (line.n > 4 && line.p[4] != ':'))
            continue;
        size_t skip = line.n > 5 && line.p[5] == ' ' ? 6 : line.n > 4 ? 5 : 4;
        buf_append_text(ret_data, any ? " " : "");
        buf_append(ret_data, line.p + skip, line.n - skip);
        any = true;
    }
    return false;
}

/* Every chunk told is an event's data, in their order. */
static void check_told(struct slice bytes, struct slice told)
{
    struct buf data;
    size_t at = 0;
    buf_init(&data, TOLD_MAX);
    while (told.n) {
        size_t n = (size_t)((const char *)memchr(told.p, '\n', told.n) - told.p);
        struct slice chunk = {told.p, n};
        bool found = false;
        while (!found && next_event(bytes, &at, &data))
            found = slice_equal(slice_trim(buf_slice(&data)), chunk);
        FUZZ_CHECK(found, "told, but never said: %.*s", (int)n, told.p);
        told = (struct slice){told.p + n + 1, told.n - n - 1};
    }
    buf_fini(&data);
}

static const cJSON *get(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

/* The words of the choice that comes first, from the chunks; false: they are more than words. */
static bool words_of(const cJSON *chunk, double index, struct buf *words)
{
    const cJSON *choice;
    cJSON_ArrayForEach (choice, get(chunk, "choices")) {
        const cJSON *told = get(choice, "index");
        if ((cJSON_IsNumber(told) ? told->valuedouble : 0) != index)
            continue;
        const cJSON *delta = get(choice, "delta"), *content = get(delta, "content");
        if (get(choice, "text") || (content && !cJSON_IsString(content) && !cJSON_IsNull(content)))
            return false;
        if (cJSON_IsString(content))
            buf_append_text(words, content->valuestring);
    }
    return true;
}

static cJSON *parse(struct slice text)
{
    cJSON *root = NULL;
    struct err e;
    FUZZ_CHECK(json_parse(text, &root, &e) == 0, "%s in %.*s", e.text, (int)text.n, text.p);
    return root;
}

/* What is kept is what was told. */
static void check_kept(const struct heard *h)
{
    const struct provider_part *part = &h->outcome.parts[0];
    struct slice told = buf_slice(&h->told);
    struct buf words;
    bool plain = !fuzz_holds(told, SLICE_LITERAL("\\u")); /* keys in disguise */
    cJSON *kept = parse(part->response);
    const cJSON *index = get(cJSON_GetArrayItem(get(kept, "choices"), 0), "index");
    buf_init(&words, TOLD_MAX);
    while (plain && told.n) {
        size_t n = (size_t)((const char *)memchr(told.p, '\n', told.n) - told.p);
        cJSON *chunk = parse((struct slice){told.p, n});
        plain = words_of(chunk, index->valuedouble, &words);
        cJSON_Delete(chunk);
        told = (struct slice){told.p + n + 1, told.n - n - 1};
    }
    if (plain)
        FUZZ_CHECK(slice_equal(buf_slice(&words), part->text), "told \"%.*s\", kept \"%.*s\"", (int)words.len,
                   buf_slice(&words).p, (int)part->text.n, part->text.p);
    cJSON_Delete(kept);
    buf_fini(&words);
}

static void as_event(void *arg, struct slice chunk)
{
    FUZZ_CHECK(reference_check(chunk), "a chunk that is no strict JSON: %.*s", (int)chunk.n, chunk.p);
    buf_append_text(arg, "data: ");
    buf_append_slice(arg, chunk);
    buf_append_text(arg, "\n\n");
}

/* What a chunk says though it has nothing to say. */
static void drop_null(cJSON *object, const char *key)
{
    if (cJSON_IsNull(get(object, key)))
        cJSON_DeleteItemFromObjectCaseSensitive(object, key);
}

/* What must be the same when it is told again. */
static cJSON *meaning(struct slice response)
{
    cJSON *root = parse(response), *choice;
    cJSON_ArrayForEach (choice, get(root, "choices")) {
        drop_null(choice, "logprobs");
        drop_null(choice, "finish_reason");
    }
    cJSON_DeleteItemFromObjectCaseSensitive(root, "usage");
    cJSON_DeleteItemFromObjectCaseSensitive(root, "object");
    return root;
}

/* Told again, it is put together to the same. */
static void check_replay(const struct test *t, const struct provider_call *call, struct slice response)
{
    struct buf events;
    struct heard again;
    struct test whole = *t;
    buf_init(&events, TOLD_MAX);
    int rc = provider_stream_replay(response, t->seed % 30, as_event, &events);
    /* Whatever a provider makes of these, nobody can be told. */
    bool odd =
        fuzz_holds(response, SLICE_LITERAL("tool_calls")) || fuzz_holds(response, SLICE_LITERAL("\"text\""));
    FUZZ_CHECK(rc == 0 || (rc == ERR_CORRUPT && odd), "it cannot be told again: %d", rc);
    buf_append_text(&events, "data: [DONE]\n\n");
    whole.provider.kind = PROVIDER_OPENAI;
    whole.room = TOLD_MAX;
    whole.transport = TRANSPORT_COMPLETE;
    if (rc == 0 && !odd) {
        hear(&whole, call, buf_slice(&events), 0, &again);
        FUZZ_CHECK(again.outcome.parts[0].verdict == VERDICT_ANSWERED, "told again, it is no answer");
        struct slice after = again.outcome.parts[0].response;
        cJSON *a = meaning(response), *b = meaning(after);
        FUZZ_CHECK(cJSON_Compare(a, b, true), "told again, %.*s is %.*s", (int)response.n, response.p,
                   (int)after.n, after.p);
        cJSON_Delete(a);
        cJSON_Delete(b);
        forget(&again);
    }
    buf_fini(&events);
}

static void check_outcome(const struct test *t, const struct heard *h)
{
    const struct provider_outcome *o = &h->outcome;
    const struct provider_part *part = &o->parts[0];
    bool answered = part->verdict == VERDICT_ANSWERED;
    FUZZ_CHECK(answered == (part->response.p != NULL) && answered == (part->text.p != NULL) &&
                   answered == (o->status == 0),
               "verdict %d, status %d", part->verdict, o->status);
    FUZZ_CHECK(answered || (o->message.n && o->error_code), "no answer, and nothing said of it");
    FUZZ_CHECK(answered || !h->told.len || (part->verdict == VERDICT_UNKNOWN && !o->retry_helps),
               "verdict %d of what was heard", part->verdict);
    FUZZ_CHECK(!answered || reference_check(part->response), "a response that is no strict JSON: %.*s",
               (int)part->response.n, part->response.p);
    FUZZ_CHECK(!fuzz_holds(o->message, slice_of(t->key)), "the key is told");
    FUZZ_CHECK(part->prompt_tokens == o->prompt_tokens && part->completion_tokens == o->completion_tokens,
               "shares that are not the whole");
}

static void check_stream(const struct test *t, const struct provider_call *call)
{
    struct heard whole, cut;
    hear(t, call, t->bytes, 0, &whole);
    hear(t, call, t->bytes, t->seed | 1, &cut);
    const struct provider_part *a = &whole.outcome.parts[0], *b = &cut.outcome.parts[0];
    FUZZ_CHECK(slice_equal(buf_slice(&whole.told), buf_slice(&cut.told)), "cut elsewhere, another is told");
    FUZZ_CHECK(a->verdict == b->verdict && slice_equal(a->response, b->response) &&
                   a->completion_tokens == b->completion_tokens,
               "cut elsewhere, another is kept");
    check_outcome(t, &whole);
    if (t->provider.kind == PROVIDER_OPENAI)
        check_told(t->bytes, buf_slice(&whole.told));
    if (a->verdict == VERDICT_ANSWERED && whole.told.len) {
        check_kept(&whole);
        check_replay(t, call, a->response);
    }
    forget(&whole);
    forget(&cut);
}

/* The same bytes as an answer that came in one. */
static void check_response(const struct test *t, const struct provider_call *call,
                           const struct provider_member *m)
{
    struct heard h = {.told = {0}};
    struct provider_response r = {.transport = t->transport, .status = 200, .body = t->bytes};
    arena_init(&h.arena, TOLD_MAX);
    FUZZ_CHECK(provider_decode(&t->provider, call, m, &r, &h.arena, &h.outcome) == 0, "decode has no memory");
    check_outcome(t, &h);
    const struct provider_part *part = &h.outcome.parts[0];
    if (part->verdict == VERDICT_ANSWERED && t->provider.kind == PROVIDER_OPENAI)
        FUZZ_CHECK(slice_equal(part->response, slice_trim(t->bytes)), "the response is another");
    arena_fini(&h.arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct test t;
    struct provider_call call;
    struct err e = {0};
    uint64_t random = 1;
    read_test((struct slice){(const char *)data, size}, &t);
    check_request(&t);
    struct provider_member m = member_of(&t);
    if (!t.completion)
        m.extra = (struct slice){0};
    m.stream = true;
    FUZZ_CHECK(provider_encode(&t.provider, MODE_DEFAULT, &m, 1, BODY_MAX, fuzz_random, &random, &call, &e) ==
                   0,
               "%s", e.text);
    if (call.streams)
        check_stream(&t, &call);
    check_response(&t, &call, &m);
    provider_call_fini(&call);
    buf_fini(&t.said);
    return 0;
}
