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

const struct test promise_tests[] = {{"claim_and_settle", claim_and_settle}, {NULL, NULL}};
