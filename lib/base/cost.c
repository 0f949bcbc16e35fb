/* Prices applied; see cost.h. */
#include "base/cost.h"

#include <math.h>

double cost_usd(const struct conf *c, struct slice model, uint64_t prompt_tokens, uint64_t completion_tokens)
{
    for (size_t i = 0; i < c->prices_n; i++) {
        const struct conf_price *p = &c->prices[i];
        if (slice_is(model, p->model))
            return ((double)prompt_tokens * p->usd_in + (double)completion_tokens * p->usd_out) / 1e6;
    }
    return NAN;
}
