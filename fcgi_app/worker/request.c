/* FastCGI requests; see request.h. */
#include "worker/request.h"

#include <errno.h>
#include <fcgiapp.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "worker/assertion.h"

#define BODY_KEPT  (64 * 1024) /* a thread does not hold on to more than this between requests */
#define READ_CHUNK (64 * 1024)

struct variable {
    const char *name;
    uint8_t length;
    bool once; /* two of them would mean two things */
    uint16_t offset;
};

#define VARIABLE(name, once, member)                                                                         \
    {                                                                                                        \
        name, sizeof(name) - 1, once, offsetof(struct request, member)                                       \
    }

static const struct variable variables[] = {
    VARIABLE("REQUEST_METHOD", true, method_text),
    VARIABLE("REQUEST_URI", true, uri),
    VARIABLE("CONTENT_TYPE", true, content_type),
    VARIABLE("CONTENT_LENGTH", true, content_length),
    VARIABLE("REMOTE_ADDR", true, remote_addr),
    VARIABLE("HTTP_HOST", true, host),
    VARIABLE("HTTP_ORIGIN", true, origin),
    VARIABLE("HTTP_X_API_KEY", true, api_key),
    VARIABLE("HTTP_AUTHORIZATION", true, authorization),
    VARIABLE("REDIRECT_HTTP_AUTHORIZATION", true, redirect_authorization),
    VARIABLE("HTTP_X_PRIORITY", true, x_priority),
    VARIABLE("HTTP_PREFER", true, prefer),
    VARIABLE("HTTP_CACHE_CONTROL", true, cache_control),
    VARIABLE("HTTP_IDEMPOTENCY_KEY", true, idempotency_key),
    VARIABLE("HTTP_CONTENT_ENCODING", true, content_encoding),
    VARIABLE("HTTP_ACCESS_CONTROL_REQUEST_METHOD", true, preflight_method),
    VARIABLE("HTTP_SEC_FETCH_SITE", true, fetch_site),
    VARIABLE("HTTP_FORWARDED", false, forwarded),
    VARIABLE("HTTP_X_FORWARDED_FOR", false, forwarded),
    VARIABLE("HTTP_X_FORWARDED_HOST", false, forwarded),
    VARIABLE("HTTP_X_FORWARDED_PROTO", false, forwarded),
    VARIABLE("HTTP_X_FORWARDED_SERVER", false, forwarded),
    VARIABLE("HTTP_X_REAL_IP", false, forwarded),
    VARIABLE("HTTP_X_CLIENT_IP", false, forwarded),
    VARIABLE("HTTP_X_CLUSTER_CLIENT_IP", false, forwarded),
    VARIABLE("HTTP_TRUE_CLIENT_IP", false, forwarded),
    VARIABLE("HTTP_CF_CONNECTING_IP", false, forwarded),
    VARIABLE("HTTP_CDN_LOOP", false, forwarded),
    VARIABLE("HTTP_VIA", false, forwarded),
};

int request_library_init(struct err *e)
{
    /* Without it a thread waits up to 2 s for the web server to close after each answer. */
    setenv("LIBFCGI_OS_CLOSE_POLL_TIMEOUT", "0", 1);
    return FCGX_Init() ? err_set(e, ERR_IO, "libfcgi could not be initialised.") : 0;
}

int request_init(struct request *r, uint64_t max_body_bytes)
{
    *r = (struct request){.fd = -1};
    r->fcgi = malloc(sizeof(*r->fcgi));
    if (!r->fcgi)
        return ERR_NOMEM;
    /* libfcgi is never asked to accept by itself: a thread inside its accept could not be woken to leave. */
    FCGX_InitRequest(r->fcgi, -1, 0);
    buf_init(&r->body, max_body_bytes);
    return 0;
}

void request_fini(struct request *r)
{
    if (r->fcgi) {
        FCGX_Finish_r(r->fcgi);
        if (r->fcgi->ipcFd >= 0)
            close(r->fcgi->ipcFd);
    }
    free(r->fcgi);
    buf_fini(&r->body);
    r->fcgi = NULL;
}

/* Whether accept() may work the next time. A full descriptor table is waited out. */
static bool accept_may_recover(int number)
{
    switch (number) {
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
        usleep(20 * 1000);
        return true;
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
        return true;
    case EAGAIN:
        /* Somebody made the shared socket non-blocking; do not spin. */
        usleep(5 * 1000);
        return true;
    default:
        return false;
    }
}

static bool may_stop(int kept_fd, const struct request_gate *gate)
{
    struct pollfd listening = {.fd = gate->listen_fd, .events = POLLIN};
    return atomic_load(gate->stop) && (kept_fd >= 0 || !gate->own || poll(&listening, 1, 0) <= 0);
}

/* A connection with something to read: the kept one, or a new one. Only here is the thread idle. */
static int wait_connection(int kept_fd, const struct request_gate *gate, int *ret_fd, struct err *e)
{
    int fd = -1, rc = 0;
    atomic_store(gate->idle, true);
    if (kept_fd < 0)
        turnstile_enter(gate->turnstile, gate->place);
    while (fd < 0 && !rc) {
        if (may_stop(kept_fd, gate))
            rc = err_set(e, ERR_CLOSED, "The process is stopping.");
        else if (kept_fd >= 0) {
            if (poll(&(struct pollfd){.fd = kept_fd, .events = POLLIN}, 1, -1) > 0)
                fd = kept_fd;
        } else {
            fd = accept4(gate->listen_fd, NULL, NULL, SOCK_CLOEXEC);
            if (fd < 0 && !accept_may_recover(errno))
                rc = err_set_errno(e, "The listening socket accepts no more connections");
        }
    }
    if (kept_fd < 0)
        turnstile_leave(gate->turnstile);
    atomic_store(gate->idle, false);
    if (!rc)
        *ret_fd = fd;
    return rc;
}

static void sort_variable(struct request *r, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals)
        return;
    size_t length = (size_t)(equals - text);
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        const struct variable *v = &variables[i];
        if (v->length != length || memcmp(v->name, text, length) != 0)
            continue;
        struct slice *field = (struct slice *)(void *)((char *)r + v->offset);
        if (field->p && v->once)
            r->doubled = v->name;
        *field = slice_of(equals + 1);
        return;
    }
}

static enum method method_of(struct slice text)
{
    static const struct {
        const char *name;
        enum method method;
    } methods[] = {{"GET", METHOD_GET}, {"POST", METHOD_POST},     {"HEAD", METHOD_HEAD},
                   {"PUT", METHOD_PUT}, {"DELETE", METHOD_DELETE}, {"OPTIONS", METHOD_OPTIONS}};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (slice_is(text, methods[i].name))
            return methods[i].method;
    return METHOD_OTHER;
}

/* Back to a request without variables; descriptor, library object and body buffer stay. */
static void clear_fields(struct request *r)
{
    size_t max = r->body.max;
    if (r->body.cap > BODY_KEPT)
        buf_fini(&r->body);
    buf_clear(&r->body);
    *r = (struct request){.fcgi = r->fcgi, .fd = -1, .body = r->body};
    r->body.max = max;
}

/* FCGX_Accept_r, in which no nonsense ends the process. Negative when it was no request; the connection is
 * closed then. */
static int accept_guarded(struct FCGX_Request *fcgi)
{
    jmp_buf back;
    if (setjmp(back)) {
        FCGX_Free(fcgi, 1);
        return -1;
    }
    assertion_caught = &back;
    int rc = FCGX_Accept_r(fcgi);
    assertion_caught = NULL;
    return rc;
}

int request_accept(struct request *r, const struct request_gate *gate, struct err *e)
{
    request_finish(r);
    clear_fields(r);
    for (;;) {
        int rc = wait_connection(r->fcgi->ipcFd, gate, &r->fcgi->ipcFd, e);
        if (rc)
            return rc;
        r->accepted_us = clock_mono_us();
        /* Keeps FCGX_Accept_r from closing the connection we bring; it then reads what the server wants. */
        r->fcgi->keepConnection = 1;
        if (accept_guarded(r->fcgi) == 0) {
            /* It takes the end of the connection for the end of the variables; those that are missing then
             * may be the ones that keep a stranger out. */
            if (!FCGX_GetError(r->fcgi->in))
                break;
            FCGX_Free(r->fcgi, 1);
        }
        r->fcgi->ipcFd = -1; /* it closed what was no FastCGI request */
    }
    r->fd = r->fcgi->ipcFd;
    for (char **variable = r->fcgi->envp; *variable; variable++)
        sort_variable(r, *variable);
    r->method = method_of(r->method_text);
    return 0;
}

/* Behind the comma that ends the item; one inside quotes does not. */
static size_t past_item(struct slice list, size_t i)
{
    bool quoted = false;
    for (; i < list.n && (quoted || list.p[i] != ','); i++) {
        if (quoted && list.p[i] == '\\')
            i++;
        else if (list.p[i] == '"')
            quoted = !quoted;
    }
    return i + 1;
}

bool request_lists(struct slice header, const char *token)
{
    size_t length = strlen(token);
    for (size_t i = 0; i < header.n; i = past_item(header, i)) {
        while (i < header.n && (header.p[i] == ' ' || header.p[i] == '\t'))
            i++;
        size_t start = i;
        while (i < header.n && !strchr(",; \t=\"", header.p[i]))
            i++;
        if (i - start == length && !strncasecmp(header.p + start, token, length))
            return true;
    }
    return false;
}

/* ERR_INVAL: no plain number. Absent and empty are 0. */
static int parse_length(struct slice text, uint64_t *ret_length)
{
    uint64_t length = 0;
    if (text.n > 18)
        return ERR_INVAL;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return ERR_INVAL;
        length = length * 10 + (uint64_t)(text.p[i] - '0');
    }
    *ret_length = length;
    return 0;
}

/* The leftover of a body would be taken for the next request of a kept connection. */
static void drain(struct request *r)
{
    char scrap[4096];
    while (FCGX_GetStr(scrap, sizeof(scrap), r->fcgi->in) > 0)
        ;
}

static void read_body(struct request *r)
{
    uint64_t declared = 0;
    if (parse_length(r->content_length, &declared))
        r->body_cut = true;
    bool known = declared > 0;
    r->body_too_large = declared > r->body.max;
    while (!r->body_too_large && !r->body_cut) {
        /* One byte more than is expected, so that the end is seen in the same call. */
        uint64_t want = known && declared >= r->body.len ? declared - r->body.len + 1 : READ_CHUNK;
        if (want > READ_CHUNK)
            want = READ_CHUNK;
        if (want > r->body.max - r->body.len)
            want = r->body.max - r->body.len + (r->body.len == r->body.max);
        char beyond, *at = r->body.len < r->body.max ? buf_reserve(&r->body, (size_t)want) : &beyond;
        if (!at)
            break; /* marked in the buffer */
        int got = FCGX_GetStr(at, (int)want, r->fcgi->in);
        if (got > 0 && at == &beyond)
            r->body_too_large = true;
        else if (got > 0)
            buf_advance(&r->body, (size_t)got);
        if (got < (int)want)
            break;
    }
    drain(r);
    if (known && !r->body_too_large && !buf_failed(&r->body) && r->body.len != declared)
        r->body_cut = true;
}

void request_read_body(struct request *r)
{
    jmp_buf back;
    if (setjmp(back)) { /* management records may stand between those of the body */
        r->body_cut = true;
        r->fcgi->keepConnection = 0;
        return;
    }
    assertion_caught = &back;
    read_body(r);
    assertion_caught = NULL;
}

void request_finish(struct request *r)
{
    FCGX_Finish_r(r->fcgi);
    r->fd = -1;
}
