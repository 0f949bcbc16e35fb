/* A stream fed in pieces, what it gives on, and what it comes to; for the tests of streams. */
#ifndef CARPOOL_TESTS_STREAM_HELP_H
#define CARPOOL_TESTS_STREAM_HELP_H

#include "provider/stream.h"
#include "provider_help.h"

#define STREAM_MAX (1 << 20)

/* Adds a line to the buf that arg is. */
static inline void test_collect(void *arg, struct slice chunk)
{
    cr_assert_not(memchr(chunk.p, '\n', chunk.n));
    cr_assert_not(memchr(chunk.p, '\r', chunk.n));
    buf_append_slice(arg, chunk);
    buf_append_byte(arg, '\n');
}

static inline struct provider_member test_verbatim(const char *messages, const char *extra)
{
    struct provider_member m = test_member("(what it is about)");
    m.verbatim = true;
    m.messages = slice_of(messages);
    m.extra = slice_of(extra);
    m.id = SLICE_LITERAL("0192f0c1-22aa-7000-8000-000000000001");
    m.created_s = 1700000000;
    return m;
}

static inline struct provider_call test_stream_call(const struct provider *p)
{
    struct provider_member m = test_verbatim("[{\"role\":\"user\",\"content\":\"hi\"}]", NULL);
    m.stream = true;
    struct provider_call call = test_encode(p, MODE_DEFAULT, &m, 1);
    cr_assert(call.streams);
    return call;
}

struct test_stream {
    struct provider_call call;
    struct provider_stream *s;
    struct buf told; /* a chunk a line */
    struct arena arena;
    struct provider_outcome outcome;
};

static inline void test_stream_open(struct test_stream *t, const struct provider *p)
{
    t->call = test_stream_call(p);
    buf_init(&t->told, 4 * STREAM_MAX);
    arena_init(&t->arena, 16 * STREAM_MAX);
    cr_assert_eq(provider_stream_open(p, &t->call, STREAM_MAX, test_collect, &t->told, &t->s), 0);
}

static inline void test_stream_end(struct test_stream *t, enum transport transport)
{
    struct provider_response r = {
        .transport = transport, .status = 200, .content_type = SLICE_LITERAL("text/event-stream")};
    memset(&t->outcome, 0xee, sizeof(t->outcome));
    cr_assert_eq(provider_stream_end(t->s, &r, &t->arena, &t->outcome), 0);
    cr_assert_eq(t->outcome.prompt_tokens, t->outcome.parts[0].prompt_tokens);
    cr_assert_eq(t->outcome.completion_tokens, t->outcome.parts[0].completion_tokens);
}

static inline void test_stream_close(struct test_stream *t)
{
    provider_stream_free(t->s);
    provider_call_fini(&t->call);
    buf_fini(&t->told);
    arena_fini(&t->arena);
}

/* All of it, in pieces of at most step bytes after a first one of first. */
static inline void test_stream_run(struct test_stream *t, const struct provider *p, struct slice bytes,
                                   size_t first, size_t step, enum transport transport)
{
    test_stream_open(t, p);
    for (size_t at = 0, n = first; at < bytes.n; at += n, n = step) {
        n = n < bytes.n - at ? n : bytes.n - at;
        char *piece = malloc(n ? n : 1); /* so that nobody reads past it */
        memcpy(piece, bytes.p + at, n);
        provider_stream_feed(t->s, (struct slice){piece, n});
        free(piece);
    }
    test_stream_end(t, transport);
}

#endif
