/* Buckets that several machines take from. */
#include <string.h>

#include "drive.h"
#include "server.h"

static struct server server;
static struct machine a, b;

static void start(void)
{
    server_start(&server, NULL);
    machine_start(&a, 1, server.url);
    machine_start(&b, 2, server.url);
}

static void stop(void)
{
    machine_stop(&a);
    machine_stop(&b);
    server_fini(&server);
}

static struct shared_bucket bucket(const char *name, uint32_t per_minute, int64_t cost)
{
    return (struct shared_bucket){.name = name, .per_minute = per_minute, .cost = cost, .ret_remaining = -1};
}

/* Slow ones, so that what fills up meanwhile does not count. */
static void taking(void)
{
    start();
    for (unsigned i = 0; i < 5; i++) {
        struct shared_bucket k = bucket("k", 5, 1);
        struct outcome o = drive_arrive_limited(i % 2 ? &a : &b, &k, 1);
        CHECK(o.rc == 0 && !o.limited && k.ret_wait_ms == 0);
        CHECK(k.ret_remaining == 4 - (int)i);
        CHECK(k.ret_reset_ms <= (i + 1) * 12000 && k.ret_reset_ms > (i + 1) * 12000 - 3000);
    }
    struct shared_bucket k = bucket("k", 5, 1);
    CHECK(drive_arrive_limited(&a, &k, 1).limited);
    CHECK(k.ret_remaining == 0 && k.ret_wait_ms > 9000 && k.ret_wait_ms <= 12000);
    k = bucket("k", 5, 3);
    CHECK(drive_arrive_limited(&b, &k, 1).limited);
    CHECK(k.ret_wait_ms > 33000 && k.ret_wait_ms <= 36000);
    /* Asking costs nothing. */
    k = bucket("k", 5, 0);
    CHECK(!drive_arrive_limited(&b, &k, 1).limited && k.ret_remaining == 0);
    k = bucket("another", 5, 1);
    CHECK(!drive_arrive_limited(&a, &k, 1).limited && k.ret_remaining == 4);
    stop();
}

static void all_or_none(void)
{
    start();
    struct shared_bucket both[] = {bucket("requests", 10, 1), bucket("tokens", 1000, 1000)};
    CHECK(!drive_arrive_limited(&a, both, 2).limited);
    CHECK(both[0].ret_remaining == 9 && both[1].ret_remaining == 0);
    CHECK(drive_arrive_limited(&b, both, 2).limited);
    CHECK(both[0].ret_remaining == 9 && both[0].ret_wait_ms == 0 && both[1].ret_wait_ms > 50000);
    both[1].cost = 0;
    CHECK(!drive_arrive_limited(&b, both, 2).limited && both[0].ret_remaining == 8);
    stop();
}

/* Two machines together get what fills up, no more and no less. How long that was is known between the times
 * of asking and of hearing. */
static void rate(void)
{
    start();
    uint32_t per_minute = 12000; /* 200 a second */
    struct shared_bucket k = bucket("k", per_minute, per_minute);
    uint64_t first_asked = drive_now_ms();
    CHECK(!drive_arrive_limited(&a, &k, 1).limited);
    uint64_t first_heard = drive_now_ms(), asked, heard;
    unsigned taken = 0, limited = 0;
    do {
        k = bucket("k", per_minute, 3);
        asked = drive_now_ms();
        if (drive_arrive_limited(limited % 2 ? &a : &b, &k, 1).limited)
            limited++;
        else
            taken += 3;
        heard = drive_now_ms();
    } while (heard - first_asked < 2000);
    double least = (double)(asked - first_heard) * per_minute / 60000;
    double most = (double)(heard - first_asked) * per_minute / 60000;
    double got = taken + (double)k.ret_remaining;
    if (got < least - 2 || got > most + 2)
        fprintf(stderr, "    %.0f taken or left, and %.1f to %.1f were due\n", got, least, most);
    CHECK(got >= least - 2 && got <= most + 2 && limited > 0);
    stop();
}

/* What is larger than the bucket gets through when that is full, and is owed. */
static void larger_than_the_bucket(void)
{
    start();
    struct shared_bucket k = bucket("k", 60, 150);
    CHECK(!drive_arrive_limited(&a, &k, 1).limited);
    CHECK(k.ret_remaining == 0 && k.ret_reset_ms > 140000 && k.ret_reset_ms <= 150000);
    k = bucket("k", 60, 1);
    CHECK(drive_arrive_limited(&a, &k, 1).limited && k.ret_wait_ms > 81000 && k.ret_wait_ms <= 91000);
    stop();
}

static void charging(void)
{
    start();
    struct shared_bucket k = bucket("k", 100, 10), more = bucket("k", 100, 40), back = bucket("k", 100, -45);
    CHECK(!drive_arrive_limited(&a, &k, 1).limited && k.ret_remaining == 90);
    shared_charge(a.s, &more, 1);
    k.cost = 0;
    CHECK(!drive_arrive_limited(&a, &k, 1).limited);
    CHECK(k.ret_remaining >= 50 && k.ret_remaining <= 55);
    shared_charge(b.s, &back, 1);
    CHECK(drive_look(&b, key_of(1)).rc == 0);
    CHECK(!drive_arrive_limited(&a, &k, 1).limited && k.ret_remaining >= 95);
    /* Never more than full, and more than there is can be owed. */
    shared_charge(a.s, &back, 1);
    CHECK(!drive_arrive_limited(&a, &k, 1).limited && k.ret_remaining == 100 && k.ret_reset_ms == 0);
    more.cost = 150;
    shared_charge(a.s, &more, 1);
    k.cost = 1;
    CHECK(drive_arrive_limited(&a, &k, 1).limited && k.ret_wait_ms > 25000 && k.ret_wait_ms <= 30600);
    stop();
}

/* What is answered from records or the cache takes nothing; neither does what is refused queue. */
static void order(void)
{
    start();
    struct shared_ending e = {.key = key_of(1),
                              .state = SHARED_DONE,
                              .value = SLICE_LITERAL("v"),
                              .cache_key = key_of(2),
                              .cache_ttl_s = 9};
    shared_settle(a.s, &e, 1);
    CHECK(drive_arrive(&a, key_of(1), NULL, true).record.state == SHARED_DONE);
    CHECK(slice_is(drive_arrive(&a, key_of(5), key_of(2), true).cached, "v"));
    CHECK(drive_look(&a, key_of(5)).record.state == SHARED_FREE);
    CHECK(server_number(&server, "EXISTS {carpool}:b:k") == 0);
    struct shared_bucket k = bucket("k", 1, 1);
    CHECK(!drive_arrive_limited(&a, &k, 1).limited);
    CHECK(server_number(&server, "PTTL {carpool}:b:k") <= 60001);
    stop();
}

/* A clock that was set back does not close a bucket for a day. */
static void clock_set_back(void)
{
    start();
    freeReplyObject(server_ask(&server, "SET {carpool}:b:k 9000000000000000"));
    struct shared_bucket k = bucket("k", 60, 1);
    CHECK(drive_arrive_limited(&a, &k, 1).limited && k.ret_wait_ms <= 5 * 60000);
    stop();
}

const struct test limit_tests[] = {{"taking", taking},
                                   {"all_or_none", all_or_none},
                                   {"rate", rate},
                                   {"larger_than_the_bucket", larger_than_the_bucket},
                                   {"charging", charging},
                                   {"order", order},
                                   {"clock_set_back", clock_set_back},
                                   {NULL, NULL}};
