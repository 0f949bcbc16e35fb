/* A call on its way to the provider and back; for upstream.c and rules.c only. */
#ifndef SCENARIO_UPSTREAM_H
#define SCENARIO_UPSTREAM_H

#include "world.h"

#define WORLD_BATCH_MAX 256

struct flight {
    struct list node;
    struct call *call;
    uint64_t due_us;
    struct provider_response response;
    char *body; /* owned */
    char retry_after[32];
    struct speech *speech; /* said before the response, if it streams; owned */
    uint64_t billed;       /* to a payer, in picodollars (money.c) */
};

/* With all it owns; it is on no list. */
void upstream_free(struct flight *f);

/* "Answer to: …", to be freed. */
char *upstream_answer_to(const char *question);
/* Whether that member is the one whom the order is about. */
bool upstream_is_who(const struct call *call, size_t i, const struct order *o);
/* The prompt without the system prompt in front of it: texts have no roles. NULL stays NULL. */
const char *upstream_past_system(const struct call *call, const char *prompt);

/* service.c: the body of the answer, NULL: the call cannot be read; and what that answer means for each
 * member. */
char *service_answer(const struct call *call, const struct order *o);
enum verdict service_fate(const struct call *call, const struct order *o);

#endif
