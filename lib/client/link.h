/*
 * The client of the coordinator: one kept-open connection a thread, connected when it is first needed. Asks
 * one question at a time and waits for its answer while it watches the client's connection too. Brings a
 * coordinator up when there is none (autostart.h).
 */
#ifndef CARPOOL_CLIENT_LINK_H
#define CARPOOL_CLIENT_LINK_H

#include <stdint.h>

#include "base/buf.h"
#include "base/conf.h"
#include "base/err.h"
#include "base/uuid.h"
#include "client/autostart.h"
#include "wire/frame.h"
#include "wire/message.h"

/* What the links of a process have in common. */
struct link_host {
    struct uuid pool;
    uint32_t capacity; /* of the whole pool, for WIRE_HELLO */
    char *socket_path;
    const char *config; /* the file that a coordinator reads which is started; lent */
    bool may_start;     /* coordinator.autostart */
    int leave_fd;       /* readable once the time to stop is over: whoever still waits gives up; -1: never */
    struct autostart autostart;
    void (*met)(void *arg); /* a coordinator has welcomed a link; NULL: nobody wants to know */
    void *arg;
};

/* A pool of no capacity that never has to leave; conf must outlive it. ended: as autostart_init. ERR_NOMEM.
 */
MUST_CHECK
int link_host_init(struct link_host *h, const struct conf *conf, void (*ended)(const struct autostart *a),
                   struct err *e);
void link_host_fini(struct link_host *h);
/* Whether leave_fd is readable. */
bool link_host_leaving(const struct link_host *h);

/* Invariants: in[0 .. taken) is the frame lent last, the rest of in is not yet looked at; out holds the
 * questions that are not yet sent. fd is -1 while not connected. */
struct link {
    struct link_host *host;
    int fd;
    uint64_t last_id;
    struct buf in, out;
    size_t taken;
};

enum link_start { LINK_IF_RUNNING, LINK_AUTOSTART };

enum link_result {
    LINK_OK,
    LINK_LOST,        /* the coordinator went away, or broke the protocol; the connection is closed */
    LINK_LATE,        /* the deadline came first */
    LINK_CLIENT_GONE, /* nobody waits for the answer any more */
    LINK_LEAVING,     /* this process has to end now (link_host_leaving()) */
    LINK_NO_MEMORY,
};

void link_init(struct link *l, struct link_host *h);
/* Closes the connection; the link can be connected again. */
void link_close(struct link *l);
void link_fini(struct link *l);

/*
 * Makes sure that the link is connected and welcomed; nothing to do when it was. Blocks until deadline_us
 * (monotonic) at the longest. ERR_NOT_FOUND: no coordinator runs (LINK_IF_RUNNING, or coordinator.autostart
 * is off). Other errors: it could not be started or reached, or this process has to end; *e says why.
 */
MUST_CHECK
int link_connect(struct link *l, enum link_start start, uint64_t deadline_us, struct err *e);

/* The same behind what l->out holds already, so that several go out in one link_send(). */
uint64_t link_question_more(struct link *l, enum wire_type type, size_t *ret_mark);
/* Begins a question in l->out; the caller appends its payload and calls wire_frame_end() with the mark.
 * Returns the question's id. */
uint64_t link_question(struct link *l, enum wire_type type, size_t *ret_mark);
MUST_CHECK
enum link_result link_send(struct link *l, uint64_t deadline_us);
/* The next frame for id; frames for questions that were given up are skipped. client_fd: watched for its end;
 * -1: none. The frame lends from the link until its next use. */
MUST_CHECK
enum link_result link_receive(struct link *l, uint64_t id, int client_fd, uint64_t deadline_us,
                              struct wire_frame *ret_frame);
/* The type of the next frame if it is here whole, so that receiving it waits for nobody; else 0. */
unsigned link_next(const struct link *l);
/* The same as link_receive() for any of the questions first .. last. */
MUST_CHECK
enum link_result link_receive_any(struct link *l, uint64_t first, uint64_t last, int client_fd,
                                  uint64_t deadline_us, struct wire_frame *ret_frame);
/* Tells the coordinator that nobody waits for the answer to id (0: nothing was asked yet, nothing is told).
 * Never blocks. */
void link_cancel(struct link *l, uint64_t id);

/* Question and answer in one: connects, sends payload, waits. 0; ERR_NOT_FOUND as link_connect; ERR_CLOSED:
 * lost on the way, so the outcome is not known; ERR_TIMEOUT; ERR_NOMEM. */
MUST_CHECK
int link_ask(struct link *l, enum link_start start, enum wire_type type, struct slice payload,
             uint64_t deadline_us, struct wire_frame *ret_frame, struct err *e);

#endif
