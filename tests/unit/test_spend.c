/* What keys have spent, by month. */
#include "store/spend.h"

#include "store/counters.h"
#include "store/table.h"
#include "store_fixture.h"

TestSuite(spend, .init = fixture_setup, .fini = fixture_teardown);

static int add(struct store_write *w, void *arg, struct err *e)
{
    return spend_add(w, arg, e);
}

static void add_spend(uint8_t id, uint32_t month, uint64_t picousd)
{
    struct spend s = {.id = {id}, .month = month, .picousd = picousd};
    WRITE(add, &s);
}

static uint64_t spent(uint8_t id, uint32_t month)
{
    struct store_read *r = fixture_read();
    uint64_t sum = 77;
    struct err e = {0};
    cr_assert_eq(keys_spent(r, (uint8_t[TRUST_GROUP_SIZE]){id}, month, &sum, &e), 0, "%s", e.text);
    store_read_end(r);
    return sum;
}

static void note(void *arg, const struct spend *s)
{
    uint64_t *by_id = arg;
    cr_assert_eq(s->month, 202602);
    by_id[s->id[0]] += s->picousd;
}

Test(spend, adds_up_by_key_and_month)
{
    add_spend(1, 202602, 300000);
    add_spend(1, 202602, 1);
    add_spend(2, 202602, 5);
    add_spend(1, 202603, 7);
    cr_assert_eq(spent(1, 202602), 300001);
    cr_assert_eq(spent(2, 202602), 5);
    cr_assert_eq(spent(1, 202603), 7);
    cr_assert_eq(spent(3, 202602), 0);
    uint64_t by_id[4] = {0};
    struct store_read *r = fixture_read();
    struct err e = {0};
    cr_assert_eq(spend_each(r, 202602, note, by_id, &e), 0, "%s", e.text);
    store_read_end(r);
    cr_assert_eq(by_id[1], 300001);
    cr_assert_eq(by_id[2], 5);
    cr_assert_eq(by_id[3], 0);
}

Test(spend, has_no_days)
{
    uint64_t days = 1;
    add_spend(1, 202602, 5);
    struct store_read *r = fixture_read();
    struct spend s = {.id = {1}, .month = 202602};
    char name[SPEND_NAME_SIZE];
    spend_name(&s, name);
    cr_assert_str_eq(name, "spent.202602.01000000000000000000000000000000");
    cr_assert_eq(counters_sum(r, slice_of(name), 1, 0, &days, NULL), 0);
    cr_assert_eq(days, 0);
    store_read_end(r);
}

Test(spend, knows_its_names)
{
    struct spend s = {.month = 1};
    cr_assert(spend_parse_name(slice_of("spent.202602.0102030405060708090a0b0c0d0e0f10"), &s));
    cr_assert_eq(s.month, 202602);
    cr_assert_eq(s.id[15], 16);
    static const char *const others[] = {"",
                                         "spent.",
                                         "spent.202602.",
                                         "spent.202602.0102030405060708090a0b0c0d0e0f1",
                                         "spent.202602.0102030405060708090a0b0c0d0e0f1g",
                                         "spent.20260x.0102030405060708090a0b0c0d0e0f10",
                                         "spent.202602x0102030405060708090a0b0c0d0e0f10",
                                         "spend.202602.0102030405060708090a0b0c0d0e0f10",
                                         "spent.202602.0102030405060708090a0b0c0d0e0f1011"};
    struct spend untouched = s;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        cr_assert_not(spend_parse_name(slice_of(others[i]), &s), "%s", others[i]);
        cr_assert_arr_eq(&s, &untouched, sizeof(s));
    }
}
