/*
 * Where a member's value stands in the bytes of a JSON text, for values that are kept as they came: a tree
 * would lose the digits of large numbers.
 */
#ifndef CARPOOL_WORKER_JSON_SPAN_H
#define CARPOOL_WORKER_JSON_SPAN_H

#include "base/slice.h"

/* The bytes of the value of a member of the object that text is; text must have passed json_scan(). Absent
 * when there is none, or when its key is written with escapes. */
struct slice json_member_span(struct slice text, const char *key);

#endif
