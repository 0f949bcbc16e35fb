/* UUIDs: the fields of version 7, growing order also with threads and a clock that steps back, the text form.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/uuid.h"

static bool greater(const struct uuid *a, const struct uuid *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) > 0;
}

Test(uuid, has_time_version_and_variant)
{
    struct uuid id;
    char text[UUID_TEXT_SIZE];
    uuid_v7(0x0123456789abull * 1000, &id);
    uuid_format(&id, text);
    cr_assert_eq(strlen(text), 36);
    cr_assert_eq(strncmp(text, "01234567-89ab-7", 15), 0, "%s", text);
    cr_assert(strchr("89ab", text[19]), "%s", text);
}

Test(uuid, grows_whatever_the_clock_does)
{
    struct uuid last, next;
    uint64_t now = 1769947200000000ull;
    uuid_v7(now, &last);
    for (int i = 0; i < 20000; i++) {
        uuid_v7(i % 3 ? now - (uint64_t)i * 1000 : now, &next);
        cr_assert(greater(&next, &last));
        last = next;
    }
}

Test(uuid, follows_one_of_another_process)
{
    static const uint64_t now = 1769947200000000ull;
    struct uuid other, next;
    for (unsigned i = 0; i < 16; i++) {
        uuid_v7(now + i * 262000000ull, &other);
        if (i % 4 == 1)
            memset(other.bytes + 9, 0xff, 7); /* its random part counts for nothing */
        other.bytes[7] |= 0x0f;
        uuid_v7_follow(&other);
        uuid_v7(now, &next);
        cr_assert(greater(&next, &other));
        cr_assert(uuid_time_us(&next) < uuid_time_us(&other) + 2000);
    }
    uuid_v7(0, &other);
    struct uuid older = {{0}};
    uuid_v7_follow(&older); /* takes nothing back */
    uuid_v7(0, &next);
    cr_assert(greater(&next, &other));
}

Test(uuid, order_within_a_millisecond_follows_the_clock)
{
    struct uuid a, b;
    uuid_v7(1769947200000100ull, &a);
    uuid_v7(1769947200000900ull, &b);
    cr_assert(greater(&b, &a));
    cr_assert_eq(memcmp(a.bytes, b.bytes, 6), 0);
}

#define THREADS 4
#define EACH    5000

static void *make_many(void *arg)
{
    struct uuid *ids = arg;
    for (int i = 0; i < EACH; i++)
        uuid_v7(1769947200000000ull, &ids[i]);
    return NULL;
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct uuid));
}

Test(uuid, threads_never_get_the_same)
{
    struct uuid *ids = malloc(sizeof(*ids) * THREADS * EACH);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, make_many, ids + i * EACH);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    qsort(ids, THREADS * EACH, sizeof(*ids), compare);
    /* The first 8 bytes, without the random ones, must differ already. */
    for (int i = 1; i < THREADS * EACH; i++)
        cr_assert_neq(memcmp(ids[i - 1].bytes, ids[i].bytes, 8), 0);
    free(ids);
}

Test(uuid, tells_its_time)
{
    static const uint64_t times[] = {0x0123456789abull * 1000, 1769947300000000ull, 1769947300001000ull,
                                     1769947300002999ull, 0xffffffffffffull * 1000}; /* ids only grow */
    struct uuid id;
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        uuid_v7(times[i], &id);
        cr_assert_eq(uuid_time_us(&id), times[i] / 1000 * 1000, "%llu", (unsigned long long)times[i]);
    }
    cr_assert(uuid_parse(SLICE_LITERAL("00000000-0001-7fff-bfff-ffffffffffff"), &id));
    cr_assert_eq(uuid_time_us(&id), 1000, "what follows the time does not count");
}

Test(uuid, text_and_back)
{
    struct uuid id, again;
    char text[UUID_TEXT_SIZE];
    cr_assert(uuid_parse(SLICE_LITERAL("550e8400-E29B-41d4-a716-446655440000"), &id));
    uuid_format(&id, text);
    cr_assert_str_eq(text, "550e8400-e29b-41d4-a716-446655440000");
    cr_assert(uuid_parse(slice_of(text), &again));
    cr_assert_eq(memcmp(&id, &again, sizeof(id)), 0);
}

Test(uuid, refuses_other_texts)
{
    static const char *const texts[] = {"",
                                        "550e8400e29b41d4a716446655440000",
                                        "550e8400-e29b-41d4-a716-44665544000",
                                        "550e8400-e29b-41d4-a716-4466554400000",
                                        "550e8400-e29b-41d4-a716-44665544000g",
                                        "550e8400-e29b-41d4-a716_446655440000",
                                        "550e840-0e29b-41d4-a716-446655440000",
                                        "{50e8400-e29b-41d4-a716-44665544000}"};
    struct uuid id = {{7}};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        cr_assert_not(uuid_parse(slice_of(texts[i]), &id), "%s", texts[i]);
    cr_assert_not(uuid_parse((struct slice){0}, &id));
    cr_assert_eq(id.bytes[0], 7);
}
