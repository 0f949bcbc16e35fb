/*
 * A response told again as the chunks of a stream; see stream.h. Texts are cut as they stand in the JSON, so
 * nothing is parsed or escaped anew.
 */
#include "provider/extra.h"
#include "provider/gather.h"
#include "provider/option.h"
#include "provider/stream.h"

#define WORD_MAX       4096 /* bytes of a word that is given on as one */
#define NAME_MAX_BYTES 256

struct replay {
    struct buf head;  /* what all chunks begin with, "object" included */
    struct buf once;  /* what the first has beside it */
    struct buf chunk; /* the one that is being written */
    size_t chunk_bytes;
    void (*each)(void *arg, struct slice chunk);
    void *arg;
    struct slice index; /* of the choice that is being told */
    bool completion;    /* the choice is a text rather than a message */
    bool breaks;        /* the response has line breaks between its values */
    bool failed;        /* no memory: nothing more is told */
};

static bool is(const struct extra_item *item, const char *key)
{
    return slice_is(item->key, key);
}

static void append_member(struct buf *out, struct slice key, struct slice value)
{
    if (out->len && !strchr("{,", out->data[out->len - 1]))
        buf_append_text(out, ",");
    buf_append_text(out, "\"");
    buf_append_slice(out, key);
    buf_append_text(out, "\":");
    buf_append_slice(out, value);
}

static void begin(struct replay *r)
{
    buf_clear(&r->chunk);
    buf_append_slice(&r->chunk, buf_slice(&r->head));
    buf_append_slice(&r->chunk, buf_slice(&r->once));
    buf_clear(&r->once);
    buf_append_text(&r->chunk, ",\"choices\":[{");
    append_member(&r->chunk, SLICE_LITERAL("index"), r->index);
}

/* rest: what the choice says at its end; absent before. */
static void end(struct replay *r, struct slice rest)
{
    if (rest.n)
        buf_append_slice(&r->chunk, rest);
    else
        buf_append_text(&r->chunk, ",\"logprobs\":null,\"finish_reason\":null");
    buf_append_text(&r->chunk, "}]}");
    r->failed = r->failed || buf_failed(&r->chunk);
    for (size_t i = 0; r->breaks && i < r->chunk.len; i++)
        if (r->chunk.data[i] == '\n' || r->chunk.data[i] == '\r')
            r->chunk.data[i] = ' ';
    if (!r->failed)
        r->each(r->arg, buf_slice(&r->chunk));
}

static void tell_piece(struct replay *r, struct slice key, struct slice piece)
{
    begin(r);
    buf_append_text(&r->chunk, r->completion ? ",\"" : ",\"delta\":{\"");
    buf_append_slice(&r->chunk, key);
    buf_append_text(&r->chunk, "\":\"");
    buf_append_slice(&r->chunk, piece);
    buf_append_text(&r->chunk, r->completion ? "\"" : "\"}");
    end(r, (struct slice){0});
}

/* The bytes of the character at i of what stands between quotes: an escape (of two halves, if it is a
 * surrogate) or UTF-8. */
static size_t character(struct slice text, size_t i)
{
    unsigned char c = (unsigned char)text.p[i];
    if (c == '\\') {
        if (text.p[i + 1] != 'u')
            return 2;
        bool high = (text.p[i + 2] | 32) == 'd' && strchr("89abAB", text.p[i + 3]);
        return high ? 12 : 6;
    }
    return c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

/* Where the piece that begins at i ends: before it grows over chunk_bytes, or with its word and the space in
 * front of that. */
static size_t piece_end(const struct replay *r, struct slice text, size_t i)
{
    size_t at = i, most = r->chunk_bytes ? r->chunk_bytes : WORD_MAX;
    bool word = false;
    while (at < text.n) {
        size_t n = character(text, at);
        bool space = text.p[at] == ' ';
        if (at > i && (at + n - i > most || (!r->chunk_bytes && word && space)))
            break;
        word = word || !space;
        at += n;
    }
    return at;
}

static void tell_text(struct replay *r, struct slice key, struct slice value)
{
    struct slice text = {value.p + 1, value.n - 2};
    for (size_t i = 0, next; i < text.n && !r->failed; i = next) {
        next = piece_end(r, text, i);
        tell_piece(r, key, (struct slice){text.p + i, next - i});
    }
}

static bool is_text(const struct extra_item *item)
{
    return item->value.p[0] == '"' && !gather_is_name(item->key);
}

static bool is_calls(const struct extra_item *item)
{
    return is(item, "tool_calls") && item->value.p[0] == '[';
}

/* What is not told in pieces. */
static void tell_first(struct replay *r, struct slice message)
{
    struct extra_item item;
    begin(r);
    buf_append_text(&r->chunk, ",\"delta\":{");
    for (size_t at = 0; extra_next(message, &at, &item);)
        if (!is_calls(&item))
            append_member(&r->chunk, item.key, is_text(&item) ? SLICE_LITERAL("\"\"") : item.value);
    buf_append_text(&r->chunk, "}");
    end(r, (struct slice){0});
}

static int tell_calls(struct replay *r, struct slice calls)
{
    struct slice call;
    unsigned n = 0;
    for (size_t at = 0; extra_element(calls, &at, &call); n++) {
        if (call.p[0] != '{')
            return ERR_CORRUPT;
        struct extra_item item;
        begin(r);
        buf_printf(&r->chunk, ",\"delta\":{\"tool_calls\":[{\"index\":%u", n);
        for (size_t i = 0; extra_next(call, &i, &item);)
            if (!is(&item, "index"))
                append_member(&r->chunk, item.key, item.value);
        buf_append_text(&r->chunk, "}]}");
        end(r, (struct slice){0});
    }
    return 0;
}

static int tell_message(struct replay *r, struct slice message)
{
    struct extra_item item;
    int rc = 0;
    if (message.p[0] != '{')
        return ERR_CORRUPT;
    tell_first(r, message);
    for (size_t at = 0; !rc && extra_next(message, &at, &item);) {
        if (is_calls(&item))
            rc = tell_calls(r, item.value);
        else if (is_text(&item))
            tell_text(r, item.key, item.value);
    }
    return rc;
}

static bool is_completion(struct slice choice)
{
    return extra_get(choice, "text").p && !extra_get(choice, "message").p;
}

/* Its words, then all else it says. */
static int tell_choice(struct replay *r, struct slice choice, struct buf *rest)
{
    struct extra_item item;
    int rc = 0;
    r->index = SLICE_LITERAL("0");
    if (option_is_number(extra_get(choice, "index")))
        r->index = extra_get(choice, "index");
    r->completion = is_completion(choice);
    buf_clear(rest);
    buf_append_text(rest, r->completion ? ",\"text\":\"\"" : ",\"delta\":{}");
    for (size_t at = 0; !rc && extra_next(choice, &at, &item);) {
        bool words = is(&item, r->completion ? "text" : "message");
        if (words && r->completion && item.value.p[0] == '"')
            tell_text(r, item.key, item.value);
        else if (words)
            rc = r->completion ? ERR_CORRUPT : tell_message(r, item.value);
        else if (!is(&item, "index"))
            append_member(rest, item.key, item.value);
    }
    if (rc)
        return rc;
    r->failed = r->failed || buf_failed(rest);
    begin(r);
    end(r, buf_slice(rest));
    return r->failed ? ERR_NOMEM : 0;
}

/* Said in every chunk. All else, which may be large (what a search found), is said once. */
static bool names_it(const struct extra_item *item)
{
    static const char *const names[] = {"id", "created", "model", "system_fingerprint", "service_tier"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (is(item, names[i]))
            return item->value.n <= NAME_MAX_BYTES;
    return false;
}

static void write_once(struct replay *r, const struct extra_item *item)
{
    buf_append_text(&r->once, ",\"");
    buf_append_slice(&r->once, item->key);
    buf_append_text(&r->once, "\":");
    buf_append_slice(&r->once, item->value);
}

/* Everything but choices, usage and what the object is. */
static int write_head(struct replay *r, struct slice response, struct slice *ret_choices)
{
    struct extra_item item;
    struct slice choices = {0}, first;
    buf_append_text(&r->head, "{");
    for (size_t at = 0; extra_next(response, &at, &item);) {
        if (is(&item, "choices"))
            choices = item.value;
        else if (names_it(&item))
            append_member(&r->head, item.key, item.value);
        else if (!is(&item, "object") && !is(&item, "usage"))
            write_once(r, &item);
    }
    size_t start = 0;
    if (!choices.p || choices.p[0] != '[' || !extra_element(choices, &start, &first) || first.p[0] != '{')
        return ERR_CORRUPT;
    append_member(&r->head, SLICE_LITERAL("object"),
                  is_completion(first) ? SLICE_LITERAL("\"text_completion\"")
                                       : SLICE_LITERAL("\"chat.completion.chunk\""));
    *ret_choices = choices;
    return buf_failed(&r->head) || buf_failed(&r->once) ? ERR_NOMEM : 0;
}

int provider_stream_replay(struct slice response, size_t chunk_bytes,
                           void (*each)(void *arg, struct slice chunk), void *arg)
{
    struct replay r = {.chunk_bytes = chunk_bytes, .each = each, .arg = arg};
    struct slice choices, choice;
    struct buf rest;
    int rc = extra_check(response, '{', "a response", NULL);
    r.breaks = memchr(response.p, '\n', response.n) || memchr(response.p, '\r', response.n);
    buf_init(&r.head, response.n + 256);
    buf_init(&r.once, response.n + 256);
    buf_init(&r.chunk, 2 * response.n + 1024);
    buf_init(&rest, response.n + 256);
    rc = rc == ERR_INVAL ? ERR_CORRUPT : rc;
    if (!rc)
        rc = write_head(&r, response, &choices);
    for (size_t at = 0; !rc && extra_element(choices, &at, &choice);)
        rc = choice.p[0] == '{' ? tell_choice(&r, choice, &rest) : ERR_CORRUPT;
    buf_fini(&r.head);
    buf_fini(&r.once);
    buf_fini(&r.chunk);
    buf_fini(&rest);
    return rc;
}
