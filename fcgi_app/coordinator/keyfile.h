/* The provider key put through PUT /v1/settings: in <storage.dir>/provider.key, 0600, read by the coordinator
 * alone. */
#ifndef CARPOOL_COORDINATOR_KEYFILE_H
#define CARPOOL_COORDINATOR_KEYFILE_H

#include <stdbool.h>

#include "base/conf.h"
#include "base/err.h"

/* A key, and the provider and the host (base/base_url.h) that it was put for: it is never sent to another.
 * text is empty when there is none. */
struct saved_key {
    char text[CONF_TEXT];
    enum provider_kind kind;
    char host[CONF_TEXT];
    bool hostless; /* from a file that says no host: an earlier version wrote it */
};

/* *ret_key is empty when there is no file. Refuses a file that others could read. */
MUST_CHECK
int keyfile_read(const char *dir, struct saved_key *ret_key, struct err *e);
/* Writes key durably beside the file (provider.key.new), which stays as it is. */
MUST_CHECK
int keyfile_prepare(const char *dir, const struct saved_key *key, struct err *e);
/* What was prepared becomes the file (for an empty key: the file goes), durably. */
MUST_CHECK
int keyfile_keep(const char *dir, const struct saved_key *key, struct err *e);
/* What was prepared goes; also at start, for one that was killed between the two. */
void keyfile_drop(const char *dir);

#endif
