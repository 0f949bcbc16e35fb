/* Counters and histograms. */
#include "store/counters.h"

#include <math.h>

#include "store_fixture.h"

TestSuite(counters, .init = fixture_setup, .fini = fixture_teardown);

#define S(text) SLICE_LITERAL(text)

static int add_some(struct store_write *w, void *arg, struct err *e)
{
    (void)arg;
    int rc = counters_add(w, S("a"), 20260101, 1, e);
    if (!rc)
        rc = counters_add(w, S("a"), 20260102, 10, e);
    if (!rc)
        rc = counters_add(w, S("a"), 20260103, 100, e);
    if (!rc)
        rc = counters_add(w, S("a.b"), 20260102, 5, e);
    if (!rc)
        rc = counters_add(w, S("a.c"), 20260201, 7, e);
    if (!rc)
        rc = counters_add(w, S("ab"), 20260102, 3, e);
    if (!rc)
        rc = counters_add(w, S("z"), 0, 9, e);
    return rc;
}

static uint64_t sum(const char *name, uint32_t from, uint32_t to)
{
    struct store_read *r = fixture_read();
    struct err e = {0};
    uint64_t n = 0;
    cr_assert_eq(counters_sum(r, slice_of(name), from, to, &n, &e), 0, "%s", e.text);
    store_read_end(r);
    return n;
}

Test(counters, sums)
{
    WRITE(add_some, NULL);
    WRITE(add_some, NULL);
    cr_assert_eq(sum("a", 0, 0), 222);
    cr_assert_eq(sum("a", 20260102, 20260103), 220);
    cr_assert_eq(sum("a", 20260101, 20260101), 2);
    cr_assert_eq(sum("a", 20260102, 0), 220);
    cr_assert_eq(sum("a", 0, 20260102), 22, "the total is no day");
    cr_assert_eq(sum("a.b", 0, 0), 10);
    cr_assert_eq(sum("z", 0, 0), 18);
    cr_assert_eq(sum("z", 1, 0), 0);
    cr_assert_eq(sum("never", 0, 0), 0);
}

struct seen {
    char text[256];
};

static void note(void *arg, struct slice name, uint64_t n)
{
    struct seen *s = arg;
    size_t at = strlen(s->text);
    snprintf(s->text + at, sizeof(s->text) - at, "%.*s=%llu ", (int)name.n, name.p, (unsigned long long)n);
}

static void note_day(void *arg, uint32_t day, uint64_t n)
{
    struct seen *s = arg;
    size_t at = strlen(s->text);
    snprintf(s->text + at, sizeof(s->text) - at, "%u=%llu ", day, (unsigned long long)n);
}

static void check_each(const char *prefix, uint32_t from, uint32_t to, const char *expected)
{
    struct store_read *r = fixture_read();
    struct err e = {0};
    struct seen s = {""};
    cr_assert_eq(counters_each(r, slice_of(prefix), from, to, note, &s, &e), 0, "%s", e.text);
    store_read_end(r);
    cr_assert_str_eq(s.text, expected);
}

Test(counters, each_name_with_a_prefix)
{
    check_each("", 0, 0, "");
    WRITE(add_some, NULL);
    check_each("", 0, 0, "a=111 a.b=5 a.c=7 ab=3 z=9 ");
    check_each("a", 0, 0, "a=111 a.b=5 a.c=7 ab=3 ");
    check_each("a.", 0, 0, "a.b=5 a.c=7 ");
    check_each("a", 20260102, 20260103, "a=110 a.b=5 ab=3 ");
    check_each("b", 0, 0, "");
    check_each("zz", 0, 0, "");
}

Test(counters, days)
{
    struct err e = {0};
    struct seen s = {""};
    WRITE(add_some, NULL);
    struct store_read *r = fixture_read();
    cr_assert_eq(counters_days(r, S("a"), 0, 0, note_day, &s, &e), 0);
    cr_assert_str_eq(s.text, "20260101=1 20260102=10 20260103=100 ");
    s.text[0] = 0;
    cr_assert_eq(counters_days(r, S("a"), 20260102, 20260102, note_day, &s, &e), 0);
    cr_assert_str_eq(s.text, "20260102=10 ");
    store_read_end(r);
}

static int add_named(struct store_write *w, void *arg, struct err *e)
{
    return counters_add(w, *(struct slice *)arg, 20260101, UINT64_MAX - 1, e);
}

Test(counters, names_and_overflow)
{
    char text[COUNTER_NAME_MAX + 1];
    struct err e = {0};
    memset(text, 'x', sizeof(text));
    struct slice longest = {text, COUNTER_NAME_MAX}, longer = {text, COUNTER_NAME_MAX + 1},
                 zero = {"a\0b", 3};
    struct slice empty = S("");
    WRITE(add_named, &longest);
    WRITE(add_named, &longest);
    struct store_read *r = fixture_read();
    uint64_t n;
    cr_assert_eq(counters_sum(r, longest, 0, 0, &n, &e), 0);
    cr_assert_eq(n, UINT64_MAX, "stops at the top");
    store_read_end(r);
    check_each("y", 0, 0, "");
    cr_assert_eq(store_write(store, 0, add_named, &longer, &e), ERR_INVAL);
    cr_assert_eq(store_write(store, 0, add_named, &zero, &e), ERR_INVAL);
    cr_assert_eq(store_write(store, 0, add_named, &empty, &e), ERR_INVAL);
}

Test(counters, bucket_names)
{
    static const struct {
        uint64_t value;
        const char *name;
    } cases[] = {
        {0, "h.0000000000"},    {15, "h.0000000015"},         {16, "h.0000000016"},
        {31, "h.0000000031"},   {33, "h.0000000032"},         {1250, "h.0000001216"},
        {1280, "h.0000001280"}, {9999999999, "h.9663676416"}, {UINT64_MAX, "h.9663676416"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char name[COUNTER_NAME_MAX];
        histogram_bucket_name(name, "h", cases[i].value);
        cr_assert_str_eq(name, cases[i].name);
    }
}

/* Every value lies in its bucket, which is never wider than a sixteenth of where it begins, and buckets do
 * not overlap. */
Test(counters, buckets)
{
    char name[COUNTER_NAME_MAX], before[COUNTER_NAME_MAX] = "h.0000000000", again[COUNTER_NAME_MAX];
    for (uint64_t v = 0; v < 9999999999; v += 1 + v / 37) {
        histogram_bucket_name(name, "h", v);
        uint64_t low = strtoull(name + 2, NULL, 10);
        cr_assert(low <= v && v - low <= low / 16, "%s holds %llu", name, (unsigned long long)v);
        cr_assert_leq(strcmp(before, name), 0, "names sort as their values do");
        histogram_bucket_name(again, "h", low);
        cr_assert_str_eq(again, name);
        strcpy(before, name);
    }
}

static int add_few(struct store_write *w, void *arg, struct err *e)
{
    static const uint64_t values[] = {3, 1, 1000, 2, 2};
    char name[COUNTER_NAME_MAX];
    int rc = 0;
    (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(values) && !rc; i++) {
        histogram_bucket_name(name, "few", values[i]);
        rc = counters_add(w, slice_of(name), 0, 1, e);
    }
    return rc;
}

Test(counters, percentiles_of_a_few)
{
    static const double wanted[] = {0, 20, 21, 60, 61, 80, 81, 100};
    static const uint64_t expected[] = {1, 1, 2, 2, 3, 3, 1007, 1007};
    uint64_t values[8], count = 0;
    struct err e = {0};
    WRITE(add_few, NULL);
    struct store_read *r = fixture_read();
    cr_assert_eq(histogram_percentiles(r, S("few"), 0, 0, wanted, 8, values, &count, &e), 0);
    store_read_end(r);
    cr_assert_eq(count, 5);
    for (size_t i = 0; i < 8; i++)
        cr_assert_eq(values[i], expected[i], "p%g: %llu", wanted[i], (unsigned long long)values[i]);
}

#define VALUES 1000

static int add_values(struct store_write *w, void *arg, struct err *e)
{
    (void)arg;
    int rc = counters_add(w, S("lat.other"), 20260101, 99, e);
    for (uint64_t i = 1; i <= VALUES && !rc; i++) {
        char name[COUNTER_NAME_MAX];
        histogram_bucket_name(name, "lat", i * 1000);
        rc = counters_add(w, slice_of(name), 20260101, 1, e);
    }
    return rc;
}

Test(counters, percentiles)
{
    static const double wanted[] = {0, 50, 90, 99, 100};
    uint64_t values[5], count = 7;
    struct err e = {0};
    struct store_read *r = fixture_read();
    cr_assert_eq(histogram_percentiles(r, S("lat"), 0, 0, wanted, 5, values, &count, &e), 0);
    cr_assert_eq(count, 0);
    cr_assert_eq(values[4], 0);
    store_read_end(r);
    WRITE(add_values, NULL);
    r = fixture_read();
    cr_assert_eq(histogram_percentiles(r, S("lat"), 0, 0, wanted, 5, values, &count, &e), 0);
    cr_assert_eq(count, VALUES, "names that are no buckets do not count");
    for (int i = 0; i < 5; i++) {
        double exact = wanted[i] ? wanted[i] / 100 * VALUES * 1000 : 1000;
        cr_assert_leq(fabs((double)values[i] - exact) / exact, 0.0625, "p%g: %llu", wanted[i],
                      (unsigned long long)values[i]);
    }
    cr_assert_eq(histogram_percentiles(r, S("lat"), 20260102, 0, wanted, 5, values, &count, &e), 0);
    cr_assert_eq(count, 0);
    store_read_end(r);
}

static uint64_t exact(uint64_t bound)
{
    return bound > VALUES * 1000 ? VALUES : bound ? (bound - 1) / 1000 : 0;
}

static int add_sum(struct store_write *w, void *arg, struct err *e)
{
    char name[COUNTER_NAME_MAX];
    (void)arg;
    histogram_sum_name(name, "lat");
    cr_assert_str_eq(name, "lat.sum");
    return counters_add(w, slice_of(name), 0, 4711, e);
}

Test(counters, values_below_a_bound)
{
    uint64_t bounds[30], below[30], count = 7, sum = 7;
    struct err e = {0};
    for (int i = 0; i < 30; i++)
        bounds[i] = 25ull << i >> 2;
    struct store_read *r = fixture_read();
    cr_assert_eq(histogram_below(r, S("lat"), 0, 0, bounds, 30, below, &count, &sum, &e), 0, "%s", e.text);
    cr_assert_eq(count + sum + below[29], 0, "nothing was counted");
    store_read_end(r);
    WRITE(add_values, NULL);
    WRITE(add_sum, NULL);
    r = fixture_read();
    cr_assert_eq(histogram_below(r, S("lat"), 0, 0, bounds, 30, below, &count, &sum, &e), 0, "%s", e.text);
    for (int i = 0; i < 30; i++)
        cr_assert_eq(below[i], exact(bounds[i]), "below %llu: %llu, not %llu", (unsigned long long)bounds[i],
                     (unsigned long long)below[i], (unsigned long long)exact(bounds[i]));
    cr_assert_eq(count, VALUES, "neither the sum nor what is no bucket counts");
    cr_assert_eq(sum, 4711);
    store_read_end(r);
}

Test(counters, bounds_inside_a_bucket)
{
    static const uint64_t inside[] = {33, 1000, 1001, 99999, 10000000000};
    uint64_t below[2] = {5, 5}, count = 7, sum = 7;
    struct store_read *r = fixture_read();
    for (size_t i = 0; i < ARRAY_LEN(inside); i++) {
        uint64_t bounds[] = {25, inside[i]};
        struct err e = {0};
        cr_assert_eq(histogram_below(r, S("lat"), 0, 0, bounds, 2, below, &count, &sum, &e), ERR_INVAL,
                     "%llu", (unsigned long long)inside[i]);
    }
    cr_assert_eq(below[0] + below[1] + count + sum, 24, "outputs stay as they were");
    store_read_end(r);
}
