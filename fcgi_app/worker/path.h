/*
 * The path and the parameters of a request's URI (api.md "Rules for every endpoint"). Pure.
 */
#ifndef CARPOOL_WORKER_PATH_H
#define CARPOOL_WORKER_PATH_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

/*
 * Splits REQUEST_URI at '?', takes base_path ("" or "/prefix") off and decodes the percent escapes of the
 * rest once. ERR_INVAL: a broken escape, %2F (but below /v1/models/), %00, or bytes that are no UTF-8.
 * ERR_NOT_FOUND: not under base_path. *ret_path begins with '/' and lives in the arena; *ret_query lends from
 * uri (absent: no '?').
 */
MUST_CHECK
int path_from_uri(struct slice uri, const char *base_path, struct arena *arena, struct slice *ret_path,
                  struct slice *ret_query, struct err *e);

/* Whether path is what pattern says. "{id}" at its end stands for one segment that is not empty, "{name}" for
 * all that follows, slashes and all; what it is is lent in *ret_id, which is absent without them. */
bool path_match(const char *pattern, struct slice path, struct slice *ret_id);

/* The decoded value of a query parameter, from the arena. Absent parameter: 0 and an absent slice. ERR_INVAL:
 * given twice, or not decodable. */
MUST_CHECK
int query_get(struct slice query, const char *name, struct arena *arena, struct slice *ret_value,
              struct err *e);

/* 1 to 128 bytes of [A-Za-z0-9._:-]. */
bool request_id_valid(struct slice id);

#endif
