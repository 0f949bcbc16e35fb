/*
 * A strict scan in front of cJSON, which by itself accepts duplicate keys, \u0000, invalid UTF-8, raw control
 * characters, 007, [1.], a BOM and trailing bytes. What passes here is RFC 8259 and means one thing only.
 */
#ifndef CARPOOL_JSON_SCAN_H
#define CARPOOL_JSON_SCAN_H

#include <stddef.h>

#include "base/err.h"
#include "base/slice.h"

#define JSON_MAX_DEPTH 64

/* Where and why a text is refused. reason is a static clause such as "duplicate key". */
struct json_fault {
    size_t offset; /* in bytes from the start of the text */
    const char *reason;
    char field[128]; /* the innermost key being read, cut at a character; empty at top level */
};

/*
 * Checks the whole text: valid UTF-8, one value, depth <= JSON_MAX_DEPTH, no duplicate keys in an object
 * (compared after unescaping), no \u0000, no lone surrogates, no numbers of more than 63 characters (cJSON's
 * limit) or beyond a double, no bytes after the value other than white space. 0, or ERR_INVAL with *ret_fault
 * filled, or ERR_NOMEM. Time is linear in the text but for objects of many keys, where it is n log n.
 */
MUST_CHECK
int json_scan(struct slice text, struct json_fault *ret_fault);

#endif
