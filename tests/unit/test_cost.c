/* Prices applied to tokens. */
#include "base/cost.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static struct conf conf;

static void add(const char *model, double in, double out)
{
    struct conf_price *p = &conf.prices[conf.prices_n++];
    strcpy(p->model, model);
    p->usd_in = in;
    p->usd_out = out;
}

Test(cost, tokens_times_price)
{
    add("gpt-4o-mini", 0.15, 0.60);
    add("free", 0, 0);
    cr_assert_float_eq(cost_usd(&conf, slice_of("gpt-4o-mini"), 1000000, 0), 0.15, 1e-12);
    cr_assert_float_eq(cost_usd(&conf, slice_of("gpt-4o-mini"), 0, 1000000), 0.60, 1e-12);
    cr_assert_float_eq(cost_usd(&conf, slice_of("gpt-4o-mini"), 2000, 3000), 0.0021, 1e-12);
    cr_assert_eq(cost_usd(&conf, slice_of("free"), 5, 5), 0, "a price of nothing is a price");
}

Test(cost, a_model_without_a_price_costs_nobody_knows_what)
{
    add("gpt-4o-mini", 0.15, 0.60);
    cr_assert(isnan(cost_usd(&conf, slice_of("gpt-4o"), 1, 1)));
    cr_assert(isnan(cost_usd(&conf, slice_of("gpt-4o-mini-2024-07-18"), 1, 1)), "no name stands for another");
    cr_assert(isnan(cost_usd(&conf, slice_of("GPT-4O-MINI"), 1, 1)));
    cr_assert(isnan(cost_usd(&conf, slice_of(""), 1, 1)));
    cr_assert(isnan(cost_usd(&conf, (struct slice){0}, 0, 0)));
}
