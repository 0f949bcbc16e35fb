/* What keys have spent; see spend.h. */
#include "store/spend.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "store/counters.h"

#define PREFIX       "spent."
#define MONTH_DIGITS 6

void spend_name(const struct spend *s, char ret_name[SPEND_NAME_SIZE])
{
    int n = snprintf(ret_name, SPEND_NAME_SIZE, PREFIX "%06u.", s->month % 1000000);
    sodium_bin2hex(ret_name + n, SPEND_NAME_SIZE - (size_t)n, s->id, TRUST_GROUP_SIZE);
}

bool spend_parse_name(struct slice name, struct spend *ret_spend)
{
    const size_t at_month = sizeof(PREFIX) - 1, at_id = at_month + MONTH_DIGITS + 1;
    uint8_t id[TRUST_GROUP_SIZE];
    uint32_t month = 0;
    size_t n;
    if (name.n != SPEND_NAME_SIZE - 1 || memcmp(name.p, PREFIX, at_month) != 0 || name.p[at_id - 1] != '.')
        return false;
    for (size_t i = at_month; i < at_id - 1; i++) {
        if (name.p[i] < '0' || name.p[i] > '9')
            return false;
        month = month * 10 + (uint32_t)(name.p[i] - '0');
    }
    if (sodium_hex2bin(id, sizeof(id), name.p + at_id, name.n - at_id, NULL, &n, NULL) != 0 ||
        n != sizeof(id))
        return false;
    memcpy(ret_spend->id, id, sizeof(id));
    ret_spend->month = month;
    return true;
}

int spend_add(struct store_write *w, const struct spend *s, struct err *e)
{
    char name[SPEND_NAME_SIZE];
    spend_name(s, name);
    return counters_add(w, slice_of(name), 0, s->picousd, e);
}

int keys_spent(struct store_read *r, const uint8_t id[TRUST_GROUP_SIZE], uint32_t month,
               uint64_t *ret_picousd, struct err *e)
{
    struct spend s = {.month = month};
    char name[SPEND_NAME_SIZE];
    memcpy(s.id, id, sizeof(s.id));
    spend_name(&s, name);
    return counters_sum(r, slice_of(name), 0, 0, ret_picousd, e);
}

struct visit {
    void (*each)(void *arg, const struct spend *s);
    void *arg;
};

static void visit(void *arg, struct slice name, uint64_t sum)
{
    const struct visit *v = arg;
    struct spend s = {.picousd = sum};
    if (spend_parse_name(name, &s))
        v->each(v->arg, &s);
}

int spend_each(struct store_read *r, uint32_t month, void (*each)(void *arg, const struct spend *s),
               void *arg, struct err *e)
{
    char prefix[SPEND_NAME_SIZE];
    int n = snprintf(prefix, sizeof(prefix), PREFIX "%06u.", month % 1000000);
    struct visit v = {each, arg};
    return counters_each(r, (struct slice){prefix, (size_t)n}, 0, 0, visit, &v, e);
}
