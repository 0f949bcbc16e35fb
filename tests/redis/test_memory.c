/* Every allocation fails, once or from then on for a while: operations end once, and all goes on afterwards.
 */
#include <string.h>

#include "drive.h"
#include "memory.h"
#include "server.h"

#define CLAIMS 5

static struct server server;
static struct machine a, b;
static unsigned epoch;

struct looking {
    struct shared_look look;
    struct shared_look_member members[2];
    unsigned dones;
};

static void on_looked(struct shared_look *l, void *arg)
{
    (void)arg;
    CONTAINER_OF(l, struct looking, look)->dones++;
}

struct putting {
    struct shared_settings_put put;
    unsigned dones;
};

static void on_put(struct shared_settings_put *p, void *arg)
{
    (void)arg;
    CONTAINER_OF(p, struct putting, put)->dones++;
}

/* Something of everything; returns how often memory was asked for. */
static unsigned life(unsigned nth, bool for_ever)
{
    struct begun claims[CLAIMS];
    struct looking looking = {.look = {.done = on_looked, .members = looking.members, .members_n = 2}};
    struct putting putting = {.put = {.done = on_put, .document = SLICE_LITERAL("{}")}};
    struct shared_ending e = {
        .key = key_of(1), .fingerprint = key_of(1), .state = SHARED_DONE, .value = SLICE_LITERAL("value")};
    struct shared_difference d = {SLICE_LITERAL("name"), 1};
    struct shared_bucket bucket = {.name = "b", .per_minute = 60, .cost = 1};
    struct err fault = {0};

    machine_init(&a, 1, server.url);
    a.options.epoch = ++epoch;
    memory_fail(nth, for_ever);
    int rc = shared_open(drive_loop(), &a.options, &a.s, &fault);
    if (rc < 0) {
        CHECK(rc == ERR_NOMEM && fault.text[0]);
        return memory_recover();
    }
    uint64_t until = drive_now_ms() + 150;
    while (!a.standing.there && drive_now_ms() < until)
        uv_run(drive_loop(), UV_RUN_ONCE);
    looking.members[0].key = looking.members[1].key = key_of(1);
    for (unsigned i = 0; i < CLAIMS; i++)
        begin_claim(&a, &claims[i], key_of(i));
    shared_settle(a.s, &e, 1);
    shared_look(a.s, &looking.look);
    shared_settings_put(a.s, &putting.put);
    shared_tell_counters(a.s, 20260101, &d, 1);
    shared_tell_deletion(a.s, SLICE_LITERAL("id"));
    shared_charge(a.s, &bucket, 1);
    memory_pause();
    shared_tell_counters(b.s, 20260101, &d, 1);
    shared_tell_deletion(b.s, SLICE_LITERAL("id"));
    memory_resume();
    drive_for_ms(for_ever ? 30 : 5);
    WAIT(looking.dones && putting.dones && claims[CLAIMS - 1].dones);
    unsigned asked = memory_recover();
    for (unsigned i = 0; i < CLAIMS; i++)
        CHECK(claims[i].dones == 1 && (claims[i].rc == 0 || claims[i].rc == ERR_CLOSED));
    CHECK(looking.dones == 1 && putting.dones == 1);
    WAIT(a.standing.there);
    CHECK(drive_claim(&a, key_of(epoch + 100), false).claimed);
    machine_stop(&a);
    return asked;
}

static void every(bool for_ever)
{
    unsigned asked, runs = 0;
    server_start(&server, NULL);
    machine_start(&b, 2, server.url);
    asked = life(0, false);
    CHECK(asked > 50);
    /* The first ones each, of the others one in a few. */
    unsigned stride = asked / 80 + 1;
    for (unsigned n = 1; n <= asked; n += n < 30 ? 1 : stride, runs++)
        life(n, for_ever);
    CHECK(runs > 40);
    machine_stop(&b);
    server_fini(&server);
}

static void memory_fails_once(void)
{
    every(false);
}

static void memory_fails_for_a_while(void)
{
    every(true);
}

const struct test memory_tests[] = {{"memory_fails_once", memory_fails_once},
                                    {"memory_fails_for_a_while", memory_fails_for_a_while},
                                    {NULL, NULL}};
