/* Coordinators that come and go: starting, kill -9 at any moment, one that takes over from another that does
 * not know it, leaving after a drain. */
#ifndef SCENARIO_PROCESS_H
#define SCENARIO_PROCESS_H

#include "world.h"

/* As loop.c starts it: what is stored is taken up, the settings are published, and then somebody may ask. */
int process_start(struct world *w, struct err *e);
/* A port is used: the planned moment of a kill may be there. True: the process is dead, and what it wanted of
 * the port does not happen. */
bool process_is_dead(struct world *w);
/* kill -9 and the next one. */
void process_crash(struct world *w, enum survives what, bool workers_too);
/* Drained, or its time to drain is over: it finishes its commits, leaves, and the next one starts. */
void process_leave(struct world *w);
/* A second coordinator starts while this one lives on (stalled: stopped for that long). reached: the commit
 * that is on its way gets to the disk before. */
void process_take_over(struct world *w, uint64_t stall_us, bool reached);
/* The elder's state changes places with the world's. */
void process_swap(struct world *w);
bool process_elder_runs(const struct world *w);
/* The elder does what has fallen due; it ends when it finds out. */
void process_elder_act(struct world *w, void (*act)(struct world *w));
/* kill -9 for the elder, if there is one. */
void process_elder_end(struct world *w);
/* What is left of the core that acts goes where a leak checker still sees it. */
void process_bury(struct world *w);

#endif
