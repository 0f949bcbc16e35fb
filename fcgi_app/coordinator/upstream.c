/* HTTP to the provider; see upstream.h. The shape is libcurl's documented multi_socket_action loop. */
#include "coordinator/upstream.h"

#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/list.h"
#include "coordinator/trust.h"

#define CONNECT_TIMEOUT_MS 10000L
#define IDLE_CONNECTION_S                                                                                    \
    30L /* a provider may close an idle connection just as a call goes out on it: do not keep them long */

struct upstream {
    uv_loop_t *loop;
    struct upstream_options options;
    void (*done)(void *arg, void *owner, const struct provider_response *response);
    void *arg;
    CURLM *multi;
    const char *trust; /* authorities; NULL: libcurl's own */
    uv_timer_t timer;
    struct list transfers; /* running */
    struct list spare;     /* transfers kept for their easy handles */
    bool closing;
    unsigned handles; /* open uv handles: freed when the last one is closed */
};

/* One request on its way. Invariant: on transfers while request is not NULL, else on spare. */
struct transfer {
    struct list node;
    struct upstream *upstream;
    const struct provider_call *request;
    void *owner;
    CURL *easy;
    struct curl_slist *headers;
    size_t sent; /* bytes of the body that libcurl has taken */
    struct buf answer;
    char retry_after[64];
    char error[CURL_ERROR_SIZE];
};

/* A socket of libcurl's that the loop watches. */
struct watch {
    uv_poll_t poll;
    struct upstream *upstream;
    curl_socket_t fd;
};

static void handle_closed(struct upstream *u)
{
    if (--u->handles == 0 && u->closing)
        free(u);
}

static void transfer_free(struct transfer *t)
{
    curl_slist_free_all(t->headers);
    curl_easy_cleanup(t->easy);
    buf_fini(&t->answer);
    list_remove(&t->node);
    free(t);
}

static void transfer_rest(struct transfer *t)
{
    curl_multi_remove_handle(t->upstream->multi, t->easy);
    curl_easy_reset(t->easy);
    curl_slist_free_all(t->headers);
    t->headers = NULL;
    t->request = NULL;
    buf_fini(&t->answer);
    list_remove(&t->node);
    list_prepend(&t->upstream->spare, &t->node);
}

static size_t read_body(char *to, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    struct slice body = buf_slice(&t->request->body);
    size_t k = body.n - t->sent < size * n ? body.n - t->sent : size * n;
    memcpy(to, body.p + t->sent, k);
    t->sent += k;
    return k;
}

/* libcurl rewinds to send a POST again by itself when a reused connection dies early. That could pay twice.
 */
static int refuse_seek(void *arg, curl_off_t offset, int origin)
{
    (void)arg;
    (void)offset;
    (void)origin;
    return CURL_SEEKFUNC_FAIL;
}

static size_t write_answer(char *from, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    buf_append(&t->answer, from, size * n);
    return buf_failed(&t->answer) ? 0 : size * n;
}

static size_t read_header(char *line, size_t size, size_t n, void *arg)
{
    static const char name[] = "retry-after:";
    struct transfer *t = arg;
    size_t len = size * n, k = sizeof(name) - 1;
    if (len > k && strncasecmp(line, name, k) == 0) {
        while (k < len && (line[k] == ' ' || line[k] == '\t'))
            k++;
        size_t end = len;
        while (end > k && (line[end - 1] == '\r' || line[end - 1] == '\n'))
            end--;
        snprintf(t->retry_after, sizeof(t->retry_after), "%.*s", (int)(end - k), line + k);
    }
    return len;
}

/* What libcurl says, and of TLS what it means. */
static const char *reason(struct transfer *t, CURLcode code)
{
    char said[sizeof(t->error)];
    const char *meaning = code == CURLE_PEER_FAILED_VERIFICATION
                              ? "its certificate is not one that this machine trusts for that host"
                          : code == CURLE_SSL_CONNECT_ERROR ? "it speaks no TLS of version 1.2 or later"
                          : code == CURLE_SSL_CACERT_BADFILE
                              ? "the certificate authorities that this machine "
                                "trusts cannot be read (package ca-certificates)"
                              : NULL;
    if (!t->error[0] || !meaning)
        return t->error[0] ? t->error : curl_easy_strerror(code);
    strcpy(said, t->error);
    snprintf(t->error, sizeof(t->error), "%s (%.100s)", meaning, said);
    return t->error;
}

static struct provider_response describe(struct transfer *t, CURLcode code)
{
    struct provider_response r = {.body = buf_slice(&t->answer)};
    long status = 0, request_bytes = 0;
    char *type = NULL;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->easy, CURLINFO_REQUEST_SIZE, &request_bytes);
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
    r.status = (int)status;
    r.content_type = slice_of(type);
    if (t->retry_after[0])
        r.retry_after = slice_of(t->retry_after);
    if (code == CURLE_OK)
        r.transport = TRANSPORT_COMPLETE;
    else {
        bool unsent = request_bytes == 0 && t->sent == 0;
        r.transport = unsent                             ? TRANSPORT_NOT_SENT
                      : code == CURLE_OPERATION_TIMEDOUT ? TRANSPORT_TIMED_OUT
                                                         : TRANSPORT_LOST;
        r.transport_error = buf_failed(&t->answer) ? "the answer is larger than allowed" : reason(t, code);
    }
    return r;
}

static void collect(struct upstream *u)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(u->multi, &left))) {
        struct transfer *t;
        if (m->msg != CURLMSG_DONE)
            continue;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&t);
        struct provider_response response = describe(t, code);
        u->done(u->arg, t->owner, &response);
        transfer_rest(t);
    }
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct watch *w = poll->data;
    struct upstream *u = w->upstream;
    int running, flags = 0;
    if (status < 0)
        flags = CURL_CSELECT_IN | CURL_CSELECT_OUT; /* libcurl finds the error itself, and its name */
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    curl_multi_socket_action(u->multi, w->fd, flags, &running);
    collect(u);
}

static void on_timer(uv_timer_t *timer)
{
    struct upstream *u = timer->data;
    int running;
    curl_multi_socket_action(u->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(u);
}

static void watch_closed(uv_handle_t *handle)
{
    struct watch *w = handle->data;
    struct upstream *u = w->upstream;
    free(w);
    handle_closed(u);
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct upstream *u = arg;
    struct watch *w = socket_arg;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            uv_poll_stop(&w->poll);
            curl_multi_assign(u->multi, fd, NULL);
            uv_close((uv_handle_t *)&w->poll, watch_closed);
        }
        return 0;
    }
    if (!w) {
        w = calloc(1, sizeof(*w));
        if (!w)
            return -1;
        w->upstream = u;
        w->fd = fd;
        if (uv_poll_init_socket(u->loop, &w->poll, fd) < 0) {
            free(w);
            return -1;
        }
        w->poll.data = w;
        u->handles++;
        curl_multi_assign(u->multi, fd, w);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    return uv_poll_start(&w->poll, events, on_socket) < 0 ? -1 : 0;
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *arg)
{
    struct upstream *u = arg;
    (void)multi;
    if (timeout_ms < 0)
        uv_timer_stop(&u->timer);
    else /* never from inside libcurl: 0 is the next turn of the loop */
        uv_timer_start(&u->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

int upstream_open(uv_loop_t *loop, const struct upstream_options *options,
                  void (*done)(void *arg, void *owner, const struct provider_response *response), void *arg,
                  struct upstream **ret_upstream, struct err *e)
{
    struct upstream *u = calloc(1, sizeof(*u));
    if (!u || curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK || !(u->multi = curl_multi_init())) {
        free(u);
        return err_set(e, ERR_NOMEM, "libcurl cannot be started.");
    }
    u->trust = trust_file(curl_version_info(CURLVERSION_NOW)->cainfo);
    u->loop = loop;
    u->options = *options;
    u->done = done;
    u->arg = arg;
    list_init(&u->transfers);
    list_init(&u->spare);
    uv_timer_init(loop, &u->timer);
    u->timer.data = u;
    u->handles = 1;
    curl_multi_setopt(u->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(u->multi, CURLMOPT_SOCKETDATA, u);
    curl_multi_setopt(u->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(u->multi, CURLMOPT_TIMERDATA, u);
    curl_multi_setopt(u->multi, CURLMOPT_MAXCONNECTS, (long)options->connections_max);
    curl_multi_setopt(u->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
    *ret_upstream = u;
    return 0;
}

static void timer_closed(uv_handle_t *handle)
{
    handle_closed(handle->data);
}

void upstream_close(struct upstream *u)
{
    if (!u)
        return;
    u->closing = true;
    list_for_each_safe (it, next, &u->transfers) {
        struct transfer *t = LIST_ENTRY(it, struct transfer, node);
        curl_multi_remove_handle(u->multi, t->easy);
        transfer_free(t);
    }
    list_for_each_safe (it, next, &u->spare)
        transfer_free(LIST_ENTRY(it, struct transfer, node));
    curl_multi_cleanup(u->multi);
    uv_close((uv_handle_t *)&u->timer, timer_closed);
    curl_global_cleanup();
}

/* Turns "Name: value\n" lines into libcurl's list. */
static int set_headers(struct transfer *t, const char *lines)
{
    /* No "Expect: 100-continue": it would add a round trip to every larger call. */
    t->headers = curl_slist_append(NULL, "Expect:");
    while (t->headers && *lines) {
        size_t n = strcspn(lines, "\n");
        char *line = strndup(lines, n);
        struct curl_slist *more = line ? curl_slist_append(t->headers, line) : NULL;
        free(line);
        if (!more)
            return ERR_NOMEM;
        t->headers = more;
        lines += n + (lines[n] == '\n');
    }
    return t->headers ? 0 : ERR_NOMEM;
}

static void set_body(struct transfer *t, const struct provider_call *request)
{
    CURL *c = t->easy;
    curl_easy_setopt(c, CURLOPT_POST, 1L);
    curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
    curl_easy_setopt(c, CURLOPT_READFUNCTION, read_body);
    curl_easy_setopt(c, CURLOPT_READDATA, t);
    curl_easy_setopt(c, CURLOPT_SEEKFUNCTION, refuse_seek);
}

static void set_options(struct upstream *u, struct transfer *t, const struct provider_call *request)
{
    CURL *c = t->easy;
    if (!request->is_get)
        set_body(t, request);
    curl_easy_setopt(c, CURLOPT_PRIVATE, t);
    curl_easy_setopt(c, CURLOPT_URL, request->url);
    if (request->socket)
        curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, request->socket);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, write_answer);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, read_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, strncmp(request->url, "http://", 7) == 0 ? "http" : "https");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L); /* which would take the key along */
    curl_easy_setopt(c, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
    curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
    if (u->trust)
        curl_easy_setopt(c, CURLOPT_CAINFO, u->trust);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)u->options.timeout_ms);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS,
                     u->options.timeout_ms < CONNECT_TIMEOUT_MS ? (long)u->options.timeout_ms
                                                                : CONNECT_TIMEOUT_MS);
    curl_easy_setopt(c, CURLOPT_MAXAGE_CONN, IDLE_CONNECTION_S);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "carpool");
}

static struct transfer *transfer_get(struct upstream *u)
{
    struct list *spare = list_first(&u->spare);
    struct transfer *t;
    if (spare) {
        t = LIST_ENTRY(spare, struct transfer, node);
        list_remove(spare);
    } else {
        t = calloc(1, sizeof(*t));
        if (!t)
            return NULL;
        list_init(&t->node);
        t->easy = curl_easy_init();
        if (!t->easy) {
            free(t);
            return NULL;
        }
    }
    t->upstream = u;
    t->sent = 0;
    t->retry_after[0] = t->error[0] = 0;
    buf_init(&t->answer, u->options.answer_max_bytes);
    return t;
}

int upstream_send(struct upstream *u, const struct provider_call *request, void *owner, struct err *e)
{
    struct transfer *t = transfer_get(u);
    if (!t || set_headers(t, request->headers) < 0) {
        if (t)
            transfer_free(t);
        return err_set(e, ERR_NOMEM, "out of memory");
    }
    t->request = request;
    t->owner = owner;
    set_options(u, t, request);
    CURLMcode code = curl_multi_add_handle(u->multi, t->easy);
    if (code != CURLM_OK) {
        transfer_free(t);
        return err_set(e, ERR_IO, "%s", curl_multi_strerror(code));
    }
    list_append(&u->transfers, &t->node);
    return 0;
}
