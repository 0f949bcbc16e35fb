/* ROOMS: fcgi_app/worker tests/fuzz/front.c tests/fuzz/front_check.c tests/fuzz/fcgi_wire.c */
/*
 * The FastCGI edge: the real libfcgi accepts what a web server sends over a real socket, the worker reads,
 * routes, admits, answers, and what comes back is read as the web server would. fcgi_wire.h says how an
 * input is written.
 */
#include <fcgiapp.h>
#include <stdatomic.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fcgi_wire.h"
#include "front_check.h"
#include "json/scan.h"

#define CONNECTION_MAX (192u << 10) /* fits into a socket's buffer */

static struct turnstile turnstile;
static struct turnstile_place place;

void fuzz_start(void)
{
    front_start();
    turnstile_init(&turnstile);
    turnstile_place_init(&place);
}

/* What may come once only, by RFC 3875 and api.md. */
static bool comes_once(struct slice name)
{
    static const char *const names[] = {
        "REQUEST_METHOD",      "REQUEST_URI",
        "CONTENT_TYPE",        "CONTENT_LENGTH",
        "REMOTE_ADDR",         "HTTP_HOST",
        "HTTP_ORIGIN",         "HTTP_X_API_KEY",
        "HTTP_AUTHORIZATION",  "HTTP_PREFER",
        "HTTP_SEC_FETCH_SITE", "HTTP_X_PRIORITY",
        "HTTP_CACHE_CONTROL",  "REDIRECT_HTTP_AUTHORIZATION",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_is(name, names[i]))
            return true;
    return false;
}

/* What the variables of a request say, found without the code under test. */
struct facts {
    bool known; /* else it is not clear which of several requests it was that libfcgi delivered */
    bool doubled, local, client_key, admin_key, wrong_length, head;
    bool shown; /* a key stands where it is no key, such as in the path */
    enum front_auth auth;
};

static bool starts_with(struct slice s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.n >= n && strncasecmp(s.p, prefix, n) == 0;
}

static bool is_wrong_length(const struct fcgi_text *r, struct slice value)
{
    unsigned long long n = 0;
    if (!value.n)
        return false;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9' || i > 15)
            return true;
        n = n * 10 + (unsigned)(value.p[i] - '0');
    }
    return n && n != r->body.n;
}

static bool came_before(const struct fcgi_text *r, size_t end, struct slice name)
{
    struct slice other, value;
    for (size_t at = 0; fcgi_text_variable(r, &at, &other, &value) && at < end;)
        if (slice_equal(other, name))
            return true;
    return false;
}

/* Its records hold what its text says, and nothing else. */
static bool is_plain(const struct fcgi_text *r)
{
    return r->role == 1 && r->id == 1 && !r->odd && !r->noend && !r->abort;
}

/* Where a key may stand. */
static bool is_key_header(struct slice name)
{
    return slice_is(name, "HTTP_X_API_KEY") || slice_is(name, "HTTP_AUTHORIZATION") ||
           slice_is(name, "REDIRECT_HTTP_AUTHORIZATION");
}

static bool holds_key(struct slice s)
{
    return fuzz_holds(s, SLICE_LITERAL(FRONT_CLIENT_KEY)) || fuzz_holds(s, SLICE_LITERAL(FRONT_ADMIN_KEY));
}

static struct facts facts_of(const struct fcgi_text *r)
{
    struct facts f = {
        .known = true, .shown = holds_key(r->body), .auth = (enum front_auth)(r->auth % FRONT_AUTHS)};
    struct slice name, value;
    for (size_t at = 0; fcgi_text_variable(r, &at, &name, &value);) {
        f.doubled = f.doubled || (comes_once(name) && came_before(r, at, name)) ||
                    (r->length && slice_is(name, "CONTENT_LENGTH"));
        f.local =
            f.local ||
            (slice_is(name, "REMOTE_ADDR") &&
             (starts_with(value, "127.") || starts_with(value, "::1") || starts_with(value, "::ffff:127.")));
        f.shown = f.shown || (!is_key_header(name) && holds_key(value));
        f.client_key = f.client_key || fuzz_holds(value, SLICE_LITERAL(FRONT_CLIENT_KEY));
        f.admin_key = f.admin_key || fuzz_holds(value, SLICE_LITERAL(FRONT_ADMIN_KEY));
        f.wrong_length =
            f.wrong_length || (is_plain(r) && slice_is(name, "CONTENT_LENGTH") && is_wrong_length(r, value));
        if (slice_is(name, "REQUEST_METHOD")) /* the last of two counts */
            f.head = slice_is(value, "HEAD");
    }
    return f;
}

/* Whoever may not ask must not have been asked for. */
static void check_asked(const struct facts *f, const struct front_asked *a)
{
    enum front_auth auth = f->auth;
    unsigned prompts = a->submits + a->watches, admin = a->settings + a->deletes;
    bool known = auth != FRONT_KEYLESS && (f->client_key || f->admin_key);
    bool knows_admin = auth != FRONT_KEYLESS && f->admin_key;
    bool keyless = auth != FRONT_KEYS && f->local;
    FUZZ_CHECK(!prompts || known || keyless || auth == FRONT_KEYS_OFF, "a prompt of a stranger is handed in");
    FUZZ_CHECK(!admin || knows_admin || keyless, "a stranger manages");
    FUZZ_CHECK(!f->doubled || !(prompts + admin), "a request with a doubled header is served");
    FUZZ_CHECK(!f->wrong_length || !(a->submits + a->settings), "a body of another length is served");
}

/* "Content-Length: 17" among the header lines; -1: none. */
static long long told_length(struct slice headers)
{
    static const char name[] = "Content-Length: ";
    const char *at = memmem(headers.p, headers.n, name, sizeof(name) - 1);
    return at ? strtoll(at + sizeof(name) - 1, NULL, 10) : -1;
}

/* Every event is a JSON text in one line, or says that the end is reached; nothing else comes but comments.
 */
static void check_events(struct slice body)
{
    struct json_fault fault;
    while (body.n) {
        const char *end = memmem(body.p, body.n, "\n\n", 2);
        FUZZ_CHECK(end, "an event without end: %.*s", (int)body.n, body.p);
        struct slice event = {body.p, (size_t)(end - body.p)}, data = {event.p + 6, event.n - 6};
        FUZZ_CHECK(!memchr(event.p, '\n', event.n) && !memchr(event.p, '\r', event.n),
                   "an event over several lines");
        if (!slice_is(event, ": ping"))
            FUZZ_CHECK(starts_with(event, "data: ") &&
                           (slice_is(data, "[DONE]") || json_scan(data, &fault) == 0),
                       "a bad event: %.*s", (int)event.n, event.p);
        body = (struct slice){end + 2, body.n - event.n - 2};
    }
}

static void check_answer(const struct facts *f, const struct buf *out)
{
    const char *end = memmem(out->data ? out->data : "", out->len, "\r\n\r\n", 4);
    FUZZ_CHECK(end, "an answer without headers: %.*s", (int)out->len, out->data ? out->data : "");
    struct slice headers = {out->data, (size_t)(end + 2 - out->data)};
    struct slice body = {end + 4, out->len - headers.n - 2};
    int status = 0;
    FUZZ_CHECK(sscanf(out->data, "Status: %3d ", &status) == 1, "the answer begins with %.*s", (int)headers.n,
               headers.p);
    FUZZ_CHECK(fuzz_holds(headers, SLICE_LITERAL("\r\nX-Request-Id: ")), "no X-Request-Id");
    long long length = told_length(headers);
    FUZZ_CHECK(f->head ? !body.n : length < 0 || (size_t)length == body.n, "%lld bytes are told and %zu sent",
               length, body.n);
    FUZZ_CHECK(!f->doubled || status == 400, "a doubled header is answered with %d", status);
    FUZZ_CHECK(status != 500 || fuzz_holds(body, SLICE_LITERAL("cannot be read.")) || f->head,
               "status 500: %.*s", (int)body.n, body.p);
    bool json = fuzz_holds(headers, SLICE_LITERAL("Content-Type: application/json"));
    if (fuzz_holds(headers, SLICE_LITERAL("Content-Type: text/event-stream")))
        check_events(body);
    front_check_response(status, headers, f->head ? (struct slice){0} : body, json);
    if (f->known && !f->shown)
        FUZZ_CHECK(!holds_key(buf_slice(out)), "a key is told");
}

static void read_all(int fd, struct buf *out)
{
    ssize_t n;
    do {
        char *at = buf_reserve(out, 65536);
        FUZZ_CHECK(at, "an answer without end");
        n = recv(fd, at, 65536, MSG_DONTWAIT);
        if (n > 0)
            buf_advance(out, (size_t)n);
    } while (n > 0);
}

/* One request that libfcgi has delivered. */
static void serve(const struct facts *facts, enum front_reply reply, int server)
{
    struct buf bytes, out;
    struct front_asked asked;
    buf_init(&bytes, 8u << 20);
    buf_init(&out, 8u << 20);
    front_begin(facts->auth, reply, front_expected(front.x.request.uri));
    exchange_run(&front.x);
    request_finish(&front.x.request);
    front_end(&asked);
    read_all(server, &bytes);
    struct slice rest = buf_slice(&bytes);
    FUZZ_CHECK(fcgi_read(&rest, &out), "the answer has no end");
    FUZZ_CHECK(!rest.n, "%zu bytes behind the answer", rest.n);
    check_answer(facts, &out);
    if (facts->known)
        check_asked(facts, &asked);
    buf_fini(&bytes);
    buf_fini(&out);
}

/* "\n!cut=N" at the end of the input. */
static size_t cut_of(struct slice *input)
{
    const char *line = input->n ? memrchr(input->p, '\n', input->n) : NULL;
    size_t left = line ? input->n - (size_t)(line - input->p) : 0;
    if (left < 7 || left > 12 || memcmp(line, "\n!cut=", 6) != 0)
        return SIZE_MAX;
    char digits[8] = {0};
    memcpy(digits, line + 6, left - 6);
    input->n -= left;
    return strtoul(digits, NULL, 10);
}

static void connect_to_worker(int ret_pair[2])
{
    int size = CONNECTION_MAX * 2;
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ret_pair) == 0, "no socket pair");
    for (int i = 0; i < 2; i++)
        setsockopt(ret_pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    front.x.request.fcgi->ipcFd = ret_pair[0];
    front.x.request.fcgi->keepConnection = 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice input = {(const char *)data, size}, text;
    struct fcgi_text request = {0};
    struct buf bytes;
    struct err e = {0};
    atomic_bool stop = false, idle = false;
    struct request_gate gate = {-1, false, &stop, &idle, &turnstile, &place};
    int pair[2];
    size_t cut = cut_of(&input);
    buf_init(&bytes, CONNECTION_MAX);
    for (text = input; fcgi_text_next(&text, &request);)
        fcgi_write(&bytes, &request);
    if (buf_failed(&bytes))
        goto out;
    connect_to_worker(pair);
    size_t n = bytes.len < cut ? bytes.len : cut;
    FUZZ_CHECK(send(pair[1], bytes.data, n, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)n,
               "the request does not fit");
    shutdown(pair[1], SHUT_WR);
    bool known = true, more = true, whole = n == bytes.len;
    for (text = input; request_accept(&front.x.request, &gate, &e) == 0;) {
        more = more && fcgi_text_next(&text, &request);
        struct facts facts = {.auth = FRONT_KEYLESS, .head = front.x.request.method == METHOD_HEAD};
        if (known && more)
            facts = facts_of(&request);
        facts.wrong_length = facts.wrong_length && whole;
        serve(&facts, (enum front_reply)(request.reply % FRONT_REPLIES), pair[1]);
        known = known && is_plain(&request);
    }
    close(pair[1]);
    if (front.x.request.fcgi->ipcFd >= 0)
        close(front.x.request.fcgi->ipcFd);
    front.x.request.fcgi->ipcFd = -1;
out:
    buf_fini(&bytes);
    return 0;
}
