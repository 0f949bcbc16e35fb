/*
 * What tokens cost, by the price table of the configuration ([prices]). The one place where prices are
 * applied: analytics, stats, metrics and records of calls all ask here.
 */
#ifndef CARPOOL_BASE_COST_H
#define CARPOOL_BASE_COST_H

#include <stdint.h>

#include "base/conf.h"
#include "base/slice.h"

/* USD. NaN when the table has no line of exactly that name: what is not known is never 0. */
double cost_usd(const struct conf *c, struct slice model, uint64_t prompt_tokens, uint64_t completion_tokens);

#endif
