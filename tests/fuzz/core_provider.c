/* The provider of core_world.h: reads who is in a call and answers as OpenAI or Gemini would. */
#include "core_world.h"
#include "json/write.h"

#define TEXT_MAX (1u << 20)

static void put_answer(struct json_writer *w, const struct call *call, size_t i)
{
    struct buf text;
    buf_init(&text, TEXT_MAX);
    buf_append_text(&text, CORE_ANSWER);
    buf_append_slice(&text, call->members[i]->submit.prompt);
    json_text(w, buf_slice(&text));
    buf_fini(&text);
}

static void put_entry(struct json_writer *w, const struct call *call, size_t id, size_t from)
{
    json_key(w, call->request.ids[id]);
    json_object_begin(w);
    json_field_text(w, "echo", call->members[from]->submit.prompt);
    json_key(w, "answer");
    put_answer(w, call, from);
    json_object_end(w);
}

/* A combined answer. */
static void put_object(struct buf *out, const struct call *call, enum core_conduct conduct)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_object_begin(&w);
    for (size_t i = conduct == CORE_MISSES; i < call->n; i++)
        put_entry(&w, call, i, conduct == CORE_SHIFTS ? (i + 1) % call->n : i);
    if (conduct == CORE_DOUBLES)
        put_entry(&w, call, 0, 0);
    json_object_end(&w);
}

/* The model's text as a JSON string. */
static void put_text(struct json_writer *w, const struct call *call, enum core_conduct conduct)
{
    struct buf text;
    if (!call->request.ids && conduct != CORE_MISSES) {
        put_answer(w, call, 0);
        return;
    }
    buf_init(&text, TEXT_MAX);
    if (call->request.ids)
        put_object(&text, call, conduct);
    json_text(w, buf_slice(&text));
    buf_fini(&text);
}

static void put_choices(struct json_writer *w, const struct call *call, enum core_conduct conduct)
{
    bool doubled = conduct == CORE_DOUBLES;
    for (size_t i = conduct == CORE_MISSES; i < call->n + doubled; i++) {
        json_object_begin(w);
        json_field_u64(w, "index", i % call->n);
        json_key(w, "text");
        put_answer(w, call, i % call->n);
        json_field_cstr(w, "finish_reason", conduct == CORE_FILTERS && i == 0 ? "content_filter" : "stop");
        json_object_end(w);
    }
}

static void put_openai(struct json_writer *w, const struct call *call, enum core_conduct conduct)
{
    json_key(w, "choices");
    json_array_begin(w);
    if (call->request.mode == MODE_ARRAY)
        put_choices(w, call, conduct);
    else {
        json_object_begin(w);
        json_key(w, "message");
        json_object_begin(w);
        json_key(w, "content");
        put_text(w, call, conduct);
        json_object_end(w);
        json_field_cstr(w, "finish_reason",
                        conduct == CORE_CUTS      ? "length"
                        : conduct == CORE_FILTERS ? "content_filter"
                                                  : "stop");
        json_object_end(w);
    }
    json_array_end(w);
}

static void put_gemini(struct json_writer *w, const struct call *call, enum core_conduct conduct)
{
    json_key(w, "candidates");
    json_array_begin(w);
    json_object_begin(w);
    json_field_cstr(w, "finishReason",
                    conduct == CORE_CUTS      ? "MAX_TOKENS"
                    : conduct == CORE_FILTERS ? "SAFETY"
                                              : "STOP");
    json_key(w, "content");
    json_object_begin(w);
    json_key(w, "parts");
    json_array_begin(w);
    json_object_begin(w);
    json_key(w, "text");
    put_text(w, call, conduct);
    json_object_end(w);
    json_array_end(w);
    json_object_end(w);
    json_object_end(w);
    json_array_end(w);
}

void core_respond(struct buf *out, const struct call *call, enum core_conduct conduct)
{
    struct json_writer w;
    if (conduct == CORE_PAGE || conduct == CORE_LOSES || conduct == CORE_NOT_SENT) {
        buf_append_text(out, conduct == CORE_PAGE ? "<html>It works!</html>" : "");
        return;
    }
    json_writer_init(&w, out);
    json_object_begin(&w);
    if (conduct == CORE_STATUS) {
        json_key(&w, "error");
        json_object_begin(&w);
        json_field_cstr(&w, "message", "so the input says");
        json_object_end(&w);
    } else if (call->provider->provider.kind == PROVIDER_GEMINI)
        put_gemini(&w, call, conduct);
    else
        put_openai(&w, call, conduct);
    json_object_end(&w);
}
