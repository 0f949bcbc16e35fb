/*
 * The prompts of a file on one link to the coordinator: up to so many at once, each under an id that another
 * run finds again, until each has an answer or an error. What is asked for a second time, because a
 * coordinator died or this program was killed, is replayed and not paid again (etc/protocol.md "When the
 * server goes away").
 */
#ifndef CARPOOL_CTL_SUBMIT_RUN_H
#define CARPOOL_CTL_SUBMIT_RUN_H

#include "client/link.h"
#include "ctl/submit_line.h"
#include "ctl/submit_out.h"
#include "ctl/submit_show.h"

struct submit_options {
    uint8_t trust_group[TRUST_GROUP_SIZE]; /* zeros: as a caller without a key */
    enum priority priority;                /* of lines that say none */
    const char *username;                  /* the same; NULL: none */
    const char *id_prefix;                 /* of ids that are made here */
    uint32_t concurrency;
    /* Asked every other second, and not 0 once it must not go on (*e says why); NULL: nobody asks. */
    int (*allowed)(void *arg, struct err *e);
    void *arg;
};

enum submit_end {
    SUBMIT_FINISHED,    /* every line has an answer or an error */
    SUBMIT_INTERRUPTED, /* the host has to leave (link_host_leaving) */
    SUBMIT_STUCK        /* it cannot go on; *e says why, and the same command goes on later */
};

struct submit_run {
    const struct submit_options *options;
    struct link *link;
    struct submit_reader *reader;
    struct submit_out *out;
    struct submit_show *show;
    struct submit_counts *counts;
    struct idset *ids; /* request ids: ID_DONE when the answer is in the file, ID_SEEN when it was asked */
    struct idset contents; /* how often a line's content came */
    struct idset batches;  /* that answers came in */
    struct submit_slot *slots;
    uint32_t open;           /* slots in use */
    uint32_t window;         /* how many may be; shrinks when the coordinator is full */
    uint32_t streak;         /* answers since it last changed */
    bool at_end;             /* of the file */
    uint64_t pause_until_us; /* nothing is sent before */
    uint64_t moved_us;       /* when a line was last dealt with, or the run began */
    uint64_t asked_us;       /* when allowed was asked last */
    uint64_t lost_us;        /* since when no coordinator could be reached; 0: one is */
};

#define ID_DONE 1
#define ID_SEEN 2

/* Blocks until the end. *e is filled for SUBMIT_STUCK. Everything in r but slots and the members behind it is
 * the caller's, before and after. */
enum submit_end submit_run(struct submit_run *r, struct err *e);

#endif
