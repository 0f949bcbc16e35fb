/*
 * A request of OpenAI's API that goes on as it is: model, messages and all other members with the bytes they
 * came with, and nothing else but what a stream's accounting needs. Source:
 * platform.openai.com/docs/api-reference/chat, …/completions.
 */
#include "provider/codec.h"
#include "provider/extra.h"

/* Twice in one object, a member would mean one thing to whoever checked it and another to who reads it. */
static int check_members(struct slice extra, bool completion, struct err *e)
{
    static const char *const written[] = {"model", "stream", "stream_options", "messages"};
    struct extra_item item;
    int rc = extra_check(extra, '{', "extra", e);
    for (size_t at = 0; !rc && extra_next(extra, &at, &item);) {
        if (memchr(item.key.p, '\\', item.key.n))
            return err_set(e, ERR_NOT_FOUND, "extra: a parameter's name has an escape in it.");
        for (size_t i = 0; i < ARRAY_LEN(written) - completion; i++)
            if (slice_is(item.key, written[i]))
                return err_set(e, ERR_INVAL, "extra: \"%s\" has a place of its own.", written[i]);
    }
    return rc;
}

static int write_request(struct json_writer *w, const struct provider *p, const struct provider_member *m,
                         struct err *e)
{
    struct slice model = codec_model(p, m), extra = {0};
    int rc = m->completion ? 0 : extra_check(m->messages, '[', "messages", e);
    if (!rc && m->extra.n)
        rc = check_members(m->extra, m->completion, e);
    if (rc)
        return rc;
    json_field_text(w, "model", model.p ? model : SLICE_LITERAL(""));
    if (!m->completion) {
        json_key(w, "messages");
        json_raw(w, m->messages);
    }
    if (m->extra.n)
        extra = extra_inside(m->extra);
    if (extra.n)
        json_raw(w, extra); /* several members at once: their commas are between them already */
    if (m->stream) {
        json_field_bool(w, "stream", true);
        json_key(w, "stream_options");
        json_raw(w, SLICE_LITERAL("{\"include_usage\":true}"));
    }
    return 0;
}

int openai_encode_verbatim(const struct provider *p, const struct provider_member *m,
                           struct provider_call *call, struct err *e)
{
    struct json_writer w;
    call->streams = m->stream;
    int rc = codec_url(p, codec_openai.default_base_url, m->completion ? "/completions" : "/chat/completions",
                       call, e);
    if (!rc)
        rc = codec_headers(p, codec_openai.key_header, codec_openai.key_scheme, call, e);
    if (rc)
        return rc;
    json_writer_init(&w, &call->body);
    json_object_begin(&w);
    rc = write_request(&w, p, m, e);
    json_object_end(&w);
    return rc;
}
