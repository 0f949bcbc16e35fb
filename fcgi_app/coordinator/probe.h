/*
 * Asks a model server how it is (provider.h), so that /health knows before a prompt has to find out: once a
 * provider is put in force, and every few seconds while something is wrong with it.
 */
#ifndef CARPOOL_COORDINATOR_PROBE_H
#define CARPOOL_COORDINATOR_PROBE_H

#include "coordinator/core.h"

/* Another provider is in force. */
void probe_reset(struct core *c);
/* The next time, ask: its model may be another one. */
void probe_soon(struct core *c);
/* Asks if it is time to. Part of core_maintain. */
void probe_ask(struct core *c, uint64_t now_us);
void probe_fini(struct core *c);

#endif
