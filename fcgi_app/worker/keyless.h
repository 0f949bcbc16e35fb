/*
 * Callers without a key: who sits at this machine, and which web page may speak for somebody who does. Pure;
 * auth.c decides when it counts.
 */
#ifndef CARPOOL_WORKER_KEYLESS_H
#define CARPOOL_WORKER_KEYLESS_H

#include <stdbool.h>

#include "worker/request.h"

/*
 * Whether the request comes from this machine, through no proxy, names a loopback host (a name that an
 * attacker's DNS lets point here is none), and was caused by no web page from elsewhere: Origin and, where
 * browsers leave that out, Sec-Fetch-Site (W3C Fetch Metadata) tell. listed: the origins whose pages may, as
 * in cors_allow_origin; "*" is none of them.
 */
bool keyless_allowed(const struct request *r, const char *listed);

/* Whether origin is one of the origins in list, which are separated by blanks or commas. */
bool keyless_origin_listed(const char *list, struct slice origin);

#endif
