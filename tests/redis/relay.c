/* Stands between lib/shared and a server; see relay.h. */
#include "relay.h"

#include <stdlib.h>
#include <string.h>

#include "drive.h"

#define PAIRS_MAX 1024

struct pair;
/* One end: what is read here is written to the other, or held. */
struct end {
    uv_pipe_t pipe;
    struct pair *pair;
    struct end *other;
    char *held;
    size_t held_n;
    bool holds, ended; /* ended: nothing more will be read */
};
struct pair {
    struct end client, server;
    uv_connect_t connect;
    bool open;
    unsigned closing;
};

static uv_pipe_t listener;
static struct pair *pairs[PAIRS_MAX];
static unsigned pairs_n;
static const struct server *behind;
static const char *answer;

struct piece {
    uv_write_t write;
    char bytes[];
};

static void on_written(uv_write_t *write, int status)
{
    (void)status;
    free(write->data);
}

static void say(struct end *to, const char *bytes, size_t n)
{
    struct piece *p = malloc(sizeof(*p) + n);
    memcpy(p->bytes, bytes, n);
    p->write.data = p;
    uv_buf_t b = uv_buf_init(p->bytes, (unsigned)n);
    if (uv_is_closing((uv_handle_t *)&to->pipe) ||
        uv_write(&p->write, (uv_stream_t *)&to->pipe, &b, 1, on_written) < 0)
        free(p);
}

static void on_closed(uv_handle_t *handle)
{
    struct end *e = handle->data;
    struct pair *p = e->pair;
    free(e->held);
    e->held = NULL;
    if (++p->closing < 2)
        return;
    for (unsigned i = 0; i < pairs_n; i++)
        if (pairs[i] == p)
            pairs[i] = NULL;
    free(p);
}

static void close_end(struct end *e)
{
    if (!uv_is_closing((uv_handle_t *)&e->pipe))
        uv_close((uv_handle_t *)&e->pipe, on_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    static char bytes[65536];
    (void)handle, (void)suggested;
    *ret = uv_buf_init(bytes, sizeof(bytes));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    struct end *e = stream->data;
    if (n < 0) {
        e->ended = true;
        uv_read_stop(stream);
        if (!e->holds) {
            close_end(e);
            close_end(e->other);
        }
        return;
    }
    if (!behind) {
        if (answer)
            say(e, answer, strlen(answer));
        answer = NULL;
        return;
    }
    if (!e->holds) {
        say(e->other, b->base, (size_t)n);
        return;
    }
    e->held = realloc(e->held, e->held_n + (size_t)n);
    memcpy(e->held + e->held_n, b->base, (size_t)n);
    e->held_n += (size_t)n;
}

static void on_connected(uv_connect_t *connect, int status)
{
    struct pair *p = connect->data;
    if (status < 0) {
        if (status != UV_ECANCELED) {
            close_end(&p->client);
            close_end(&p->server);
        }
        return;
    }
    uv_read_start((uv_stream_t *)&p->client.pipe, on_alloc, on_read);
    uv_read_start((uv_stream_t *)&p->server.pipe, on_alloc, on_read);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct pair *p = calloc(1, sizeof(*p));
    (void)status;
    CHECK(pairs_n < PAIRS_MAX);
    pairs[pairs_n++] = p;
    p->client.pair = p->server.pair = p;
    p->client.other = &p->server;
    p->server.other = &p->client;
    uv_pipe_init(drive_loop(), &p->client.pipe, 0);
    uv_pipe_init(drive_loop(), &p->server.pipe, 0);
    p->client.pipe.data = &p->client;
    p->server.pipe.data = &p->server;
    CHECK(uv_accept(stream, (uv_stream_t *)&p->client.pipe) == 0);
    p->connect.data = p;
    if (behind)
        uv_pipe_connect(&p->connect, &p->server.pipe, behind->socket, on_connected);
    else
        uv_read_start((uv_stream_t *)&p->client.pipe, on_alloc, on_read);
}

void relay_start(const struct server *server, const char *directory, const char *canned, char ret_url[128])
{
    char path[100];
    behind = server;
    answer = canned;
    snprintf(path, sizeof(path), "%s/relay", directory);
    snprintf(ret_url, 128, "unix://%s", path);
    uv_pipe_init(drive_loop(), &listener, 0);
    CHECK(uv_pipe_bind(&listener, path) == 0);
    CHECK(uv_listen((uv_stream_t *)&listener, 64, on_connection) == 0);
}

void relay_hold_commands(void)
{
    for (unsigned i = 0; i < pairs_n; i++)
        if (pairs[i])
            pairs[i]->client.holds = true;
}

void relay_hold_answers(void)
{
    for (unsigned i = 0; i < pairs_n; i++)
        if (pairs[i])
            pairs[i]->server.holds = true;
}

static void release(struct end *e)
{
    e->holds = false;
    if (e->held_n)
        say(e->other, e->held, e->held_n);
    e->held_n = 0;
}

void relay_release(void)
{
    for (unsigned i = 0; i < pairs_n; i++)
        if (pairs[i]) {
            release(&pairs[i]->client);
            release(&pairs[i]->server);
        }
}

void relay_cut(void)
{
    for (unsigned i = 0; i < pairs_n; i++)
        if (pairs[i]) {
            close_end(&pairs[i]->client);
            close_end(&pairs[i]->server);
        }
}

unsigned relay_connections(void)
{
    return pairs_n;
}

void relay_stop(void)
{
    relay_cut();
    uv_close((uv_handle_t *)&listener, NULL);
    drive_for_ms(20);
}
