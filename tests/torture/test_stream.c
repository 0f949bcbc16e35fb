/*
 * Requests that go through as they are, and streams, without memory: a call is built whole or not at all, and
 * what came as a stream is the whole answer or not known.
 */
#include "../unit/stream_help.h"
#include "short.h"

static const struct provider kinds[] = {
    {.kind = PROVIDER_OPENAI, .base_url = "http://127.0.0.1:1/v1", .model = "m", .api_key = "k"},
    {.kind = PROVIDER_GEMINI, .base_url = "http://127.0.0.1:1", .model = "gemini-3-x", .api_key = "k"},
    {.kind = PROVIDER_MODEL_SERVICE, .base_url = "http://127.0.0.1:1", .model = "m", .api_key = "k"},
};

#define CALLED                                                                                               \
    "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"c\",\"type\":\"function\","          \
    "\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"a\\\":1}\"}}]},{\"role\":\"tool\",\"tool_call_id\":"  \
    "\"c\",\"content\":\"warm\"},"
#define PICTURE                                                                                              \
    "{\"role\":\"user\",\"content\":[{\"type\":\"image_url\",\"image_url\":{\"url\":\"data:image/png;"       \
    "base64,AAAA\"}}]},"
#define ASKED "{\"role\":\"system\",\"content\":\"Be brief.\"},{\"role\":\"user\",\"content\":\"Why?\"}]"
#define OPTIONS                                                                                              \
    "{\"max_tokens\":7,\"stop\":[\"x\"],\"response_format\":{\"type\":\"json_object\"},\"tools\":[{"         \
    "\"type\":\"function\",\"function\":{\"name\":\"f\"}}],\"tool_choice\":\"auto\"}"

static bool encode(const struct provider *p, const struct provider_member *m, struct provider_call *ret_call)
{
    struct provider_call before;
    struct err e;
    uint64_t seed = 42;
    memset(ret_call, 0x5a, sizeof(*ret_call));
    before = *ret_call;
    if (!SHORT_E(
            provider_encode(p, MODE_DEFAULT, m, 1, TEST_BODY_MAX, test_random_bytes, &seed, ret_call, &e),
            &e))
        return true;
    cr_assert_eq(memcmp(ret_call, &before, sizeof(before)), 0, "touched");
    return false;
}

Test(torture_stream, requests_as_they_are)
{
    static const char *const messages[] = {"[" CALLED PICTURE ASKED, "[" CALLED PICTURE ASKED, "[" ASKED};
    static const char *const options[] = {OPTIONS, OPTIONS, "{\"max_tokens\":7}"};
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        struct provider_member m = test_verbatim(messages[k], options[k]);
        struct provider_call call;
        if (!encode(&kinds[k], &m, &call))
            continue;
        torture_pause();
        cJSON_Delete(test_parse(buf_slice(&call.body)));
        assert_holds(buf_slice(&call.body), "Why?");
        assert_holds(buf_slice(&call.body), "Be brief.");
        assert_holds(buf_slice(&call.body), "7");
        if (k < 2)
            assert_holds(buf_slice(&call.body), "warm");
        torture_resume();
        provider_call_fini(&call);
    }
}

static const char *const said[] = {
    "{\"choices\":[{\"message\":{\"content\":\"Answer 7\"},\"finish_reason\":\"stop\"}]}",
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Answer "
    "7\"},{\"functionCall\":{\"name\":\"f\",\"args\":{}}}]},"
    "\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":1}}",
    "{\"generated_text\":\"Answer 7\"}",
};

static void check_answer(const struct provider_outcome *out)
{
    torture_pause();
    cr_assert_eq(out->parts[0].verdict, VERDICT_ANSWERED, "%d", (int)out->parts[0].verdict);
    assert_slice(out->parts[0].text, "Answer 7");
    assert_holds(out->parts[0].response, "\"Answer 7\"");
    cJSON_Delete(test_parse(out->parts[0].response));
    torture_resume();
}

Test(torture_stream, responses_are_kept_whole)
{
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        struct provider_member m = test_verbatim("[{\"role\":\"user\",\"content\":\"hi\"}]", NULL);
        struct provider_call call;
        struct provider_outcome out;
        struct arena arena;
        if (!encode(&kinds[k], &m, &call))
            continue;
        arena_init(&arena, 1 << 20);
        struct provider_response r = test_response(200, said[k]);
        if (!SHORT(provider_decode(&kinds[k], &call, &m, &r, &arena, &out)))
            check_answer(&out);
        r = test_response(400, "{\"error\":{\"message\":\"no\",\"param\":\"n\"}}");
        if (!SHORT(provider_decode(&kinds[k], &call, &m, &r, &arena, &out)))
            cr_assert(out.parts[0].verdict == VERDICT_FAILED && slice_is(out.message, "no"));
        arena_fini(&arena);
        provider_call_fini(&call);
    }
}

static const char *const events[] = {
    "data: "
    "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Ans\"},\"logprobs\":{"
    "\"content\":[1]}}]}\n\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"wer "
    "7\",\"tool_calls\":[{\"index\":0,\"id\":\"c\"}]}}]}\n\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n"
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3}}\n\ndata: [DONE]\n\n",
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Ans\"}]}}]}\r\n\r\n"
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"wer "
    "7\"},{\"functionCall\":{\"name\":\"f\"}}]},"
    "\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3}}\r\n\r\n",
};

struct listener {
    char words[64];
};

/* What a client makes of what it is told. */
static void listen(void *arg, struct slice chunk)
{
    struct listener *l = arg;
    torture_pause();
    cJSON *root = test_parse(chunk);
    const cJSON *choice = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "choices"), 0);
    const cJSON *content = cJSON_GetObjectItem(cJSON_GetObjectItem(choice, "delta"), "content");
    if (cJSON_IsString(content))
        strncat(l->words, content->valuestring, sizeof(l->words) - strlen(l->words) - 1);
    cJSON_Delete(root);
    torture_resume();
}

static void hear(const struct provider *p, const char *bytes, size_t step)
{
    struct provider_member m = test_verbatim("[{\"role\":\"user\",\"content\":\"hi\"}]", NULL);
    struct listener l = {""};
    struct provider_response r = {.transport = TRANSPORT_COMPLETE, .status = 200};
    struct provider_stream *s = NULL;
    struct provider_call call;
    struct provider_outcome out;
    struct arena arena;
    m.stream = true;
    if (!encode(p, &m, &call))
        return;
    arena_init(&arena, 1 << 20);
    if (SHORT(provider_stream_open(p, &call, STREAM_MAX, listen, &l, &s)))
        goto out;
    for (size_t at = 0, n = strlen(bytes); at < n; at += step)
        provider_stream_feed(s, (struct slice){bytes + at, step < n - at ? step : n - at});
    cr_assert_eq(strncmp("Answer 7", l.words, strlen(l.words)), 0, "%s", l.words);
    if (SHORT(provider_stream_end(s, &r, &arena, &out)))
        goto out;
    if (out.parts[0].verdict == VERDICT_ANSWERED) {
        check_answer(&out);
        cr_assert_str_eq(l.words, "Answer 7");
        cr_assert_eq(out.prompt_tokens, 3);
    } else {
        cr_assert_eq(out.parts[0].verdict, VERDICT_UNKNOWN);
        cr_assert(out.message.n && out.status == 502);
    }
out:
    provider_stream_free(s);
    arena_fini(&arena);
    provider_call_fini(&call);
}

Test(torture_stream, openai_is_heard_in_full_or_not_known)
{
    hear(&kinds[0], events[0], 1000);
    hear(&kinds[0], events[0], 17);
}

Test(torture_stream, gemini_is_heard_in_full_or_not_known)
{
    hear(&kinds[1], events[1], 1000);
    hear(&kinds[1], events[1], 17);
}

Test(torture_stream, one_that_says_what_went_wrong)
{
    struct provider_call call;
    struct provider_member m = test_verbatim("[{\"role\":\"user\",\"content\":\"hi\"}]", NULL);
    struct provider_response r = {.transport = TRANSPORT_COMPLETE, .status = 200};
    struct listener l = {""};
    struct provider_stream *s = NULL;
    struct provider_outcome out;
    struct arena arena;
    m.stream = true;
    if (!encode(&kinds[0], &m, &call))
        return;
    arena_init(&arena, 1 << 20);
    if (SHORT(provider_stream_open(&kinds[0], &call, STREAM_MAX, listen, &l, &s)))
        goto out;
    provider_stream_feed(s, SLICE_LITERAL("data: {\"choices\":[{\"delta\":{\"content\":\"An\"}}]}\n\n"));
    provider_stream_feed(s, SLICE_LITERAL("data: {\"error\":{\"message\":\"worn out\"}}\n\n"));
    if (!SHORT(provider_stream_end(s, &r, &arena, &out)))
        cr_assert(out.parts[0].verdict == VERDICT_UNKNOWN && out.message.n);
out:
    provider_stream_free(s);
    arena_fini(&arena);
    provider_call_fini(&call);
}

Test(torture_stream, told_again_in_full_or_in_part)
{
    struct listener l = {""};
    bool is_short = SHORT(provider_stream_replay(slice_of(said[0]), 0, listen, &l));
    cr_assert_eq(strncmp("Answer 7", l.words, strlen(l.words)), 0, "%s", l.words);
    cr_assert(is_short || strlen(l.words) == 8);
}

Test(torture_stream, the_mock)
{
    struct provider_member m = test_verbatim("[]", "{\"n\":1}");
    struct provider_outcome out;
    struct arena arena;
    arena_init(&arena, 1 << 20);
    m.prompt = SLICE_LITERAL("What?");
    if (!SHORT(mock_answer(&m, 1, &arena, &out)))
        assert_holds(out.parts[0].response, "\"Processed: What?\"");
    m.extra = SLICE_LITERAL("{\"n\":2}");
    if (!SHORT(mock_answer(&m, 1, &arena, &out)))
        cr_assert_eq(out.parts[0].verdict, VERDICT_FAILED);
    arena_fini(&arena);
}
