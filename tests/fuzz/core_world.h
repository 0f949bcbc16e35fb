/*
 * A coordinator core whose disk and provider are tables in memory, for fuzz_core.c: fast enough for a life
 * an input. Nothing comes back by itself; the harness says what does, and how. The full world, with a real
 * store and crashes, is tests/scenario.
 */
#ifndef FUZZ_CORE_WORLD_H
#define FUZZ_CORE_WORLD_H

#include "coordinator/call.h"
#include "coordinator/core.h"
#include "fuzz.h"

#define RECORDS_MAX 64
#define FLIGHTS_MAX 64

/* What the disk has of a request. Slices of record point into the bufs. */
struct core_record {
    uint8_t key[REQUEST_KEY_SIZE];
    bool there;
    bool
        bought; /* a call with it was, or may have been, charged: stays true whatever becomes of the record */
    struct request_record record;
    struct buf submit, refusal, chat;
    struct uuid chat_id;
};

/* How an operation comes back. */
enum disk_way {
    DISK_WELL,
    DISK_FULL,
    DISK_FAILS,
    DISK_FAILS_LATE /* written, nobody knows */,
    DISK_REFUSES,
    DISK_WAYS
};

/* What the provider does with a call. */
enum core_conduct {
    CORE_ANSWERS,
    CORE_MISSES, /* its first part */
    CORE_SHIFTS, /* each answer to the next */
    CORE_DOUBLES,
    CORE_PAGE, /* HTML */
    CORE_CUTS, /* at max_tokens */
    CORE_FILTERS,
    CORE_STATUS, /* a status, given apart */
    CORE_LOSES,
    CORE_NOT_SENT,
    CORE_CONDUCTS
};

struct core_world {
    struct core core;
    uint64_t now_us, random, version;
    struct list ops; /* with the disk, in their order */
    struct core_record records[RECORDS_MAX];
    size_t records_n;
    struct call *flights[FLIGHTS_MAX];
    size_t flights_n;
    bool key_prepared;
};

/* kind: which of a few configurations. */
void core_world_open(struct core_world *w, unsigned kind);
void core_world_close(struct core_world *w);
/* The first n operations come back, as one group. */
void core_world_disk(struct core_world *w, size_t n, enum disk_way way);
/* A call comes back. No-op when there is none of that number. */
void core_world_provider(struct core_world *w, size_t flight, enum core_conduct conduct, int status);
struct core_record *core_record_of(struct core_world *w, const uint8_t key[REQUEST_KEY_SIZE]);

/* core_provider.c: what the call is answered with, as the body of a response, in `out`. */
void core_respond(struct buf *out, const struct call *call, enum core_conduct conduct);
#define CORE_ANSWER "A: " /* and the prompt */

#endif
