/*
 * Checked getters over a cJSON tree. Every failure names the field and what it should have been, in words for
 * the person who wrote the request.
 */
#ifndef CARPOOL_JSON_READ_H
#define CARPOOL_JSON_READ_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

/* Scans strictly, then parses. On success the caller frees *ret_root with cJSON_Delete. ERR_INVAL with a
 * sentence such as `byte 17, in "prompt": duplicate key`; ERR_NOMEM. text need not be terminated. */
MUST_CHECK
int json_parse(struct slice text, cJSON **ret_root, struct err *e);

/*
 * Members of an object. JSON null counts as absent. Absent: 0 with *ret_… untouched and *ret_present (may be
 * NULL) false. Wrong type or out of range: ERR_INVAL with a sentence that starts with the key. Keys are
 * compared exactly. Slices lend from the tree.
 */
MUST_CHECK
int json_get_text(const cJSON *object, const char *key, size_t max_bytes, struct slice *ret_text,
                  bool *ret_present, struct err *e);
MUST_CHECK
int json_get_double(const cJSON *object, const char *key, double min, double max, double *ret_number,
                    bool *ret_present, struct err *e);
/* Whole numbers only, below 2^53, which a double cannot tell from 2^53 + 1. */
MUST_CHECK
int json_get_u64(const cJSON *object, const char *key, uint64_t min, uint64_t max, uint64_t *ret_number,
                 bool *ret_present, struct err *e);
MUST_CHECK
int json_get_bool(const cJSON *object, const char *key, bool *ret_value, bool *ret_present, struct err *e);
MUST_CHECK
int json_get_object(const cJSON *object, const char *key, const cJSON **ret_value, bool *ret_present,
                    struct err *e);

#endif
