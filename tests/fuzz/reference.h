/*
 * A second opinion on JSON: the rules of api.md written down again, plainly and without regard to speed, so
 * that the strict scan and cJSON can be held against it.
 */
#ifndef FUZZ_REFERENCE_H
#define FUZZ_REFERENCE_H

#include <cjson/cJSON.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

/* Whether text is what api.md asks of a body. True: *ret_canon gets what it means, in a form of its own. */
bool reference_parse(struct slice text, struct buf *ret_canon);
/* What a tree of cJSON means, in the same form. */
void reference_of_tree(struct buf *out, const cJSON *tree);
/* Scan, cJSON and reference must agree about the text. Returns whether it is accepted. */
bool reference_check(struct slice text);

#endif
