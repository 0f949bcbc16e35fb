/*
 * The coordinator that runs now: what it says of itself (etc/protocol.md, STATUS), and who holds its lock.
 * Looking never starts one.
 */
#ifndef CARPOOL_CTL_RUNNING_H
#define CARPOOL_CTL_RUNNING_H

#include <cjson/cJSON.h>

#include "ctl/ctl.h"

/* Asks for its report within limit_us; the caller frees *ret_report with cJSON_Delete. ERR_NOT_FOUND: none
 * listens. Others: one does, or something else, and *e says what is wrong with it. One that is just leaving
 * because nobody needs it is taken for none. */
MUST_CHECK
int running_ask(struct ctl *t, enum link_start start, uint64_t limit_us, cJSON **ret_report, struct err *e);
/* Whether the holder of the lock is another carpoolctl, which restores: no coordinator to be told to leave.
 */
bool running_is_restore(long pid);
/* Members of a report, or of an object in it (of: NULL, the report itself): 0 and "" for what is missing. */
uint64_t running_number(const cJSON *report, const char *of, const char *key);
const char *running_text(const cJSON *report, const char *of, const char *key);

#endif
