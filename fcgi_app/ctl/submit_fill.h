/*
 * The front end of a run of carpoolctl submit: takes lines from the file, gives them their ids, and makes
 * submits of those that are to be asked. Not for use outside submit_run.c.
 */
#ifndef CARPOOL_CTL_SUBMIT_FILL_H
#define CARPOOL_CTL_SUBMIT_FILL_H

#include "ctl/submit_run.h"

enum slot_state { SLOT_FREE, SLOT_WAITS /* to be sent at due_us */, SLOT_SENT };

/* A line on its way. */
struct submit_slot {
    enum slot_state state;
    uint64_t id; /* of the question, while sent */
    uint64_t due_us;
    unsigned tries; /* refusals that asked for another try */
    struct submit_line line;
    struct wire_submit submit; /* lends from line */
};

/* Lines into free slots, as far as the window goes; what is wrong, or answered already, is dealt with on the
 * spot. Blocks on the files. Errors end the run. */
MUST_CHECK
int submit_fill(struct submit_run *r, struct err *e);

#endif
