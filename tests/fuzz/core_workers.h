/*
 * The workers of core_world.h: a few links, what was asked on each, and the rule that every question hears
 * one answer, of the right kind, and no other prompt's.
 */
#ifndef FUZZ_CORE_WORKERS_H
#define FUZZ_CORE_WORKERS_H

#include "core_world.h"

#define LINKS_MAX     4
#define QUESTIONS_MAX 64 /* a link; more are not asked */

struct question {
    uint64_t id;
    enum wire_type type;
    bool cancelled; /* an answer may cross the cancel, or not come */
    bool known;     /* a SUBMIT of workers_submit(): key and prompt are set */
    uint8_t key[REQUEST_KEY_SIZE];
    char prompt[64];
    uint64_t deadline_us;
};

struct core_workers {
    struct {
        bool open;
        struct core_link core;
        struct question questions[QUESTIONS_MAX];
        size_t questions_n;
        uint64_t last_id;
    } links[LINKS_MAX];
};

void workers_open(struct core_workers *l);
/* who: which request id, tenant and body; what: priority and body; flags: enum submit_flags. */
void workers_submit(struct core_workers *l, struct core_world *w, uint8_t link, uint8_t who, uint8_t what,
                    uint8_t flags, uint16_t wait_ms);
void workers_watch(struct core_workers *l, struct core_world *w, uint8_t link, uint8_t who, uint16_t wait_ms);
void workers_cancel(struct core_workers *l, struct core_world *w, uint8_t link, uint8_t question);
void workers_delete(struct core_workers *l, struct core_world *w, uint8_t link, uint8_t who);
void workers_count(struct core_workers *l, struct core_world *w, uint8_t link, struct slice name);
/* Any frame. */
void workers_send(struct core_workers *l, struct core_world *w, uint8_t link, enum wire_type type,
                  struct slice payload);
void workers_close(struct core_workers *l, struct core_world *w, uint8_t link);

/* Reads what the core left, and holds it against what was asked. */
void workers_read(struct core_workers *l, struct core_world *w);
/* Whether a question is open that must be answered. */
bool workers_wait(const struct core_workers *l);
/* The first deadline of a question that must be answered; UINT64_MAX: none. */
uint64_t workers_deadline_us(const struct core_workers *l);
/* Nobody may still wait; closes all. */
void workers_end(struct core_workers *l, struct core_world *w);

#endif
