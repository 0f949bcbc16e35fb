/*
 * Histograms as families of counters; see counters.h. The buckets are those of HdrHistogram: exact below 16,
 * then 16 to an octave.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/digits.h"
#include "store/counters.h"

#define SUB_BITS      4
#define SUB_BUCKETS   (1u << SUB_BITS)
#define BUCKET_DIGITS 10
/* What ten digits can say; larger values (more than two hours in us) count as this. */
#define VALUE_MAX 9999999999ull
/* 16 exact ones and 16 in each octave from 2^4 to 2^33. */
#define BUCKETS_MAX (SUB_BUCKETS + 30 * SUB_BUCKETS)

/* Width of the bucket that holds value, as a shift. */
static unsigned width_bits(uint64_t value)
{
    unsigned top = 63 - (unsigned)__builtin_clzll(value | 1);
    return top < SUB_BITS ? 0 : top - SUB_BITS;
}

void histogram_bucket_name(char ret_name[COUNTER_NAME_MAX], const char *prefix, uint64_t value)
{
    if (value > VALUE_MAX)
        value = VALUE_MAX;
    unsigned bits = width_bits(value);
    char digits[BUCKET_DIGITS + 1];
    *digits_put(digits, BUCKET_DIGITS, value >> bits << bits) = 0;
    counter_name(ret_name, prefix, digits);
}

void histogram_sum_name(char ret_name[COUNTER_NAME_MAX], const char *prefix)
{
    counter_name(ret_name, prefix, "sum");
}

struct collect {
    size_t name_len; /* of a bucket's counter */
    size_t n;
    uint64_t total;
    struct {
        uint64_t low, count;
    } buckets[BUCKETS_MAX];
};

/* Counters come in name order, which is the order of the values. Names that are no buckets are not ours. */
static void collect(void *arg, struct slice name, uint64_t sum)
{
    struct collect *c = arg;
    uint64_t low = 0;
    if (name.n != c->name_len || c->n == BUCKETS_MAX)
        return;
    for (const char *p = name.p + name.n - BUCKET_DIGITS; p < name.p + name.n; p++) {
        if (*p < '0' || *p > '9')
            return;
        low = low * 10 + (uint64_t)(*p - '0');
    }
    c->buckets[c->n].low = low;
    c->buckets[c->n++].count = sum;
    c->total += sum;
}

static void pick(const struct collect *c, const double *percentiles, size_t n, uint64_t *ret_values)
{
    size_t at = 0;
    uint64_t seen = c->n ? c->buckets[0].count : 0;
    for (size_t i = 0; i < n; i++) {
        uint64_t rank = (uint64_t)ceil(percentiles[i] / 100 * (double)c->total);
        while (at + 1 < c->n && seen < rank)
            seen += c->buckets[++at].count;
        uint64_t low = c->n ? c->buckets[at].low : 0;
        ret_values[i] = low + ((1ull << width_bits(low)) - 1) / 2;
    }
}

static int collect_all(struct store_read *r, struct slice prefix, uint32_t from_day, uint32_t to_day,
                       struct collect *ret_c, struct err *e)
{
    char dotted[COUNTER_NAME_MAX];
    if (prefix.n + 1 + BUCKET_DIGITS > COUNTER_NAME_MAX)
        return err_set(e, ERR_INVAL, "The name of a histogram is too long.");
    memcpy(dotted, prefix.p, prefix.n);
    dotted[prefix.n] = '.';
    ret_c->name_len = prefix.n + 1 + BUCKET_DIGITS;
    ret_c->n = 0;
    ret_c->total = 0;
    return counters_each(r, (struct slice){dotted, prefix.n + 1}, from_day, to_day, collect, ret_c, e);
}

int histogram_percentiles(struct store_read *r, struct slice prefix, uint32_t from_day, uint32_t to_day,
                          const double *percentiles, size_t n, uint64_t *ret_values, uint64_t *ret_count,
                          struct err *e)
{
    struct collect c;
    int rc = collect_all(r, prefix, from_day, to_day, &c, e);
    if (rc)
        return rc;
    pick(&c, percentiles, n, ret_values);
    *ret_count = c.total;
    return 0;
}

static bool is_border(uint64_t bound)
{
    unsigned bits = width_bits(bound);
    return bound <= VALUE_MAX && bound >> bits << bits == bound;
}

int histogram_below(struct store_read *r, struct slice prefix, uint32_t from_day, uint32_t to_day,
                    const uint64_t *bounds, size_t n, uint64_t *ret_below, uint64_t *ret_count,
                    uint64_t *ret_sum, struct err *e)
{
    struct collect c;
    char name[COUNTER_NAME_MAX];
    uint64_t seen = 0, sum = 0;
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        if (!is_border(bounds[i]))
            return err_set(e, ERR_INVAL, "No bucket of a histogram begins at %" PRIu64 ".", bounds[i]);
    int rc = collect_all(r, prefix, from_day, to_day, &c, e);
    if (rc)
        return rc;
    snprintf(name, sizeof(name), "%.*s.sum", (int)prefix.n, prefix.p);
    rc = counters_sum(r, slice_of(name), from_day, to_day, &sum, e);
    if (rc)
        return rc;
    for (size_t i = 0; i < n; i++) {
        while (at < c.n && c.buckets[at].low < bounds[i])
            seen += c.buckets[at++].count;
        ret_below[i] = seen;
    }
    *ret_count = c.total;
    *ret_sum = sum;
    return 0;
}
