/* LINK: fcgi_app/coordinator/cache_index.c */
/* The index of answers that may be given again, against a plain list that does the same slowly. */
#include "coordinator/cache_index.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static struct cache_index x;

static void fini(void)
{
    cache_index_fini(&x);
}

TestSuite(cache_index, .fini = fini);

/* Keys that begin alike meet in the same places. */
static const uint8_t *key_of(unsigned n)
{
    static uint8_t key[CACHE_KEY_SIZE];
    memset(key, 0, sizeof(key));
    key[0] = (uint8_t)(n % 3);
    key[8] = (uint8_t)n;
    key[9] = (uint8_t)(n >> 8);
    return key;
}

static struct uuid chat_of(unsigned n)
{
    struct uuid id = {0};
    memcpy(id.bytes, &n, sizeof(n));
    return id;
}

static void add(unsigned key, unsigned chat, uint64_t until_s)
{
    struct uuid id = chat_of(chat);
    cache_index_add(&x, key_of(key), &id, until_s);
}

static bool add_older(unsigned key, unsigned chat)
{
    struct uuid id = chat_of(chat);
    return cache_index_add_older(&x, key_of(key), &id, 100);
}

/* The number of the chat; 0: none. */
static unsigned find(unsigned key, uint64_t now_s)
{
    struct uuid id;
    unsigned n = 0;
    if (cache_index_find(&x, key_of(key), now_s, &id))
        memcpy(&n, id.bytes, sizeof(n));
    return n;
}

Test(cache_index, finds_what_was_added_until_it_expires)
{
    cr_assert_eq(cache_index_init(&x, 10), 0);
    cr_assert_eq(find(1, 0), 0);
    add(1, 11, 100);
    cr_assert_eq(find(1, 99), 11);
    cr_assert_eq(find(1, 100), 0);
    add(1, 12, 50);
    cr_assert_eq(find(1, 49), 12, "the newest counts");
    cr_assert_eq(find(1, 50), 0, "also when it expires first");
}

Test(cache_index, the_oldest_makes_room)
{
    cr_assert_eq(cache_index_init(&x, 3), 0);
    add(1, 11, 100);
    add(2, 12, 100);
    add(1, 13, 100); /* again: the first one is nobody's now */
    add(3, 14, 100);
    cr_assert_eq(find(1, 0), 13, "its older entry went, it did not");
    add(4, 15, 100);
    cr_assert_eq(find(2, 0), 0);
    cr_assert_eq(find(1, 0), 13);
    add(5, 16, 100);
    cr_assert_eq(find(1, 0), 0);
    cr_assert(find(3, 0) == 14 && find(4, 0) == 15 && find(5, 0) == 16);
}

Test(cache_index, is_filled_from_the_newest_on)
{
    cr_assert_eq(cache_index_init(&x, 3), 0);
    cr_assert(add_older(1, 11) && add_older(2, 12) && add_older(1, 13));
    cr_assert_not(add_older(3, 14), "it is full");
    cr_assert(find(1, 0) == 11 && find(2, 0) == 12 && find(3, 0) == 0);
    add(4, 15, 100);
    cr_assert(find(1, 0) == 11, "what was older of it went");
    add(5, 16, 100);
    cr_assert(find(2, 0) == 0 && find(1, 0) == 11 && find(4, 0) == 15 && find(5, 0) == 16);
}

Test(cache_index, one_that_holds_nothing_finds_nothing)
{
    add(1, 11, 100);
    cr_assert_not(add_older(1, 11));
    cr_assert_eq(find(1, 0), 0);
}

#define SIZE 50
#define KEYS 90

Test(cache_index, a_long_life_beside_a_list)
{
    unsigned keys[4000], from = 0;
    srand(7);
    cr_assert_eq(cache_index_init(&x, SIZE), 0);
    for (unsigned n = 0; n < 4000; n++) {
        keys[n] = (unsigned)rand() % KEYS;
        add(keys[n], n + 1, 100);
        from = n + 1 > SIZE ? n + 1 - SIZE : 0;
        for (unsigned key = 0; key < KEYS; key++) {
            unsigned expected = 0;
            for (unsigned i = from; i <= n; i++)
                if (keys[i] == key)
                    expected = i + 1;
            cr_assert_eq(find(key, 0), expected, "key %u after %u", key, n);
        }
    }
}
