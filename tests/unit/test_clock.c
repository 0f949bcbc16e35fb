/* Time: RFC 3339 both ways, days, monotony. */
#include <criterion/criterion.h>
#include <time.h>

#include "base/clock.h"
#include "base/err.h"

static void expect_us(const char *text, uint64_t us)
{
    uint64_t got = 7;
    cr_assert(clock_parse_rfc3339(slice_of(text), &got), "%s is a time", text);
    cr_assert_eq(got, us, "%s: %llu, not %llu", text, (unsigned long long)got, (unsigned long long)us);
}

Test(clock, formats)
{
    char text[CLOCK_RFC3339_SIZE];
    clock_format_rfc3339(0, text);
    cr_assert_str_eq(text, "1970-01-01T00:00:00.000Z");
    clock_format_rfc3339(1769947200123999ull, text);
    cr_assert_str_eq(text, "2026-02-01T12:00:00.123Z");
    clock_format_rfc3339(951827696000000ull, text);
    cr_assert_str_eq(text, "2000-02-29T12:34:56.000Z");
    clock_format_rfc3339(UINT64_MAX, text);
    cr_assert_str_eq(text, "9999-12-31T23:59:59.999Z");
}

Test(clock, agrees_with_the_c_library_on_every_day)
{
    for (uint64_t day = 0; day < 84000; day++) {
        char mine[CLOCK_RFC3339_SIZE], theirs[32];
        time_t t = (time_t)(day * 86400 + day % 86400);
        struct tm tm;
        gmtime_r(&t, &tm);
        strftime(theirs, sizeof(theirs), "%Y-%m-%dT%H:%M:%S.000Z", &tm);
        clock_format_rfc3339((uint64_t)t * US_PER_S, mine);
        cr_assert_str_eq(mine, theirs);
        expect_us(mine, (uint64_t)t * US_PER_S);
        cr_assert_eq(clock_day((uint64_t)t * US_PER_S),
                     (uint32_t)((tm.tm_year + 1900) * 10000 + (tm.tm_mon + 1) * 100 + tm.tm_mday));
    }
}

Test(clock, parses)
{
    expect_us("1970-01-01", 0);
    expect_us("2026-02-01", 1769904000000000ull);
    expect_us("2026-02-01T12:00:00Z", 1769947200000000ull);
    expect_us("2026-02-01t12:00:00z", 1769947200000000ull);
    expect_us("2026-02-01 12:00:00Z", 1769947200000000ull);
    expect_us("2026-02-01T12:00:00+00:00", 1769947200000000ull);
    expect_us("2026-02-01T14:30:00+02:30", 1769947200000000ull);
    expect_us("2026-02-01T04:00:00-08:00", 1769947200000000ull);
    expect_us("2026-02-01T12:00:00.5Z", 1769947200500000ull);
    expect_us("2026-02-01T12:00:00.123456789Z", 1769947200123456ull);
    expect_us("2016-12-31T23:59:60Z", 1483228800000000ull);
    expect_us("2024-02-29", 1709164800000000ull);
    expect_us("1969-12-31T23:30:00-01:00", 1800000000ull);
}

Test(clock, refuses)
{
    static const char *const texts[] = {
        "",
        "2026",
        "2026-02",
        "2026-02-30",
        "2026-13-01",
        "2026-00-01",
        "2026-01-00",
        "2025-02-29",
        "1900-02-29",
        "26-02-01",
        "2026-2-1",
        "2026-02-01T",
        "2026-02-01T12:00Z",
        "2026-02-01T12:00:00",
        "2026-02-01T12:00:00.Z",
        "2026-02-01T24:00:00Z",
        "2026-02-01T12:60:00Z",
        "2026-02-01T12:00:61Z",
        "2026-02-01T12:00:00+2:00",
        "2026-02-01T12:00:00+0200",
        "2026-02-01T12:00:00+24:00",
        "2026-02-01T12:00:00Z ",
        " 2026-02-01",
        "2026-02-01T12:00:00ZZ",
        "2026/02/01",
        "+026-02-01",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "2026-02-01T12:00:00.00000000000000000000000000000000000000000000000Z",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        uint64_t us = 7;
        cr_assert_not(clock_parse_rfc3339(slice_of(texts[i]), &us), "\"%s\" is no time", texts[i]);
        cr_assert_eq(us, 7);
    }
    uint64_t us = 7;
    cr_assert_not(clock_parse_rfc3339((struct slice){0}, &us));
    cr_assert_not(clock_parse_rfc3339(SLICE_LITERAL("2026-02-01\0"), &us));
}

Test(clock, clocks_run)
{
    uint64_t a = clock_mono_us(), b = clock_mono_us();
    cr_assert_leq(a, b);
    cr_assert_gt(clock_real_us(), 1700000000ull * US_PER_S);
    cr_assert_gt(clock_day(clock_real_us()), 20231100);
}

Test(clock, months_begin_and_end)
{
    static const struct {
        const char *at, *end;
        uint32_t month;
    } cases[] = {{"2026-02-28T23:59:59.999Z", "2026-03-01T00:00:00Z", 202602},
                 {"2028-02-29T12:00:00Z", "2028-03-01T00:00:00Z", 202802},
                 {"2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z", 202612},
                 {"2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z", 202701}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t at_us, end_us;
        cr_assert(clock_parse_rfc3339(slice_of(cases[i].at), &at_us));
        cr_assert(clock_parse_rfc3339(slice_of(cases[i].end), &end_us));
        cr_assert_eq(clock_month(at_us), cases[i].month);
        cr_assert_eq(clock_month_end_us(cases[i].month), end_us, "%s", cases[i].at);
    }
}
