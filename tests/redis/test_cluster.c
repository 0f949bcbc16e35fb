/* A cluster of three: all of ours is in one slot, on whichever node, also when it moves. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "drive.h"
#include "server.h"

#define NODES 3
#define SLOTS 16384

static struct server nodes[NODES];
static char ids[NODES][41];
static struct machine a;

static void start(void)
{
    for (unsigned i = 0; i < NODES; i++) {
        char bus[16];
        snprintf(bus, sizeof(bus), "%u", free_port());
        server_start_tcp(&nodes[i], "--cluster-enabled", "yes", "--cluster-node-timeout", "5000",
                         "--cluster-port", bus, NULL);
        redisReply *id = server_ask(&nodes[i], "CLUSTER MYID");
        snprintf(ids[i], sizeof(ids[i]), "%s", id->str);
        freeReplyObject(id);
        freeReplyObject(server_ask(&nodes[i], "CLUSTER SET-CONFIG-EPOCH %u", i + 1));
        freeReplyObject(server_ask(&nodes[i], "CLUSTER ADDSLOTSRANGE %u %u", SLOTS * i / NODES,
                                   SLOTS * (i + 1) / NODES - 1));
        if (i)
            freeReplyObject(
                server_ask(&nodes[i], "CLUSTER MEET 127.0.0.1 %u %s", nodes[0].port, nodes[0].args[5]));
        /* server.args lends. */
        nodes[i].args[5] = strdup(bus);
    }
    for (unsigned i = 0; i < NODES; i++) {
        bool ok = false;
        for (unsigned tries = 0; !ok && tries < 200 * STRETCH; tries++) {
            redisReply *info = server_ask(&nodes[i], "CLUSTER INFO");
            ok = strstr(info->str, "cluster_state:ok") && strstr(info->str, "cluster_known_nodes:3");
            freeReplyObject(info);
            if (!ok)
                usleep(50000);
        }
        CHECK(ok);
    }
}

static void stop(void)
{
    machine_stop(&a);
    for (unsigned i = 0; i < NODES; i++) {
        free((char *)nodes[i].args[5]);
        server_fini(&nodes[i]);
    }
}

static void redirected(void)
{
    start();
    for (unsigned i = 0; i < NODES; i++) {
        machine_start(&a, 1 + i, nodes[i].url);
        CHECK(a.standings == 1);
        CHECK(drive_claim(&a, key_of(i), false).claimed);
        machine_stop(&a);
    }
    stop();
}

static void expect_ok(redisReply *reply)
{
    if (reply->type == REDIS_REPLY_ERROR)
        give_up(reply->str);
    freeReplyObject(reply);
}

/* The slot goes from one node to another, with what is in it; while that lasts we are away. */
static void slot_moves(void)
{
    start();
    long long slot = server_number(&nodes[0], "CLUSTER KEYSLOT {carpool}");
    unsigned from = (unsigned)(slot * NODES / SLOTS), to = (from + 1) % NODES;
    machine_start(&a, 1, nodes[(from + 2) % NODES].url);
    CHECK(drive_claim(&a, key_of(1), false).claimed);
    drive_settle(&a, key_of(1), SHARED_DONE, "kept");
    CHECK(drive_look(&a, key_of(1)).rc == 0);
    expect_ok(server_ask(&nodes[to], "CLUSTER SETSLOT %lld IMPORTING %s", slot, ids[from]));
    expect_ok(server_ask(&nodes[from], "CLUSTER SETSLOT %lld MIGRATING %s", slot, ids[to]));
    redisReply *keys = server_ask(&nodes[from], "CLUSTER GETKEYSINSLOT %lld 1000", slot);
    for (size_t i = 0; i < keys->elements; i++)
        expect_ok(server_ask(&nodes[from], "MIGRATE 127.0.0.1 %u %b 0 5000", nodes[to].port,
                             keys->element[i]->str, keys->element[i]->len));
    CHECK(keys->elements >= 4);
    freeReplyObject(keys);
    WAIT(!a.standing.there);
    WAIT(strstr(a.standing.fault.text, "moving the slot"));
    expect_ok(server_ask(&nodes[to], "CLUSTER SETSLOT %lld NODE %s", slot, ids[to]));
    expect_ok(server_ask(&nodes[from], "CLUSTER SETSLOT %lld NODE %s", slot, ids[to]));
    WAIT(a.standing.there);
    CHECK(slice_is(drive_look(&a, key_of(1)).record.value, "kept"));
    stop();
}

/* The node that has it is gone, and comes back. */
static void node_lost(void)
{
    start();
    long long slot = server_number(&nodes[0], "CLUSTER KEYSLOT {carpool}");
    unsigned from = (unsigned)(slot * NODES / SLOTS);
    machine_start(&a, 1, nodes[(from + 1) % NODES].url);
    server_kill(&nodes[from]);
    WAIT(!a.standing.there);
    drive_for_ms(500);
    CHECK(!a.standing.there && a.standing.fault.text[0]);
    server_again(&nodes[from]);
    WAIT(a.standing.there);
    CHECK(drive_claim(&a, key_of(1), false).claimed);
    stop();
}

const struct test cluster_tests[] = {
    {"redirected", redirected}, {"slot_moves", slot_moves}, {"node_lost", node_lost}, {NULL, NULL}};
