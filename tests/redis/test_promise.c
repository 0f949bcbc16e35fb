/* Who runs an id and what came of it: every state, for its own machine and for another. */
#include <stdlib.h>
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

static long long open_count(const struct machine *m)
{
    return server_number(&server, "SCARD {carpool}:open:%b", m->options.machine.bytes, (size_t)16);
}

/* What it has settled is there when it has been answered something later. */
static void flush(struct machine *m)
{
    CHECK(drive_look(m, key_of(1u << 30)).rc == 0);
}

/* As seconds without a word from it would. */
static void seem_dead(const struct machine *m)
{
    CHECK(server_number(&server, "DEL {carpool}:m:%b", m->options.machine.bytes, (size_t)16) == 1);
}

static void claim_and_settle(void)
{
    start();
    struct outcome o = drive_arrive(&a, key_of(1), NULL, false);
    CHECK(o.rc == 0 && o.record.state == SHARED_FREE && !o.cached.p && !o.limited);
    o = drive_claim(&a, key_of(1), false);
    CHECK(o.rc == 0 && o.claimed);
    o = drive_claim(&b, key_of(1), false);
    CHECK(o.rc == 0 && !o.claimed && o.record.state == SHARED_DISPATCHED);
    CHECK(!o.record.mine && o.record.owner_alive && o.record.value.n == 0);
    CHECK(memcmp(o.record.fingerprint, key_of(1), SHARED_KEY_SIZE) == 0);
    drive_settle(&a, key_of(1), SHARED_DONE, "answer");
    o = drive_arrive(&a, key_of(1), NULL, false);
    CHECK(o.record.state == SHARED_DONE && o.record.mine && slice_is(o.record.value, "answer"));
    o = drive_look(&b, key_of(1));
    CHECK(o.rc == 0 && o.record.state == SHARED_DONE && !o.record.mine && slice_is(o.record.value, "answer"));
    CHECK(drive_look(&b, key_of(2)).record.state == SHARED_FREE);
    stop();
}

/* Brings a key of machine a into a state. */
static void bring(const uint8_t *key, enum shared_state state)
{
    if (state == SHARED_QUEUED)
        CHECK(drive_arrive(&a, key, NULL, true).rc == 0);
    else if (state == SHARED_DISPATCHED)
        CHECK(drive_claim(&a, key, false).claimed);
    else if (state != SHARED_FREE)
        drive_settle(&a, key, state, "value");
    flush(&a);
}

/* By state: who may claim it with and without take_unknown: its machine, another, another when it is dead. */
static const struct {
    bool mine, other, dead, mine_taking, other_taking, dead_taking;
} may_claim[] = {
    [SHARED_FREE] = {true, true, true, true, true, true},
    [SHARED_QUEUED] = {true, false, true, true, false, true},
    [SHARED_DISPATCHED] = {true, false, false, true, false, true},
    [SHARED_DONE] = {false},
    [SHARED_FAILED] = {false},
    [SHARED_UNKNOWN] = {false, false, false, true, true, true},
    [SHARED_DELETED] = {false},
    [SHARED_REFUSED] = {true, true, true, true, true, true},
};

static void states(void)
{
    unsigned n = 0;
    start();
    for (enum shared_state state = SHARED_FREE; state <= SHARED_REFUSED; state++)
        for (unsigned who = 0; who < 6; who++) {
            const uint8_t *key = key_of(++n);
            struct machine *m = who % 3 == 0 ? &a : &b;
            const bool allowed[] = {may_claim[state].mine,         may_claim[state].other,
                                    may_claim[state].dead,         may_claim[state].mine_taking,
                                    may_claim[state].other_taking, may_claim[state].dead_taking};
            bring(key, state);
            CHECK(drive_look(&a, key).record.state == state);
            if (who % 3 == 2)
                seem_dead(&a);
            struct outcome o = drive_claim(m, key, who >= 3);
            CHECK(o.rc == 0);
            if (o.claimed != allowed[who])
                fprintf(stderr, "    state %u, case %u: claimed %d\n", state, who, o.claimed);
            CHECK(o.claimed == allowed[who]);
            if (!o.claimed) {
                CHECK(o.record.state == state && o.record.mine == (m == &a));
                CHECK(slice_equal(o.record.value, slice_of(state > SHARED_DISPATCHED ? "value" : "")));
                CHECK(o.record.owner_alive == (who % 3 != 2));
            } else {
                o = drive_look(m, key);
                CHECK(o.record.state == SHARED_DISPATCHED && o.record.mine);
            }
            /* It says so again within a second. */
            if (who % 3 == 2)
                WAIT(server_number(&server, "EXISTS {carpool}:m:%b", a.options.machine.bytes, (size_t)16) ==
                     1);
        }
    stop();
}

static void others_are_left_alone(void)
{
    start();
    bring(key_of(1), SHARED_DISPATCHED);
    static const enum shared_state endings[] = {SHARED_DONE, SHARED_FAILED, SHARED_UNKNOWN, SHARED_FREE};
    for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
        drive_settle(&b, key_of(1), endings[i], "mine");
        struct outcome o = drive_look(&b, key_of(1));
        CHECK(o.record.state == SHARED_DISPATCHED && !o.record.mine);
    }
    drive_settle(&b, key_of(1), SHARED_DELETED, NULL);
    flush(&b);
    CHECK(drive_look(&a, key_of(1)).record.state == SHARED_DELETED);
    /* A tombstone stays, also for who made it. */
    drive_settle(&a, key_of(1), SHARED_DONE, "late");
    drive_settle(&b, key_of(1), SHARED_DONE, "late");
    drive_settle(&b, key_of(1), SHARED_FREE, NULL);
    flush(&b);
    CHECK(drive_look(&a, key_of(1)).record.state == SHARED_DELETED);
    CHECK(open_count(&a) == 0);
    stop();
}

static void endings(void)
{
    start();
    bring(key_of(1), SHARED_DISPATCHED);
    CHECK(open_count(&a) == 1);
    drive_settle(&a, key_of(1), SHARED_FREE, NULL);
    CHECK(drive_look(&a, key_of(1)).record.state == SHARED_FREE && open_count(&a) == 0);
    CHECK(drive_claim(&b, key_of(1), false).claimed);
    /* Several at once; unknown becomes done when it is found out. */
    struct shared_ending both[] = {
        {.key = key_of(2), .fingerprint = key_of(9), .state = SHARED_UNKNOWN, .value = SLICE_LITERAL("?")},
        {.key = key_of(3), .fingerprint = key_of(9), .state = SHARED_FAILED, .value = SLICE_LITERAL("no")}};
    shared_settle(a.s, both, 2);
    flush(&a);
    CHECK(slice_is(drive_look(&b, key_of(3)).record.value, "no"));
    drive_settle(&a, key_of(2), SHARED_DONE, "");
    flush(&a);
    struct outcome o = drive_look(&b, key_of(2));
    CHECK(o.record.state == SHARED_DONE && o.record.value.p && o.record.value.n == 0);
    /* An end stays when somebody who thought that nothing was sent says so late. */
    drive_settle(&a, key_of(2), SHARED_FREE, NULL);
    drive_settle(&a, key_of(3), SHARED_FREE, NULL);
    flush(&a);
    CHECK(drive_look(&b, key_of(2)).record.state == SHARED_DONE);
    CHECK(drive_look(&b, key_of(3)).record.state == SHARED_FAILED);
    stop();
}

/* What was told of an id holds again when a further try comes to nothing. */
static void taken_back(void)
{
    static const enum shared_state told[] = {SHARED_REFUSED, SHARED_UNKNOWN, SHARED_QUEUED};
    start();
    for (unsigned i = 0; i < ARRAY_LEN(told); i++)
        for (unsigned queued = 0; queued < 2; queued++) {
            const uint8_t *key = key_of(10 * i + queued);
            bring(key, told[i]);
            if (told[i] == SHARED_QUEUED)
                seem_dead(&a);
            if (queued)
                CHECK(drive_arrive(&b, key, NULL, true).rc == 0);
            CHECK(drive_claim(&b, key, told[i] == SHARED_UNKNOWN).claimed);
            CHECK(drive_claim(&b, key, false).claimed); /* nobody heard the first time */
            CHECK(drive_look(&a, key).record.state == SHARED_DISPATCHED && open_count(&b) == 1);
            drive_settle(&b, key, SHARED_FREE, NULL);
            flush(&b);
            struct outcome o = drive_look(&a, key);
            CHECK(o.record.state == told[i] && o.record.mine && open_count(&b) == 0);
            CHECK(slice_equal(o.record.value, slice_of(told[i] == SHARED_QUEUED ? "" : "value")));
            CHECK(memcmp(o.record.fingerprint, key, SHARED_KEY_SIZE) == 0);
            if (told[i] == SHARED_QUEUED)
                WAIT(drive_look(&b, key).record.owner_alive);
            /* And nothing of it is left in what it ends as. */
            CHECK(drive_claim(&a, key, true).claimed);
            drive_settle(&a, key, SHARED_DONE, "answer");
            flush(&a);
            CHECK(slice_is(drive_look(&b, key).record.value, "answer"));
        }
    stop();
}

static void give_back(struct machine *m, const uint8_t *key)
{
    drive_settle(m, key, SHARED_FREE, NULL);
    flush(m);
}

static bool stands_as(const uint8_t *key, enum shared_state state, bool of_a)
{
    struct outcome o = drive_look(&a, key);
    return o.record.state == state && o.record.mine == of_a;
}

/* A prompt that another machine has, and that is kept here, too: that holds once the other gives it back. */
static void kept_twice(void)
{
    start();
    for (enum shared_state state = SHARED_QUEUED; state <= SHARED_DISPATCHED; state++)
        for (unsigned refused = 0; refused < 2; refused++) {
            const uint8_t *key = key_of(10 * state + refused);
            if (refused)
                bring(key, SHARED_REFUSED);
            bring(key, state);
            for (unsigned i = 0; i < 2; i++) { /* the second time since nobody heard the first */
                struct outcome o = drive_arrive(&b, key, NULL, true);
                CHECK(o.rc == 0 && o.record.state == state && !o.record.mine);
            }
            CHECK(stands_as(key, state, true) && open_count(&b) == 1);
            give_back(&a, key);
            CHECK(stands_as(key, SHARED_QUEUED, false));
            give_back(&b, key);
            CHECK(refused ? stands_as(key, SHARED_REFUSED, true) : stands_as(key, SHARED_FREE, false));
            /* Given up here first. */
            bring(key, state);
            CHECK(drive_arrive(&b, key, NULL, true).rc == 0);
            give_back(&b, key);
            CHECK(stands_as(key, state, true) && open_count(&b) == 0);
            /* It comes to an end there. */
            CHECK(drive_arrive(&b, key, NULL, true).rc == 0);
            drive_settle(&a, key, SHARED_DONE, "answer");
            give_back(&b, key);
            flush(&a);
            CHECK(stands_as(key, SHARED_DONE, true) && open_count(&a) == 0);
        }
    /* The other one is dead: what it has kept is claimed, what it has sent is not to be kept here. */
    bring(key_of(1), SHARED_QUEUED);
    bring(key_of(2), SHARED_DISPATCHED);
    seem_dead(&a);
    CHECK(drive_arrive(&b, key_of(1), NULL, true).rc == 0 && drive_arrive(&b, key_of(2), NULL, true).rc == 0);
    CHECK(open_count(&b) == 1 && drive_claim(&b, key_of(1), false).claimed);
    give_back(&b, key_of(1));
    CHECK(stands_as(key_of(1), SHARED_QUEUED, true));
    for (unsigned i = 1; i <= 2; i++) {
        give_back(&a, key_of(i));
        CHECK(stands_as(key_of(i), SHARED_FREE, false));
    }
    stop();
}

static void cache(void)
{
    start();
    struct shared_ending e = {.key = key_of(1),
                              .fingerprint = key_of(1),
                              .state = SHARED_DONE,
                              .value = SLICE_LITERAL("hot"),
                              .cache_key = key_of(100),
                              .cache_ttl_s = 50};
    shared_settle(a.s, &e, 1);
    flush(&a);
    struct outcome o = drive_arrive(&b, key_of(2), key_of(100), false);
    CHECK(o.record.state == SHARED_FREE && slice_is(o.cached, "hot"));
    o = drive_arrive(&b, NULL, key_of(100), false);
    CHECK(slice_is(o.cached, "hot"));
    CHECK(!drive_arrive(&b, NULL, key_of(101), false).cached.p);
    /* A record goes first. */
    o = drive_arrive(&b, key_of(1), key_of(100), false);
    CHECK(o.record.state == SHARED_DONE && !o.cached.p);
    long long left = server_number(&server, "PTTL {carpool}:c:%b", key_of(100), (size_t)SHARED_KEY_SIZE);
    CHECK(left > 0 && left <= 50000);
    /* Without a key of its own; and forgotten with a deletion. */
    e = (struct shared_ending){
        .state = SHARED_DONE, .value = SLICE_LITERAL("other"), .cache_key = key_of(101), .cache_ttl_s = 50};
    shared_settle(a.s, &e, 1);
    flush(&a);
    CHECK(slice_is(drive_arrive(&a, NULL, key_of(101), false).cached, "other"));
    e = (struct shared_ending){.key = key_of(1), .state = SHARED_DELETED, .cache_key = key_of(100)};
    shared_settle(b.s, &e, 1);
    flush(&b);
    CHECK(!drive_arrive(&a, NULL, key_of(100), false).cached.p);
    stop();
}

#define MANY 300

static unsigned many_dones;

static void on_many(struct shared_claim *c, void *arg)
{
    (void)c, (void)arg;
    many_dones++;
}

/* One call with members of every kind. */
static void many_members(void)
{
    static uint8_t keys[MANY][SHARED_KEY_SIZE];
    static struct shared_claim_member members[MANY];
    start();
    for (unsigned i = 0; i < MANY; i++) {
        memcpy(keys[i], key_of(i), SHARED_KEY_SIZE);
        /* Bytes that mean something to protocols. */
        memcpy(keys[i] + 8, "\r\n$-1\r\n\0{}", 11);
        members[i] = (struct shared_claim_member){.key = keys[i], .fingerprint = keys[i]};
        if (i % 3 == 1)
            drive_settle(&b, keys[i], SHARED_DONE, "there");
        else if (i % 3 == 2)
            CHECK(drive_claim(&b, keys[i], false).claimed);
    }
    CHECK(drive_look(&b, key_of(0)).rc == 0);
    struct shared_claim claim = {.done = on_many, .members = members, .members_n = MANY};
    shared_claim(a.s, &claim);
    WAIT(many_dones);
    CHECK(many_dones == 1 && claim.rc == 0);
    for (unsigned i = 0; i < MANY; i++) {
        CHECK(members[i].ret_claimed == (i % 3 == 0));
        CHECK(members[i].ret_record.state == (i % 3 == 0   ? SHARED_FREE
                                              : i % 3 == 1 ? SHARED_DONE
                                                           : SHARED_DISPATCHED));
    }
    CHECK(open_count(&a) == MANY / 3 && open_count(&b) == MANY / 3);
    stop();
}

static long long record_ttl(const uint8_t *key)
{
    return server_number(&server, "PTTL {carpool}:r:%b", key, (size_t)SHARED_KEY_SIZE);
}

/* Kept from the first write on; anew when it runs anew. */
static void time_to_live(void)
{
    start();
    const uint8_t *key = key_of(1);
    bring(key, SHARED_QUEUED);
    CHECK(record_ttl(key) > 3500 * 1000 && record_ttl(key) <= 3600 * 1000);
    CHECK(server_number(&server, "PEXPIRE {carpool}:r:%b 60000", key, (size_t)SHARED_KEY_SIZE) == 1);
    CHECK(drive_claim(&a, key, false).claimed);
    CHECK(record_ttl(key) > 3500 * 1000);
    CHECK(server_number(&server, "PEXPIRE {carpool}:r:%b 60000", key, (size_t)SHARED_KEY_SIZE) == 1);
    drive_settle(&a, key, SHARED_UNKNOWN, "?");
    CHECK(drive_look(&a, key).record.state == SHARED_UNKNOWN);
    CHECK(record_ttl(key) > 3500 * 1000);
    CHECK(server_number(&server, "PEXPIRE {carpool}:r:%b 60000", key, (size_t)SHARED_KEY_SIZE) == 1);
    CHECK(drive_claim(&b, key, true).claimed);
    CHECK(record_ttl(key) > 3500 * 1000);
    drive_settle(&b, key, SHARED_DONE, "!");
    CHECK(server_number(&server, "PEXPIRE {carpool}:r:%b 60000", key, (size_t)SHARED_KEY_SIZE) == 1);
    drive_settle(&a, key, SHARED_DELETED, NULL);
    CHECK(drive_look(&a, key).record.state == SHARED_DELETED);
    CHECK(record_ttl(key) > 0 && record_ttl(key) <= 60000);
    CHECK(server_number(&server, "PEXPIRE {carpool}:r:%b 50", key, (size_t)SHARED_KEY_SIZE) == 1);
    WAIT(drive_look(&a, key).record.state == SHARED_FREE);
    stop();
}

static void large_values(void)
{
    start();
    size_t n = 3 << 20;
    char *text = malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        text[i] = (char)('a' + i * 7 % 26);
    text[n] = 0;
    drive_settle(&a, key_of(1), SHARED_DONE, text);
    flush(&a);
    CHECK(slice_is(drive_look(&b, key_of(1)).record.value, text));
    CHECK(slice_is(drive_claim(&b, key_of(1), false).record.value, text));
    struct shared_ending e = {
        .state = SHARED_DONE, .value = slice_of(text), .cache_key = key_of(2), .cache_ttl_s = 60};
    for (unsigned i = 0; i < 10; i++)
        shared_settle(a.s, &e, 1);
    flush(&a);
    CHECK(slice_is(drive_arrive(&a, NULL, key_of(2), false).cached, text));
    free(text);
    stop();
}

static void foreign_bytes(void)
{
    start();
    static const char *const junk[] = {"", "x", "\x01",
                                       "\x02\x03 some version to come, with a long enough record ....."};
    for (unsigned i = 0; i < ARRAY_LEN(junk); i++) {
        freeReplyObject(
            server_ask(&server, "SET {carpool}:r:%b %s", key_of(i), (size_t)SHARED_KEY_SIZE, junk[i]));
        CHECK(drive_look(&a, key_of(i)).rc == ERR_CORRUPT);
        CHECK(drive_arrive(&a, key_of(i), NULL, false).rc == ERR_CORRUPT);
        struct outcome o = drive_claim(&a, key_of(i), true);
        CHECK(!o.claimed && o.rc == ERR_CORRUPT);
    }
    CHECK(a.standing.there && drive_look(&a, key_of(99)).rc == 0);
    stop();
}

const struct test promise_tests[] = {{"claim_and_settle", claim_and_settle},
                                     {"states", states},
                                     {"others_are_left_alone", others_are_left_alone},
                                     {"endings", endings},
                                     {"taken_back", taken_back},
                                     {"kept_twice", kept_twice},
                                     {"cache", cache},
                                     {"many_members", many_members},
                                     {"time_to_live", time_to_live},
                                     {"large_values", large_values},
                                     {"foreign_bytes", foreign_bytes},
                                     {NULL, NULL}};
