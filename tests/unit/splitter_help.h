/* A model's text as either provider would send it; for the splitter's tests. */
#ifndef CARPOOL_TESTS_SPLITTER_HELP_H
#define CARPOOL_TESTS_SPLITTER_HELP_H

#include "provider_help.h"
#include "json/write.h"

static const struct provider test_kinds[] = {
    {.kind = PROVIDER_OPENAI, .base_url = "http://127.0.0.1:1/v1", .model = "m", .api_key = "k"},
    {.kind = PROVIDER_GEMINI, .base_url = "http://127.0.0.1:1", .model = "m", .api_key = "k"},
};

/* A model's text as a response of the provider. Lives in the arena. */
static inline const char *test_wrap(const struct provider *p, struct slice text, bool cut,
                                    struct arena *arena)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b, 1 << 22);
    json_writer_init(&w, &b);
    json_text(&w, text);
    const char *body =
        p->kind == PROVIDER_OPENAI
            ? arena_printf(
                  arena,
                  "{\"choices\":[{\"message\":{\"content\":%s},\"finish_reason\":\"%s\"}],\"usage\":{"
                  "\"prompt_tokens\":101,\"completion_tokens\":53}}",
                  b.data, cut ? "length" : "stop")
            : arena_printf(
                  arena,
                  "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":%s}]},\"finishReason\":\"%s\"}],"
                  "\"usageMetadata\":{\"promptTokenCount\":101,\"candidatesTokenCount\":53}}",
                  b.data, cut ? "MAX_TOKENS" : "STOP");
    buf_fini(&b);
    return body;
}

#endif
