/* Walks the members of a checked JSON object or array and lends their bytes as they stand, so that numbers
 * keep all their digits and nothing is parsed twice. Private to lib/provider. */
#ifndef CARPOOL_PROVIDER_EXTRA_H
#define CARPOOL_PROVIDER_EXTRA_H

#include "base/err.h"
#include "base/slice.h"

struct extra_item {
    struct slice key;   /* without quotes, escapes as they stand */
    struct slice value; /* one JSON value */
};

/* Checks strictly that text is JSON and opens with bracket ({ or [). what names it in the sentence.
 * ERR_INVAL, ERR_NOMEM. */
MUST_CHECK
int extra_check(struct slice text, char bracket, const char *what, struct err *e);
/* The next member of a checked object: begin with *at = 0. False at the end. */
bool extra_next(struct slice object, size_t *at, struct extra_item *ret_item);
/* The value under key of what is checked; absent when it is null or not there, or when object is no object.
 */
struct slice extra_get(struct slice object, const char *key);
/* The next element of a checked array, likewise. */
bool extra_element(struct slice array, size_t *at, struct slice *ret_element);
/* The bytes between the brackets of a checked array or object. */
struct slice extra_inside(struct slice container);

#endif
