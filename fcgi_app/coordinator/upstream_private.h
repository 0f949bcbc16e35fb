/* A request on its way, for upstream.c (the loop: which sockets, when) and upstream_transfer.c (the request:
 * what it says, what comes back) only. */
#ifndef CARPOOL_COORDINATOR_UPSTREAM_PRIVATE_H
#define CARPOOL_COORDINATOR_UPSTREAM_PRIVATE_H

#include <curl/curl.h>

#include "base/list.h"
#include "coordinator/upstream.h"

struct upstream {
    uv_loop_t *loop;
    struct upstream_options options;
    void (*done)(void *arg, void *owner, const struct provider_response *response);
    bool (*piece)(void *arg, void *owner, struct slice bytes);
    void *arg;
    CURLM *multi;
    const char *trust; /* authorities; NULL: libcurl's own */
    uv_timer_t timer;
    uv_timer_t silence;    /* runs while anybody is listened to */
    struct list transfers; /* running */
    struct list listened;  /* those of them that may not be silent for too long; the one that is for longest
                              first */
    struct list spare;     /* transfers kept for their easy handles */
    bool closing;
    unsigned handles; /* open uv handles: freed when the last one is closed */
};

/* One request on its way. Invariants: on transfers while request is not NULL, else on spare; on listened
 * while it streams and does not pause. */
struct transfer {
    struct list node, listened_node;
    struct upstream *upstream;
    const struct provider_call *request;
    void *owner;
    CURL *easy;
    struct curl_slist *headers;
    size_t sent; /* bytes of the body that libcurl has taken */
    enum { BODY_NONE, BODY_COLLECTED, BODY_STREAMED } body;
    uint64_t heard_ms; /* streams: when something last came, by upstream_now_ms */
    struct buf answer;
    char retry_after[64];
    char error[CURL_ERROR_SIZE];
};

/* The loop's own clock is as old as its turn. */
uint64_t upstream_now_ms(void);
/* Something came, or it goes on: its silence begins now. */
void upstream_listen(struct transfer *t);

/* upstream_transfer.c: what libcurl is told of the request. ERR_NOMEM. */
MUST_CHECK
int transfer_prepare(struct transfer *t);
/* What came of it; lends from t. */
struct provider_response transfer_describe(struct transfer *t, CURLcode code);

#endif
