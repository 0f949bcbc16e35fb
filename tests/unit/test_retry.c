/* lib/batch/retry: full jitter within its bounds, and when another call makes sense. */
#include <criterion/criterion.h>

#include "batch/retry.h"

static const struct retry_config config = {.attempts = 4, .base_ms = 100, .cap_ms = 1000};

Test(retry, the_ceiling_doubles_up_to_the_cap)
{
    static const uint32_t ceilings[] = {100, 200, 400, 800, 1000, 1000};
    for (uint32_t failed = 1; failed <= 6; failed++) {
        cr_assert_eq(retry_delay_ms(&config, failed, 0, UINT32_MAX), ceilings[failed - 1]);
        cr_assert_eq(retry_delay_ms(&config, failed, 0, 0), 0);
        uint32_t half = retry_delay_ms(&config, failed, 0, 1u << 31);
        cr_assert_leq(half, ceilings[failed - 1] / 2);
        cr_assert_geq(half, ceilings[failed - 1] / 2 - 1);
    }
}

Test(retry, what_the_provider_asks_for_is_a_floor)
{
    cr_assert_eq(retry_delay_ms(&config, 1, 60000, 5), 60000);
    cr_assert_eq(retry_delay_ms(&config, 1, 1, UINT32_MAX), 100);
}

Test(retry, extreme_values)
{
    struct retry_config c = {.attempts = UINT32_MAX, .base_ms = UINT32_MAX, .cap_ms = UINT32_MAX};
    cr_assert_eq(retry_delay_ms(&c, UINT32_MAX, 0, UINT32_MAX), UINT32_MAX);
    c.base_ms = 0;
    cr_assert_eq(retry_delay_ms(&c, UINT32_MAX, 0, UINT32_MAX), 0);
    c = (struct retry_config){.attempts = 2, .base_ms = 500, .cap_ms = 10};
    cr_assert_eq(retry_delay_ms(&c, 1, 0, UINT32_MAX), 10, "the cap wins over the base");
}

Test(retry, is_spread_evenly)
{
    unsigned low = 0;
    for (uint32_t i = 0; i < 1000; i++)
        low += retry_delay_ms(&config, 2, 0, i * (UINT32_MAX / 1000)) < 100;
    cr_assert_geq(low, 490);
    cr_assert_leq(low, 510);
}

Test(retry, allowed_while_attempts_and_time_are_left)
{
    cr_assert(retry_allowed(&config, 1, 10, 1000000, 1010001));
    cr_assert_not(retry_allowed(&config, 1, 10, 1000000, 1010000), "would start at the deadline");
    cr_assert(retry_allowed(&config, 3, 0, 0, 1));
    cr_assert_not(retry_allowed(&config, 4, 0, 0, UINT64_MAX), "four calls were made");
    cr_assert_not(retry_allowed(&config, 1, 0, 5, 5));
    cr_assert_not(retry_allowed(&config, 1, 0, 6, 5));
    cr_assert(retry_allowed(&config, 1, UINT32_MAX, 0, UINT64_MAX));
}

Test(retry_budget, a_tenth_of_the_calls)
{
    struct retry_budget b;
    retry_budget_fill(&b, 0);
    for (unsigned i = 0; i < RETRY_SAVED_MAX; i++)
        cr_assert(retry_budget_spend(&b, 10, 0), "what was saved up");
    cr_assert_not(retry_budget_spend(&b, 10, 0));
    for (unsigned i = 0; i < 9; i++)
        retry_budget_earn(&b, 10);
    cr_assert_not(retry_budget_spend(&b, 10, 0));
    retry_budget_earn(&b, 10);
    cr_assert(retry_budget_spend(&b, 10, 0));
    cr_assert_not(retry_budget_spend(&b, 10, 0));
}

Test(retry_budget, no_more_than_so_many_are_saved_up)
{
    struct retry_budget b;
    retry_budget_fill(&b, 0);
    for (unsigned i = 0; i < 1000; i++)
        retry_budget_earn(&b, 100);
    for (unsigned i = 0; i < RETRY_SAVED_MAX; i++)
        cr_assert(retry_budget_spend(&b, 10, 0));
    cr_assert_not(retry_budget_spend(&b, 10, 0));
}

Test(retry_budget, one_more_comes_with_each_second)
{
    struct retry_budget b = {0};
    cr_assert_not(retry_budget_spend(&b, 10, 999999));
    cr_assert(retry_budget_spend(&b, 10, 1000000));
    cr_assert_not(retry_budget_spend(&b, 10, 1000000));
    unsigned spent = 0;
    for (uint64_t us = 1000000; us <= 11000000; us += 100) /* looked at often, no part of it gets lost */
        spent += retry_budget_spend(&b, 10, us);
    cr_assert_eq(spent, 10);
    for (unsigned i = 0; i < RETRY_SAVED_MAX; i++)
        cr_assert(retry_budget_spend(&b, 10, UINT64_MAX));
    cr_assert_not(retry_budget_spend(&b, 10, UINT64_MAX));
}

Test(retry_budget, all_or_nothing)
{
    struct retry_budget b = {0};
    cr_assert(retry_budget_spend(&b, 100, 0));
    retry_budget_fill(&b, 0);
    cr_assert_not(retry_budget_spend(&b, 0, 0));
}
