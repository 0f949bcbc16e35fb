/*
 * Figures and deletions among several machines: what is committed here is told to the others, and what they
 * tell is committed here, so that /stats and the like show all of them together on each.
 */
#ifndef CARPOOL_COORDINATOR_NEWS_H
#define CARPOOL_COORDINATOR_NEWS_H

#include "coordinator/core.h"

/* The counters of op are durable here. */
void news_counted(struct core *c, const struct commit_op *op);
/* Tells what the others have not heard of yet; when they cannot be reached, later. About once a second, and
 * before leaving. */
void news_tell(struct core *c);
void news_fini(struct core *c);

#endif
