/*
 * What tokens cost, by the price table of the configuration ([prices]). The one place where prices are
 * applied: analytics, stats, metrics, records of calls and the budgets of keys all ask here.
 */
#ifndef CARPOOL_BASE_COST_H
#define CARPOOL_BASE_COST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/slice.h"

/* USD. NaN when the table has no line of exactly that name: what is not known is never 0. */
double cost_usd(const struct conf *c, struct slice model, uint64_t prompt_tokens, uint64_t completion_tokens);

/*
 * The same as a whole number of picodollars (1e-12 USD), for what is added up and compared: at a price with
 * up to six decimals a token costs a whole number of them, so that no sum loses anything; with more decimals
 * it is rounded up. False: there is no price. Stops at the top of u64 (18 million USD).
 */
#define PICOUSD_PER_MICROUSD 1000000ull
bool cost_picousd(const struct conf *c, struct slice model, uint64_t prompt_tokens,
                  uint64_t completion_tokens, uint64_t *ret_picousd);
uint64_t cost_of_microusd(uint64_t microusd);
/* a + b, stopping at the top. */
uint64_t cost_add(uint64_t a, uint64_t b);

#define COST_TEXT_SIZE 24
/* "0.0000003", "12.50": USD, exact, with two decimals at least. */
void cost_format(uint64_t picousd, char ret_text[COST_TEXT_SIZE]);

#endif
