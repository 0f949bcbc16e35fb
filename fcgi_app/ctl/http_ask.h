/*
 * A small HTTP/1.1 client over a plain socket, for the doctor: one request a connection, bodies of bounded
 * size. What a server does wrong is told and never repaired. No https, no redirects, no proxies.
 */
#ifndef CARPOOL_CTL_HTTP_ASK_H
#define CARPOOL_CTL_HTTP_ASK_H

#include "base/buf.h"

#define HTTP_HOST_MAX 256
#define HTTP_PATH_MAX 512
#define HTTP_BODY_MAX (1u << 20)

/* "http://host[:port][/path]" taken apart; path is without a slash at its end, "" for the root. */
struct http_url {
    char host[HTTP_HOST_MAX]; /* of an IPv6 address without the brackets */
    char port[6];
    char path[HTTP_PATH_MAX];
};

/* Slices lend from raw. */
struct http_answer {
    struct buf raw; /* as it came; chunks of the body are joined */
    bool cut;       /* there was more, which was not read */
    int status;
    struct slice headers, body;
};

/* ERR_INVAL with a sentence; of https, that it is not for here. */
MUST_CHECK
int http_url_parse(const char *text, struct http_url *ret_url, struct err *e);

/*
 * Asks url's path and target behind it. headers: lines that end in CR LF, or ""; body absent: none.
 * ERR_CLOSED: nobody answers there, or the connection ended too early; ERR_TIMEOUT; ERR_INVAL: what came is
 * no HTTP; ERR_NOMEM. Blocks for 15 seconds at the longest, but for the lookup of the host's name. On success
 * the caller ends *ret_answer with http_answer_fini().
 */
MUST_CHECK
int http_ask(const struct http_url *url, const char *method, const char *target, const char *headers,
             struct slice body, struct http_answer *ret_answer, struct err *e);
void http_answer_fini(struct http_answer *a);
/* The value of the first header of that name; absent: there is none. */
struct slice http_header(const struct http_answer *a, const char *name);

/* raw holds all that came until the connection's end, or with cut the front of it: fills the rest. Pure.
 * ERR_INVAL: no HTTP; ERR_CLOSED: cut short. */
MUST_CHECK
int http_answer_parse(struct http_answer *a);

#endif
