/* A server that is not there, goes away, is of the wrong kind, or does not keep what it says. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drive.h"
#include "relay.h"
#include "server.h"

static struct server server, other;
static struct machine a;

static bool faults(const struct machine *m, const char *words)
{
    return !m->standing.there && strstr(m->standing.fault.text, words);
}

static void urls(void)
{
    static const char *const bad[] = {"rediss://localhost", "http://localhost", ""};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err e = {0};
        machine_init(&a, 1, bad[i]);
        CHECK(shared_open(drive_loop(), &a.options, &a.s, &e) == ERR_INVAL && e.text[0]);
    }
}

static void comes_later(void)
{
    struct begun claim;
    char url[128];
    server_start(&server, NULL);
    strcpy(url, server.url);
    server_kill(&server);
    machine_init(&a, 1, url);
    machine_open(&a);
    begin_claim(&a, &claim, key_of(1));
    WAIT(claim.dones && claim.rc == ERR_CLOSED);
    WAIT(faults(&a, "cannot be reached"));
    drive_settle(&a, key_of(1), SHARED_DONE, "nobody hears");
    drive_for_ms(1500);
    CHECK(a.standings == 1);
    server_again(&server);
    WAIT(a.standing.there && a.standing.keeps && a.standing.fault.code == 0);
    CHECK(drive_claim(&a, key_of(1), false).claimed);
    machine_stop(&a);
    server_fini(&server);
}

static void nobody_listens(void)
{
    char url[128];
    snprintf(url, sizeof(url), "redis://localhost:%u", free_port());
    machine_init(&a, 1, url);
    machine_open(&a);
    WAIT(faults(&a, "connection refused"));
    machine_stop(&a);
    machine_init(&a, 1, "redis://name.invalid");
    machine_open(&a);
    WAIT(faults(&a, "cannot be found"));
    machine_stop(&a);
    /* Closed while it resolves, and while it connects. */
    for (unsigned i = 0; i < 20; i++) {
        machine_init(&a, 1, i % 2 ? "redis://name.invalid" : url);
        machine_open(&a);
        for (unsigned turns = 0; turns < i / 2; turns++)
            uv_run(drive_loop(), UV_RUN_NOWAIT);
        machine_stop(&a);
    }
}

static void by_name(void)
{
    char url[128];
    server_start_tcp(&server, NULL);
    snprintf(url, sizeof(url), "redis://localhost:%u/3", server.port);
    machine_start(&a, 1, url);
    CHECK(drive_claim(&a, key_of(1), false).claimed);
    freeReplyObject(server_ask(&server, "SELECT 3"));
    CHECK(server_number(&server, "EXISTS {carpool}:r:%b", key_of(1), (size_t)SHARED_KEY_SIZE) == 1);
    machine_stop(&a);
    server_fini(&server);
}

static void killed_and_started_again(void)
{
    struct begun claims[20];
    server_start(&server, NULL);
    machine_start(&a, 1, server.url);
    for (unsigned round = 0; round < 5; round++) {
        CHECK(drive_claim(&a, key_of(round), false).claimed);
        for (unsigned i = 0; i < 20; i++)
            begin_claim(&a, &claims[i], key_of(100 * (round + 1) + i));
        if (round % 2)
            drive_for_ms(1);
        server_kill(&server);
        WAIT(!a.standing.there);
        for (unsigned i = 0; i < 20; i++)
            WAIT(claims[i].dones == 1 && claims[i].rc != 1);
        server_again(&server);
        WAIT(a.standing.there);
        for (unsigned i = 0; i < 20; i++) {
            enum shared_state state = drive_look(&a, key_of(100 * (round + 1) + i)).record.state;
            CHECK(state == SHARED_DISPATCHED || (state == SHARED_FREE && !claims[i].claimed));
        }
        for (unsigned i = 0; i <= round; i++)
            CHECK(drive_look(&a, key_of(i)).record.state == SHARED_DISPATCHED);
    }
    machine_stop(&a);
    server_fini(&server);
}

static void passwords(void)
{
    char url[160];
    server_start(&server, "--requirepass", "s3cret/word", NULL);
    snprintf(url, sizeof(url), "unix://:s3cret%%2Fword@%s", server.socket);
    machine_start(&a, 1, url);
    machine_stop(&a);
    freeReplyObject(server_ask(&server, "AUTH s3cret/word"));
    freeReplyObject(server_ask(&server, "ACL SETUSER pool on >t0psecret ~{carpool}:* +@all"));
    snprintf(url, sizeof(url), "unix://pool:t0psecret@%s", server.socket);
    machine_start(&a, 2, url);
    machine_stop(&a);
    /* As etc/redis.md has it. */
    freeReplyObject(server_ask(
        &server, "ACL SETUSER carpool on >t0psecret ~{carpool}:* +@all -@dangerous +info +config|get"));
    snprintf(url, sizeof(url), "unix://carpool:t0psecret@%s", server.socket);
    machine_start(&a, 4, url);
    CHECK(a.standing.keeps && drive_arrive(&a, key_of(1), key_of(2), true).rc == 0);
    CHECK(drive_claim(&a, key_of(1), false).claimed);
    drive_settle(&a, key_of(1), SHARED_DONE, "v");
    shared_tell_deletion(a.s, SLICE_LITERAL("id"));
    drive_for_ms(500);
    CHECK(drive_look(&a, key_of(1)).record.state == SHARED_DONE && a.standings == 1);
    machine_stop(&a);
    static const char *const wrong[] = {":hunter2@", "pool:hunter2@", "nobody:hunter2@", ""};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        snprintf(url, sizeof(url), "unix://%s%s", wrong[i], server.socket);
        machine_init(&a, 3, url);
        machine_open(&a);
        WAIT(a.standing.fault.code);
        CHECK(faults(&a, wrong[i][0] ? "refuses the user or the password" : "wants a password"));
        CHECK(!strstr(a.standing.fault.text, "hunter2"));
        machine_stop(&a);
    }
    /* A user that may not do everything is told what is missing. */
    freeReplyObject(server_ask(&server, "ACL SETUSER pool -evalsha"));
    snprintf(url, sizeof(url), "unix://pool:t0psecret@%s", server.socket);
    machine_init(&a, 3, url);
    machine_open(&a);
    WAIT(faults(&a, "NOPERM"));
    CHECK(!strstr(a.standing.fault.text, "t0psecret"));
    machine_stop(&a);
    server_fini(&server);
}

/* AUTH where no password is set: the server repeats what it does not like. */
static void password_not_wanted(void)
{
    char url[160];
    server_start(&server, "--rename-command", "AUTH", "", NULL);
    snprintf(url, sizeof(url), "unix://:hunter2@%s", server.socket);
    machine_init(&a, 1, url);
    machine_open(&a);
    WAIT(a.standing.fault.code);
    CHECK(!strstr(a.standing.fault.text, "hunter2"));
    machine_stop(&a);
    server_fini(&server);
}

/* Whether it keeps what it says; found out anew while connected. */
static void keeping(void)
{
    static const struct {
        const char *a, *b, *c, *d, *words;
    } careless[] = {
        {"--appendonly", "no", NULL, NULL, "appendonly yes"},
        {"--appendfsync", "everysec", NULL, NULL, "appendfsync always"},
        {"--no-appendfsync-on-rewrite", "yes", NULL, NULL, "no-appendfsync-on-rewrite no"},
        {"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru", "noeviction"},
        {"--rename-command", "CONFIG", "", NULL, "cannot be checked"},
    };
    for (size_t i = 0; i < ARRAY_LEN(careless); i++) {
        server_start(&server, careless[i].a, careless[i].b, careless[i].c, careless[i].d, NULL);
        machine_start(&a, 1, server.url);
        CHECK(!a.standing.keeps && a.standing.fault.code && strstr(a.standing.fault.text, careless[i].words));
        CHECK(drive_claim(&a, key_of(1), false).claimed);
        machine_stop(&a);
        server_fini(&server);
    }
    server_start(&server, "--maxmemory", "100mb", NULL);
    machine_start(&a, 1, server.url);
    CHECK(a.standing.keeps && a.standing.fault.code == 0 && a.standings == 1);
    freeReplyObject(server_ask(&server, "CONFIG SET appendfsync everysec"));
    WAIT(!a.standing.keeps);
    CHECK(a.standing.there && a.standings == 2);
    machine_stop(&a);
    server_fini(&server);
}

static void replica(void)
{
    char port[16];
    server_start_tcp(&server, NULL);
    snprintf(port, sizeof(port), "%u", server.port);
    server_start(&other, "--replicaof", "127.0.0.1", port, NULL);
    machine_init(&a, 1, other.url);
    machine_open(&a);
    WAIT(faults(&a, "replica"));
    machine_stop(&a);
    /* A primary that becomes one. */
    machine_start(&a, 1, server.url);
    freeReplyObject(server_ask(&server, "REPLICAOF 127.0.0.1 1"));
    WAIT(faults(&a, "replica"));
    freeReplyObject(server_ask(&server, "REPLICAOF NO ONE"));
    WAIT(a.standing.there);
    machine_stop(&a);
    server_fini(&other);
    server_fini(&server);
}

static void no_memory_left(void)
{
    server_start(&server, NULL);
    machine_start(&a, 1, server.url);
    freeReplyObject(server_ask(&server, "CONFIG SET maxmemory 1"));
    WAIT(faults(&a, "maxmemory"));
    freeReplyObject(server_ask(&server, "CONFIG SET maxmemory 0"));
    WAIT(a.standing.there);
    machine_stop(&a);
    server_fini(&server);
}

static void loading(void)
{
    server_start(&server, NULL);
    freeReplyObject(server_ask(&server, "EVAL %s 0", "for i = 1, 3000 do redis.call('SET', i, i) end"));
    freeReplyObject(server_ask(&server, "BGREWRITEAOF"));
    drive_for_ms(1000);
    machine_init(&a, 1, server.url);
    server_kill(&server);
    server.args[0] = "--key-load-delay";
    server.args[1] = "1000";
    server.args[2] = "--loading-process-events-interval-bytes";
    server.args[3] = "1024";
    machine_open(&a);
    server_spawn(&server);
    WAIT(faults(&a, "still loading"));
    WAIT(a.standing.there);
    server_again(&server);
    machine_stop(&a);
    server_fini(&server);
}

/* What it says before it has heard anything is not about the password. */
static void too_many_clients(void)
{
    char url[160];
    server_start(&server, "--maxclients", "1", NULL);
    snprintf(url, sizeof(url), "unix://:hunter2@%s", server.socket);
    machine_init(&a, 1, url);
    machine_open(&a);
    WAIT(faults(&a, "max number of clients"));
    machine_stop(&a);
    server_fini(&server);
}

static void scripts_lost(void)
{
    server_start(&server, NULL);
    machine_start(&a, 1, server.url);
    freeReplyObject(server_ask(&server, "SCRIPT FLUSH"));
    CHECK(drive_claim(&a, key_of(1), false).rc == ERR_CLOSED);
    WAIT(a.standing.there);
    CHECK(drive_claim(&a, key_of(1), false).claimed);
    machine_stop(&a);
    server_fini(&server);
}

static void connection_killed(void)
{
    server_start(&server, NULL);
    machine_start(&a, 1, server.url);
    for (unsigned i = 0; i < 3; i++) {
        freeReplyObject(server_ask(&server, "CLIENT KILL TYPE normal SKIPME yes"));
        WAIT(!a.standing.there);
        WAIT(a.standing.there);
    }
    CHECK(drive_claim(&a, key_of(1), false).claimed);
    machine_stop(&a);
    server_fini(&server);
}

/* A process that was stopped itself blames nobody. */
static void stopped_ourselves(void)
{
    server_start(&server, NULL);
    machine_init(&a, 1, server.url);
    a.options.answer_ms = 200;
    machine_open(&a);
    WAIT(a.standing.there);
    for (unsigned i = 0; i < 5; i++) {
        struct begun claim;
        begin_claim(&a, &claim, key_of(i));
        uv_run(drive_loop(), UV_RUN_NOWAIT);
        pid_t pid = fork();
        if (pid == 0) {
            kill(getppid(), SIGSTOP);
            usleep(700000);
            kill(getppid(), SIGCONT);
            _exit(0);
        }
        waitpid(pid, NULL, 0);
        WAIT(claim.dones);
        CHECK(claim.rc == 0 && claim.claimed);
        drive_for_ms(50);
        CHECK(a.standing.there && a.standings == 1);
    }
    machine_stop(&a);
    server_fini(&server);
}

const struct test away_tests[] = {{"urls", urls},
                                  {"comes_later", comes_later},
                                  {"nobody_listens", nobody_listens},
                                  {"by_name", by_name},
                                  {"killed_and_started_again", killed_and_started_again},
                                  {"passwords", passwords},
                                  {"password_not_wanted", password_not_wanted},
                                  {"keeping", keeping},
                                  {"replica", replica},
                                  {"no_memory_left", no_memory_left},
                                  {"loading", loading},
                                  {"too_many_clients", too_many_clients},
                                  {"scripts_lost", scripts_lost},
                                  {"connection_killed", connection_killed},
                                  {"stopped_ourselves", stopped_ourselves},
                                  {NULL, NULL}};
