/* Shares of a call's usage, one a member; see combined.h. */
#include "provider/combined.h"

typedef unsigned __int128 u128; /* a count times a weight needs more than 64 bits */

/* The member with the largest remainder of those not yet served: remainders fall and, within one, indices
 * rise from one pick to the next, so the last pick is all there is to remember. */
static size_t next_by_remainder(uint64_t whole, const uint64_t *weights, size_t n, u128 sum, size_t last)
{
    size_t best = n;
    u128 best_rest = 0, last_rest = last < n ? (u128)whole * weights[last] % sum : sum;
    for (size_t i = 0; i < n; i++) {
        u128 rest = (u128)whole * weights[i] % sum;
        bool served = rest > last_rest || (rest == last_rest && i <= last);
        if (!served && (best == n || rest > best_rest)) {
            best = i;
            best_rest = rest;
        }
    }
    return best;
}

static void share_equally(uint64_t whole, size_t n, uint64_t *ret_shares)
{
    for (size_t i = 0; i < n; i++)
        ret_shares[i] = whole / n + (i < whole % n);
}

void usage_share(uint64_t whole, const uint64_t *weights, size_t n, uint64_t *ret_shares)
{
    u128 sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += weights[i];
    if (sum == 0) {
        share_equally(whole, n, ret_shares);
        return;
    }
    uint64_t left = whole;
    for (size_t i = 0; i < n; i++) {
        ret_shares[i] = (uint64_t)((u128)whole * weights[i] / sum);
        left -= ret_shares[i];
    }
    for (size_t last = n; left > 0; left--) {
        last = next_by_remainder(whole, weights, n, sum, last);
        ret_shares[last]++;
    }
}
