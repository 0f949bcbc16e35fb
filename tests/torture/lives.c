/*
 * The scenarios, and random lives of the coordinator core, while memory fails. What a script expects may then
 * stay out, but the promises of rules.c hold. The world around the core always has memory, and so has a
 * coordinator that is started after a crash. "For ever" ends where the script does: then everything must come
 * to its end. In one run of four it does not end, and the core is torn down without memory.
 *
 * All of it hangs on calls from one file to another that the linker leads through here (--wrap, see
 * rules.mk), so that the scenarios themselves know nothing of it.
 */
#include <glob.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../scenario/process.h"
#include "../scenario/random.h"
#include "../scenario/script.h"
#include "../scenario/upstream.h"
#include "coordinator/control.h"
#include "coordinator/intake.h"
#include "runner.h"
#include "shim.h"

#define CASES_MAX  256
#define LIVES      8 /* TORTURE_LIVES */
#define BROKEN_MAX 64

static struct core_ports ports;              /* those of the world */
static struct core_link *broken[BROKEN_MAX]; /* links that their driver would close */
static size_t broken_n;
static bool excused;     /* what the world finds wrong next is only that there was no memory */
static bool unretracted; /* see below */
static bool inside;      /* in the core, or in the store for it: only there does memory fail */

/* Into the core or out of it; returns where it was. */
static bool go(bool in)
{
    bool was = inside;
    if (in && !was)
        torture_resume();
    else if (!in && was)
        torture_pause();
    inside = in;
    excused = false;
    return was;
}

/* The core's way in. */

int __real_core_receive(struct core *c, struct core_link *l, const struct wire_frame *frame, uint64_t now_us);
int __wrap_core_receive(struct core *c, struct core_link *l, const struct wire_frame *frame, uint64_t now_us);
int __wrap_core_receive(struct core *c, struct core_link *l, const struct wire_frame *frame, uint64_t now_us)
{
    for (size_t i = 0; i < broken_n; i++)
        if (broken[i] == l)
            return 0; /* it is closed as soon as the world reads */
    bool was = go(true);
    int rc = __real_core_receive(c, l, frame, now_us);
    go(was);
    if (rc == ERR_NOMEM && broken_n < BROKEN_MAX) {
        broken[broken_n++] = l;
        return 0;
    }
    return rc;
}

#define WRAP(name, parameters, ...)                                                                          \
    void __real_##name parameters;                                                                           \
    void __wrap_##name parameters;                                                                           \
    void __wrap_##name parameters                                                                            \
    {                                                                                                        \
        bool was = go(true);                                                                                 \
        __real_##name(__VA_ARGS__);                                                                          \
        go(was);                                                                                             \
    }

WRAP(core_turn, (struct core * c, uint64_t now_us), c, now_us)
WRAP(core_maintain, (struct core * c, uint64_t now_us), c, now_us)
WRAP(core_drain, (struct core * c, uint64_t now_us), c, now_us)
WRAP(core_committed, (struct core * c, struct commit_op *op, uint64_t now_us), c, op, now_us)
WRAP(core_called,
     (struct core * c, struct call *call, const struct provider_response *response, uint64_t now_us), c, call,
     response, now_us)
WRAP(core_arrived, (struct core * c, struct shared_arrival *a, uint64_t now_us), c, a, now_us)
WRAP(core_claimed, (struct core * c, struct shared_claim *claim, uint64_t now_us), c, claim, now_us)
WRAP(core_looked, (struct core * c, struct shared_look *l, uint64_t now_us), c, l, now_us)
WRAP(core_settings_put, (struct core * c, struct shared_settings_put *put, uint64_t now_us), c, put, now_us)
WRAP(core_shared_standing, (struct core * c, const struct shared_standing *standing, uint64_t now_us), c,
     standing, now_us)
WRAP(core_shared_open, (struct core * c, const uint8_t (*keys)[SHARED_KEY_SIZE], size_t n), c, keys, n)
WRAP(core_link_fini, (struct core * c, struct core_link *l, uint64_t now_us), c, l, now_us)
WRAP(core_fini, (struct core * c), c)

int __real_commit_apply_group(struct store *s, uint64_t epoch, struct list *group, struct err *e);
int __wrap_commit_apply_group(struct store *s, uint64_t epoch, struct list *group, struct err *e);
int __wrap_commit_apply_group(struct store *s, uint64_t epoch, struct list *group, struct err *e)
{
    bool was = go(true);
    int rc = __real_commit_apply_group(s, epoch, group, e);
    go(was);
    excused = rc == ERR_NOMEM; /* behind go(), which clears it */
    return rc;
}

/* What a commit that failed has written all the same is taken back, and without memory for that it stays
 * until the next start, which takes it for what it says. */
void __real_intake_retract(struct core *c, const struct job *j);
void __wrap_intake_retract(struct core *c, const struct job *j);
void __wrap_intake_retract(struct core *c, const struct job *j)
{
    uint64_t before = shim_refused();
    __real_intake_retract(c, j);
    unretracted = unretracted || shim_refused() > before;
}

/* The core's ways out: the world's own business but for the lookup, which is the store's. */

static int send(void *arg, struct call *call, struct err *e)
{
    bool was = go(false);
    int rc = ports.send(arg, call, e);
    go(was);
    return rc;
}

static void take_record(void *arg, enum sink_stream stream, struct slice record)
{
    bool was = go(false);
    ports.log(arg, stream, record);
    go(was);
}

static int prepare_key(void *arg, const struct saved_key *key, struct err *e)
{
    bool was = go(false);
    int rc = ports.key_prepare(arg, key, e);
    go(was);
    return rc;
}

#define WAY_OUT(name, parameters, ...)                                                                       \
    static void out_##name parameters                                                                        \
    {                                                                                                        \
        bool was = go(false);                                                                                \
        ports.name(arg, __VA_ARGS__);                                                                        \
        go(was);                                                                                             \
    }

WAY_OUT(arrive, (void *arg, struct shared_arrival *a), a)
WAY_OUT(claim, (void *arg, struct shared_claim *claim), claim)
WAY_OUT(look, (void *arg, struct shared_look *l), l)
WAY_OUT(settle, (void *arg, const struct shared_ending *endings, size_t n), endings, n)
WAY_OUT(charge, (void *arg, const struct shared_bucket *buckets, size_t n), buckets, n)
WAY_OUT(settings_put, (void *arg, struct shared_settings_put *put), put)
WAY_OUT(tell_deletion, (void *arg, struct slice request_id), request_id)
WAY_OUT(publish, (void *arg, enum sink_topic topic, struct slice key, struct slice record), topic, key,
        record)
WAY_OUT(tell_counters, (void *arg, uint32_t day, const struct shared_difference *differences, size_t n), day,
        differences, n)

static void lead_out_shared(struct core_ports *mine)
{
    if (!mine->arrive)
        return;
    mine->arrive = out_arrive;
    mine->claim = out_claim;
    mine->look = out_look;
    mine->settle = out_settle;
    mine->charge = out_charge;
    mine->settings_put = out_settings_put;
    mine->tell_deletion = out_tell_deletion;
    mine->tell_counters = out_tell_counters;
}

int __real_core_init(struct core *c, const struct conf *conf, const struct core_ports *p, uint64_t epoch,
                     struct store_read *r, const struct saved_key *key, uint64_t now_us, struct err *e);
int __wrap_core_init(struct core *c, const struct conf *conf, const struct core_ports *p, uint64_t epoch,
                     struct store_read *r, const struct saved_key *key, uint64_t now_us, struct err *e);
int __wrap_core_init(struct core *c, const struct conf *conf, const struct core_ports *p, uint64_t epoch,
                     struct store_read *r, const struct saved_key *key, uint64_t now_us, struct err *e)
{
    struct core_ports mine = *p;
    ports = *p;
    mine.send = send;
    mine.log = take_record;
    mine.key_prepare = prepare_key;
    if (mine.publish)
        mine.publish = out_publish;
    lead_out_shared(&mine);
    return __real_core_init(c, conf, &mine, epoch, r, key, now_us, e);
}

/* What a driver does that the world leaves out, since there it has no cause: links without memory are closed.
 */
void __real_client_read_all(struct world *w);
void __wrap_client_read_all(struct world *w);
void __wrap_client_read_all(struct world *w)
{
    for (size_t i = 0; i < w->clients_n; i++) {
        struct client *c = &w->clients[i];
        bool close = c->link && buf_failed(&c->link->out);
        for (size_t b = 0; b < broken_n; b++)
            close = close || (c->link && broken[b] == c->link);
        if (close) {
            world_say(w, "-- no memory for what %s is told: its link is closed", c->name);
            client_close(w, c);
        }
    }
    broken_n = 0;
    __real_client_read_all(w);
}

/* What it need not keep to. */

/* A figure gets lost with the memory for it, but none is made up. */
static bool is_lost_figure(const char *format, va_list args)
{
    static const char answers[] = "the counters of answers say %llu, but there are %llu chats";
    if (strcmp(format, answers) != 0)
        return false;
    unsigned long long counted = va_arg(args, unsigned long long), chats = va_arg(args, unsigned long long);
    return counted < chats;
}

void __real_world_blame(struct world *w, const char *format, ...) PRINTF_LIKE(2, 3);
void __wrap_world_blame(struct world *w, const char *format, ...) PRINTF_LIKE(2, 3);
void __wrap_world_blame(struct world *w, const char *format, ...)
{
    va_list args;
    char text[512];
    va_start(args, format);
    bool forgiven =
        torture_active() && (excused || is_lost_figure(format, args) ||
                             (unretracted && strcmp(format, "the record of %s is left as %s") == 0));
    va_end(args);
    excused = false;
    if (forgiven)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    __real_world_blame(w, "%s", text);
}

void __real_settle_world(struct world *w);
void __wrap_settle_world(struct world *w);
void __wrap_settle_world(struct world *w)
{
    if (shim_stays_short() && !w->elder.core)
        return; /* straight to the teardown */
    torture_recover();
    __real_settle_world(w);
}

/* The calls at the provider of a world that has not settled. */
void __real_world_close(struct world *w, bool finished);
void __wrap_world_close(struct world *w, bool finished);
void __wrap_world_close(struct world *w, bool finished)
{
    __real_world_close(w, finished);
    list_for_each_safe (it, next, &w->flights) {
        struct flight *f = LIST_ENTRY(it, struct flight, node);
        list_remove(it);
        upstream_free(f);
    }
}

/* A coordinator that starts has memory: what it does without is in test_core.c. */
bool __real_world_open(struct world *w, const char *config, uint64_t seed, bool verbose, struct err *e);
bool __wrap_world_open(struct world *w, const char *config, uint64_t seed, bool verbose, struct err *e);
bool __wrap_world_open(struct world *w, const char *config, uint64_t seed, bool verbose, struct err *e)
{
    torture_pause();
    bool ok = __real_world_open(w, config, seed, verbose, e);
    w->lossy = torture_active(); /* nor are the other figures held against it */
    torture_resume();
    return ok;
}

bool __real_world_open_twin(struct world *w, const char *config, uint64_t seed, struct err *e);
bool __wrap_world_open_twin(struct world *w, const char *config, uint64_t seed, struct err *e);
bool __wrap_world_open_twin(struct world *w, const char *config, uint64_t seed, struct err *e)
{
    torture_pause();
    bool ok = __real_world_open_twin(w, config, seed, e);
    w->twin->lossy = torture_active();
    torture_resume();
    return ok;
}

#define WRAP_START(name, parameters, ...)                                                                    \
    void __real_##name parameters;                                                                           \
    void __wrap_##name parameters;                                                                           \
    void __wrap_##name parameters                                                                            \
    {                                                                                                        \
        torture_pause();                                                                                     \
        __real_##name(__VA_ARGS__);                                                                          \
        torture_resume();                                                                                    \
    }

WRAP_START(world_crash, (struct world * w, bool durable, bool workers_too), w, durable, workers_too)
WRAP_START(process_crash, (struct world * w, enum survives what, bool workers_too), w, what, workers_too)
WRAP_START(process_leave, (struct world * w), w)
WRAP_START(process_take_over, (struct world * w, uint64_t stall_us, bool reached), w, stall_us, reached)

struct ordeal {
    char name[64];
    const char *script; /* NULL: a random one */
    uint64_t seed;
};

static void run_life(const void *arg)
{
    const struct ordeal *l = arg;
    torture_pause();
    shim_begin();
    script_lenient = torture_active();
    uint64_t trace;
    char fault[1024];
    bool ok = l->script ? script_run(l->script, 1, shim_traced())
                        : random_run(l->seed, shim_traced(), &trace, fault);
    if (!ok && !l->script)
        puts(fault);
    shim_end();
    fflush(stdout);
    if (!ok)
        _exit(RUN_BROKEN);
}

int main(int argc, char **argv)
{
    static struct ordeal lives[CASES_MAX];
    static struct torture_case cases[CASES_MAX];
    size_t n = 0;
    glob_t scripts;
    const char *more = getenv("TORTURE_LIVES");
    uint64_t seeds = more ? strtoull(more, NULL, 10) : LIVES;
    if (glob("tests/scenario/*.txt", 0, NULL, &scripts) != 0 || sodium_init() < 0) {
        fputs("torture: run from the root of the repository\n", stderr);
        return 2;
    }
    for (size_t i = 0; i < scripts.gl_pathc && n < CASES_MAX; i++) {
        struct ordeal *l = &lives[n];
        l->script = scripts.gl_pathv[i];
        const char *file = strrchr(l->script, '/') + 1;
        snprintf(l->name, sizeof(l->name), "%.*s", (int)strcspn(file, "."), file);
        if (strncmp(l->name, "random", 6) != 0) /* those are random lives, below */
            n++;
    }
    for (uint64_t seed = 1; seed <= seeds && n < CASES_MAX; seed++) {
        lives[n].script = NULL;
        lives[n].seed = seed;
        snprintf(lives[n++].name, sizeof(lives[0].name), "random-%llu", (unsigned long long)seed);
    }
    for (size_t i = 0; i < n; i++)
        cases[i] = (struct torture_case){lives[i].name, run_life, &lives[i], true};
    return torture_main(argc, argv, cases, n);
}
