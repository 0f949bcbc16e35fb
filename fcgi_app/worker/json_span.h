/*
 * Where a member's value stands in the bytes of a JSON text, for values that are kept as they came: a tree
 * would lose the digits of large numbers.
 */
#ifndef CARPOOL_WORKER_JSON_SPAN_H
#define CARPOOL_WORKER_JSON_SPAN_H

#include "base/slice.h"

/* The next member of the object that object is, in the order of the text: begin with *at = 0. The key is
 * without its quotes, its escapes as they stand. False at the end. object must have passed json_scan(). */
bool json_span_next(struct slice object, size_t *at, struct slice *ret_key, struct slice *ret_value);

/* The bytes of the value of a member of the object that text is; text must have passed json_scan(). Absent
 * when there is none, or when its key is written with escapes. */
struct slice json_member_span(struct slice text, const char *key);

#endif
