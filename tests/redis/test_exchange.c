/* Settings, counters and deletions, from machine to machine. */
#include <stdlib.h>
#include <string.h>

#include "drive.h"
#include "relay.h"
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

static void settings(void)
{
    uint64_t version = 0;
    start();
    CHECK(drive_put(&a, 0, "{\"one\":1}", &version) == 0 && version == 1);
    uint64_t began = drive_now_ms();
    WAIT(b.settings_n == 1);
    CHECK(drive_now_ms() - began < 1000 * STRETCH);
    CHECK(b.version == 1 && strcmp(b.document, "{\"one\":1}") == 0);
    /* From a version that is not the newest. */
    CHECK(drive_put(&b, 0, "{\"two\":2}", &version) == ERR_EXISTS && version == 1);
    CHECK(drive_put(&b, 1, "{\"two\":2}", &version) == 0 && version == 2);
    WAIT(a.settings_n == 1);
    CHECK(a.version == 2 && strcmp(a.document, "{\"two\":2}") == 0);
    drive_for_ms(600);
    CHECK(a.settings_n == 1 && b.settings_n == 1);
    machine_stop(&a);
    /* Who knows the newest is not told; who knows less is told before it is there. */
    machine_init(&a, 3, server.url);
    a.options.settings_version = 2;
    machine_open(&a);
    WAIT(a.standing.there);
    CHECK(a.settings_n == 0);
    machine_stop(&a);
    machine_init(&a, 4, server.url);
    a.options.settings_version = 1;
    machine_open(&a);
    WAIT(a.settings_n);
    CHECK(!a.standing.there && a.version == 2);
    WAIT(a.standing.there);
    /* A server that lost them takes the next one, and its number goes on. */
    CHECK(server_number(&server, "DEL {carpool}:settings") == 1);
    CHECK(drive_put(&a, 2, "{\"three\":3}", &version) == 0 && version == 3);
    WAIT(b.version == 3);
    stop();
}

struct racer {
    struct shared_settings_put put;
    bool done;
};

static void on_race(struct shared_settings_put *p, void *arg)
{
    (void)arg;
    CONTAINER_OF(p, struct racer, put)->done = true;
}

/* Two at once, many times: one wins, and both end with the same. */
static void settings_race(void)
{
    unsigned wins = 0;
    start();
    for (uint64_t version = 0; version < 20; version++) {
        struct machine *ms[] = {&a, &b};
        struct racer racers[2];
        for (unsigned i = 0; i < 2; i++) {
            racers[i] = (struct racer){.put = {.done = on_race,
                                               .based_on = version,
                                               .document = slice_of(i ? "{\"b\":1}" : "{\"a\":1}")}};
            shared_settings_put(ms[i]->s, &racers[i].put);
        }
        WAIT(racers[0].done && racers[1].done);
        CHECK((racers[0].put.rc == 0) + (racers[1].put.rc == 0) == 1);
        unsigned winner = racers[1].put.rc == 0;
        CHECK(racers[!winner].put.rc == ERR_EXISTS && racers[!winner].put.ret_version == version + 1);
        CHECK(racers[winner].put.ret_version == version + 1);
        WAIT(ms[!winner]->version == version + 1);
        CHECK(strcmp(ms[!winner]->document, winner ? "{\"b\":1}" : "{\"a\":1}") == 0);
        wins += winner;
    }
    CHECK(a.settings_n + b.settings_n == 20 && a.settings_n == wins);
    stop();
}

static uint64_t sum_of(const struct machine *m, const char *name, uint32_t day)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->news_n; i++)
        if (!m->news[i].deletion && m->news[i].day == day && strcmp(m->news[i].name, name) == 0)
            sum += m->news[i].delta;
    return sum;
}

static void tell(struct machine *m, const char *name, uint64_t delta)
{
    struct shared_difference d = {slice_of(name), delta};
    shared_tell_counters(m->s, 20260101, &d, 1);
}

/* Each once, over restarts of the machine and of the server, as long as the position is kept. */
static void counters(void)
{
    struct shared_difference several[] = {{SLICE_LITERAL("requests"), 3},
                                          {SLICE_LITERAL("tokens"), 1ull << 60}};
    char position[64];
    start();
    shared_tell_counters(a.s, 20260101, several, 2);
    shared_tell_counters(a.s, 20260102, several, 1);
    WAIT(b.news_n == 3);
    CHECK(sum_of(&b, "requests", 20260101) == 3 && sum_of(&b, "requests", 20260102) == 3);
    CHECK(sum_of(&b, "tokens", 20260101) == 1ull << 60);
    tell(&b, "requests", 5);
    WAIT(a.news_n == 1);
    drive_for_ms(600);
    CHECK(a.news_n == 1 && b.news_n == 3);
    /* b is away; a tells, and the server starts again. */
    strcpy(position, b.position);
    machine_stop(&b);
    tell(&a, "requests", 10);
    CHECK(drive_look(&a, key_of(1)).rc == 0);
    server_kill(&server);
    WAIT(!a.standing.there);
    server_again(&server);
    WAIT(a.standing.there);
    tell(&a, "requests", 100);
    machine_init(&b, 2, server.url);
    b.options.position = position;
    b.options.epoch = 2;
    machine_open(&b);
    WAIT(b.standing.there && sum_of(&b, "requests", 20260101) == 110);
    drive_for_ms(600);
    CHECK(b.news_n == 2 && a.news_n == 1);
    machine_stop(&b);
    /* A new one hears all there is of others; one from other data, too. */
    static const char *const positions[] = {"", "0123456789abcdef 9999999999999-0", "nonsense",
                                            "a very long position that no version of this program wrote 1-1"};
    for (unsigned i = 0; i < ARRAY_LEN(positions); i++) {
        machine_init(&b, 10 + i, server.url);
        b.options.position = positions[i];
        machine_open(&b);
        WAIT(sum_of(&b, "requests", 20260101) == 118 && sum_of(&b, "requests", 20260102) == 3);
        machine_stop(&b);
    }
    machine_stop(&a);
    server_fini(&server);
}

/* Many names go in several entries; many entries in several ticks. */
static void many_counters(void)
{
    static char names[2000][64];
    static struct shared_difference d[2000];
    start();
    for (unsigned i = 0; i < 2000; i++) {
        snprintf(names[i], sizeof(names[i]), "counter with a longer name than most, number %u", i);
        d[i] = (struct shared_difference){slice_of(names[i]), i};
    }
    shared_tell_counters(a.s, 20260101, d, 2000);
    WAIT(b.news_n == 2000);
    for (unsigned i = 0; i < 2000; i++)
        CHECK(strcmp(b.news[i].name, names[i]) == 0 && b.news[i].delta == i);
    CHECK(server_number(&server, "XLEN {carpool}:news") > 10);
    for (unsigned i = 0; i < 1000; i++)
        tell(&b, "n", 1);
    WAIT(a.news_n == 1000);
    /* A name that is too long for any entry keeps the others from nothing. */
    char *name = malloc(20000);
    memset(name, 'x', 20000);
    struct shared_difference odd[] = {
        {SLICE_LITERAL("before"), 1}, {{name, 20000}, 1}, {SLICE_LITERAL("after"), 1}};
    b.news_n = 0;
    shared_tell_counters(a.s, 20260101, odd, 3);
    WAIT(sum_of(&b, "before", 20260101) == 1 && sum_of(&b, "after", 20260101) == 1);
    free(name);
    CHECK(b.news_n == 2);
    stop();
}

/* Entries that were cut off unread: it goes on with the oldest there. */
static void trimmed(void)
{
    char position[64];
    start();
    tell(&a, "n", 1);
    WAIT(b.news_n == 1);
    strcpy(position, b.position);
    machine_stop(&b);
    for (unsigned i = 0; i < 50; i++)
        tell(&a, "n", 1);
    CHECK(drive_look(&a, key_of(1)).rc == 0);
    freeReplyObject(server_ask(&server, "XTRIM {carpool}:news MAXLEN 10"));
    /* What nobody understands does not stop it. */
    freeReplyObject(server_ask(&server, "XADD {carpool}:news * m x c y"));
    freeReplyObject(server_ask(&server, "XADD {carpool}:news * z z"));
    machine_init(&b, 2, server.url);
    b.options.position = position;
    b.options.epoch = 2;
    machine_open(&b);
    WAIT(b.news_n);
    CHECK(sum_of(&b, "n", 20260101) == 10);
    tell(&a, "n", 1);
    WAIT(sum_of(&b, "n", 20260101) == 11);
    stop();
}

static unsigned deletions_of(const struct machine *m, const char *id)
{
    unsigned n = 0;
    for (size_t i = 0; i < m->news_n; i++)
        n += m->news[i].deletion && strcmp(m->news[i].name, id) == 0;
    return n;
}

/* Told again until they were acknowledged; in order. */
static void deletions(void)
{
    char url[128];
    server_start(&server, NULL);
    relay_start(&server, server.dir, NULL, url);
    machine_start(&b, 2, server.url);
    machine_init(&a, 1, url);
    machine_open(&a);
    shared_tell_deletion(a.s, SLICE_LITERAL("before it is there"));
    WAIT(deletions_of(&b, "before it is there") == 1);
    /* Lost on the way there. */
    relay_hold_commands();
    shared_tell_deletion(a.s, SLICE_LITERAL("lost"));
    drive_for_ms(50);
    relay_cut();
    WAIT(deletions_of(&b, "lost") == 1);
    /* Carried out, and the answer lost: twice, which does no harm. */
    WAIT(a.standing.there);
    relay_hold_answers();
    shared_tell_deletion(a.s, SLICE_LITERAL("unheard"));
    WAIT(deletions_of(&b, "unheard") == 1);
    relay_cut();
    WAIT(deletions_of(&b, "unheard") == 2);
    /* Many, while it is away: the newest 1024. */
    WAIT(a.standing.there);
    server_kill(&server);
    WAIT(!a.standing.there && !b.standing.there);
    b.news_n = 0;
    for (unsigned i = 0; i < 1100; i++) {
        char id[32];
        shared_tell_deletion(a.s, (struct slice){id, (size_t)snprintf(id, sizeof(id), "id-%u", i)});
    }
    server_again(&server);
    WAIT(b.news_n == 1024);
    CHECK(strcmp(b.news[0].name, "id-76") == 0 && strcmp(b.news[1023].name, "id-1099") == 0);
    CHECK(a.news_n == 0);
    drive_for_ms(600);
    CHECK(b.news_n == 1024);
    machine_stop(&a);
    machine_stop(&b);
    relay_stop();
    server_fini(&server);
}

/* Alive while it says so, and not much longer. */
static void alive(void)
{
    start();
    CHECK(drive_claim(&a, key_of(1), false).claimed);
    drive_for_ms(6500);
    CHECK(drive_look(&b, key_of(1)).record.owner_alive);
    machine_stop(&a);
    uint64_t began = drive_now_ms();
    WAIT(!drive_look(&b, key_of(1)).record.owner_alive);
    CHECK(drive_now_ms() - began < 6000 * STRETCH);
    CHECK(drive_claim(&b, key_of(1), true).claimed);
    machine_stop(&b);
    server_fini(&server);
}

const struct test exchange_tests[] = {{"settings", settings}, {"settings_race", settings_race},
                                      {"counters", counters}, {"many_counters", many_counters},
                                      {"trimmed", trimmed},   {"deletions", deletions},
                                      {"alive", alive},       {NULL, NULL}};
