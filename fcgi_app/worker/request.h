/*
 * A request as FastCGI brings it: accepted from the shared listening socket, its variables sorted into
 * fields, its body read to the end. What it means is for route.c and the endpoints.
 */
#ifndef CARPOOL_WORKER_REQUEST_H
#define CARPOOL_WORKER_REQUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "worker/turnstile.h"

struct FCGX_Request;

enum method {
    METHOD_OTHER = 0,
    METHOD_GET = 1,
    METHOD_HEAD = 2,
    METHOD_POST = 4,
    METHOD_PUT = 8,
    METHOD_DELETE = 16,
    METHOD_OPTIONS = 32,
};

/* Texts are absent (p == NULL) when the server did not send them; they lend from the FastCGI request and are
 * good until the next request_accept(). */
struct request {
    struct FCGX_Request *fcgi;
    int fd; /* the connection to the web server: to be polled, never read */
    uint64_t accepted_us;

    enum method method;
    struct slice method_text, uri, content_type, content_length, content_encoding, remote_addr, host, origin;
    struct slice api_key, authorization, redirect_authorization;
    struct slice x_priority, prefer, cache_control, idempotency_key, preflight_method;
    struct slice fetch_site; /* what a browser says of the page behind a request (W3C Fetch Metadata) */
    struct slice forwarded;  /* any header that only a proxy adds */
    const char *doubled;     /* a header that may come only once and came twice, or NULL */

    struct buf body;
    bool body_too_large, body_cut; /* over the ceiling; shorter than it said */
};

/* Once a process, after fork and before any thread. */
MUST_CHECK
int request_library_init(struct err *e);

/* max_body_bytes: the ceiling of a body. ERR_NOMEM. */
MUST_CHECK
int request_init(struct request *r, uint64_t max_body_bytes);
void request_fini(struct request *r);

/* What lets another thread wake one that waits for a connection: set stop, then send the thread a signal that
 * has a handler while idle is true, and open the turnstile. */
struct request_gate {
    int listen_fd;
    bool own; /* no other process accepts there: connections that wait are served before this one stops */
    const atomic_bool *stop;
    atomic_bool *idle;
    struct turnstile *turnstile;
    struct turnstile_place *place; /* the thread's own */
};

/*
 * Finishes the request before, then blocks until the next one is there, its variables read but not its body.
 * ERR_CLOSED: stop was set. ERR_IO: the listening socket is no good any more.
 */
MUST_CHECK
int request_accept(struct request *r, const struct request_gate *gate, struct err *e);
/* Whether a header that is a list (RFC 9110, 5.6.1) names that token, in any case and whatever follows it. */
bool request_lists(struct slice header, const char *token);
/* Reads the body to its end, whatever its size, and keeps what fits. */
void request_read_body(struct request *r);
/* Sends what is buffered and lets the connection go. */
void request_finish(struct request *r);

#endif
