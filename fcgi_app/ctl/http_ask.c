/* The doctor's HTTP client; see http_ask.h. */
#include "ctl/http_ask.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/version.h"

#define LIMIT_US    (15 * US_PER_S)
#define HEADERS_MAX (64 * 1024)
#define READ_SIZE   16384

/* ---- addresses ---- */

static int bad_url(struct err *e)
{
    return err_set(e, ERR_INVAL, "The URL must look like http://example.org or http://127.0.0.1:8000/llm.");
}

static bool is_clean(const char *text)
{
    for (; *text; text++)
        if (*text <= ' ' || *text > '~' || strchr("?#@\\\"<>", *text))
            return false;
    return true;
}

int http_url_parse(const char *text, struct http_url *ret_url, struct err *e)
{
    struct http_url u = {.port = "80"};
    if (strncasecmp(text, "https://", 8) == 0)
        return err_set(e, ERR_INVAL,
                       "The doctor speaks no https: give the http:// URL of this host (such as "
                       "http://127.0.0.1), or look at the https one with `curl -i URL/health`.");
    if (strncasecmp(text, "http://", 7) != 0 || !is_clean(text))
        return bad_url(e);
    text += 7;
    bool bracket = *text == '[';
    text += bracket;
    size_t n = strcspn(text, bracket ? "]/" : ":/");
    if (!n || n >= sizeof(u.host) || (bracket && text[n] != ']'))
        return bad_url(e);
    memcpy(u.host, text, n);
    text += n + bracket;
    if (*text == ':') {
        n = strspn(++text, "0123456789");
        unsigned long port = n && n < sizeof(u.port) ? strtoul(text, NULL, 10) : 0;
        if (!port || port > 65535)
            return bad_url(e);
        snprintf(u.port, sizeof(u.port), "%.*s", (int)n, text);
        text += n;
    }
    n = strlen(text);
    if ((n && *text != '/') || n >= sizeof(u.path))
        return bad_url(e);
    while (n && text[n - 1] == '/')
        n--;
    memcpy(u.path, text, n);
    *ret_url = u;
    return 0;
}

/* ---- answers ---- */

struct slice http_header(const struct http_answer *a, const char *name)
{
    const char *at = a->headers.p, *end = at ? at + a->headers.n : NULL;
    size_t n = strlen(name);
    while (at && at < end) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        size_t left = (size_t)((line_end ? line_end : end) - at);
        if (left > n && at[n] == ':' && strncasecmp(at, name, n) == 0)
            return slice_trim((struct slice){at + n + 1, left - n - 1});
        at = line_end ? line_end + 1 : end;
    }
    return (struct slice){0};
}

/* In place: what is behind stays behind. */
static int join_chunks(struct http_answer *a)
{
    char *to = a->raw.data + (a->body.p - a->raw.data), *at = to, *end = to + a->body.n;
    for (;;) {
        char *line_end = memchr(at, '\n', (size_t)(end - at));
        char *number_end;
        if (!line_end && a->cut) {
            a->body.n = (size_t)(to - a->body.p);
            return 0;
        }
        if (!line_end)
            return ERR_CLOSED;
        unsigned long n = strtoul(at, &number_end, 16);
        if (number_end == at || !isxdigit((unsigned char)*at))
            return ERR_INVAL;
        at = line_end + 1;
        if (!n) {
            a->body.n = (size_t)(to - a->body.p);
            return 0;
        }
        if (n > (size_t)(end - at) && !a->cut)
            return ERR_CLOSED;
        if (n > (size_t)(end - at))
            n = (size_t)(end - at);
        memmove(to, at, n);
        to += n;
        at += n;
        at += at < end && *at == '\r';
        at += at < end && *at == '\n';
    }
}

int http_answer_parse(struct http_answer *a)
{
    struct slice all = buf_slice(&a->raw);
    const char *end = all.n ? memmem(all.p, all.n, "\r\n\r\n", 4) : NULL;
    const char *line_end = all.n ? memchr(all.p, '\n', all.n) : NULL;
    if (all.n < 12 || memcmp(all.p, "HTTP/1.", 7) != 0 || !line_end || !isdigit((unsigned char)all.p[9]))
        return all.n ? ERR_INVAL : ERR_CLOSED;
    if (!end)
        return ERR_CLOSED;
    long status = strtol(all.p + 9, NULL, 10);
    if (status < 100 || status > 999)
        return ERR_INVAL;
    a->status = (int)status;
    a->headers = (struct slice){line_end + 1, end + 2 > line_end + 1 ? (size_t)(end + 2 - line_end - 1) : 0};
    a->body = (struct slice){end + 4, all.n - (size_t)(end + 4 - all.p)};
    struct slice coding = http_header(a, "Transfer-Encoding"), length = http_header(a, "Content-Length");
    if (coding.n == 7 && strncasecmp(coding.p, "chunked", 7) == 0)
        return join_chunks(a);
    if (!length.p)
        return 0;
    unsigned long long n = strtoull(length.p, NULL, 10);
    if (n > a->body.n)
        return a->cut ? 0 : ERR_CLOSED;
    a->body.n = (size_t)n;
    return 0;
}

void http_answer_fini(struct http_answer *a)
{
    buf_fini(&a->raw);
}

/* ---- the connection ---- */

/* Until the socket is ready, or time is over. */
static int wait_for(int fd, short events, uint64_t until_us)
{
    for (;;) {
        uint64_t now_us = clock_mono_us();
        if (now_us >= until_us)
            return ERR_TIMEOUT;
        struct pollfd p = {.fd = fd, .events = events};
        int n = poll(&p, 1, (int)((until_us - now_us) / US_PER_MS) + 1);
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return ERR_IO;
    }
}

static int connect_to(const struct addrinfo *a, uint64_t until_us)
{
    int failure = 0;
    socklen_t n = sizeof(failure);
    int fd = socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int rc = connect(fd, a->ai_addr, a->ai_addrlen);
    if (rc && errno == EINPROGRESS) {
        if (wait_for(fd, POLLOUT, until_us))
            failure = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &n))
            failure = errno;
    } else if (rc)
        failure = errno;
    if (!failure)
        return fd;
    close(fd);
    errno = failure;
    return -1;
}

static int open_connection(const struct http_url *u, uint64_t until_us, int *ret_fd, struct err *e)
{
    const struct addrinfo wanted = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int fd = -1, rc = getaddrinfo(u->host, u->port, &wanted, &list);
    if (rc)
        return err_set(e, ERR_CLOSED, "The host %s is not known: %s.", u->host, gai_strerror(rc));
    for (const struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = connect_to(a, until_us);
    int failure = errno;
    freeaddrinfo(list);
    if (fd < 0)
        return err_set(e, ERR_CLOSED, "No web server answers at %s port %s: %s.", u->host, u->port,
                       strerror(failure));
    *ret_fd = fd;
    return 0;
}

/* A server that has heard enough answers and closes: what it says is read all the same. */
static int send_all(int fd, struct slice bytes, uint64_t until_us)
{
    while (bytes.n) {
        ssize_t n = send(fd, bytes.p, bytes.n, MSG_NOSIGNAL);
        if (n > 0)
            bytes = (struct slice){bytes.p + n, bytes.n - (size_t)n};
        else if (n < 0 && errno == EAGAIN) {
            int rc = wait_for(fd, POLLOUT, until_us);
            if (rc)
                return rc;
        } else if (errno != EINTR)
            return 0;
    }
    return 0;
}

/* Until the connection's end, or *ret_cut: it is more than anybody wants to know. */
static int read_all(int fd, struct buf *out, uint64_t until_us, bool *ret_cut)
{
    for (;;) {
        if (out->len + READ_SIZE > out->max) {
            *ret_cut = true;
            return 0;
        }
        char *room = buf_reserve(out, READ_SIZE);
        if (!room)
            return ERR_NOMEM;
        ssize_t n = recv(fd, room, READ_SIZE, 0);
        if (n > 0)
            buf_advance(out, (size_t)n);
        else if (n < 0 && errno == EAGAIN) {
            int rc = wait_for(fd, POLLIN, until_us);
            if (rc)
                return rc;
        } else if (n == 0 || errno != EINTR)
            return 0; /* a reset ends it, too; what is there tells */
    }
}

static void write_request(struct buf *out, const struct http_url *u, const char *method, const char *target,
                          const char *headers, struct slice body)
{
    const char *open = strchr(u->host, ':') ? "[" : "", *shut = *open ? "]" : "";
    buf_printf(out, "%s %s%s HTTP/1.1\r\nHost: %s%s%s:%s\r\n", method, u->path, target, open, u->host, shut,
               u->port);
    buf_printf(out, "User-Agent: carpoolctl/" CARPOOL_VERSION "\r\nConnection: close\r\n%s", headers);
    if (body.p)
        buf_printf(out, "Content-Length: %zu\r\n", body.n);
    buf_append_text(out, "\r\n");
    if (body.p)
        buf_append_slice(out, body);
}

int http_ask(const struct http_url *url, const char *method, const char *target, const char *headers,
             struct slice body, struct http_answer *ret_answer, struct err *e)
{
    struct http_answer a = {0};
    struct buf request;
    uint64_t until_us = clock_mono_us() + LIMIT_US;
    int fd = -1, rc = open_connection(url, until_us, &fd, e);
    if (rc)
        return rc;
    buf_init(&request, HEADERS_MAX + body.n);
    buf_init(&a.raw, HEADERS_MAX + HTTP_BODY_MAX);
    write_request(&request, url, method, target, headers, body);
    rc = buf_failed(&request) ? ERR_NOMEM : send_all(fd, buf_slice(&request), until_us);
    if (!rc)
        rc = read_all(fd, &a.raw, until_us, &a.cut);
    if (!rc)
        rc = http_answer_parse(&a);
    close(fd);
    buf_fini(&request);
    if (!rc) {
        *ret_answer = a;
        return 0;
    }
    http_answer_fini(&a);
    return err_set(e, (enum err_code)rc, "%s",
                   rc == ERR_TIMEOUT  ? "The web server did not answer within 15 seconds."
                   : rc == ERR_INVAL  ? "What answers there does not speak HTTP."
                   : rc == ERR_CLOSED ? "The web server closed the connection before its answer was whole."
                                      : "There is not enough memory for the answer.");
}
