/* The provider key put through PUT /v1/settings: in <storage.dir>/provider.key, 0600, read by the coordinator
 * alone. */
#ifndef CARPOOL_COORDINATOR_KEYFILE_H
#define CARPOOL_COORDINATOR_KEYFILE_H

#include "base/conf.h"
#include "base/err.h"

/* A key and the provider it was put for: it is never sent to another. text is empty when there is none. */
struct saved_key {
    char text[CONF_TEXT];
    enum provider_kind kind;
};

/* *ret_key is empty when there is no file. Refuses a file that others could read. */
MUST_CHECK
int keyfile_read(const char *dir, struct saved_key *ret_key, struct err *e);
/* Replaces the file durably (written beside, synced, renamed); an empty key removes it. */
MUST_CHECK
int keyfile_write(const char *dir, const struct saved_key *key, struct err *e);

#endif
