/*
 * A worker without its servers: the real route, endpoints and store, in front of a coordinator that has
 * answered before it is asked. What the worker asks is read back and held against what api.md lets through.
 * For fuzz_request.c, which hands in requests, and fuzz_fastcgi.c, which lets libfcgi deliver them.
 */
#ifndef FUZZ_FRONT_H
#define FUZZ_FRONT_H

#include "fuzz.h"
#include "worker/exchange.h"
#include "worker/state.h"

#define FRONT_CLIENT_KEY "fuzz-client-key-9d1f77a02c"
#define FRONT_ADMIN_KEY  "fuzz-admin-key-4be8810f3a"
#define FRONT_BODY_MAX   8192

/* Requests that the store knows are named "done", "failed", "unknown", "deleted", "queued", "dispatched" and
 * "broken" (its chat is missing); the prompt of all is FRONT_PROMPT. */
#define FRONT_PROMPT "What is AI?"

enum front_auth { FRONT_KEYLESS, FRONT_KEYS, FRONT_KEYS_OFF, FRONT_AUTHS };
enum front_reply {
    FRONT_ANSWERS,  /* what a coordinator says that is well */
    FRONT_REFUSES,  /* a refusal, 429 */
    FRONT_FINISHED, /* QUEUED, PROGRESS "finished"; pieces before the answer */
    FRONT_MISTAKEN, /* frames of another type than was asked for */
    FRONT_DIES,     /* the connection ends */
    FRONT_REPLIES
};

struct front {
    struct conf conf;
    struct worker worker;
    struct exchange x;
    int fd; /* the coordinator's end of x.link */
};
extern struct front front;

/* What of the questions of one input is of interest afterwards. */
struct front_asked {
    unsigned submits, settings, deletes, watches, statuses;
};

/* Once a process. */
void front_start(void);
/* The frame with which a coordinator answers what a request for that URI makes the worker ask; WIRE_DELTA:
 * perhaps pieces, and an answer. */
enum wire_type front_expected(struct slice uri);
/* Before each request: who may do what, and what the coordinator will say. */
void front_begin(enum front_auth auth, enum front_reply reply, enum wire_type expected);
/* After it: reads and checks the questions. */
void front_end(struct front_asked *ret_asked);

#endif
