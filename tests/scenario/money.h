/* What keys spend, in scripts and random lives. */
#ifndef CARPOOL_SCENARIO_MONEY_H
#define CARPOOL_SCENARIO_MONEY_H

#include "world.h"

struct line;
struct script;

/* CLOCK t: the wall clock is set forward. CLOCK month t: to that time before its month ends. */
void money_clock(struct script *s, struct line *l);
/* EXPECT SPENT tenant usd [held=usd]: this month, in the store and in the core; and what its prompts hold. */
void money_expect(struct script *s, struct line *l);

/* What keys hold is what their jobs hold; it and what is spent do not exceed a budget. After each turn. */
void money_check(struct world *w);
/* At the end nobody holds anything, and what the core says is spent is what the store says. */
void money_final(struct world *w);

#endif
