/* Named sums, in total and by day; see counters.h. */
#include "store/counters.h"

#include <endian.h>
#include <string.h>

#include "base/bytes.h"
#include "base/digits.h"
#include "store/table.h"

#define DAY_DIGITS 8
#define DAY_LAST   99999999u

/* A key: name, zero byte, eight digits (all zero: the total). */
struct counter_key {
    char bytes[COUNTER_NAME_MAX + 1 + DAY_DIGITS];
};

static struct slice key_of(struct counter_key *k, struct slice name, uint32_t day)
{
    memcpy(k->bytes, name.p, name.n);
    k->bytes[name.n] = 0;
    digits_put(k->bytes + name.n + 1, DAY_DIGITS, day > DAY_LAST ? DAY_LAST : day);
    return table_bytes(k->bytes, name.n + 1 + DAY_DIGITS);
}

static int check_name(struct slice name, struct err *e)
{
    if (!name.n || name.n > COUNTER_NAME_MAX || memchr(name.p, 0, name.n))
        return err_set(e, ERR_INVAL, "The name of a counter is 1 to %d bytes, none of them zero.",
                       COUNTER_NAME_MAX);
    return 0;
}

static int damaged(struct err *e)
{
    return err_set(e, ERR_CORRUPT, "A stored counter is damaged.");
}

static int value_of(struct slice value, uint64_t *ret_n, struct err *e)
{
    if (value.n != sizeof(*ret_n))
        return damaged(e);
    memcpy(ret_n, value.p, sizeof(*ret_n));
    *ret_n = le64toh(*ret_n);
    return 0;
}

/* Splits a key; lends the name. */
static int parse_key(struct slice key, struct slice *ret_name, uint32_t *ret_day, struct err *e)
{
    uint32_t day = 0;
    if (key.n < 1 + 1 + DAY_DIGITS || key.p[key.n - DAY_DIGITS - 1] != 0)
        return damaged(e);
    for (const char *p = key.p + key.n - DAY_DIGITS; p < key.p + key.n; p++) {
        if (*p < '0' || *p > '9')
            return damaged(e);
        day = day * 10 + (uint32_t)(*p - '0');
    }
    *ret_name = (struct slice){key.p, key.n - DAY_DIGITS - 1};
    *ret_day = day;
    return 0;
}

/* Sums stop at the top instead of starting again. */
static uint64_t add(uint64_t a, uint64_t b)
{
    return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

/* What is there already, as almost always, is changed where the cursor found it. */
static int add_to(struct store_write *w, struct table_cursor *c, struct slice key, uint64_t delta,
                  struct err *e)
{
    struct slice found, value;
    uint64_t n = 0;
    int rc = table_seek(c, key, &found, &value, e);
    bool exists = rc == 0 && slice_equal(found, key);
    if (exists)
        rc = value_of(value, &n, e);
    if (rc && rc != ERR_NOT_FOUND)
        return rc;
    n = htole64(add(n, delta));
    value = table_bytes(&n, sizeof(n));
    return exists ? table_cursor_replace(w, c, key, value, e) : table_put(w, TABLE_COUNTERS, key, value, e);
}

void counter_name(char ret_name[COUNTER_NAME_MAX], const char *first, const char *second)
{
    size_t n = strnlen(first, COUNTER_NAME_MAX - 2), m = strnlen(second, COUNTER_NAME_MAX - 2 - n);
    memcpy(ret_name, first, n);
    ret_name[n] = '.';
    memcpy(ret_name + n + 1, second, m);
    ret_name[n + 1 + m] = 0;
}

int counters_add(struct store_write *w, struct slice name, uint32_t day, uint64_t delta, struct err *e)
{
    struct counter_key k;
    struct table_cursor c;
    int rc = check_name(name, e);
    if (rc || !delta)
        return rc;
    rc = table_cursor_open(store_write_as_read(w), TABLE_COUNTERS, &c, e);
    if (rc)
        return rc;
    rc = add_to(w, &c, key_of(&k, name, 0), delta, e);
    if (rc == 0 && day) /* often on the same page */
        rc = add_to(w, &c, key_of(&k, name, day), delta, e);
    table_cursor_close(&c);
    return rc;
}

/* 0, 0 stays the total; else an open end means the last day there is, and the total is no day. */
static void normalize(uint32_t *from_day, uint32_t *to_day)
{
    if (!*from_day && !*to_day)
        return;
    if (!*from_day)
        *from_day = 1;
    if (!*to_day)
        *to_day = DAY_LAST;
}

/* Calls each (if any) for the days of one name, and adds them up. */
static int walk_days(struct table_cursor *c, struct slice name, uint32_t from_day, uint32_t to_day,
                     void (*each)(void *arg, uint32_t day, uint64_t sum), void *arg, uint64_t *ret_sum,
                     struct err *e)
{
    struct counter_key k;
    struct slice key, value, found;
    uint64_t sum = 0, n = 0;
    uint32_t day;
    int rc = table_seek(c, key_of(&k, name, from_day), &key, &value, e);
    for (; !rc; rc = table_next(c, &key, &value, e)) {
        rc = parse_key(key, &found, &day, e);
        if (!rc)
            rc = value_of(value, &n, e);
        if (rc)
            return rc;
        if (!slice_equal(found, name) || day > to_day)
            break;
        sum = add(sum, n);
        if (each)
            each(arg, day, n);
    }
    if (rc && rc != ERR_NOT_FOUND)
        return rc;
    *ret_sum = sum;
    return 0;
}

static int total_of(struct store_read *r, struct slice name, uint64_t *ret_sum, struct err *e)
{
    struct counter_key k;
    struct slice value;
    int rc = table_get(r, TABLE_COUNTERS, key_of(&k, name, 0), &value, e);
    if (rc != ERR_NOT_FOUND)
        return rc ? rc : value_of(value, ret_sum, e);
    *ret_sum = 0;
    return 0;
}

int counters_sum(struct store_read *r, struct slice name, uint32_t from_day, uint32_t to_day,
                 uint64_t *ret_sum, struct err *e)
{
    struct table_cursor c;
    int rc = check_name(name, e);
    if (rc)
        return rc;
    normalize(&from_day, &to_day);
    if (!to_day)
        return total_of(r, name, ret_sum, e);
    rc = table_cursor_open(r, TABLE_COUNTERS, &c, e);
    if (rc)
        return rc;
    rc = walk_days(&c, name, from_day, to_day, NULL, NULL, ret_sum, e);
    table_cursor_close(&c);
    return rc;
}

int counters_days(struct store_read *r, struct slice name, uint32_t from_day, uint32_t to_day,
                  void (*each)(void *arg, uint32_t day, uint64_t sum), void *arg, struct err *e)
{
    struct table_cursor c;
    uint64_t sum;
    int rc = check_name(name, e);
    if (!rc)
        rc = table_cursor_open(r, TABLE_COUNTERS, &c, e);
    if (rc)
        return rc;
    rc = walk_days(&c, name, from_day ? from_day : 1, to_day ? to_day : DAY_LAST, each, arg, &sum, e);
    table_cursor_close(&c);
    return rc;
}

/* The first key of the name behind `name`: its keys are name, zero, digits, and no name has a byte below 1.
 */
static int seek_next_name(struct table_cursor *c, struct slice name, struct slice *ret_key,
                          struct slice *ret_value, struct err *e)
{
    char behind[COUNTER_NAME_MAX + 1];
    memcpy(behind, name.p, name.n);
    behind[name.n] = 1;
    return table_seek(c, table_bytes(behind, name.n + 1), ret_key, ret_value, e);
}

/* The sum of the name that the cursor stands on; its first key is the total, whose value this is. */
static int sum_here(struct table_cursor *c, struct slice name, struct slice value, uint32_t from_day,
                    uint32_t to_day, uint64_t *ret_sum, struct err *e)
{
    if (!to_day)
        return value_of(value, ret_sum, e);
    return walk_days(c, name, from_day, to_day, NULL, NULL, ret_sum, e);
}

int counters_each(struct store_read *r, struct slice prefix, uint32_t from_day, uint32_t to_day,
                  void (*each)(void *arg, struct slice name, uint64_t sum), void *arg, struct err *e)
{
    struct table_cursor c;
    struct slice key, value, name;
    uint32_t day;
    uint64_t sum;
    if (prefix.n > COUNTER_NAME_MAX)
        return err_set(e, ERR_INVAL, "The name of a counter has at most %d bytes.", COUNTER_NAME_MAX);
    normalize(&from_day, &to_day);
    int rc = table_cursor_open(r, TABLE_COUNTERS, &c, e);
    if (rc)
        return rc;
    rc = table_seek(&c, prefix, &key, &value, e);
    while (!rc) {
        rc = parse_key(key, &name, &day, e);
        if (!rc && name.n > COUNTER_NAME_MAX)
            rc = damaged(e);
        if (rc || name.n < prefix.n || (prefix.n && memcmp(name.p, prefix.p, prefix.n) != 0))
            break;
        rc = sum_here(&c, name, value, from_day, to_day, &sum, e);
        if (rc)
            break;
        if (sum)
            each(arg, name, sum);
        rc = seek_next_name(&c, name, &key, &value, e);
    }
    table_cursor_close(&c);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}
