/*
 * What the prompts of each key have cost in a calendar month (UTC): counters named
 * spent.<yyyymm>.<key id in hex>, in picodollars (base/cost.h), without days. Months come first in the name,
 * so that a coordinator that starts reads those of one month and no others. The coordinator adds to them in
 * the commit that makes the outcome durable.
 */
#ifndef CARPOOL_STORE_SPEND_H
#define CARPOOL_STORE_SPEND_H

#include <stdbool.h>
#include <stdint.h>

#include "store/store.h"
#include "wire/message.h"

/* Of one key in one month (202611). */
struct spend {
    uint8_t id[TRUST_GROUP_SIZE];
    uint32_t month;
    uint64_t picousd; /* 0: nothing */
};

#define SPEND_NAME_SIZE (sizeof("spent.202611.") + 2 * (size_t)TRUST_GROUP_SIZE)
void spend_name(const struct spend *s, char ret_name[SPEND_NAME_SIZE]);
/* False: it is the name of another counter. picousd is left alone. */
bool spend_parse_name(struct slice name, struct spend *ret_spend);

/* Adds to what that key has spent in that month. */
MUST_CHECK
int spend_add(struct store_write *w, const struct spend *s, struct err *e);
/* What a key has spent in a month, in picodollars. */
MUST_CHECK
int keys_spent(struct store_read *r, const uint8_t id[TRUST_GROUP_SIZE], uint32_t month,
               uint64_t *ret_picousd, struct err *e);
/* Calls each for every key that has spent anything in that month. */
MUST_CHECK
int spend_each(struct store_read *r, uint32_t month, void (*each)(void *arg, const struct spend *s),
               void *arg, struct err *e);

#endif
