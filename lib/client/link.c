/* The client of the coordinator; see link.h. */
#include "client/link.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/socket_path.h"

#define KEPT            (64 * 1024) /* a thread does not hold on to more than this between questions */
#define FIRST_READ      4096
#define START_WINDOW_US (5 * US_PER_S)
#define START_PAUSE_US  (10 * US_PER_MS)
#define WELCOME_US      US_PER_S /* a coordinator that has not welcomed us by then is perhaps none */

int link_host_init(struct link_host *h, const struct conf *conf, void (*ended)(const struct autostart *a),
                   struct err *e)
{
    *h = (struct link_host){.config = conf->file, .may_start = conf->coordinator.autostart, .leave_fd = -1};
    int n = conf->coordinator.socket[0] ? asprintf(&h->socket_path, "%s", conf->coordinator.socket)
                                        : asprintf(&h->socket_path, "%s/coordinator.sock", conf->storage.dir);
    if (n < 0) {
        h->socket_path = NULL;
        return err_set(e, ERR_NOMEM, "There is no memory to talk to the coordinator.");
    }
    autostart_init(&h->autostart, ended);
    h->autostart.dir = conf->storage.dir;
    return 0;
}

void link_host_fini(struct link_host *h)
{
    free(h->socket_path);
    h->socket_path = NULL;
}

bool link_host_leaving(const struct link_host *h)
{
    return h->leave_fd >= 0 && poll(&(struct pollfd){.fd = h->leave_fd, .events = POLLIN}, 1, 0) > 0;
}

void link_init(struct link *l, struct link_host *h)
{
    *l = (struct link){.host = h, .fd = -1};
    buf_init(&l->in, WIRE_MAX_PAYLOAD + WIRE_HEADER_SIZE + FIRST_READ);
    buf_init(&l->out, WIRE_MAX_PAYLOAD + WIRE_HEADER_SIZE);
}

void link_close(struct link *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    l->taken = 0;
    buf_clear(&l->in);
    buf_clear(&l->out);
}

void link_fini(struct link *l)
{
    link_close(l);
    buf_fini(&l->in);
    buf_fini(&l->out);
}

uint64_t link_question(struct link *l, enum wire_type type, size_t *ret_mark)
{
    if (l->out.cap > KEPT)
        buf_fini(&l->out);
    buf_clear(&l->out);
    return link_question_more(l, type, ret_mark);
}

uint64_t link_question_more(struct link *l, enum wire_type type, size_t *ret_mark)
{
    l->last_id++;
    *ret_mark = wire_frame_begin(&l->out, type, l->last_id);
    return l->last_id;
}

/* Waits for events on the connection, or for the client's end. Time is in milliseconds for poll(): rounded
 * up, so that a wait does not end before its deadline. */
static enum link_result wait_for(struct link *l, short events, int client_fd, uint64_t deadline_us)
{
    for (;;) {
        uint64_t now_us = clock_mono_us();
        if (now_us >= deadline_us)
            return LINK_LATE;
        uint64_t ms = (deadline_us - now_us + US_PER_MS - 1) / US_PER_MS;
        struct pollfd fds[] = {{.fd = l->fd, .events = events},
                               {.fd = client_fd, .events = POLLRDHUP},
                               {.fd = l->host->leave_fd, .events = POLLIN}};
        int n = poll(fds, ARRAY_LEN(fds), ms > 60000 ? 60000 : (int)ms);
        if (n > 0 && fds[0].revents)
            return LINK_OK; /* also for an error: the next send or receive tells it */
        if (n > 0 && fds[1].revents)
            return LINK_CLIENT_GONE;
        if (n > 0 && fds[2].revents)
            return LINK_LEAVING;
    }
}

static enum link_result send_all(struct link *l, const char *bytes, size_t n, uint64_t deadline_us)
{
    while (n) {
        ssize_t sent = send(l->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent >= 0) {
            bytes += sent;
            n -= (size_t)sent;
        } else if (errno == EAGAIN) {
            enum link_result r = wait_for(l, POLLOUT, -1, deadline_us);
            if (r != LINK_OK)
                return r;
        } else if (errno != EINTR)
            return LINK_LOST;
    }
    return LINK_OK;
}

enum link_result link_send(struct link *l, uint64_t deadline_us)
{
    if (buf_failed(&l->out)) {
        buf_clear(&l->out);
        return LINK_NO_MEMORY;
    }
    enum link_result r = send_all(l, l->out.data, l->out.len, deadline_us);
    /* Half a frame cannot be taken back. */
    if (r != LINK_OK)
        link_close(l);
    return r;
}

static enum link_result read_more(struct link *l, size_t wanted)
{
    size_t room = wanted > l->in.len ? wanted - l->in.len : 0;
    if (room < FIRST_READ)
        room = FIRST_READ;
    char *at = buf_reserve(&l->in, room);
    if (!at)
        return LINK_NO_MEMORY;
    ssize_t n = recv(l->fd, at, room, MSG_DONTWAIT);
    if (n > 0)
        buf_advance(&l->in, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        return LINK_LOST;
    return LINK_OK;
}

enum link_result link_receive(struct link *l, uint64_t id, int client_fd, uint64_t deadline_us,
                              struct wire_frame *ret_frame)
{
    return link_receive_any(l, id, id, client_fd, deadline_us, ret_frame);
}

unsigned link_next(const struct link *l)
{
    struct slice rest = {l->in.data + l->taken, l->in.len - l->taken};
    struct wire_frame frame;
    size_t size;
    return rest.n && wire_frame_parse(rest, &frame, &size) > 0 ? frame.type : 0;
}

enum link_result link_receive_any(struct link *l, uint64_t first, uint64_t last, int client_fd,
                                  uint64_t deadline_us, struct wire_frame *ret_frame)
{
    enum link_result r = LINK_OK;
    while (r == LINK_OK) {
        size_t size = WIRE_HEADER_SIZE;
        buf_consume(&l->in, l->taken);
        l->taken = 0;
        if (!l->in.len && l->in.cap > KEPT)
            buf_fini(&l->in);
        int rc = wire_frame_parse(buf_slice(&l->in), ret_frame, &size);
        if (rc < 0)
            r = LINK_LOST;
        else if (rc > 0) {
            l->taken = size;
            if (ret_frame->id >= first && ret_frame->id <= last)
                return LINK_OK;
        } else {
            r = wait_for(l, POLLIN, client_fd, deadline_us);
            if (r == LINK_OK)
                r = read_more(l, size);
        }
    }
    if (r == LINK_LOST || r == LINK_NO_MEMORY)
        link_close(l);
    return r;
}

void link_cancel(struct link *l, uint64_t id)
{
    struct buf frame;
    if (l->fd < 0 || !id)
        return;
    buf_init(&frame, WIRE_HEADER_SIZE);
    wire_frame_end(&frame, wire_frame_begin(&frame, WIRE_CANCEL, id));
    /* Closing says it as well, when the frame does not go out whole. */
    if (buf_failed(&frame) ||
        send(l->fd, frame.data, frame.len, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)frame.len)
        link_close(l);
    buf_fini(&frame);
}

/* ERR_NOT_FOUND: nobody listens. ERR_AGAIN: somebody does but is too busy to take a connection, or this
 * process has no descriptor for one. */
static int connect_once(struct link *l, struct err *e)
{
    struct sockaddr_un address;
    int dirfd = -1, fd;
    const char *path = l->host->socket_path;
    int rc = socket_address(path, &address, &dirfd, e);
    if (rc)
        return rc;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS))
        rc = err_set(e, ERR_AGAIN, "There is no descriptor for a connection to the coordinator just now.");
    else if (fd < 0)
        rc = err_set_errno(e, "A socket for the coordinator cannot be had");
    else if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        if (errno == ENOENT || errno == ECONNREFUSED)
            rc = err_set(e, ERR_NOT_FOUND, "No coordinator listens at %s.", path);
        else if (errno == EAGAIN || errno == EINTR)
            rc = err_set(e, ERR_AGAIN, "The coordinator at %s takes no connections now.", path);
        else
            rc = err_set_errno(e, "The coordinator's socket %s cannot be reached", path);
        close(fd);
    } else
        l->fd = fd;
    if (dirfd >= 0)
        close(dirfd);
    return rc;
}

/* HELLO and WELCOME. ERR_CLOSED: it left at once, as one that is stopping does. */
static int introduce(struct link *l, uint64_t deadline_us, struct err *e)
{
    struct wire_frame frame;
    struct wire_welcome welcome;
    size_t mark;
    struct wire_hello hello = {
        .pool = l->host->pool, .capacity = l->host->capacity, .pid = (uint32_t)getpid()};
    uint64_t id = link_question(l, WIRE_HELLO, &mark);
    wire_hello_encode(&l->out, &hello);
    wire_frame_end(&l->out, mark);
    enum link_result r = link_send(l, deadline_us);
    if (r == LINK_OK)
        r = link_receive(l, id, -1, deadline_us, &frame);
    if (r == LINK_OK && frame.type == WIRE_WELCOME && !wire_welcome_decode(frame.payload, &welcome)) {
        if (l->host->met)
            l->host->met(l->host->arg);
        return 0;
    }
    link_close(l);
    if (r == LINK_LATE)
        return err_set(e, ERR_TIMEOUT, "The coordinator took the connection but did not answer in time.");
    if (r == LINK_NO_MEMORY)
        return err_set(e, ERR_NOMEM, "There is no memory to talk to the coordinator now.");
    if (r == LINK_LEAVING)
        return err_set(e, ERR_CLOSED, "The server is being stopped.");
    return err_set(e, ERR_CLOSED, "The coordinator closed the connection; its version may differ from ours.");
}

static int connect_welcomed(struct link *l, uint64_t deadline_us, struct err *e)
{
    int rc = connect_once(l, e);
    return rc ? rc : introduce(l, deadline_us, e);
}

/* Brings one up and connects to it. ERR_AGAIN: worth another try. */
static int start_and_connect(struct link *l, uint64_t deadline_us, struct err *e)
{
    struct err started = {0};
    int rc = autostart_run(&l->host->autostart, l->host->config, l->host->leave_fd, &started);
    /* Even when it failed: another start may have won its race. */
    if (!connect_welcomed(l, deadline_us, NULL))
        return 0;
    if (rc && e)
        *e = started;
    return rc ? rc : ERR_AGAIN;
}

int link_connect(struct link *l, enum link_start start, uint64_t deadline_us, struct err *e)
{
    if (l->fd >= 0)
        return 0;
    uint64_t now_us = clock_mono_us(), until_us = now_us + START_WINDOW_US;
    bool may_start = start == LINK_AUTOSTART && l->host->may_start;
    bool doubted = false;
    if (until_us > deadline_us)
        until_us = deadline_us;
    for (;;) {
        /* Who listens but does not welcome us stops, hangs, or is no coordinator at all. Starting one tells:
         * where one runs nothing happens, else it takes the socket over. */
        bool may_doubt = may_start && now_us + WELCOME_US < until_us;
        int rc = connect_welcomed(l, may_doubt ? now_us + WELCOME_US : until_us, e);
        if (!rc)
            return 0;
        bool unwelcome = rc == ERR_CLOSED || rc == ERR_TIMEOUT;
        bool retry = rc == ERR_AGAIN || (may_start && (rc == ERR_NOT_FOUND || unwelcome));
        if (!retry || link_host_leaving(l->host) || clock_mono_us() + START_PAUSE_US >= until_us)
            return rc;
        if (may_start && (rc == ERR_NOT_FOUND || (unwelcome && !doubted))) {
            doubted |= unwelcome;
            rc = start_and_connect(l, until_us, e);
            if (rc != ERR_AGAIN)
                return rc;
        }
        usleep(START_PAUSE_US);
        now_us = clock_mono_us();
    }
}

int link_ask(struct link *l, enum link_start start, enum wire_type type, struct slice payload,
             uint64_t deadline_us, struct wire_frame *ret_frame, struct err *e)
{
    size_t mark;
    /* Twice: a kept connection whose coordinator left since then is only noticed by using it. */
    for (int attempt = 0; attempt < 2; attempt++) {
        bool kept = l->fd >= 0;
        int rc = link_connect(l, start, deadline_us, e);
        if (rc)
            return rc;
        uint64_t id = link_question(l, type, &mark);
        buf_append_slice(&l->out, payload);
        wire_frame_end(&l->out, mark);
        enum link_result r = link_send(l, deadline_us);
        if (r == LINK_LOST && kept)
            continue; /* nothing of it was read */
        if (r == LINK_OK)
            r = link_receive(l, id, -1, deadline_us, ret_frame);
        if (r == LINK_OK)
            return 0;
        if (r == LINK_NO_MEMORY)
            return err_set(e, ERR_NOMEM, "There is no memory to talk to the coordinator now.");
        if (r == LINK_LATE)
            return err_set(e, ERR_TIMEOUT, "The coordinator did not answer in time.");
        if (r == LINK_LEAVING)
            return err_set(e, ERR_CLOSED, "The server is being stopped.");
        break;
    }
    return err_set(e, ERR_CLOSED, "The coordinator went away before it answered.");
}
