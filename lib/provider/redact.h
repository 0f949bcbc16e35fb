/* Keys taken out of what a provider wrote, before it reaches a log or a client. */
#ifndef CARPOOL_PROVIDER_REDACT_H
#define CARPOOL_PROVIDER_REDACT_H

#include <stddef.h>

#include "base/slice.h"

/* Overwrites every occurrence of the secret with stars. An empty secret matches nothing. */
void redact_secret(char *bytes, size_t n, struct slice secret);

#endif
