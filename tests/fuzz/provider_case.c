/* Calls and responses out of an input; see provider_case.h. */
#include "provider_case.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/utf8.h"
#include "provider/echo.h"
#include "json/write.h"

#define SECTIONS   8
#define PREFIX_MAX 150 /* and words: within the reach of the longest echo plan (echo.h) */
#define WORDS_MAX  20
#define TEXT_MAX   (1u << 20)

/* Sections before the last come in order; the last is the response. */
static void split(struct slice input, struct slice ret_sections[SECTIONS])
{
    static const char mark[] = "\n----\n";
    size_t n = 0;
    memset(ret_sections, 0, SECTIONS * sizeof(ret_sections[0]));
    for (;;) {
        const char *end =
            input.n && n < SECTIONS - 1 ? memmem(input.p, input.n, mark, sizeof(mark) - 1) : NULL;
        if (!end)
            break;
        ret_sections[n++] = (struct slice){input.p, (size_t)(end - input.p)};
        input =
            (struct slice){end + sizeof(mark) - 1, input.n - (size_t)(end - input.p) - (sizeof(mark) - 1)};
    }
    ret_sections[SECTIONS - 1] = input;
}

/* Valid UTF-8 without zero bytes, as the worker lets it through; absent when empty. */
static struct slice text_of(struct slice s, size_t max)
{
    s.n = s.n ? strnlen(s.p, s.n) : 0;
    s.n = utf8_valid_prefix(s);
    s = utf8_truncate(s, max);
    return s.n ? s : (struct slice){0};
}

static struct slice few_words(struct slice s)
{
    unsigned words = 0;
    s = text_of(s, PREFIX_MAX);
    for (size_t i = 0; i < s.n; i++)
        if ((s.p[i] == ' ' || (s.p[i] >= '\t' && s.p[i] <= '\r')) && ++words == WORDS_MAX)
            s.n = i;
    return s;
}

static void read_choices(struct slice line, struct provider_case *c)
{
    static const enum provider_kind kinds[] = {PROVIDER_OPENAI, PROVIDER_GEMINI, PROVIDER_MOCK};
    static const enum provider_mode modes[] = {MODE_COMBINED, MODE_ARRAY, MODE_CONCURRENT, MODE_DEFAULT};
    static const int statuses[] = {200, 400, 401, 402, 403, 404, 408, 413, 422, 429, 500,
                                   501, 502, 503, 504, 529, 201, 204, 301, 307, 100, 0};
    static const double temperatures[] = {NAN, 0, 0.7, 1e300};
    static const uint32_t tokens[] = {100, 1, UINT32_MAX};
    static const char *const retries[] = {
        NULL, "17", "1.5", "99999999999999", "Wed, 21 Oct 2015 07:28:00 GMT", "-1"};
    struct fuzz_reader r = fuzz_reader_of(line);
    c->provider = (struct provider){.kind = kinds[fuzz_choice(fuzz_u8(&r), ARRAY_LEN(kinds))],
                                    .base_url = "https://provider.example/base/",
                                    .model = "test-model",
                                    .api_key = c->key};
    c->mode = modes[fuzz_choice(fuzz_u8(&r), ARRAY_LEN(modes))];
    c->n = 1 + fuzz_choice(fuzz_u8(&r), CASE_MEMBERS);
    c->wrapped = fuzz_choice(fuzz_u8(&r), 2) == 0;
    c->status = statuses[fuzz_choice(fuzz_u8(&r), ARRAY_LEN(statuses))];
    c->transport = (enum transport)fuzz_choice(fuzz_u8(&r), 4);
    unsigned finish = fuzz_choice(fuzz_u8(&r), 3);
    c->cut = finish == 1;
    c->filtered = finish == 2;
    c->members[0].temperature = temperatures[fuzz_choice(fuzz_u8(&r), ARRAY_LEN(temperatures))];
    c->members[0].max_tokens = tokens[fuzz_choice(fuzz_u8(&r), ARRAY_LEN(tokens))];
    c->retry_after = slice_of(retries[fuzz_choice(fuzz_u8(&r), ARRAY_LEN(retries))]);
    c->members[0].confidence = fuzz_choice(fuzz_u8(&r), 2);
}

void case_read(struct slice input, struct arena *arena, struct provider_case *ret_case)
{
    struct provider_case *c = ret_case;
    struct slice s[SECTIONS];
    *c = (struct provider_case){.seed = fuzz_hash(input.p, input.n, 0)};
    snprintf(c->key, sizeof(c->key), "sk-%016" PRIx64, fuzz_hash("key", 3, c->seed));
    split(input, s);
    read_choices(s[0], c);
    c->template = s[SECTIONS - 1];
    struct slice head = few_words(s[1]), tail = text_of(s[2], 100000);
    for (size_t i = 0; i < c->n; i++) {
        struct provider_member *m = &c->members[i];
        snprintf(c->canary[i], sizeof(c->canary[i]), "%016" PRIx64, fuzz_hash(&i, sizeof(i), c->seed));
        char *prompt = arena_printf(arena, "%.*s%s %.*s", (int)head.n, head.n ? head.p : "", c->canary[i],
                                    (int)tail.n, tail.n ? tail.p : "");
        FUZZ_CHECK(prompt, "no memory for a prompt");
        *m = (struct provider_member){.prompt = slice_of(prompt),
                                      .system_prompt = text_of(s[3], 100000),
                                      .extra = text_of(s[4], 100000),
                                      .messages = text_of(s[5], 100000),
                                      .model = text_of(s[6], 1000),
                                      .temperature = c->members[0].temperature,
                                      .max_tokens = c->members[0].max_tokens,
                                      .confidence = c->members[0].confidence,
                                      .priority = (enum priority)(c->seed % PRIORITIES)};
        tail = tail.n > 9 ? text_of((struct slice){tail.p + 9, tail.n - 9}, tail.n) : tail;
    }
}

const char *case_answer(const struct provider_case *c, size_t i, char ret_text[40])
{
    snprintf(ret_text, 40, "answer-%s", c->canary[i]);
    return ret_text;
}

static void put_contents(struct json_writer *w, const struct provider_case *c, size_t i)
{
    char answer[40];
    struct echo_plan plan = echo_plan_for(c->members, c->n);
    plan.words += (unsigned)(c->seed >> 8) % 5;
    json_field_text(w, "echo", echo_required(c->members[i].prompt, plan));
    json_field_cstr(w, "answer", case_answer(c, i, answer));
}

/* Members of an object, without its braces. */
static void put_bare(struct buf *out, const struct provider_case *c, const struct provider_call *call,
                     char what, size_t i)
{
    struct json_writer w;
    struct buf object;
    char answer[40];
    buf_init(&object, TEXT_MAX);
    json_writer_init(&w, &object);
    json_object_begin(&w);
    if (what == 'C')
        put_contents(&w, c, i);
    else if (what == 'T') {
        json_field_u64(&w, "index", i);
        json_field_cstr(&w, "text", case_answer(c, i, answer));
    } else {
        json_key(&w, call->ids[i]);
        json_object_begin(&w);
        put_contents(&w, c, i);
        json_object_end(&w);
    }
    json_object_end(&w);
    buf_append(out, object.data + 1, object.len - 2);
    buf_fini(&object);
}

static void put_all(struct buf *out, const struct provider_case *c, const struct provider_call *call,
                    char what)
{
    for (size_t i = 0; i < c->n; i++) {
        buf_append_text(out, i ? "," : "");
        buf_append_text(out, what == 'T' ? "{" : "");
        put_bare(out, c, call, what, i);
        buf_append_text(out, what == 'T' ? "}" : "");
    }
}

/* What stands for itself, and what stands for something. */
static void expand(struct buf *out, const struct provider_case *c, const struct provider_call *call)
{
    struct slice t = c->template;
    char answer[40];
    for (size_t i = 0; i < t.n; i++) {
        char what = t.p[i] == '$' && i + 1 < t.n ? t.p[i + 1] : 0;
        size_t member = i + 2 < t.n ? fuzz_choice((uint8_t)t.p[i + 2], (unsigned)c->n) : 0;
        bool one = what && strchr("ICMT", what) && i + 2 < t.n;
        if (one && what == 'I' && call->ids)
            buf_append_text(out, call->ids[member]);
        else if (one && what != 'I' && (what != 'M' || call->ids))
            put_bare(out, c, call, what, member);
        else if (what == '*' && call->ids)
            put_all(out, c, call, 'M');
        else if (what == '!')
            put_all(out, c, call, 'T');
        else if (what == 'K')
            buf_append_text(out, c->key);
        else if (what == 'A' && c->n == 1)
            buf_append_text(out, case_answer(c, 0, answer));
        else {
            buf_append_byte(out, (uint8_t)t.p[i]);
            continue;
        }
        i += one ? 2 : 1;
    }
}

/* A model's text as the provider would send it. */
static void wrap(struct buf *out, const struct provider_case *c, struct slice text)
{
    static const char *const openai[] = {"stop", "length", "content_filter"}, *const gemini[] = {"STOP",
                                                                                                 "MAX_TOKENS",
                                                                                                 "SAFETY"};
    unsigned finish = c->cut ? 1 : c->filtered ? 2 : 0;
    struct json_writer w;
    bool is_openai = c->provider.kind == PROVIDER_OPENAI;
    buf_append_text(out, is_openai ? "{\"choices\":[{\"message\":{\"content\":"
                                   : "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":");
    json_writer_init(&w, out);
    json_text(&w, text);
    buf_printf(
        out,
        is_openai ? "},\"finish_reason\":\"%s\"}],\"usage\":{\"prompt_tokens\":101,\"completion_tokens\":53}}"
                  : "}]},\"finishReason\":\"%s\"}],\"usageMetadata\":{\"promptTokenCount\":101,"
                    "\"candidatesTokenCount\":53}}",
        is_openai ? openai[finish] : gemini[finish]);
}

struct provider_response case_response(struct provider_case *c, const struct provider_call *call,
                                       struct arena *arena)
{
    struct buf text, body;
    bool combined = call->mode == MODE_COMBINED, array = call->mode == MODE_ARRAY;
    buf_init(&text, TEXT_MAX);
    buf_init(&body, 2 * TEXT_MAX);
    expand(&text, c, call);
    if (c->wrapped && !array)
        wrap(&body, c, buf_slice(&text));
    else
        buf_append_slice(&body, buf_slice(&text));
    c->right = c->status == 200 && c->transport == TRANSPORT_COMPLETE && !c->cut && !c->filtered &&
               (combined && c->wrapped ? slice_equal(c->template, SLICE_LITERAL("{$*}"))
                : array                ? slice_equal(c->template, SLICE_LITERAL("{\"choices\":[$!]}"))
                                       : c->wrapped && slice_equal(c->template, SLICE_LITERAL("$A")));
    char *copy = arena_copy(arena, buf_slice(&body));
    FUZZ_CHECK(copy && !buf_failed(&body) && !buf_failed(&text), "no memory for the response");
    struct provider_response r = {.transport = c->transport,
                                  .status = c->transport == TRANSPORT_COMPLETE ? c->status : 0,
                                  .retry_after = c->retry_after,
                                  .body = {copy, body.len},
                                  .transport_error = "The connection was reset."};
    buf_fini(&text);
    buf_fini(&body);
    return r;
}
