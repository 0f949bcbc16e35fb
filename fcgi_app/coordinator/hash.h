/* What hashes of a prompt in the coordinator have in common. */
#ifndef CARPOOL_COORDINATOR_HASH_H
#define CARPOOL_COORDINATOR_HASH_H

#include <sodium.h>
#include <stdint.h>

#include "base/slice.h"

/* Adds a text so that neither its end nor its absence can be taken for anything else. */
static inline void hash_text(crypto_generichash_state *h, struct slice s)
{
    uint64_t n = s.p ? s.n : UINT64_MAX;
    crypto_generichash_update(h, (const unsigned char *)&n, sizeof(n));
    if (s.n)
        crypto_generichash_update(h, (const unsigned char *)s.p, s.n);
}

#endif
