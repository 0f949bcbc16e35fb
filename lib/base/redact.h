/*
 * Secrets taken out of what is written. Every line of the programs' logs, every record of the event log and
 * of Kafka, and every word of a provider that a client is told pass through redact(), and this is the only
 * place that knows what a secret looks like:
 *   - the secrets that were remembered: those of the configuration, keys that are put at run time
 *   - what looks like one: cp_… of carpoolctl, sk-… and other providers' keys, Bearer and Basic credentials,
 * key=… in a URL, user:password@ in a URL, api_key: … and password: … Stars take their place, so lengths stay
 * and JSON stays JSON.
 *
 * What is remembered lies in memory that is not swapped out (as far as the system allows) and is wiped by
 * redact_forget(). Any thread.
 */
#ifndef CARPOOL_BASE_REDACT_H
#define CARPOOL_BASE_REDACT_H

#include <stddef.h>

#include "base/slice.h"

#define REDACT_SECRETS   32 /* the oldest goes when there are more */
#define REDACT_BYTES_MIN 8  /* a shorter one would blot out ordinary words and is not remembered */

/* Of a URL the password, if there is one: its host is no secret. Any other text is remembered whole. */
void redact_remember(struct slice secret);
/* Forgets all. When nothing is written any more. */
void redact_forget(void);

/* Overwrites what is secret in the n bytes. One pass, no memory, does not wait for anything slow. */
void redact(char *bytes, size_t n);
/* Overwrites every occurrence of one secret that is not remembered (a caller's own key). An empty one matches
 * nothing.
 */
void redact_secret(char *bytes, size_t n, struct slice secret);

#endif
