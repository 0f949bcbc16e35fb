/* Answers of a provider that come piece by piece, over real sockets on one loop: a server that says what the
 * test tells it to, and the coordinator's upstream. */
/* LINK: fcgi_app/coordinator/upstream.c fcgi_app/coordinator/upstream_transfer.c fcgi_app/coordinator/trust.c
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/upstream.h"

#define EVENTS_HEAD "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
#define PIECE       "5\r\nhello\r\n"
#define LAST        "0\r\n\r\n"
#define HANG_MS     10000 /* that a test may take under valgrind */

/* Invariant: open while peer is to be closed. */
struct world {
    uv_loop_t loop;
    uv_tcp_t listener, peer;
    uv_timer_t step, hang, resume;
    bool open, answering, peer_gone;
    /* What the server says: head, then says[i] with pause_ms between them. */
    const char *head, *says[8];
    size_t said;
    uint64_t pause_ms;
    struct upstream *upstream;
    struct provider_call call;
    /* What the client hears. */
    char heard[256];
    size_t refusals; /* pieces still to be refused */
    uint64_t heard_n, refused, done, resume_ms;
    enum transport transport;
    int status;
    char body[256];
};

static void written(uv_write_t *request, int status)
{
    (void)status;
    free(request);
}

static void say(struct world *w, const char *text)
{
    uv_buf_t bytes = uv_buf_init((char *)text, (unsigned)strlen(text));
    uv_write(malloc(sizeof(uv_write_t)), (uv_stream_t *)&w->peer, &bytes, 1, written);
}

static void on_step(uv_timer_t *timer)
{
    struct world *w = timer->data;
    const char *text = w->open && !w->peer_gone ? w->says[w->said++] : NULL;
    if (!text)
        return;
    say(w, text);
    uv_timer_start(timer, on_step, w->pause_ms, 0);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    static char bytes[65536];
    (void)handle;
    (void)suggested;
    *ret_buf = uv_buf_init(bytes, sizeof(bytes));
}

static void on_request(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
    struct world *w = stream->data;
    if (n < 0)
        w->peer_gone = true;
    else if (!w->answering && memmem(bytes->base, (size_t)n, "{}", 2)) {
        w->answering = true;
        say(w, w->head);
        on_step(&w->step);
    }
    if (w->peer_gone && w->done)
        uv_stop(&w->loop);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct world *w = listener->data;
    (void)status;
    uv_tcp_init(&w->loop, &w->peer);
    w->peer.data = w;
    w->open = true;
    uv_accept(listener, (uv_stream_t *)&w->peer);
    uv_read_start((uv_stream_t *)&w->peer, on_alloc, on_request);
}

static void on_resume(uv_timer_t *timer)
{
    struct world *w = timer->data;
    upstream_resume(w->upstream, w);
}

static bool on_piece(void *arg, void *owner, struct slice bytes)
{
    struct world *w = arg;
    cr_assert_eq(owner, w);
    if (w->refusals) {
        w->refusals--;
        w->refused++;
        uv_timer_start(&w->resume, on_resume, w->resume_ms, 0);
        return false;
    }
    if (w->heard_n + bytes.n < sizeof(w->heard))
        memcpy(w->heard + w->heard_n, bytes.p, bytes.n);
    w->heard_n += bytes.n;
    return true;
}

static void on_done(void *arg, void *owner, const struct provider_response *response)
{
    struct world *w = arg;
    cr_assert_eq(owner, w);
    w->done++;
    w->transport = response->transport;
    w->status = response->status;
    snprintf(w->body, sizeof(w->body), "%.*s", (int)response->body.n,
             response->body.p ? response->body.p : "");
    uv_stop(&w->loop);
}

static void on_hang(uv_timer_t *timer)
{
    (void)timer;
    cr_assert_fail("the loop hangs");
}

/* Sends one request that streams to a server that answers with head. */
static void begin(struct world *w, const char *head, uint32_t timeout_ms)
{
    struct sockaddr_in address;
    int len = sizeof(address);
    char url[64];
    struct upstream_options options = {
        .timeout_ms = timeout_ms, .answer_max_bytes = 1000, .connections_max = 4};
    uv_loop_init(&w->loop);
    uv_timer_init(&w->loop, &w->step);
    uv_timer_init(&w->loop, &w->hang);
    uv_timer_init(&w->loop, &w->resume);
    uv_tcp_init(&w->loop, &w->listener);
    w->step.data = w->resume.data = w->listener.data = w;
    w->head = head;
    uv_timer_start(&w->hang, on_hang, HANG_MS, 0);
    uv_ip4_addr("127.0.0.1", 0, &address);
    cr_assert_eq(uv_tcp_bind(&w->listener, (struct sockaddr *)&address, 0), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&w->listener, 4, on_connection), 0);
    uv_tcp_getsockname(&w->listener, (struct sockaddr *)&address, &len);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d/", ntohs(address.sin_port));
    cr_assert_eq(upstream_open(&w->loop, &options, on_done, w, &w->upstream, NULL), 0);
    upstream_on_piece(w->upstream, on_piece);
    w->call = (struct provider_call){.url = strdup(url), .headers = strdup(""), .streams = true};
    buf_init(&w->call.body, 100);
    buf_append_text(&w->call.body, "{}");
    cr_assert_eq(upstream_send(w->upstream, &w->call, w, NULL), 0);
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void end(struct world *w)
{
    upstream_close(w->upstream);
    uv_walk(&w->loop, close_handle, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&w->loop), 0);
    provider_call_fini(&w->call);
}

Test(upstream, events_come_as_they_are_said)
{
    struct world w = {.says = {PIECE, "6\r\n world\r\n", LAST}, .pause_ms = 20};
    begin(&w, EVENTS_HEAD, 5000);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    cr_assert_eq(w.done, 1);
    cr_assert_eq(w.transport, TRANSPORT_COMPLETE);
    cr_assert_eq(w.status, 200);
    cr_assert_str_eq(w.heard, "hello world");
    cr_assert_str_eq(w.body, "", "what was heard is not collected");
    end(&w);
}

Test(upstream, anything_else_is_collected)
{
    static const char *const heads[] = {
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 429 Too Many\r\nContent-Type: text/event-stream\r\nContent-Length: 5\r\n\r\nhello"};
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct world w = {.pause_ms = 20};
        begin(&w, heads[i], 5000);
        uv_run(&w.loop, UV_RUN_DEFAULT);
        cr_assert_eq(w.transport, TRANSPORT_COMPLETE);
        cr_assert_eq(w.heard_n, 0);
        cr_assert_str_eq(w.body, "hello");
        end(&w);
    }
}

Test(upstream, a_piece_that_is_refused_comes_again)
{
    /* The pause is longer than the provider may be silent: it is not silent, it is not heard. */
    struct world w = {.says = {PIECE, PIECE, LAST}, .pause_ms = 10, .refusals = 2, .resume_ms = 900};
    begin(&w, EVENTS_HEAD, 500);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    cr_assert_eq(w.refused, 2);
    cr_assert_eq(w.transport, TRANSPORT_COMPLETE);
    cr_assert_str_eq(w.heard, "hellohello");
    end(&w);
}

Test(upstream, a_stream_may_take_long_but_not_be_silent)
{
    struct world w = {.says = {PIECE, PIECE, PIECE, PIECE}, .pause_ms = 400};
    begin(&w, EVENTS_HEAD, 1000);
    uint64_t begun_ms = uv_hrtime() / 1000000;
    uv_run(&w.loop, UV_RUN_DEFAULT);
    uint64_t took_ms = uv_hrtime() / 1000000 - begun_ms;
    cr_assert_eq(w.transport, TRANSPORT_TIMED_OUT);
    cr_assert_str_eq(w.heard, "hellohellohellohello");
    cr_assert_geq(took_ms, 3 * 400 + 1000);
    end(&w);
}

Test(upstream, silence_before_the_first_byte_counts)
{
    struct world w = {.pause_ms = 10};
    begin(&w, "", 300);
    uv_run(&w.loop, UV_RUN_DEFAULT);
    cr_assert_eq(w.transport, TRANSPORT_TIMED_OUT);
    end(&w);
}

static void on_abort(uv_timer_t *timer)
{
    struct world *w = timer->data;
    upstream_abort(w->upstream, w);
    upstream_abort(w->upstream, w);
    upstream_resume(w->upstream, w);
    w->done = 100; /* the server stops the loop when it sees the end */
}

Test(upstream, an_aborted_request_is_closed_and_not_heard_of)
{
    /* While it runs, and while it pauses. */
    for (size_t refusals = 0; refusals < 2; refusals++) {
        struct world w = {.says = {PIECE, PIECE}, .pause_ms = 10, .refusals = refusals, .resume_ms = 60000};
        begin(&w, EVENTS_HEAD, 5000);
        uv_timer_t abort;
        uv_timer_init(&w.loop, &abort);
        abort.data = &w;
        uv_timer_start(&abort, on_abort, 200, 0);
        uv_run(&w.loop, UV_RUN_DEFAULT);
        cr_assert(w.peer_gone, "the provider sees that nobody reads");
        cr_assert_eq(w.done, 100);
        cr_assert_eq(w.heard_n, refusals ? 0 : 10);
        end(&w);
    }
}
