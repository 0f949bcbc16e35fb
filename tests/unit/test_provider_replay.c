/* Responses told again as streams: exactly as chunks, and put together again to what they were. */
#include "provider/gather.h"
#include "stream_help.h"

static struct buf told;

static void setup(void)
{
    buf_init(&told, 8 * STREAM_MAX);
}

static void teardown(void)
{
    buf_fini(&told);
}

TestSuite(replay, .init = setup, .fini = teardown);

static int replay(const char *response, size_t chunk_bytes)
{
    buf_clear(&told);
    return provider_stream_replay(slice_of(response), chunk_bytes, test_collect, &told);
}

#define HEAD "{\"id\":\"c\",\"model\":\"m\",\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,"
#define REST ",\"logprobs\":null,\"finish_reason\":null}]}\n"

Test(replay, word_by_word)
{
    cr_assert_eq(
        replay("{\"id\":\"c\",\n\"object\":\"chat.completion\",\"model\":\"m\",\"choices\":[{\"index\":0,"
               "\"message\":{\"role\":\"assistant\",\"content\":\"  One, two\\nthree\",\"refusal\":null},"
               "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":1}}",
               0),
        0);
    assert_slice(buf_slice(&told),
                 HEAD "\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null}" REST HEAD
                      "\"delta\":{\"content\":\"  One,\"}" REST HEAD
                      "\"delta\":{\"content\":\" two\\nthree\"}" REST HEAD
                      "\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]}\n");
}

Test(replay, what_a_response_has_of_its_own_is_told_once)
{
    char long_model[300] = "";
    memset(long_model, 'm', sizeof(long_model) - 1);
    struct buf response;
    buf_init(&response, 1024);
    buf_printf(
        &response,
        "{\"found\":[1,\"2\"],\"id\":\"c\",\"model\":\"%s\",\"z\":0.10,\"choices\":[{\"index\":\"much\","
        "\"text\":\"a b\",\"finish_reason\":\"stop\"}]}",
        long_model);
    cr_assert_eq(provider_stream_replay(buf_slice(&response), 0, test_collect, &told), 0);
    buf_append_byte(&told, 0);
    char *second = strchr(told.data, '\n') + 1;
    const char first[] = "{\"id\":\"c\",\"object\":\"text_completion\",\"found\":[1,\"2\"],\"model\":\"mmm";
    const char last[] = "m\",\"z\":0.10,\"choices\":[{\"index\":0,\"text\":\"a\",\"logprobs\":null,\"finish_"
                        "reason\":null}]}\n";
    cr_assert_eq(strncmp(told.data, first, strlen(first)), 0, "%s", told.data);
    cr_assert_eq(strncmp(second - strlen(last), last, strlen(last)), 0, "%s", told.data);
    cr_assert_str_eq(second, "{\"id\":\"c\",\"object\":\"text_completion\",\"choices\":[{\"index\":0,"
                             "\"text\":\" b\",\"logprobs\":null,"
                             "\"finish_reason\":null}]}\n"
                             "{\"id\":\"c\",\"object\":\"text_completion\",\"choices\":[{\"index\":0,"
                             "\"text\":\"\",\"finish_reason\":\"stop\"}]}\n");
    buf_fini(&response);
}

Test(replay, calls_and_all_else_a_message_has)
{
    cr_assert_eq(
        replay("{\"choices\":[{\"message\":{\"content\":null,\"tool_calls\":[{\"index\":7,\"id\":\"a\",\r\n"
               "\"function\":{\n\"name\":\"f\"}},{}],\"x\":{\"y\":\n1},\"name\":\"n "
               "m\"},\"index\":3,\"z\":[\n2]}]}",
               0),
        0);
    assert_slice(
        buf_slice(&told),
        "{\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":3,\"delta\":{\"content\":null,\"x\":{"
        "\"y\": 1},"
        "\"name\":\"n m\"},\"logprobs\":null,\"finish_reason\":null}]}\n"
        "{\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":3,\"delta\":{\"tool_calls\":[{"
        "\"index\":0,"
        "\"id\":\"a\",\"function\":{ \"name\":\"f\"}}]},\"logprobs\":null,\"finish_reason\":null}]}\n"
        "{\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":3,\"delta\":{\"tool_calls\":[{"
        "\"index\":1}]},"
        "\"logprobs\":null,\"finish_reason\":null}]}\n"
        "{\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":3,\"delta\":{},\"z\":[ 2]}]}\n");
}

Test(replay, in_pieces_that_break_no_character)
{
    cr_assert_eq(replay("{\"choices\":[{\"message\":{\"content\":"
                        "\"a\\\\b\\ud83d\\ude00\xf0\x9f\x98\x80\xc3\xa9\\u00e9\"}}]}",
                        2),
                 0);
    static const char *const pieces[] = {
        "\"a\"",        "\"\\\\\"",   "\"b\"", "\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\"",
        "\"\xc3\xa9\"", "\"\\u00e9\""};
    const char *at = strchr(told.data, '\n') + 1;
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++, at = strchr(at, '\n') + 1) {
        const char *content = strstr(at, "\"content\":");
        cr_assert_not_null(content);
        cr_assert_eq(strncmp(content + 10, pieces[i], strlen(pieces[i])), 0, "%zu: %s", i, content);
    }
    cr_assert_not_null(strstr(at, "\"delta\":{}"));
}

Test(replay, a_word_without_end_is_cut)
{
    char *response = NULL;
    cr_assert(asprintf(&response, "{\"choices\":[{\"text\":\"%010000d\"}]}", 1) > 0);
    cr_assert_eq(replay(response, 0), 0);
    size_t lines = 0;
    for (size_t i = 0; i < told.len; i++)
        lines += told.data[i] == '\n';
    cr_assert_eq(lines, 4);
    free(response);
}

Test(replay, what_is_no_response)
{
    static const char *const bad[] = {
        "",
        "null",
        "[]",
        "{",
        "{}",
        "{\"choices\":7}",
        "{\"choices\":[]}",
        "{\"choices\":[7]}",

        "{\"choices\":[{\"message\":7}]}",
        "{\"choices\":[{\"text\":7}]}",
        "{\"choices\":[{\"message\":{\"tool_calls\":[7]}}]}",

        "{\"choices\":[{\"message\":{}},7]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(replay(bad[i], 9), ERR_CORRUPT, "%s", bad[i]);
}

/* JSON of random shape that a response may have. */
static void random_text(struct buf *out, uint64_t *random)
{
    static const char *const units[] = {
        "a", "b ", " ", "\\n", "\\\"", "\\\\", "\xc3\xa9", "\\u00e9", "\\ud83d\\ude00", "\xf0\x9f\x98\x80",
        "{", "]",  ",", ":"};
    buf_append_byte(out, '"');
    for (uint64_t n = test_random(random) % 40; n; n--)
        buf_append_text(out, units[test_random(random) % ARRAY_LEN(units)]);
    buf_append_byte(out, '"');
}

static void random_message(struct buf *out, uint64_t *random)
{
    static const char *const texts[] = {"content", "refusal", "reasoning_content"};
    buf_append_text(out, "{\"role\":\"assistant\"");
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        if (i && test_random(random) % 2)
            continue;
        buf_printf(out, ",\"%s\":", texts[i]);
        if (test_random(random) % 3)
            random_text(out, random);
        else
            buf_append_text(out, "null");
    }
    if (test_random(random) % 2) {
        buf_append_text(out, ",\"tool_calls\":[");
        for (uint64_t i = 0, n = 1 + test_random(random) % 3; i < n; i++) {
            buf_printf(
                out,
                "%s{\"id\":\"call_%d\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":",
                i ? "," : "", (int)i);
            random_text(out, random);
            buf_append_text(out, "}}");
        }
        buf_append_text(out, "]");
    }
    buf_append_text(out, ",\"annotations\":[{\"a\":1},2]}");
}

static void random_response(struct buf *out, uint64_t *random)
{
    bool completion = test_random(random) % 3 == 0;
    buf_printf(out, "{\"id\":\"x\",\"object\":\"%s\",\"created\":12345678901234567890,\"choices\":[",
               completion ? "text_completion" : "chat.completion");
    for (uint64_t i = 0, n = 1 + test_random(random) % 3; i < n; i++) {
        buf_printf(out, "%s{\"index\":%d,\"%s\":", i ? "," : "", (int)i, completion ? "text" : "message");
        if (completion)
            random_text(out, random);
        else
            random_message(out, random);
        buf_append_text(out, test_random(random) % 2 ? ",\"logprobs\":{\"content\":[{\"token\":\"t\"}]}"
                                                     : ",\"logprobs\":null");
        buf_append_text(out, ",\"finish_reason\":\"stop\",\"stop_reason\":7}");
    }
    buf_append_text(out, "],\"service_tier\":\"default\"}");
}

static void gather(void *arg, struct slice chunk)
{
    cJSON_Delete(test_parse(chunk));
    cr_assert_eq(gather_add(arg, chunk), 0);
}

Test(replay, told_and_put_together_it_is_what_it_was)
{
    uint64_t random = 77;
    for (int round = 0; round < 3000; round++) {
        struct buf response, again;
        struct gather g;
        buf_init(&response, STREAM_MAX);
        buf_init(&again, STREAM_MAX);
        gather_init(&g, STREAM_MAX);
        random_response(&response, &random);
        cr_assert_eq(provider_stream_replay(buf_slice(&response), test_random(&random) % 20, gather, &g), 0);
        cr_assert(gather_finished(&g));
        gather_write(&g, &again);
        test_same_json(buf_slice(&again), response.data);
        gather_fini(&g);
        buf_fini(&response);
        buf_fini(&again);
    }
}
