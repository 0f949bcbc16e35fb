/*
 * lib/provider without memory: a call is built whole or not at all, an answer is understood as ever or not at
 * all, and nothing that must go alone is taken for something that may be shared.
 */
#include "../unit/splitter_help.h"
#include "short.h"

static const char *const prompts[] = {"What is one?", "What is two?", "What is three?"};

static void make_members(struct provider_member *m, size_t n)
{
    for (size_t i = 0; i < n; i++)
        m[i] = test_member(prompts[i]);
}

/* The combined answer of a model that does as it was told. */
static const char *combined_answer(const struct provider_call *call, struct arena *arena)
{
    char *text = arena_printf(arena, "{");
    for (size_t i = 0; i < call->members; i++)
        text = arena_printf(arena, "%s%s\"%s\":{\"echo\":\"%s\",\"answer\":\"Answer %zu\"}", text,
                            i ? "," : "", call->ids[i], prompts[i], i);
    return arena_printf(arena, "%s}", text);
}

static const char *array_answer(size_t n, struct arena *arena)
{
    char *text = arena_printf(arena, "{\"choices\":[");
    for (size_t i = 0; i < n; i++)
        text = arena_printf(arena, "%s%s{\"index\":%zu,\"text\":\"Answer %zu\",\"finish_reason\":\"stop\"}",
                            text, i ? "," : "", i, i);
    return arena_printf(arena, "%s],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":5}}", text);
}

static void check_body(const struct provider_call *call, size_t n)
{
    cJSON *root = test_parse(buf_slice(&call->body));
    for (size_t i = 0; i < n; i++)
        assert_holds(buf_slice(&call->body), prompts[i]);
    cr_assert_not_null(call->url);
    cr_assert_not_null(strstr(call->headers, "k"));
    cJSON_Delete(root);
}

/* status 200: every member must get its own answer; else the verdict is FAILED. */
static void decode(const struct provider *p, const struct provider_call *call,
                   const struct provider_member *m, int status, const char *body, enum verdict expected)
{
    struct provider_outcome out;
    struct provider_response r = test_response(status, body);
    struct arena arena;
    r.content_type = SLICE_LITERAL("application/json");
    arena_init(&arena, 1 << 20);
    if (!SHORT(provider_decode(p, call, m, &r, &arena, &out)))
        for (size_t i = 0; i < call->members; i++) {
            char answer[32];
            snprintf(answer, sizeof(answer), "Answer %zu", call->members == 1 ? 7 : i);
            cr_assert_eq(out.parts[i].verdict, expected, "%d", (int)out.parts[i].verdict);
            if (expected == VERDICT_ANSWERED)
                assert_slice(out.parts[i].text, answer);
            else
                cr_assert(out.message.n && out.error_code && out.status);
        }
    arena_fini(&arena);
}

static void ask(const struct provider *p, enum provider_mode mode, size_t n)
{
    struct provider_member m[3];
    struct provider_call call, before;
    struct arena world; /* of what the provider says */
    struct err e;
    uint64_t seed = 42;
    make_members(m, n);
    memset(&call, 0x5a, sizeof(call));
    before = call;
    if (SHORT_E(provider_encode(p, mode, m, n, TEST_BODY_MAX, test_random_bytes, &seed, &call, &e), &e)) {
        cr_assert_eq(memcmp(&call, &before, sizeof(call)), 0, "touched");
        return;
    }
    torture_pause();
    arena_init(&world, 1 << 20);
    check_body(&call, n);
    const char *body = n == 1 ? test_wrap(p, SLICE_LITERAL("Answer 7"), false, &world)
                       : mode == MODE_ARRAY
                           ? array_answer(n, &world)
                           : test_wrap(p, slice_of(combined_answer(&call, &world)), false, &world);
    torture_resume();
    decode(p, &call, m, 200, body, VERDICT_ANSWERED);
    decode(p, &call, m, 429,
           "{\"error\":{\"message\":\"slow down\",\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\"}}",
           VERDICT_FAILED);
    decode(p, &call, m, 200, "<html>It works!</html>", VERDICT_MISSING);
    torture_pause();
    arena_fini(&world);
    torture_resume();
    provider_call_fini(&call);
}

Test(torture_provider, openai_single)
{
    ask(&test_kinds[0], MODE_COMBINED, 1);
}

Test(torture_provider, openai_combined)
{
    ask(&test_kinds[0], MODE_COMBINED, 3);
}

Test(torture_provider, openai_array)
{
    ask(&test_kinds[0], MODE_ARRAY, 3);
}

Test(torture_provider, gemini_single)
{
    ask(&test_kinds[1], MODE_COMBINED, 1);
}

Test(torture_provider, gemini_combined)
{
    ask(&test_kinds[1], MODE_COMBINED, 3);
}

Test(torture_provider, everything_a_member_may_have)
{
    for (size_t k = 0; k < ARRAY_LEN(test_kinds); k++) {
        struct provider_member m = test_member("Why?");
        struct provider_call call;
        struct err e;
        uint64_t seed = 42;
        m.system_prompt = SLICE_LITERAL("Be brief.");
        m.model = SLICE_LITERAL("m2");
        m.temperature = 0.5;
        m.extra = SLICE_LITERAL("{\"top_p\":0.5,\"seed\":18446744073709551615,\"stop\":[\"x\"]}");
        m.messages = SLICE_LITERAL(
            "[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\"Hi!\"}]");
        if (SHORT_E(provider_encode(&test_kinds[k], MODE_COMBINED, &m, 1, TEST_BODY_MAX, test_random_bytes,
                                    &seed, &call, &e),
                    &e))
            continue;
        assert_holds(buf_slice(&call.body), "Be brief.");
        assert_holds(buf_slice(&call.body), "Why?");
        assert_holds(buf_slice(&call.body), "Hi!");
        assert_holds(buf_slice(&call.body), "0.5");
        provider_call_fini(&call);
    }
}

Test(torture_provider, what_must_go_alone_goes_alone)
{
    struct provider_member m = test_member("hi");
    m.extra = SLICE_LITERAL("{\"top_p\":0.5,\"stop\":[\"}\"]}");
    cr_assert_not(provider_combinable(&m, MODE_COMBINED));
    m.extra = SLICE_LITERAL("{\"to\\u006fls\":[]}");
    cr_assert_not(provider_combinable(&m, MODE_COMBINED));
}

Test(torture_provider, the_mock)
{
    struct provider_member m[3];
    struct provider_outcome out;
    struct arena arena;
    make_members(m, 3);
    arena_init(&arena, 1 << 20);
    if (!SHORT(mock_answer(m, 3, &arena, &out)))
        assert_slice(out.parts[2].text, "Processed: What is three?");
    arena_fini(&arena);
}
