/* Prices applied; see cost.h. */
#include "base/cost.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define PICOUSD_PER_USD 1000000000000ull
#define DECIMALS        12
#define ROUNDING        1e-3 /* of a picodollar: what a price in binary may be off by is less */

typedef unsigned __int128 u128; /* tokens times a price need more than 64 bits */

static const struct conf_price *price_of(const struct conf *c, struct slice model)
{
    for (size_t i = 0; i < c->prices_n; i++)
        if (slice_is(model, c->prices[i].model))
            return &c->prices[i];
    return NULL;
}

double cost_usd(const struct conf *c, struct slice model, uint64_t prompt_tokens, uint64_t completion_tokens)
{
    const struct conf_price *p = price_of(c, model);
    return p ? ((double)prompt_tokens * p->usd_in + (double)completion_tokens * p->usd_out) / 1e6 : NAN;
}

/* Of one token; the table has USD per million of them. */
static uint64_t token_picousd(double usd_per_million)
{
    double exact = usd_per_million * 1e6, up = ceil(exact - ROUNDING);
    return exact > 0 && up < 1 ? 1 : (uint64_t)up;
}

bool cost_picousd(const struct conf *c, struct slice model, uint64_t prompt_tokens,
                  uint64_t completion_tokens, uint64_t *ret_picousd)
{
    const struct conf_price *p = price_of(c, model);
    if (!p)
        return false;
    u128 sum = (u128)prompt_tokens * token_picousd(p->usd_in);
    sum += (u128)completion_tokens * token_picousd(p->usd_out);
    *ret_picousd = sum > UINT64_MAX ? UINT64_MAX : (uint64_t)sum;
    return true;
}

uint64_t cost_of_microusd(uint64_t microusd)
{
    return microusd > UINT64_MAX / PICOUSD_PER_MICROUSD ? UINT64_MAX : microusd * PICOUSD_PER_MICROUSD;
}

uint64_t cost_add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

void cost_format(uint64_t picousd, char ret_text[COST_TEXT_SIZE])
{
    int n = snprintf(ret_text, COST_TEXT_SIZE, "%u.%012llu", (unsigned)(picousd / PICOUSD_PER_USD),
                     (unsigned long long)(picousd % PICOUSD_PER_USD));
    for (int least = n - DECIMALS + 2; n > least && ret_text[n - 1] == '0'; n--)
        ret_text[n - 1] = 0;
}
