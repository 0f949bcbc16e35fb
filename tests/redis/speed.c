/*
 * How many prompts a second one connection carries: each an arrival, a claim and a settlement, many at once,
 * beside plain PINGs on the same kind of connection in the same run. Machines differ; the ratio does less.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "drive.h"
#include "server.h"
#include "shared/connection.h"

#define AT_ONCE 64
#define FOR_MS  2000

static struct server server;
static struct machine a;
static unsigned ended;
static bool stopping;

/* What happened while the loop ran for a while: how often, and what processor time each cost on both sides,
 * which a busy machine distorts less than the rate. */
struct pace {
    double per_s, ours_us, server_us;
};

static double server_cpu_us(void)
{
    redisReply *info = server_ask(&server, "INFO cpu");
    const char *user = strstr(info->str, "used_cpu_user:"), *sys = strstr(info->str, "used_cpu_sys:");
    CHECK(user && sys);
    double us = 1e6 * (atof(user + 14) + atof(sys + 13));
    freeReplyObject(info);
    return us;
}

static struct pace run(void)
{
    ended = 0;
    uint64_t began = drive_now_ms();
    double ours = (double)clock(), theirs = server_cpu_us();
    drive_for_ms(FOR_MS);
    double n = ended ? ended : 1;
    return (struct pace){.per_s = n * 1000 / (double)(drive_now_ms() - began),
                         .ours_us = ((double)clock() - ours) * 1e6 / CLOCKS_PER_SEC / n,
                         .server_us = (server_cpu_us() - theirs) / n};
}

/* Prompts */

struct prompt {
    uint8_t key[SHARED_KEY_SIZE];
    struct shared_arrival arrival;
    struct shared_claim claim;
    struct shared_claim_member member;
};
static struct prompt prompts[AT_ONCE];
static char value[1000];

static void arrive(struct prompt *p)
{
    static uint64_t n;
    n++;
    memcpy(p->key, &n, sizeof(n));
    shared_arrive(a.s, &p->arrival);
}

static void on_claimed(struct shared_claim *c, void *arg)
{
    struct prompt *p = CONTAINER_OF(c, struct prompt, claim);
    (void)arg;
    CHECK(c->rc == 0 && p->member.ret_claimed);
    struct shared_ending e = {
        .key = p->key, .fingerprint = p->key, .state = SHARED_DONE, .value = {value, sizeof(value)}};
    shared_settle(a.s, &e, 1);
    ended++;
    if (!stopping)
        arrive(p);
}

static void on_arrived(struct shared_arrival *arrival, void *arg)
{
    struct prompt *p = CONTAINER_OF(arrival, struct prompt, arrival);
    (void)arg;
    CHECK(arrival->rc == 0);
    shared_claim(a.s, &p->claim);
}

static struct pace prompts_pace(void)
{
    machine_start(&a, 1, server.url);
    stopping = false;
    for (unsigned i = 0; i < AT_ONCE; i++) {
        struct prompt *p = &prompts[i];
        memset(p, 0, sizeof(*p));
        p->arrival = (struct shared_arrival){.done = on_arrived, .key = p->key, .fingerprint = p->key};
        p->member = (struct shared_claim_member){.key = p->key, .fingerprint = p->key};
        p->claim = (struct shared_claim){.done = on_claimed, .members = &p->member, .members_n = 1};
        arrive(p);
    }
    struct pace pace = run();
    stopping = true;
    drive_for_ms(500);
    machine_stop(&a);
    return pace;
}

/* PINGs */

static struct connection *connection;
static struct shared_op pings[AT_ONCE];

static void ping(struct shared_op *op)
{
    connection_command(connection, 1);
    connection_text(connection, "PING");
    connection_expect(connection, op);
}

static void on_connected(void *arg)
{
    (void)arg;
    for (unsigned i = 0; i < AT_ONCE; i++)
        ping(&pings[i]);
}

static void on_answered(void *arg, struct shared_op *op, const struct redisReply *reply)
{
    (void)arg, (void)reply;
    ended++;
    ping(op);
}

static void on_lost(void *arg, const struct err *fault)
{
    (void)arg;
    give_up(fault->text);
}

static struct pace pings_pace(void)
{
    struct connection_events events = {.connected = on_connected, .answered = on_answered, .lost = on_lost};
    struct shared_url url;
    struct list unanswered;
    list_init(&unanswered);
    CHECK(shared_url_parse(server.url, &url, NULL) == 0);
    CHECK(connection_open(drive_loop(), &url, 0, &events, &connection, NULL) == 0);
    ended = 0;
    WAIT(ended);
    struct pace pace = run();
    connection_close(connection, &unanswered);
    drive_for_ms(20);
    return pace;
}

static void measure(const char *appendonly, const char *what)
{
    server_start(&server, "--appendonly", appendonly, NULL);
    struct pace ping_pace = pings_pace(), prompt = prompts_pace();
    printf("  %s %.0f prompts/s (arrive, claim, settle 1 KB), %.0f PING/s: %.3f.\n"
           "    Processor: a prompt %.1f us here and %.1f us there, a PING %.2f and %.2f\n",
           what, prompt.per_s, ping_pace.per_s, prompt.per_s / ping_pace.per_s, prompt.ours_us,
           prompt.server_us, ping_pace.ours_us, ping_pace.server_us);
    server_fini(&server);
}

void speed(void)
{
    memset(value, 'v', sizeof(value));
    measure("no", "kept in memory:");
    measure("yes", "appendfsync always:");
}
