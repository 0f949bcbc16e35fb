/*
 * Somebody asks (WATCH) for a request id that does not run here: another machine may have it. Told once the
 * server that they share has said what it knows; a long poll is told at the end, or when its time is over.
 */
#ifndef CARPOOL_COORDINATOR_INQUIRY_H
#define CARPOOL_COORDINATOR_INQUIRY_H

#include "coordinator/core.h"

/* Invariant: in core.shared.inquiries until it is told or its link is gone. */
struct inquiry {
    struct list node;
    struct core_link *link;
    uint64_t id; /* of the frame to answer */
    uint8_t key[REQUEST_KEY_SIZE];
    uint64_t deadline_us;
    uint64_t look_at_us, look_step_us;
};

/* Answers with PROGRESS, ANSWER or REFUSAL, now or later. */
void inquiry_begin(struct core *c, struct core_link *l, uint64_t id, const struct wire_watch *watch,
                   uint64_t now_us);
/* Whoever watches j asks the server instead: what became of its id is not in this machine's store, where
 * watchers look. */
void inquiry_take_watchers(struct core *c, struct job *j);
/* What the server knows of the key. True: it was told, and is gone. */
bool inquiry_looked(struct core *c, struct inquiry *q, const struct shared_record *r, uint64_t now_us);
/* The server is away: all are told so. */
void inquiry_end_all(struct core *c);

bool inquiry_is_open(const struct core *c, const struct core_link *l, uint64_t id);
/* Nobody waits for that one (id 0: for any of the link) any more. */
void inquiry_forget(struct core *c, const struct core_link *l, uint64_t id);

#endif
