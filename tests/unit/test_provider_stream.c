/* Streams of OpenAI's chunks: what is given on, what they are put together to, and how they may end. */
#include "stream_help.h"

static const struct provider local = {
    .kind = PROVIDER_OPENAI, .base_url = "http://127.0.0.1:8080/v1", .model = "m", .api_key = "sk-test-key"};

#define HEAD  "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","
#define CHUNK HEAD "\"choices\":[{\"index\":0,"
#define A                                                                                                    \
    CHUNK "\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\"finish_reason\":null}]}"
#define B CHUNK "\"delta\":{\"content\":\"Hel\\\"\"},\"finish_reason\":null}]}"
#define C CHUNK "\"delta\":{\"content\":\"l\xc3\xb6\\u00e9\"},\"finish_reason\":null}]}"
#define D CHUNK "\"delta\":{},\"finish_reason\":\"stop\"}]}"
#define USAGE                                                                                                \
    HEAD "\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}"
#define WHOLE                                                                                                \
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"m\",\"choices\":["      \
    "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hel\\\"l\xc3\xb6\\u00e9\",\"refusal\":"  \
    "null},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,"             \
    "\"total_tokens\":7}}"

static void check_whole(struct test_stream *t)
{
    const struct provider_part *part = &t->outcome.parts[0];
    assert_slice(buf_slice(&t->told), A "\n" B "\n" C "\n" D "\n");
    cr_assert(provider_stream_heard(t->s));
    cr_assert_eq(part->verdict, VERDICT_ANSWERED, "%.*s", (int)t->outcome.message.n, t->outcome.message.p);
    cr_assert_eq(t->outcome.status, 0);
    assert_slice(part->text, "Hel\"l\xc3\xb6\xc3\xa9");
    assert_slice(part->finish_reason, "stop");
    test_same_json(part->response, WHOLE);
    cr_assert_eq(part->prompt_tokens, 3);
    cr_assert_eq(part->completion_tokens, 4);
}

Test(stream, however_it_is_cut_and_its_lines_end)
{
    static const char *const forms[] = {
        "data: " A "\n\ndata: " B "\n\ndata: " C "\n\ndata: " D "\n\ndata: " USAGE "\n\ndata: [DONE]\n\n",
        "\xef\xbb\xbf"
        "data:" A "\r\n\r\nid: 7\r\ndata: " B "\r\n\r\nevent: message\r\ndata: " C
        "\r\n\r\ndata\r\n\r\ndata: " D "\r\n\r\nretry: 9\r\n\r\ndata: " USAGE "\r\n\r\ndata: [DONE]\r\n",
        "data: " A "\r\r:\rdata: " B "\r\rdata: " C "\r\rdata: null\r\rdata: " D "\r\rdata: " USAGE
        "\r\rdata: [DONE]",
    };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct slice bytes = slice_of(forms[i]);
        for (size_t cut = 0; cut <= bytes.n; cut++) {
            struct test_stream t;
            test_stream_run(&t, &local, bytes, cut, cut ? bytes.n : 1, TRANSPORT_COMPLETE);
            check_whole(&t);
            test_stream_close(&t);
        }
    }
}

#define LINES(end)                                                                                           \
    "data: {\"choices\":[{\"delta\":" end "data: {\"content\":" end "data:" end "data: \"x\"}," end          \
    ": half way" end "data: \"finish_reason\":\"stop\",\"message\":{\"content\":\"y\"}}]}" end end

Test(stream, an_event_of_several_lines)
{
    static const char *const forms[] = {LINES("\n"), LINES("\r\n"), LINES("\r")};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++)
        for (size_t step = 1; step < 9; step++) {
            struct test_stream t;
            test_stream_run(&t, &local, slice_of(forms[i]), step, step, TRANSPORT_COMPLETE);
            assert_slice(t.outcome.parts[0].text, "x");
            test_same_json(
                t.outcome.parts[0].response,
                "{\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"x\"},"
                "\"finish_reason\":\"stop\"}]}");
            test_stream_close(&t);
        }
}

Test(stream, usage_that_nobody_told_is_estimated)
{
    struct test_stream t;
    test_stream_run(&t, &local,
                    slice_of("data: {\"choices\":[{\"delta\":\ndata: {\"content\":\ndata:\ndata: \"x\"},\n"
                             "data: \"finish_reason\":\"stop\"}]}\n\n"),
                    3, 7, TRANSPORT_COMPLETE);
    cr_assert_eq(t.outcome.parts[0].verdict, VERDICT_ANSWERED);
    assert_slice(t.outcome.parts[0].text, "x");
    test_same_json(buf_slice(&t.told),
                   "{\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}");
    /* It said nothing of its usage: an estimate, but none that the response tells. */
    assert_holds_not(t.outcome.parts[0].response, "usage");
    cr_assert_eq(t.outcome.prompt_tokens, t.call.prompt_tokens);
    cr_assert_gt(t.outcome.prompt_tokens, 5);
    cr_assert_eq(t.outcome.completion_tokens, 1);
    test_stream_close(&t);
}

Test(stream, all_that_a_choice_may_say_grows)
{
    static const char bytes[] =
        "data: "
        "{\"id\":\"1\",\"object\":\"chat.completion.chunk\",\"obfuscation\":\"aa\",\"choices\":[{\"index\":1,"
        "\"delta\":{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"index\":0,\"id\":\"call_a\","
        "\"type\":"
        "\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}],\"usage\":null}\n\n"
        "data: "
        "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"a\",\"reasoning_"
        "content\":\"r\"},"
        "\"logprobs\":{\"content\":[{\"token\":\"a\",\"logprob\":-0.50}],\"refusal\":null}}],\"usage\":null}"
        "\n\n"
        "data: "
        "{\"choices\":[{\"index\":1,\"delta\":{\"role\":\"assistant\",\"tool_calls\":[{\"index\":1,\"id\":"
        "\"call_b\","
        "\"type\":\"function\",\"function\":{\"name\":\"g\",\"arguments\":\"{}\"}},{\"index\":0,\"id\":\"\","
        "\"function\":"
        "{\"arguments\":\"{\\\"x\\\":\"}}]}}]}\n\n"
        "data: "
        "{\"choices\":[{\"index\":1,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"1}"
        "\"}}]},"
        "\"finish_reason\":\"tool_calls\"}],\"system_fingerprint\":\"fp\"}\n\n"
        "data: "
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"b\",\"reasoning_content\":\"s\",\"annotations\":"
        "[{\"type\":\"u\"}]},\"logprobs\":{\"content\":[{\"token\":\"b\",\"logprob\":-1.5}]}}]}\n\n"
        "data: "
        "{\"choices\":[{\"index\":0,\"delta\":{\"annotations\":[{\"type\":\"v\"}]},\"finish_reason\":"
        "\"length\","
        "\"matched_stop\":12345678901234567890}]}\n\n"
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n";
    struct test_stream t;
    test_stream_run(&t, &local, slice_of(bytes), 1000, 10, TRANSPORT_COMPLETE);
    const struct provider_part *part = &t.outcome.parts[0];
    cr_assert_eq(part->verdict, VERDICT_ANSWERED);
    test_same_json(part->response, "{\"id\":\"1\",\"object\":\"chat.completion\",\"choices\":[{\"index\":0,"
                                   "\"message\":{\"role\":\"assistant\","
                                   "\"content\":\"ab\",\"reasoning_content\":\"rs\",\"annotations\":[{"
                                   "\"type\":\"u\"},{\"type\":\"v\"}]},\"logprobs\":"
                                   "{\"content\":[{\"token\":\"a\",\"logprob\":-0.5},{\"token\":\"b\","
                                   "\"logprob\":-1.5}],\"refusal\":null},"
                                   "\"finish_reason\":\"length\",\"matched_stop\":12345678901234567890},{"
                                   "\"index\":1,\"message\":{\"role\":"
                                   "\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"call_a\","
                                   "\"type\":\"function\",\"function\":{\"name\":\"f\","
                                   "\"arguments\":\"{\\\"x\\\":1}\"}},{\"id\":\"call_b\",\"type\":"
                                   "\"function\",\"function\":{\"name\":\"g\",\"arguments\":"
                                   "\"{}\"}}]},\"finish_reason\":\"tool_calls\"}],\"system_fingerprint\":"
                                   "\"fp\",\"usage\":{\"prompt_tokens\":1,"
                                   "\"completion_tokens\":2}}");
    assert_holds(part->response, "12345678901234567890"); /* all its digits */
    assert_holds(part->response, "-0.50");
    assert_slice(part->text, "ab");
    cr_assert_float_eq(part->confidence, exp(-1.0), 1e-9);
    test_stream_close(&t);
}

Test(stream, a_text_completion)
{
    struct test_stream t;
    test_stream_run(
        &t, &local,
        slice_of("data: {\"object\":\"text_completion\",\"choices\":[{\"index\":0,\"text\":\" "
                 "one\",\"logprobs\":{\"tokens\":"
                 "[\" one\"],\"token_logprobs\":[-0.1]},\"finish_reason\":null}]}\n\n"
                 "data: {\"object\":\"text_completion\",\"choices\":[{\"index\":0,\"text\":\" "
                 "two\",\"logprobs\":{\"tokens\":"
                 "[\" two\"],\"token_logprobs\":[-0.2]},\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n"),
        9, 9, TRANSPORT_COMPLETE);
    assert_slice(t.outcome.parts[0].text, " one two");
    assert_slice(t.outcome.parts[0].finish_reason, "length");
    test_same_json(
        t.outcome.parts[0].response,
        "{\"object\":\"text_completion\",\"choices\":[{\"index\":0,\"text\":\" one two\",\"logprobs\":"
        "{\"tokens\":[\" one\",\" two\"],\"token_logprobs\":[-0.1,-0.2]},\"finish_reason\":\"length\"}]}");
    test_stream_close(&t);
}

Test(stream, what_else_has_an_index_keeps_it)
{
    struct test_stream t;
    test_stream_run(
        &t, &local,
        slice_of(
            "data: "
            "{\"choices\":[{\"delta\":{\"details\":[{\"index\":0,\"format\":\"f\",\"text\":\"a\"}]}}]}\n\n"
            "data: {\"choices\":[{\"delta\":{\"details\":[{\"index\":0,\"format\":\"f\",\"text\":\"b\"},"
            "{\"index\":1}]}}]}\n\ndata: {\"choices\":[{\"index\":1,\"finish_reason\":\"stop\"}]}\n\ndata: "
            "[DONE]\n\n"),
        5, 50, TRANSPORT_COMPLETE);
    test_same_json(t.outcome.parts[0].response, "{\"choices\":[{\"index\":0,\"message\":{\"role\":"
                                                "\"assistant\",\"content\":null,\"details\":[{\"index\":0,"
                                                "\"format\":\"f\",\"text\":\"ab\"},{\"index\":1}]}},{"
                                                "\"index\":1,\"finish_reason\":\"stop\",\"message\":"
                                                "{\"role\":\"assistant\",\"content\":null}}]}");
    test_stream_close(&t);
}

#define SAID "data: " A "\n\ndata: " B "\n\n"

Test(stream, how_it_may_end)
{
    static const struct {
        const char *bytes;
        enum transport transport;
        enum verdict verdict;
        int status;
        const char *says;
        bool heard;
    } cases[] = {
        {SAID "data: " D "\n\n", TRANSPORT_COMPLETE, VERDICT_ANSWERED, 0, "", true},
        {SAID "data: " D "\n\n", TRANSPORT_LOST, VERDICT_UNKNOWN, 502, "lost", true},
        {SAID "data: [DONE]\n\n", TRANSPORT_LOST, VERDICT_ANSWERED, 0, "", true},
        {SAID, TRANSPORT_COMPLETE, VERDICT_UNKNOWN, 502, "ended before its answer did", true},
        {SAID, TRANSPORT_LOST, VERDICT_UNKNOWN, 502, "may have been charged", true},
        {SAID, TRANSPORT_TIMED_OUT, VERDICT_UNKNOWN, 504, "timeout_ms", true},
        {SAID, TRANSPORT_NOT_SENT, VERDICT_UNKNOWN, 503, "", true}, /* the transport is mistaken */
        {": ping\n\n", TRANSPORT_COMPLETE, VERDICT_UNKNOWN, 502, "ended before", false},
        {"", TRANSPORT_COMPLETE, VERDICT_MISSING, 502, "not JSON", false},
        {"", TRANSPORT_NOT_SENT, VERDICT_FAILED, 503, "could not be reached", false},
        {SAID "data: {\"error\":{\"message\":\"worn out by sk-test-key\"}}\n\ndata: " D "\n\n",
         TRANSPORT_COMPLETE, VERDICT_UNKNOWN, 502, "worn out by ***********", true},
        {SAID "event: error\ndata: {\"detail\":\"odd\"}\n\n", TRANSPORT_COMPLETE, VERDICT_UNKNOWN, 502, "odd",
         true},
        {SAID "event: error\ndata: what?\n\n", TRANSPORT_COMPLETE, VERDICT_UNKNOWN, 502, "with an error",
         true},
        {SAID "data: {\"message\":\"no more\",\"type\":\"x\"}\n\n", TRANSPORT_COMPLETE, VERDICT_UNKNOWN, 502,
         "no more", true},
        {"data: {\"error\":{\"message\":\"busy\"}}\n\n", TRANSPORT_COMPLETE, VERDICT_MISSING, 502, "busy",
         false},
        {SAID "data: {\n\ndata: " D "\n\n", TRANSPORT_COMPLETE, VERDICT_UNKNOWN, 502, "no JSON object", true},
        {SAID "data: [1]\n\n", TRANSPORT_COMPLETE, VERDICT_UNKNOWN, 502, "no JSON object", true},
        {SAID "data: {\"choices\":[7]}\n\n", TRANSPORT_COMPLETE, VERDICT_UNKNOWN, 502, "no chunk", true},
        {SAID "data: {\"choices\":[{\"index\":256}]}\n\n", TRANSPORT_COMPLETE, VERDICT_UNKNOWN, 502,
         "no chunk", true},
        {SAID "data: {\"choices\":[{\"index\":0,\"delta\":{\"\\u0063ontent\":\"x\"}}]}\n\ndata: [DONE]\n\n",
         TRANSPORT_COMPLETE, VERDICT_UNKNOWN, 502, "make no answer", true}, /* content twice */
        {"data: [DONE]\n\n", TRANSPORT_COMPLETE, VERDICT_UNKNOWN, 502, "ended before", false},
        {"data: " USAGE "\n\ndata: [DONE]\n\n", TRANSPORT_COMPLETE, VERDICT_UNKNOWN, 502, "make no answer",
         false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct test_stream t;
        test_stream_run(&t, &local, slice_of(cases[i].bytes), 5, 50, cases[i].transport);
        const struct provider_outcome *o = &t.outcome;
        cr_assert_eq(o->parts[0].verdict, cases[i].verdict, "%zu: %d", i, (int)o->parts[0].verdict);
        cr_assert_eq(o->status, cases[i].status, "%zu: %d", i, o->status);
        cr_assert_eq(provider_stream_heard(t.s), cases[i].heard, "%zu", i);
        cr_assert_not(o->retry_helps && cases[i].heard, "%zu", i);
        if (o->status)
            assert_holds(o->message, cases[i].says);
        if (cases[i].verdict == VERDICT_UNKNOWN && cases[i].heard)
            cr_assert(o->prompt_tokens > 0 && o->completion_tokens == provider_stream_tokens(t.s), "%zu", i);
        test_stream_close(&t);
    }
}

/* A picture is no text, however many bytes it has. */
Test(stream, a_picture_is_not_counted_by_its_bytes)
{
    struct test_stream t;
    char *messages = malloc(400000);
    strcpy(messages, "[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\""
                     "data:image/png;base64,");
    size_t n = strlen(messages);
    memset(messages + n, 'A', 300000);
    strcpy(messages + n + 300000, "\"}}]}]");
    struct provider_member m = test_verbatim(messages, NULL);
    m.stream = true;
    for (enum provider_kind kind = PROVIDER_GEMINI; kind <= PROVIDER_OPENAI; kind++) {
        struct provider p = {.kind = kind, .model = "m", .base_url = "http://127.0.0.1:1"};
        test_stream_open(&t, &p);
        provider_stream_free(t.s);
        provider_call_fini(&t.call);
        t.call = test_encode(&p, MODE_DEFAULT, &m, 1);
        cr_assert_eq(provider_stream_open(&p, &t.call, STREAM_MAX, test_collect, &t.told, &t.s), 0);
        provider_stream_feed(t.s, slice_of("data: {\"choices\":[{\"delta\":{\"content\":\"It\"}}]}\n\n"));
        test_stream_end(&t, TRANSPORT_LOST);
        cr_assert_eq(t.outcome.parts[0].verdict, VERDICT_UNKNOWN);
        cr_assert_eq(t.outcome.prompt_tokens, provider_estimate_tokens(&m) - m.max_tokens, "%d: %llu",
                     (int)kind, (unsigned long long)t.outcome.prompt_tokens);
        test_stream_close(&t);
    }
    free(messages);
}

Test(stream, an_answer_that_came_in_one)
{
    struct test_stream t;
    struct provider_response r = test_response(200, " " WHOLE "\n");
    test_stream_open(&t, &local);
    cr_assert_eq(provider_stream_end(t.s, &r, &t.arena, &t.outcome), 0);
    assert_slice(t.outcome.parts[0].response, WHOLE);
    cr_assert_eq(t.told.len, 0);
    r = test_response(429, "{\"error\":{\"message\":\"slow down\"}}");
    cr_assert_eq(provider_stream_end(t.s, &r, &t.arena, &t.outcome), 0);
    cr_assert_eq(t.outcome.parts[0].verdict, VERDICT_FAILED);
    cr_assert(t.outcome.retry_helps);
    test_stream_close(&t);
}

static void feed_many(struct provider_stream *s, size_t times, const char *event)
{
    for (size_t i = 0; i < times; i++)
        provider_stream_feed(s, slice_of(event));
}

Test(stream, it_is_bounded)
{
    static const char kilobyte[] =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%0999d\"}}]}\n\n";
    char event[2048];
    snprintf(event, sizeof(event), kilobyte, 7);
    for (int way = 0; way < 3; way++) {
        struct test_stream t;
        test_stream_open(&t, &local);
        if (way == 0) {
            feed_many(t.s, 2000, event); /* too long an answer */
            cr_assert_lt(t.told.len, STREAM_MAX + STREAM_MAX / 5);
        } else if (way == 1)
            feed_many(t.s, 2 * STREAM_MAX / 10, ": comment "); /* a line without end */
        else
            feed_many(t.s, 2 * STREAM_MAX / 10, "data: 1234567890\n"); /* an event without end */
        test_stream_end(&t, TRANSPORT_COMPLETE);
        cr_assert_eq(t.outcome.parts[0].verdict, VERDICT_UNKNOWN, "%d", way);
        assert_holds(t.outcome.message, "larger than");
        test_stream_close(&t);
    }
}

/* However many lines there are in one piece, each byte is looked at once. */
Test(stream, empty_lines_without_end, .timeout = 10)
{
    struct test_stream t;
    struct slice lines = {malloc(STREAM_MAX), STREAM_MAX};
    for (const char *end = "\r\n"; *end; end++) {
        memset((char *)lines.p, *end, lines.n);
        test_stream_open(&t, &local);
        provider_stream_feed(t.s, lines);
        cr_assert_not(provider_stream_over(t.s));
        test_stream_close(&t);
    }
    free((char *)lines.p);
}

Test(stream, too_many_members)
{
    struct test_stream t;
    test_stream_open(&t, &local);
    for (int i = 0; i < 300; i++) {
        char event[100];
        snprintf(event, sizeof(event), "data: {\"choices\":[{\"delta\":{\"k%d\":1}}]}\n\n", i);
        provider_stream_feed(t.s, slice_of(event));
    }
    test_stream_end(&t, TRANSPORT_COMPLETE);
    cr_assert_eq(t.outcome.parts[0].verdict, VERDICT_UNKNOWN);
    test_stream_close(&t);
}
