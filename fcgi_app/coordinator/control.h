/*
 * Settings: what PUT /v1/settings changes, and the provider that is in force with them.
 */
#ifndef CARPOOL_COORDINATOR_CONTROL_H
#define CARPOOL_COORDINATOR_CONTROL_H

#include "coordinator/core.h"

/* Resolves configuration, stored overrides and saved key (may be empty) into the settings in force, and makes
 * the batcher. */
MUST_CHECK
int control_init(struct core *c, struct store_read *r, const struct saved_key *saved_key, struct err *e);
void control_fini(struct core *c);
/* A link is going: nothing answers it any more. */
void control_forget_link(struct core *c, struct core_link *l);
/* The operation that stores the resolved settings, for the driver to commit before it listens. NULL when
 * memory is short. */
struct commit_op *control_publish(struct core *c);

/* Answers DONE or REFUSAL once the change is durable and in force. ERR_INVAL: not a settings document. */
MUST_CHECK
int control_settings_put(struct core *c, struct core_link *l, const struct wire_frame *frame);

struct provider_ref *provider_ref_take(struct provider_ref *p);
void provider_ref_drop(struct provider_ref *p);

/* agree.c: what other machines have put is put here once the disk takes it; nobody waits for ever. About once
 * a second. */
void agree_maintain(struct core *c, uint64_t now_us);
/* The server is there, or away, from now on. */
void agree_standing(struct core *c);
void agree_fini(struct core *c);

#endif
