/*
 * Lives of a world in which everything is up to the seed: who asks, what the provider and the disk do, when
 * processes die. No script says what must come of them; the rules that always hold do.
 *
 * random.c: a life; random_ask.c: who asks for what in it; lives.c: many of them, each in a process of its
 * own, so that one is the same whatever ran before it.
 */
#ifndef SCENARIO_RANDOM_H
#define SCENARIO_RANDOM_H

#include "world.h"

/* What differs from life to life. */
struct life {
    struct world *w;
    unsigned number; /* of the next client */
    unsigned tenants, ids;
    bool small_context; /* so that prompts can be too long for it */
    bool jumps;         /* hours may pass */
    bool money;         /* keys with budgets */
    bool machines;      /* there are two, and life.w is the one that acts */
};

struct life_options {
    bool verbose;  /* in this process: one life at a time */
    unsigned jobs; /* processes at a time */
    bool census;   /* print what was reached; many lives in which something never was have failed */
};

/* Runs the lives of the seeds first, first + 1, …; a failing one prints what went wrong and how to see it
 * again. Some run twice and must come to the same. Returns how many failed; nothing reached counts as one. */
uint64_t lives_run(uint64_t first, uint64_t count, const struct life_options *options);

/* One life in this process. *ret_trace (may be NULL): a hash of all that happened in it. False: ret_fault
 * says what is wrong. */
bool random_run(uint64_t seed, bool verbose, uint64_t *ret_trace, char ret_fault[1024]);

/* random_ask.c */
bool random_chance(struct world *w, unsigned percent);
/* What the world is configured with; sets what of *life follows from it. */
void random_configure(struct life *life, uint64_t seed, char ret_config[1024]);
void random_arrive(struct life *life);
void random_flood(struct life *life);
void random_large(struct life *life);
void random_settings(struct life *life);
/* An id that somebody may have asked for. */
void random_id(struct life *life, char ret_id[32]);
/* Asks for everything that was told once more. */
void random_ask_all(struct life *life);

#endif
