/*
 * The connection to the server that several machines share (shared/shared.h), as the program keeps it: the
 * core's ports to it, and what it says by itself on the way back.
 */
#ifndef CARPOOL_COORDINATOR_COMMON_H
#define CARPOOL_COORDINATOR_COMMON_H

#include "coordinator/program.h"

/* The ports; nothing when redis is not enabled. */
void common_ports(struct program *p, struct core_ports *ports);
/* Connects, and waits a moment for it to stand, so that the first prompts already find it. With redis not
 * enabled nothing happens. An error only for what no waiting would mend: a URL that is none, a build that
 * cannot. Blocks for a second at most; runs the loop. */
MUST_CHECK
int common_open(struct program *p, uint64_t epoch, struct err *e);
/* Draining: false while what was told to the server last may not have arrived there. */
bool common_is_told(struct program *p);
/* Ends every operation with ERR_CLOSED. */
void common_close(struct program *p);

#endif
