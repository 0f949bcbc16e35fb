/*
 * API keys: the changes that administrators ask for (KEYS_CHANGE, etc/protocol.md), one after the other, and
 * what is known of a prompt's key by its trust group. Whether a caller may come in at all is the workers'
 * business, who read the store.
 */
#ifndef CARPOOL_COORDINATOR_KEYS_H
#define CARPOOL_COORDINATOR_KEYS_H

#include "coordinator/core.h"

MUST_CHECK
int keys_init(struct core *c, struct store_read *r, struct err *e);
void keys_fini(struct core *c);
/* A link is going: its changes that have not begun are not made, nothing answers it any more. */
void keys_forget_link(struct core *c, const struct core_link *l);

/* Answers DONE once the change is durable and in force, or REFUSAL. ERR_INVAL: not our protocol. */
MUST_CHECK
int keys_change(struct core *c, struct core_link *l, const struct wire_frame *frame);

/* The key of a trust group, also one that was revoked; NULL: it is none of the store's (no key, or one of the
 * environment). Lent until the next change. Costs nothing worth counting. */
static inline const struct key_record *keys_of(const struct core *c, const uint8_t group[TRUST_GROUP_SIZE])
{
    return key_index_by_id(&c->keys.index, group);
}

/* Whether prompts of that trust group are not to be sent any more. */
static inline bool keys_revoked(const struct core *c, const uint8_t group[TRUST_GROUP_SIZE])
{
    const struct key_record *k = keys_of(c, group);
    return k && k->revoked_s;
}

#endif
