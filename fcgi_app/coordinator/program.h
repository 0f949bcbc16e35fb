/*
 * The state of the coordinator as a program, shared by its two rooms: loop.c (its life and its turns) and
 * ports.c (what the core reaches through its ports).
 */
#ifndef CARPOOL_COORDINATOR_PROGRAM_H
#define CARPOOL_COORDINATOR_PROGRAM_H

#include <uv.h>

#include "base/steady.h"
#include "coordinator/core.h"
#include "coordinator/link.h"
#include "coordinator/loop.h"
#include "coordinator/upstream.h"

struct program {
    const struct conf *conf;
    int lock_fd;
    struct steady started;
    struct core core;
    uv_loop_t loop;
    struct links links;
    struct upstream *upstream;
    struct store *store;
    struct store_read *reading; /* between lookup and lookup_end */
    struct commit_thread *commits;
    struct sink *sink;
    struct list ops; /* handed to the commit thread at the end of the turn */
    uv_async_t committed;
    uv_check_t after_events;
    uv_prepare_t before_waiting;
    uv_timer_t due, maintain, drain;
    uv_signal_t sigterm, sigint;
    enum loop_end end;
    uint64_t busy_us; /* when something last ran */
    bool stopping;
    bool stirred;          /* the core heard something that no turn has followed yet */
    struct shared *shared; /* NULL: redis is not enabled, or it is not open (common.h) */
    bool shared_heard;     /* it has said how it stands */
    enum { NOT_TOLD, TELLING, TOLD } telling;
    struct shared_look last; /* while TELLING */
    struct shared_look_member last_member;
};

/* The core's ports, with p as their argument. What they lead to must be open before the core uses it. */
struct core_ports ports_of(struct program *p);

#endif
