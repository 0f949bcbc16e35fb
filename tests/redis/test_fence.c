/* What a connection given up, or an earlier life of a machine, can still do: nothing. */
#include <string.h>

#include "drive.h"
#include "relay.h"
#include "server.h"

static struct server server;
static struct machine a, b, later;

/* The server reads a claim only after its connection was given up, and another one is there. */
static void claim_held_back(void)
{
    char url[128];
    struct begun claim;
    server_start(&server, NULL);
    relay_start(&server, server.dir, NULL, url);
    machine_start(&a, 1, url);
    machine_start(&b, 2, server.url);
    relay_hold_commands();
    begin_claim(&a, &claim, key_of(1));
    WAIT(claim.dones);
    CHECK(claim.rc == ERR_CLOSED && !a.standing.there);
    WAIT(a.standing.there);
    CHECK(relay_connections() == 2 && a.open_n == 0);
    CHECK(drive_look(&b, key_of(1)).record.state == SHARED_FREE);
    relay_release();
    drive_for_ms(200 * STRETCH);
    CHECK(drive_look(&b, key_of(1)).record.state == SHARED_FREE);
    CHECK(drive_claim(&b, key_of(1), false).claimed);
    CHECK(a.standing.there && drive_claim(&a, key_of(2), false).claimed);
    machine_stop(&a);
    machine_stop(&b);
    relay_stop();
    server_fini(&server);
}

/* It was carried out, and nobody heard: it is among what is open. */
static void answer_lost(void)
{
    char url[128];
    struct begun claim;
    server_start(&server, NULL);
    relay_start(&server, server.dir, NULL, url);
    machine_start(&a, 1, url);
    relay_hold_answers();
    begin_claim(&a, &claim, key_of(1));
    WAIT(claim.dones);
    CHECK(claim.rc == ERR_CLOSED);
    relay_cut();
    WAIT(a.standing.there);
    CHECK(a.open_n == 1 && memcmp(a.open[0], key_of(1), SHARED_KEY_SIZE) == 0 && a.opens_done == 2);
    CHECK(drive_claim(&a, key_of(1), false).claimed);
    machine_stop(&a);
    relay_stop();
    server_fini(&server);
}

/* A frozen server may carry the claim out when it goes on, but not after it is there again. */
static void server_frozen(void)
{
    struct begun claims[50];
    server_start(&server, NULL);
    machine_init(&a, 1, server.url);
    a.options.answer_ms = 300;
    machine_open(&a);
    WAIT(a.standing.there);
    for (unsigned round = 0; round < 5; round++) {
        server_freeze(&server);
        for (unsigned i = 0; i < 50; i++)
            begin_claim(&a, &claims[i], key_of(round * 100 + i));
        uint64_t began = drive_now_ms();
        WAIT(!a.standing.there);
        CHECK(drive_now_ms() - began < 300 + 500 * STRETCH);
        a.open_n = 0;
        drive_for_ms(round * 40);
        server_thaw(&server);
        WAIT(a.standing.there);
        /* Those that were carried out before it was there are open; the others never will be. */
        unsigned claimed = 0;
        for (unsigned i = 0; i < 50; i++) {
            CHECK(claims[i].dones == 1 && claims[i].rc == ERR_CLOSED);
            claimed += drive_look(&a, key_of(round * 100 + i)).record.state == SHARED_DISPATCHED;
        }
        unsigned open = 0;
        for (size_t i = 0; i < a.open_n; i++)
            for (unsigned k = 0; k < 50; k++)
                open += memcmp(a.open[i], key_of(round * 100 + k), SHARED_KEY_SIZE) == 0;
        CHECK(open == claimed);
        drive_for_ms(50);
        unsigned then = 0;
        for (unsigned i = 0; i < 50; i++)
            then += drive_look(&a, key_of(round * 100 + i)).record.state == SHARED_DISPATCHED;
        CHECK(then == claimed);
    }
    machine_stop(&a);
    server_fini(&server);
}

static void later_life(void)
{
    struct begun claim;
    server_start(&server, NULL);
    machine_start(&a, 1, server.url);
    CHECK(drive_claim(&a, key_of(1), false).claimed);
    CHECK(drive_arrive(&a, key_of(2), NULL, true).rc == 0);
    machine_init(&later, 1, server.url);
    later.options.epoch = 2;
    machine_open(&later);
    WAIT(later.standing.there);
    CHECK(later.open_n == 2);
    begin_claim(&a, &claim, key_of(3));
    WAIT(claim.dones);
    CHECK(claim.rc == ERR_FENCED && !a.standing.there && a.standing.fault.code == ERR_FENCED);
    CHECK(drive_look(&later, key_of(3)).record.state == SHARED_FREE);
    begin_claim(&a, &claim, key_of(3));
    WAIT(claim.dones);
    CHECK(claim.rc == ERR_FENCED);
    unsigned standings = a.standings;
    drive_for_ms(1000);
    CHECK(a.standings == standings && !a.standing.there && later.standing.there);
    machine_stop(&a);
    /* Nor does it come in again, by the front door; the later one does. */
    machine_init(&a, 1, server.url);
    machine_open(&a);
    WAIT(a.standing.fault.code == ERR_FENCED);
    CHECK(later.standing.there && drive_claim(&later, key_of(3), false).claimed);
    machine_stop(&later);
    machine_init(&later, 1, server.url);
    later.options.epoch = 3;
    machine_open(&later);
    WAIT(later.standing.there);
    CHECK(later.open_n == 3);
    machine_stop(&later);
    machine_stop(&a);
    server_fini(&server);
}

/* Two with the same data: one of them serves. */
static void copied_directory(void)
{
    server_start(&server, NULL);
    machine_start(&a, 1, server.url);
    machine_init(&b, 1, server.url);
    machine_open(&b);
    WAIT(b.standing.fault.code == ERR_FENCED);
    CHECK(strstr(b.standing.fault.text, "copy"));
    CHECK(a.standing.there && drive_claim(&a, key_of(1), false).claimed);
    machine_stop(&a);
    machine_stop(&b);
    server_fini(&server);
}

/* All data gone: it takes a number again. */
static void data_lost(void)
{
    server_start(&server, NULL);
    machine_start(&a, 1, server.url);
    freeReplyObject(server_ask(&server, "FLUSHALL"));
    WAIT(!a.standing.there);
    CHECK(strstr(a.standing.fault.text, "lost data"));
    WAIT(a.standing.there);
    CHECK(drive_claim(&a, key_of(1), false).claimed);
    machine_stop(&a);
    server_fini(&server);
}

/* What is open is told in steps, each key once, and may be settled while it is told. */
static void settle_open(struct machine *m, const uint8_t *key)
{
    drive_settle(m, key, SHARED_UNKNOWN, "crashed");
}

static void reconciliation(void)
{
    unsigned n = 1500;
    static struct begun claims[1500];
    static uint8_t keys[1500][SHARED_KEY_SIZE];
    server_start(&server, NULL);
    machine_start(&a, 1, server.url);
    for (unsigned i = 0; i < n; i++) {
        memcpy(keys[i], key_of(i), SHARED_KEY_SIZE);
        begin_claim(&a, &claims[i], keys[i]);
    }
    WAIT(claims[n - 1].dones);
    machine_stop(&a);
    machine_init(&a, 1, server.url);
    a.options.epoch = 2;
    a.on_open_key = settle_open;
    machine_open(&a);
    WAIT(a.standing.there);
    CHECK(a.opens_done == 1 && a.open_n >= n && !a.there_before_open);
    bool seen[1500] = {false};
    for (size_t i = 0; i < a.open_n; i++) {
        unsigned number;
        memcpy(&number, a.open[i], sizeof(number));
        CHECK(number < n);
        seen[number] = true;
    }
    for (unsigned i = 0; i < n; i++)
        CHECK(seen[i]);
    CHECK(slice_is(drive_look(&a, key_of(77)).record.value, "crashed"));
    CHECK(server_number(&server, "SCARD {carpool}:open:%b", a.options.machine.bytes, (size_t)16) == 0);
    machine_stop(&a);
    server_fini(&server);
}

const struct test fence_tests[] = {{"claim_held_back", claim_held_back},   {"answer_lost", answer_lost},
                                   {"server_frozen", server_frozen},       {"later_life", later_life},
                                   {"copied_directory", copied_directory}, {"data_lost", data_lost},
                                   {"reconciliation", reconciliation},     {NULL, NULL}};
