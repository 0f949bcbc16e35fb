/* Connections of workers; see link.h. */
#include "coordinator/link.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/socket_path.h"

#define BACKLOG         4096
#define ACCEPTS_A_TURN  64
#define ACCEPT_PAUSE_MS 100
#define READ_STEP       (16u << 10)
#define KEPT            (4 * READ_STEP) /* a link does not hold on to more than this between frames */
#define DESCRIPTORS_OWN 32
#define LINKS_MIN       4
#define HELLO_BYTES     (WIRE_HEADER_SIZE + 24)
#define PENDING_MAX     (64u << 20) /* a worker that does not take its answers is cut off */

/* Invariants: in holds the bytes of at most one unfinished frame between reads; sending is true while a
 * uv_write is under way. */
struct link {
    struct list node;
    struct core_link core; /* core.out: frames not yet written */
    struct links *links;
    uv_pipe_t pipe;
    uv_write_t write;
    struct buf in, sending_bytes;
    bool sending, closing;
};

static void link_closed(uv_handle_t *handle)
{
    struct link *k = handle->data;
    buf_fini(&k->in);
    buf_fini(&k->sending_bytes);
    free(k);
}

static void link_close(struct link *k)
{
    if (k->closing)
        return;
    k->closing = true;
    core_link_fini(k->links->core, &k->core, clock_mono_us());
    list_remove(&k->node);
    k->links->n--;
    uv_close((uv_handle_t *)&k->pipe, link_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct link *k = handle->data;
    (void)suggested;
    char *room = buf_reserve(&k->in, READ_STEP);
    *ret_buf = uv_buf_init(room, room ? READ_STEP : 0); /* 0: libuv reports ENOBUFS and the link is closed */
}

/* Nobody would miss it. */
static bool is_idle(const struct link *k)
{
    list_for_each (it, &k->links->core->asked) {
        if (LIST_ENTRY(it, struct commit_op, asked_node)->link == &k->core)
            return false;
    }
    return k->core.pool && list_empty(&k->core.waiters) && !k->core.out.len && !k->sending && !k->in.len;
}

/* Makes room for newcomer when there are too many: whoever never said hello goes before those that did, and
 * of either kind the one that has said nothing for longest, if it is idle. */
static void make_room(struct links *l, const struct link *newcomer)
{
    if (l->n <= l->max)
        return;
    list_for_each (it, &l->open) {
        struct link *k = LIST_ENTRY(it, struct link, node);
        if (k != newcomer && !k->core.pool) {
            link_close(k);
            return;
        }
    }
    list_for_each (it, &l->open) {
        struct link *k = LIST_ENTRY(it, struct link, node);
        if (k != newcomer && is_idle(k)) {
            link_close(k);
            return;
        }
    }
}

/* Hands every whole frame to the core. Room for a large one is for those that have said hello. */
static int take_frames(struct link *k)
{
    uint64_t now_us = clock_mono_us();
    size_t used = 0;
    int rc;
    for (;;) {
        struct wire_frame frame;
        size_t size = 0;
        struct slice rest = {k->in.data + used, k->in.len - used};
        rc = wire_frame_parse(rest, &frame, &size);
        if (rc == 0 && !k->core.pool && size > HELLO_BYTES)
            rc = ERR_INVAL;
        if (rc <= 0)
            break;
        rc = core_receive(k->links->core, &k->core, &frame, now_us);
        if (rc < 0)
            break;
        used += size;
    }
    buf_consume(&k->in, used);
    if (!k->in.len && k->in.cap > KEPT)
        buf_fini(&k->in);
    return rc;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
    struct link *k = stream->data;
    (void)bytes;
    if (n == 0)
        return;
    if (n < 0) {
        link_close(k);
        return;
    }
    buf_advance(&k->in, (size_t)n);
    list_remove(&k->node);
    list_append(&k->links->open, &k->node);
    if (take_frames(k) < 0) {
        log_warning("A worker sent something that is not the protocol of this version; its connection is "
                    "closed. Were the programs updated while running?");
        link_close(k);
    }
}

static bool same_user(uv_pipe_t *pipe)
{
    struct ucred peer;
    socklen_t n = sizeof(peer);
    uv_os_fd_t fd;
    return uv_fileno((uv_handle_t *)pipe, &fd) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

/* Takes fd. Without memory for a link, or when there are enough, the worker sees its connection closed. */
static void add_link(struct links *l, int fd)
{
    struct link *k = calloc(1, sizeof(*k));
    if (!k) {
        close(fd);
        return;
    }
    k->links = l;
    core_link_init(&k->core);
    buf_init(&k->in, WIRE_MAX_PAYLOAD + WIRE_HEADER_SIZE + READ_STEP);
    buf_init(&k->sending_bytes, WIRE_MAX_PAYLOAD * 4ull);
    uv_pipe_init(l->loop, &k->pipe, 0);
    k->pipe.data = k;
    list_append(&l->open, &k->node);
    l->n++;
    bool opened = uv_pipe_open(&k->pipe, fd) == 0;
    if (!opened)
        close(fd);
    make_room(l, k);
    if (!opened || l->n > l->max || !same_user(&k->pipe) ||
        uv_read_start((uv_stream_t *)&k->pipe, on_alloc, on_read) < 0)
        link_close(k);
}

static void on_connection(uv_poll_t *listener, int status, int events);

static void on_accept_again(uv_timer_t *timer)
{
    struct links *l = timer->data;
    if (l->listener)
        uv_poll_start(l->listener, UV_READABLE, on_connection);
}

/* Without a free descriptor connections stay in the backlog for a while: the event would come again at once,
 * and libuv's own way of accepting goes round without end when not even its spare descriptor helps. */
static void pause_accepting(struct links *l, int number)
{
    struct err e = {0};
    errno = number;
    err_set_errno(&e, "No connection of a worker can be taken now");
    if (!l->accept_fault)
        log_warning("%s", e.text);
    l->accept_fault = true;
    uv_poll_stop(l->listener);
    uv_timer_start(&l->accept_again, on_accept_again, ACCEPT_PAUSE_MS, 0);
}

static void on_connection(uv_poll_t *listener, int status, int events)
{
    struct links *l = listener->data;
    (void)events;
    for (int i = 0; status == 0 && i < ACCEPTS_A_TURN; i++) {
        int fd = accept4(l->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            l->accept_fault = false;
            add_link(l, fd);
        } else if (errno == EAGAIN)
            return;
        else if (errno != EINTR && errno != ECONNABORTED) {
            pause_accepting(l, errno);
            return;
        }
    }
}

static int bind_socket(const char *path, bool take_over, int *ret_fd, struct err *e)
{
    if (!take_over && socket_has_listener(path, NULL))
        return err_set(e, ERR_EXISTS,
                       "Another program listens at %.300s; set coordinator.socket to a path of its own, or "
                       "leave it empty.",
                       path);
    struct sockaddr_un address;
    int dirfd = -1;
    int rc = socket_address(path, &address, &dirfd, e);
    if (rc < 0)
        return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    unlink(path);
    mode_t mask = umask(0177);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        rc = err_set_errno(e, "Cannot listen on %s", path);
    umask(mask);
    if (dirfd >= 0)
        close(dirfd);
    if (rc < 0 && fd >= 0)
        close(fd);
    if (rc == 0)
        *ret_fd = fd;
    return rc;
}

static void listener_closed(uv_handle_t *handle)
{
    free(handle);
}

static void stop_listening(struct links *l)
{
    if (!l->listener)
        return;
    uv_close((uv_handle_t *)l->listener, listener_closed);
    close(l->listen_fd);
    l->listener = NULL;
    l->listen_fd = -1;
}

/* Binds l->path and listens; the listener before is closed. */
static int listen_again(struct links *l, struct err *e)
{
    int fd = -1;
    struct stat st;
    uv_poll_t *listener = calloc(1, sizeof(*listener));
    int rc = listener ? bind_socket(l->path, l->take_over, &fd, e)
                      : err_set(e, ERR_NOMEM, "Not enough memory to listen.");
    if (rc == 0 && (listen(fd, BACKLOG) < 0 || stat(l->path, &st) < 0))
        rc = err_set_errno(e, "Cannot listen on %s", l->path);
    int uv = rc == 0 ? uv_poll_init_socket(l->loop, listener, fd) : 0;
    if (uv < 0)
        rc = err_set(e, ERR_IO, "Cannot listen on %s: %s.", l->path, uv_strerror(uv));
    if (rc < 0) {
        if (fd >= 0)
            close(fd);
        free(listener);
        return rc;
    }
    stop_listening(l);
    listener->data = l;
    l->listener = listener;
    l->listen_fd = fd;
    l->device = st.st_dev;
    l->inode = st.st_ino;
    uv_poll_start(listener, UV_READABLE, on_connection);
    return 0;
}

/* As many as there are descriptors for, beside two for each call and the program's own. */
static uint32_t most_links(const struct core *c, uint32_t max)
{
    struct rlimit limit;
    uint64_t own = DESCRIPTORS_OWN + 2ull * c->conf->provider.max_concurrency;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= max + own)
        return max;
    uint64_t most = limit.rlim_cur > own + LINKS_MIN ? limit.rlim_cur - own : LINKS_MIN;
    const struct conf *conf = c->conf;
    if (most < (uint64_t)conf->worker.processes * conf->worker.threads + conf->worker.manage_threads)
        log_warning("%llu descriptors are allowed (ulimit -n), enough for %llu threads of workers at once",
                    (unsigned long long)limit.rlim_cur, (unsigned long long)most);
    return (uint32_t)most;
}

int links_open(struct links *l, uv_loop_t *loop, struct core *core, const char *path, bool take_over,
               uint32_t max, struct err *e)
{
    *l = (struct links){
        .loop = loop, .core = core, .take_over = take_over, .max = most_links(core, max), .listen_fd = -1};
    list_init(&l->open);
    uv_timer_init(loop, &l->accept_again);
    l->accept_again.data = l;
    snprintf(l->path, sizeof(l->path), "%s", path);
    return listen_again(l, e);
}

void links_check(struct links *l)
{
    struct stat st;
    struct err e = {0};
    if (stat(l->path, &st) == 0 && st.st_ino == l->inode && st.st_dev == l->device)
        return;
    if (listen_again(l, &e) < 0)
        log_error("The socket was removed: %s", e.text);
    else
        log_warning("The socket %s was removed; it is there again.", l->path);
}

static void flush(struct link *k);

static void on_written(uv_write_t *request, int status)
{
    struct link *k = request->data;
    k->sending = false;
    if (k->closing)
        return;
    buf_fini(&k->sending_bytes);
    if (status < 0)
        link_close(k);
    else
        flush(k);
}

/* Writes at once what the socket takes; the rest follows when there is room. */
static void flush(struct link *k)
{
    struct buf *out = &k->core.out;
    if (buf_failed(out) || out->len > PENDING_MAX) {
        link_close(k);
        return;
    }
    if (k->sending)
        return;
    if (!out->len) {
        core_link_flows(k->links->core, &k->core);
        return;
    }
    uv_buf_t bytes = uv_buf_init(out->data, (unsigned)out->len);
    int n = uv_try_write((uv_stream_t *)&k->pipe, &bytes, 1);
    if (n < 0 && n != UV_EAGAIN) {
        link_close(k);
        return;
    }
    if (n > 0 && (size_t)n == out->len) {
        buf_clear(out);
        if (out->cap > KEPT)
            buf_fini(out);
        core_link_flows(k->links->core, &k->core);
        return;
    }
    buf_consume(out, n > 0 ? (size_t)n : 0);
    struct buf rest = k->sending_bytes;
    k->sending_bytes = *out;
    *out = rest;
    buf_clear(out);
    bytes = uv_buf_init(k->sending_bytes.data, (unsigned)k->sending_bytes.len);
    k->write.data = k;
    k->sending = true;
    if (uv_write(&k->write, (uv_stream_t *)&k->pipe, &bytes, 1, on_written) < 0)
        link_close(k);
}

void links_flush(struct links *l)
{
    struct list *it;
    /* Closing a link may leave output in another. */
    while ((it = list_first(&l->core->dirty_links))) {
        struct core_link *c = LIST_ENTRY(it, struct core_link, dirty_node);
        list_remove(it);
        flush(CONTAINER_OF(c, struct link, core));
    }
}

bool links_pending(const struct links *l)
{
    for (const struct list *it = l->open.next; it != &l->open; it = it->next) {
        const struct link *k = (const struct link *)((const char *)it - offsetof(struct link, node));
        if (k->sending || k->core.out.len)
            return true;
    }
    return false;
}

void links_close(struct links *l)
{
    list_for_each_safe (it, next, &l->open)
        link_close(LIST_ENTRY(it, struct link, node));
    stop_listening(l);
    uv_timer_stop(&l->accept_again);
}
