/* One connection to a Redis server; see connection.h. */
#include "shared/connection.h"

#include <hiredis/hiredis.h>
#include <hiredis/read.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/buf.h"
#include "base/clock.h"

/* What waits to be written; beyond, the server is too slow to be of use. */
#define OUT_MAX (64u << 20)
/* A buffer that one large command has blown up beyond this is given back. */
#define KEEP_BYTES (256u << 10)
#define READ_BYTES (64u << 10)

/* Invariants: stream and idle are open from connection_open on until `closing`; the struct goes when both are
 * closed and no resolving is under way. `out` gathers while `writing` is being written. */
struct connection {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } stream;
    uv_idle_t idle;
    uv_getaddrinfo_t resolve;
    uv_connect_t connect;
    uv_write_t write;
    struct connection_events events;
    struct shared_url url; /* without login */
    unsigned turn;
    unsigned holds; /* handles and requests that libuv still has */
    bool resolves, connected, writes, closing, failed;
    struct err fault; /* code 0 until failed */
    uint64_t begun_us;
    const void *seen_overdue; /* what was, when asked last */
    struct buf out, writing;
    redisReader *reader;
    struct list waiting; /* struct shared_op, in the order of their commands */
    char read_bytes[READ_BYTES];
};

static void release(struct connection *c)
{
    if (--c->holds)
        return;
    buf_fini(&c->out);
    buf_fini(&c->writing);
    if (c->reader)
        redisReaderFree(c->reader);
    free(c);
}

static void on_closed(uv_handle_t *handle)
{
    release(handle->data);
}

static void on_idle(uv_idle_t *idle);

static void wake(struct connection *c)
{
    if (!c->closing)
        uv_idle_start(&c->idle, on_idle);
}

void connection_fail(struct connection *c, const struct err *fault)
{
    if (c->failed)
        return;
    c->failed = true;
    c->fault = *fault;
    wake(c);
}

static void PRINTF_LIKE(2, 3) fail(struct connection *c, const char *format, ...)
{
    struct err fault = {.code = ERR_CLOSED};
    char name[SHARED_URL_NAME_SIZE];
    va_list args;
    shared_url_name(&c->url, name);
    int n = snprintf(fault.text, sizeof(fault.text), "Redis at %s ", name);
    va_start(args, format);
    vsnprintf(fault.text + n, sizeof(fault.text) - (size_t)n, format, args);
    va_end(args);
    connection_fail(c, &fault);
}

/* Writing */

static void on_written(uv_write_t *write, int status)
{
    struct connection *c = write->data;
    c->writes = false;
    if (c->writing.cap > KEEP_BYTES)
        buf_fini(&c->writing);
    else
        buf_clear(&c->writing);
    if (!c->closing && status < 0)
        fail(c, "broke off: %s.", uv_strerror(status));
    else if (c->out.len)
        wake(c);
    release(c);
}

static void flush(struct connection *c)
{
    if (c->out.failed) {
        fail(c, "is not sent any more: no memory, or more than %u MiB wait for it.", OUT_MAX >> 20);
        return;
    }
    if (!c->connected || c->writes || !c->out.len)
        return;
    struct buf full = c->out;
    c->out = c->writing;
    c->writing = full;
    uv_buf_t piece = uv_buf_init(c->writing.data, (unsigned)c->writing.len);
    c->write.data = c;
    int rc = uv_write(&c->write, &c->stream.stream, &piece, 1, on_written);
    if (rc < 0) {
        fail(c, "cannot be written to: %s.", uv_strerror(rc));
        return;
    }
    c->writes = true;
    c->holds++;
}

static void on_idle(uv_idle_t *idle)
{
    struct connection *c = idle->data;
    uv_idle_stop(idle);
    flush(c);
    if (!c->failed)
        return;
    uv_idle_stop(idle);
    c->events.lost(c->events.arg, &c->fault);
}

void connection_command(struct connection *c, size_t arguments)
{
    buf_printf(&c->out, "*%zu\r\n", arguments);
}

void connection_argument_two(struct connection *c, const void *a, size_t a_n, const void *b, size_t b_n)
{
    buf_printf(&c->out, "$%zu\r\n", a_n + b_n);
    if (a_n)
        buf_append(&c->out, a, a_n);
    if (b_n)
        buf_append(&c->out, b, b_n);
    buf_append(&c->out, "\r\n", 2);
}

void connection_argument(struct connection *c, const void *bytes, size_t n)
{
    connection_argument_two(c, bytes, n, NULL, 0);
}

void connection_text(struct connection *c, const char *text)
{
    connection_argument(c, text, strlen(text));
}

void connection_number(struct connection *c, int64_t number)
{
    char text[24];
    connection_argument(c, text, (size_t)snprintf(text, sizeof(text), "%lld", (long long)number));
}

void connection_expect(struct connection *c, struct shared_op *op)
{
    op->begun_us = clock_mono_us();
    list_append(&c->waiting, &op->in);
    wake(c);
}

/* Reading */

/* False: nothing more is to be read. The events may close c, which is then still there. */
static bool answer(struct connection *c, redisReply *reply)
{
    struct list *first = list_first(&c->waiting);
    if (!first) {
        fail(c, "answers what was not asked.");
    } else {
        list_remove(first);
        c->events.answered(c->events.arg, LIST_ENTRY(first, struct shared_op, in), reply);
    }
    freeReplyObject(reply);
    return !c->closing && !c->failed;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *piece)
{
    struct connection *c = stream->data;
    (void)piece;
    if (n < 0) {
        if (n == UV_EOF)
            fail(c, "closed the connection.");
        else
            fail(c, "broke off: %s.", uv_strerror((int)n));
        uv_read_stop(stream);
        return;
    }
    if (c->failed || redisReaderFeed(c->reader, c->read_bytes, (size_t)n) != REDIS_OK)
        goto bad;
    void *reply;
    do {
        if (redisReaderGetReply(c->reader, &reply) != REDIS_OK)
            goto bad;
    } while (reply && answer(c, reply));
    return;
bad:
    fail(c, "cannot be understood: %s.", c->reader->errstr);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_piece)
{
    struct connection *c = handle->data;
    (void)suggested;
    *ret_piece = uv_buf_init(c->read_bytes, READ_BYTES);
}

/* Connecting */

static void on_connect(uv_connect_t *connect, int status)
{
    struct connection *c = connect->data;
    if (!c->closing) {
        int rc = status;
        if (rc == 0)
            rc = uv_read_start(&c->stream.stream, on_alloc, on_read);
        if (rc < 0) {
            fail(c, "cannot be reached: %s.", uv_strerror(rc));
        } else {
            c->connected = true;
            c->events.connected(c->events.arg);
        }
    }
    release(c);
}

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *found)
{
    struct connection *c = resolve->data;
    c->resolves = false;
    if (!c->closing && status < 0) {
        fail(c, "cannot be found: %s.", uv_strerror(status));
    } else if (!c->closing) {
        unsigned n = 0;
        for (struct addrinfo *a = found; a; a = a->ai_next)
            n++;
        struct addrinfo *chosen = found;
        for (unsigned i = n ? c->turn % n : 0; i; i--)
            chosen = chosen->ai_next;
        int rc =
            chosen ? uv_tcp_connect(&c->connect, &c->stream.tcp, chosen->ai_addr, on_connect) : UV_EAI_NONAME;
        if (rc < 0)
            fail(c, "cannot be reached: %s.", uv_strerror(rc));
        else
            c->holds++;
    }
    uv_freeaddrinfo(found);
    release(c);
}

/* The handles are open; says what libuv says. */
static int begin(struct connection *c, uv_loop_t *loop)
{
    c->connect.data = c->resolve.data = c;
    if (c->url.path[0]) {
        uv_pipe_connect(&c->connect, &c->stream.pipe, c->url.path, on_connect);
        c->holds++;
        return 0;
    }
    uv_tcp_nodelay(&c->stream.tcp, 1);
    char service[8];
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    snprintf(service, sizeof(service), "%u", c->url.port);
    int rc = uv_getaddrinfo(loop, &c->resolve, on_resolved, c->url.host, service, &hints);
    if (rc == 0) {
        c->resolves = true;
        c->holds++;
    }
    return rc;
}

int connection_open(struct uv_loop_s *loop, const struct shared_url *url, unsigned turn,
                    const struct connection_events *events, struct connection **ret_connection, struct err *e)
{
    struct connection *c = calloc(1, sizeof(*c));
    redisReader *reader = c ? redisReaderCreate() : NULL;
    if (!reader) {
        free(c);
        return err_set(e, ERR_NOMEM, "There is no memory for a connection to Redis.");
    }
    c->reader = reader;
    c->events = *events;
    c->turn = turn;
    c->url = (struct shared_url){.port = url->port};
    strcpy(c->url.host, url->host);
    strcpy(c->url.path, url->path);
    c->begun_us = clock_mono_us();
    buf_init(&c->out, OUT_MAX);
    buf_init(&c->writing, OUT_MAX);
    list_init(&c->waiting);
    /* Neither fails on Linux as called here. */
    int rc = c->url.path[0] ? uv_pipe_init(loop, &c->stream.pipe, 0) : uv_tcp_init(loop, &c->stream.tcp);
    if (rc == 0)
        rc = uv_idle_init(loop, &c->idle);
    c->stream.handle.data = c->idle.data = c;
    c->holds = 2;
    if (rc == 0)
        rc = begin(c, loop);
    if (rc < 0)
        fail(c, "cannot be reached: %s.", uv_strerror(rc));
    *ret_connection = c;
    return 0;
}

void connection_close(struct connection *c, struct list *unanswered)
{
    while (!list_empty(&c->waiting)) {
        struct list *first = list_first(&c->waiting);
        list_remove(first);
        list_append(unanswered, first);
    }
    c->closing = true;
    if (c->resolves)
        uv_cancel((uv_req_t *)&c->resolve);
    uv_close(&c->stream.handle, on_closed);
    uv_close((uv_handle_t *)&c->idle, on_closed);
}

bool connection_overdue(struct connection *c, uint64_t then_us)
{
    struct list *first = list_first(&c->waiting);
    const struct shared_op *op = first ? LIST_ENTRY(first, struct shared_op, in) : NULL;
    uint64_t begun_us = !c->connected ? c->begun_us : op ? op->begun_us : UINT64_MAX;
    const void *what = c->connected ? (const void *)op : c;
    bool again = begun_us < then_us && c->seen_overdue == what;
    c->seen_overdue = begun_us < then_us ? what : NULL;
    return again;
}
