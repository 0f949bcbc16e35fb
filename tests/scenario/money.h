/* What keys spend, in scripts and random lives. */
#ifndef CARPOOL_SCENARIO_MONEY_H
#define CARPOOL_SCENARIO_MONEY_H

#include "world.h"

struct line;
struct script;

/* CLOCK t: the wall clock is set forward. CLOCK back t: back. CLOCK month t: to that time
 * before its month ends. */
void money_clock(struct script *s, struct line *l);
/* EXPECT SPENT tenant usd [held=usd]: this month, in the store and in the core; and what its prompts hold. */
void money_expect(struct script *s, struct line *l);

/* A call is sent, of which that becomes. Returns what is billed for it, in picodollars. */
uint64_t money_sent(struct world *w, const struct call *call, const enum verdict *fates);

/* A call that streams was ended before it was over. */
struct flight;
void money_ended(struct world *w, const struct flight *f);

/* Random lives: every tenant but the one without a key gets one; one of them gets other limits. */
void money_open(struct world *w, unsigned tenants);
void money_change(struct world *w, unsigned tenants);
/* The same keys without limits: a machine that has not been told of a key serves nobody who comes with it,
 * and deletes nothing of theirs. */
void money_know(struct world *w, unsigned tenants);

/* What keys hold is what their jobs hold; it and what is spent do not exceed a budget, but by what a call
 * that had to be asked again has cost. After each turn. */
void money_check(struct world *w);
/* At the end nobody holds anything, and what the core says is spent is what the store says, and no
 * less than the provider has billed. */
void money_final(struct world *w);

#endif
