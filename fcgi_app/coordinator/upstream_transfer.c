/*
 * One request to the provider: what libcurl is told of it, and what it says came back; see
 * upstream_private.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "coordinator/upstream_private.h"

#define CONNECT_TIMEOUT_MS 10000L
#define STREAM_MS          3600000L /* even one that is never silent ends at some time */
#define IDLE_CONNECTION_S                                                                                    \
    30L /* a provider may close an idle connection just as a call goes out on it: do not keep them long */

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

static bool is_events(const struct transfer *t)
{
    static const char events[] = "text/event-stream";
    long status = 0;
    char *type = NULL;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_getinfo(t->easy, CURLINFO_CONTENT_TYPE, &type);
    return status == 200 && type && strncasecmp(type, events, sizeof(events) - 1) == 0;
}

static size_t write_answer(char *from, size_t size, size_t n, void *arg)
{
    struct transfer *t = arg;
    struct upstream *u = t->upstream;
    size_t len = size * n;
    if (t->body == BODY_NONE)
        t->body = t->request->streams && u->piece && is_events(t) ? BODY_STREAMED : BODY_COLLECTED;
    if (t->request->streams)
        upstream_listen(t);
    if (t->body == BODY_STREAMED) {
        if (u->piece(u->arg, t->owner, (struct slice){from, len}))
            return len;
        list_remove(&t->listened_node); /* it is not the provider who is silent now */
        return CURL_WRITEFUNC_PAUSE;
    }
    buf_append(&t->answer, from, len);
    return buf_failed(&t->answer) ? 0 : len;
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

struct provider_response transfer_describe(struct transfer *t, CURLcode code)
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

static void set_times(struct transfer *t)
{
    long timeout_ms = (long)t->upstream->options.timeout_ms;
    curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, t->request->streams ? STREAM_MS : timeout_ms);
    curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS,
                     timeout_ms < CONNECT_TIMEOUT_MS ? timeout_ms : CONNECT_TIMEOUT_MS);
    curl_easy_setopt(t->easy, CURLOPT_MAXAGE_CONN, IDLE_CONNECTION_S);
}

static void set_options(struct transfer *t)
{
    CURL *c = t->easy;
    const struct upstream *u = t->upstream;
    const struct provider_call *request = t->request;
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
    set_times(t);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "carpool");
}

int transfer_prepare(struct transfer *t)
{
    int rc = set_headers(t, t->request->headers);
    if (rc == 0)
        set_options(t);
    return rc;
}
