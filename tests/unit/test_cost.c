/* Prices applied to tokens. */
#include "base/cost.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
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

static uint64_t picousd(const char *model, uint64_t in, uint64_t out)
{
    uint64_t cost = 0;
    cr_assert(cost_picousd(&conf, slice_of(model), in, out, &cost));
    return cost;
}

Test(cost, sums_lose_nothing)
{
    add("gpt-4o-mini", 0.15, 0.60);
    add("dear", 1e6, 1e6);
    add("tiny", 0.000001, 0.0000001);
    add("free", 0, 0);
    cr_assert_eq(picousd("gpt-4o-mini", 1, 0), 150000);
    cr_assert_eq(picousd("gpt-4o-mini", 2, 0), 300000, "0.0000003 USD");
    cr_assert_eq(picousd("gpt-4o-mini", 1000000, 1000000), 750000000000);
    cr_assert_eq(picousd("tiny", 3, 0), 3);
    cr_assert_eq(picousd("tiny", 0, 3), 3, "rounded up: never less than it is");
    cr_assert_eq(picousd("free", 1000, 1000), 0);
    cr_assert_eq(picousd("dear", UINT64_MAX, UINT64_MAX), UINT64_MAX);
    uint64_t untouched = 7;
    cr_assert_not(cost_picousd(&conf, slice_of("gpt-4o"), 1, 1, &untouched));
    cr_assert_eq(untouched, 7);
}

/* Every price that can be written with six decimals is taken as it is written. */
Test(cost, prices_in_binary_are_those_that_were_written)
{
    add("any", 0, 0);
    for (uint64_t millionths = 1; millionths < 40000000; millionths += 997) {
        char text[32];
        snprintf(text, sizeof(text), "%u.%06u", (unsigned)(millionths / 1000000),
                 (unsigned)(millionths % 1000000));
        conf.prices[0].usd_in = strtod(text, NULL);
        cr_assert_eq(picousd("any", 1, 0), millionths, "%s", text);
    }
}

Test(cost, stops_at_the_top)
{
    cr_assert_eq(cost_add(UINT64_MAX - 1, 1), UINT64_MAX);
    cr_assert_eq(cost_add(UINT64_MAX - 1, 2), UINT64_MAX);
    cr_assert_eq(cost_of_microusd(5), 5000000);
    cr_assert_eq(cost_of_microusd(UINT64_MAX / 2), UINT64_MAX);
}

Test(cost, is_told_exactly)
{
    static const struct {
        uint64_t picousd;
        const char *text;
    } cases[] = {{0, "0.00"},
                 {300000, "0.0000003"},
                 {1, "0.000000000001"},
                 {12500000000000, "12.50"},
                 {99999999999999, "99.999999999999"},
                 {UINT64_MAX, "18446744.073709551615"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[COST_TEXT_SIZE];
        cost_format(cases[i].picousd, text);
        cr_assert_str_eq(text, cases[i].text);
    }
}
