/*
 * Three machines claim and settle the same ids at random while the server is killed, frozen and started
 * again, and what the first one says is held back until long after it has connected anew: never do two run an
 * id at once, and one that is done is never run again. What the server acknowledged is there. SEED=n for
 * another life.
 */
#include <stdlib.h>
#include <string.h>

#include "drive.h"
#include "relay.h"
#include "server.h"

#define MACHINES 3
#define IDS      400
#define AT_ONCE  20
#define LIFE_MS  8000

/* What a machine knows of an id by itself. */
struct known {
    bool running, done;
};
struct player {
    struct machine m;
    struct known ids[IDS];
    struct attempt {
        struct shared_claim claim;
        struct shared_claim_member member;
        uint8_t key[SHARED_KEY_SIZE];
        unsigned id;
        bool busy;
    } attempts[AT_ONCE];
};

static struct server server;
static struct player players[MACHINES];
static unsigned seed, claimed_n, lost_n, refused_n;

static unsigned chance(unsigned n)
{
    return (unsigned)rand_r(&seed) % n;
}

static void tell(struct player *p, unsigned id)
{
    bool done = p->ids[id].done;
    drive_settle(&p->m, key_of(id), done ? SHARED_DONE : SHARED_FREE, done ? "done" : NULL);
}

/* Whether anybody but p runs it, or has it done. */
static bool taken_by_another(const struct player *p, unsigned id)
{
    for (const struct player *q = players; q < players + MACHINES; q++)
        if (q != p && (q->ids[id].running || q->ids[id].done))
            return true;
    return false;
}

static void on_claimed(struct shared_claim *c, void *arg)
{
    struct attempt *t = CONTAINER_OF(c, struct attempt, claim);
    struct player *p = CONTAINER_OF((struct machine *)arg, struct player, m);
    t->busy = false;
    CHECK(c->rc == 0 || c->rc == ERR_CLOSED);
    if (c->rc < 0) {
        lost_n++;
    } else if (t->member.ret_claimed) {
        CHECK(!taken_by_another(p, t->id));
        CHECK(!p->ids[t->id].done && !p->ids[t->id].running);
        p->ids[t->id].running = true;
        claimed_n++;
    } else {
        CHECK(t->member.ret_record.state == SHARED_DISPATCHED || t->member.ret_record.state == SHARED_DONE);
        refused_n++;
    }
}

/* What is open at the server and does not run here: as this machine knows it. */
static void on_open(struct machine *m, const uint8_t *key)
{
    struct player *p = CONTAINER_OF(m, struct player, m);
    unsigned id;
    memcpy(&id, key, sizeof(id));
    CHECK(id < IDS);
    if (!p->ids[id].running)
        tell(p, id);
}

static void claim_some(struct player *p)
{
    struct attempt *t = &p->attempts[chance(AT_ONCE)];
    unsigned id = chance(IDS);
    for (size_t i = 0; i < AT_ONCE; i++)
        if (p->attempts[i].busy && p->attempts[i].id == id)
            return;
    if (t->busy || p->ids[id].running || p->ids[id].done)
        return;
    t->busy = true;
    t->id = id;
    memcpy(t->key, key_of(id), SHARED_KEY_SIZE);
    t->member = (struct shared_claim_member){.key = t->key, .fingerprint = t->key};
    t->claim = (struct shared_claim){.done = on_claimed, .members = &t->member, .members_n = 1};
    shared_claim(p->m.s, &t->claim);
}

static void end_some(struct player *p)
{
    unsigned id = chance(IDS);
    if (!p->ids[id].running)
        return;
    p->ids[id].running = false;
    p->ids[id].done = chance(150) == 0;
    tell(p, id);
}

/* What goes wrong next, and for how many ms that is left alone. */
static unsigned disturb(void)
{
    static enum { WORKING, FROZEN, HELD } now = WORKING;
    switch (now) {
    case FROZEN:
        server_thaw(&server);
        now = WORKING;
        return 50 + chance(400);
    case HELD:
        relay_release();
        now = WORKING;
        return 50 + chance(200);
    default:
        break;
    }
    switch (chance(3)) {
    case 0:
        server_freeze(&server);
        now = FROZEN;
        return 50 + chance(400);
    case 1:
        /* Long enough for the first machine to connect anew, and to claim again what it had. */
        relay_hold_commands();
        now = HELD;
        return 300 + chance(600);
    default:
        server_kill(&server);
        drive_for_ms(chance(50));
        server_again(&server);
        return 50 + chance(400);
    }
}

static void live(void)
{
    uint64_t until = drive_now_ms() + LIFE_MS, next = drive_now_ms() + 500;
    while (drive_now_ms() < until) {
        for (struct player *p = players; p < players + MACHINES; p++) {
            if (!p->m.standing.there)
                continue;
            for (unsigned i = 0; i < 4; i++) {
                claim_some(p);
                end_some(p);
                end_some(p);
            }
        }
        uv_run(drive_loop(), UV_RUN_ONCE);
        if (drive_now_ms() >= next) {
            next = drive_now_ms() + disturb();
        }
    }
    server_thaw(&server);
    relay_release();
}

static void chaos(void)
{
    seed = getenv("SEED") ? (unsigned)atoi(getenv("SEED")) : (unsigned)drive_now_ms();
    fprintf(stderr, "    SEED=%u\n", seed);
    char url[128];
    server_start(&server, NULL);
    relay_start(&server, server.dir, NULL, url);
    for (unsigned i = 0; i < MACHINES; i++) {
        machine_init(&players[i].m, i + 1, i ? server.url : url);
        players[i].m.options.answer_ms = 200;
        players[i].m.on_open_key = on_open;
        machine_open(&players[i].m);
    }
    live();
    /* Settled: everybody is there and knows what is open. */
    for (struct player *p = players; p < players + MACHINES; p++)
        WAIT(p->m.standing.there);
    drive_for_ms(1500);
    for (struct player *p = players; p < players + MACHINES; p++)
        WAIT(p->m.standing.there);
    unsigned done_n = 0;
    for (unsigned id = 0; id < IDS; id++) {
        const struct player *owner = NULL;
        for (const struct player *p = players; p < players + MACHINES; p++)
            if (p->ids[id].running || p->ids[id].done)
                owner = p;
        struct outcome o = drive_look(&players[0].m, key_of(id));
        CHECK(o.rc == 0 &&
              (o.record.mine || o.record.state == SHARED_FREE) == (owner == &players[0] || !owner));
        CHECK(o.record.state == (!owner                ? SHARED_FREE
                                 : owner->ids[id].done ? SHARED_DONE
                                                       : SHARED_DISPATCHED));
        done_n += owner && owner->ids[id].done;
    }
    fprintf(stderr, "    %u claimed, %u refused, %u lost, %u done\n", claimed_n, refused_n, lost_n, done_n);
    CHECK(claimed_n > 50 && lost_n > 0 && done_n > 10);
    for (unsigned i = 0; i < MACHINES; i++)
        machine_stop(&players[i].m);
    relay_stop();
    server_fini(&server);
}

const struct test chaos_tests[] = {{"chaos", chaos}, {NULL, NULL}};
