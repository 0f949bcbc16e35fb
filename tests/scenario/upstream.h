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
};

#endif
