/* Peers that are no Redis, or one that is too old, and closing at every moment. */
#include <stdlib.h>
#include <string.h>

#include "drive.h"
#include "relay.h"
#include "server.h"

static struct server server;
static struct machine a;

static void canned(const char *answer, const char *words)
{
    char directory[64], url[128];
    new_directory(directory);
    relay_start(NULL, directory, answer, url);
    machine_init(&a, 1, url);
    a.options.answer_ms = 300;
    machine_open(&a);
    WAIT(a.standing.fault.code);
    if (!strstr(a.standing.fault.text, words))
        fprintf(stderr, "    said: %s\n", a.standing.fault.text);
    CHECK(!a.standing.there && strstr(a.standing.fault.text, words));
    machine_stop(&a);
    relay_stop();
}

static void no_redis(void)
{
    canned("HTTP/1.1 400 Bad Request\r\n\r\n", "cannot be understood");
}

static void silent(void)
{
    canned(NULL, "does not answer within 300 ms");
}

static void too_old(void)
{
    canned("$37\r\n# Server\r\nredis_version:5.0.14\r\nx:1\r\n\r\n", "is version 5.0.14");
}

static void half_an_answer(void)
{
    canned("$1000\r\nredis_ver", "does not answer");
}

static void too_many_answers(void)
{
    canned("$-1\r\n*0\r\n$1\r\nx\r\n", "cannot be understood");
}

static void error_with_bytes(void)
{
    canned("-\x01\x02 \xff strange\r\n", "refuses: ?? ? strange");
}

/* Closing with operations on their way: each ends once. Then one that closes when it ends. */
static void closing(void)
{
    static struct begun claims[500];
    server_start(&server, NULL);
    for (unsigned round = 0; round < 10; round++) {
        machine_init(&a, 1, server.url);
        a.options.epoch = round + 1;
        machine_open(&a);
        if (round)
            WAIT(a.standing.there);
        if (round % 3 == 2)
            server_freeze(&server);
        for (unsigned i = 0; i < 500; i++)
            begin_claim(&a, &claims[i], key_of(i % 60));
        drive_settle(&a, key_of(900), SHARED_DONE, "settled");
        shared_tell_deletion(a.s, SLICE_LITERAL("deleted"));
        for (unsigned turns = 0; turns < round; turns++)
            uv_run(drive_loop(), UV_RUN_NOWAIT);
        shared_close(a.s);
        for (unsigned i = 0; i < 500; i++)
            CHECK(claims[i].dones == 1 && claims[i].rc != 1);
        drive_for_ms(10);
        if (round % 3 == 2)
            server_thaw(&server);
    }
    shared_close(NULL);
    server_fini(&server);
}

struct restless {
    struct shared_look look;
    struct shared_look_member member;
    unsigned dones, again;
    bool close;
};

static void on_restless(struct shared_look *l, void *arg)
{
    struct restless *r = CONTAINER_OF(l, struct restless, look);
    struct machine *m = arg;
    r->dones++;
    if (r->close && m->s) {
        struct shared *s = m->s;
        m->s = NULL;
        shared_close(s);
    } else if (r->again && m->s) {
        r->again--;
        shared_look(m->s, l);
    }
}

static void begin_restless(struct restless *r, unsigned again, bool close)
{
    *r = (struct restless){.again = again, .close = close};
    r->member.key = key_of(1);
    r->look = (struct shared_look){.done = on_restless, .members = &r->member, .members_n = 1};
    shared_look(a.s, &r->look);
}

/* done begins operations, and closes: when answered, when the server went away, when it was not there. */
static void from_inside(void)
{
    struct restless rs[9];
    for (unsigned round = 0; round < 4; round++) {
        server_start(&server, NULL);
        machine_init(&a, 1, server.url);
        machine_open(&a);
        if (round)
            WAIT(a.standing.there);
        for (unsigned i = 0; i < 9; i++)
            begin_restless(&rs[i], 5, i == 4 && round != 3);
        if (round == 2)
            server_kill(&server);
        for (unsigned i = 0; i < 9; i++)
            WAIT(rs[i].dones >= (i == 4 ? 1 : round == 3 ? 6 : 1));
        if (round == 3)
            machine_stop(&a);
        drive_for_ms(50);
        server_fini(&server);
    }
}

const struct test peer_tests[] = {{"no_redis", no_redis},
                                  {"silent", silent},
                                  {"too_old", too_old},
                                  {"half_an_answer", half_an_answer},
                                  {"too_many_answers", too_many_answers},
                                  {"error_with_bytes", error_with_bytes},
                                  {"closing", closing},
                                  {"from_inside", from_inside},
                                  {NULL, NULL}};
