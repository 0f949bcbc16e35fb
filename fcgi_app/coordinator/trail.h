/*
 * The audit trail (store/audit.h): what a change of settings says there, and the copy of each entry in the
 * log directory.
 */
#ifndef CARPOOL_COORDINATOR_TRAIL_H
#define CARPOOL_COORDINATOR_TRAIL_H

#include "coordinator/change.h"

/* The entry for a change: {"changed":{"base_url":["old","new"],"high_priority.tokens":[1000,500],
 * "api_key":"***42c9"}}, compared with what is in force in c; of a key that goes "removed". NULL when it
 * changes nothing. ERR_NOMEM. */
MUST_CHECK
int trail_settings(const struct core *c, const struct settings_change *change,
                   struct commit_audit **ret_audit);

/* An operation has been committed: its entry, if it has one, goes to audit.log as a line of JSON. */
void trail_committed(struct core *c, const struct commit_op *op);

#endif
