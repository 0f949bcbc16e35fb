/* ROOMS: fcgi_app/coordinator tests/fuzz/core_world.c tests/fuzz/core_provider.c tests/fuzz/core_workers.c */
/*
 * The coordinator core under whatever workers, disk and provider can do. An input is a program: an
 * operation, its arguments, the next operation. What must hold at each step is in core_world.c (nothing is
 * sent unrecorded or bought twice) and core_workers.c (whoever asks hears one thing, and the right one); at
 * the end everything comes back, time passes, and nothing may be left.
 */
#include <string.h>

#include "base/clock.h"
#include "core_workers.h"

#define OPS_MAX    200
#define ROUNDS_MAX 400
#define SPINS_MAX  1000
#define DAY_US     (24 * 3600 * US_PER_S)

static struct core_world world;
static struct core_workers workers;

enum operation {
    OP_SUBMIT,
    OP_TURN, /* time passes */
    OP_DISK,
    OP_PROVIDER,
    OP_WATCH,
    OP_CANCEL,
    OP_SETTINGS,
    OP_DELETE,
    OP_STATUS,
    OP_COUNT,
    OP_RAW, /* a frame of any type and payload */
    OP_CLOSE,
    OP_MAINTAIN,
    OP_DRAIN,
    OPERATIONS
};

static void pass(uint64_t us)
{
    world.now_us += us;
    core_turn(&world.core, world.now_us);
    workers_read(&workers, &world);
}

static void submit(struct fuzz_reader *in)
{
    uint8_t link = fuzz_u8(in), who = fuzz_u8(in), what = fuzz_u8(in), flags = fuzz_u8(in);
    workers_submit(&workers, &world, link, who, what, flags, fuzz_u16(in));
}

static void send_change(uint8_t link, enum wire_type type, struct slice document)
{
    struct buf payload;
    struct wire_change m = {SLICE_LITERAL("a fuzzer"), document};
    buf_init(&payload, 1 << 16);
    wire_change_encode(&payload, &m);
    workers_send(&workers, &world, link, type, buf_slice(&payload));
    buf_fini(&payload);
}

/* A change to one of a few keys, some of which are the trust groups of prompts (core_workers.c). */
static void keys(struct fuzz_reader *in, uint8_t link)
{
    static const char *const documents[] = {
        "{\"op\":\"create\",%s,%s,\"role\":\"client\",\"budget_usd\":0.01}",
        "{\"op\":\"create\",%s,%s,\"role\":\"admin\",\"label\":\"one\",\"requests_per_minute\":2}",
        "{\"op\":\"rotate\",%s,%s,\"grace_s\":5}",
        "{\"op\":\"revoke\",%s}",
        "{\"op\":\"set\",%s,\"label\":\"one\",\"tokens_per_minute\":1000}",
        "{\"op\":\"import\",\"keys\":[{%s,%s,\"role\":\"client\",\"created_s\":1,\"ends_s\":2}]}",
    };
    char document[512], id[64], hash[96];
    uint8_t what = fuzz_u8(in);
    strcpy(id, "\"id\":\"");
    for (int i = 0; i < TRUST_GROUP_SIZE; i++)
        strcat(id, what & 0x10 ? "08" : "07");
    strcat(id, "\"");
    snprintf(hash, sizeof(hash), "\"hash\":\"%064x\"", 1 + (fuzz_u8(in) & 7));
    unsigned which = fuzz_choice(what & 15, ARRAY_LEN(documents));
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(document, sizeof(document), documents[which], id, hash);
#pragma GCC diagnostic pop
    send_change(link, WIRE_KEYS_CHANGE, slice_of(document));
}

static void settings(struct fuzz_reader *in)
{
    static const char *const documents[] = {
        "{\"provider\":\"mock\"}",
        "{\"provider\":\"openai\",\"api_key\":\"sk-two\",\"base_url\":\"http://127.0.0.1:8/v1\"}",
        "{\"provider\":\"gemini\",\"model\":\"gemini-y\",\"base_url\":\"http://127.0.0.1:7\"}",
        "{\"high_priority\":{\"max_batch\":2,\"window_ms\":0},\"low_priority\":{\"policy\":\"adaptive\"}}",
        "{\"medium_priority\":{\"max_batch\":256,\"window_ms\":60000}}",
        "{\"base_url\":\"http://example.org\"}",
        "{\"provider\":\"model_service\"}",
        "{\"unknown\":1}",
    };
    uint8_t link = fuzz_u8(in);
    if (link & 0x80) {
        keys(in, link);
        return;
    }
    unsigned which = fuzz_choice(fuzz_u8(in), ARRAY_LEN(documents) + 1);
    struct slice own =
        which == ARRAY_LEN(documents) ? fuzz_bytes(in, fuzz_u8(in)) : slice_of(documents[which]);
    send_change(link, WIRE_SETTINGS_PUT, own);
}

static void provider(struct fuzz_reader *in)
{
    static const int statuses[] = {429, 500, 503, 400, 401, 413, 422, 502, 504, 529, 404, 301};
    size_t flight = fuzz_u8(in);
    enum core_conduct conduct = (enum core_conduct)fuzz_choice(fuzz_u8(in), CORE_CONDUCTS);
    int status = conduct == CORE_STATUS ? statuses[fuzz_choice(fuzz_u8(in), ARRAY_LEN(statuses))] : 200;
    core_world_provider(&world, flight, conduct, status);
}

static void raw(struct fuzz_reader *in)
{
    uint8_t link = fuzz_u8(in), type = fuzz_u8(in);
    workers_send(&workers, &world, link, (enum wire_type)type, fuzz_bytes(in, fuzz_u8(in)));
}

static void step(struct fuzz_reader *in)
{
    uint8_t link;
    size_t n;
    switch ((enum operation)fuzz_choice(fuzz_u8(in), OPERATIONS)) {
    case OP_SUBMIT:
        submit(in);
        break;
    case OP_TURN:
        n = fuzz_u16(in);
        world.now_us += (n & 0x8000 ? (n & 0x7fff) * 10 : n) * US_PER_MS;
        break;
    case OP_DISK:
        n = fuzz_u8(in);
        core_world_disk(&world, 1 + n % 16, (enum disk_way)(n / 16 < 8 ? DISK_WELL : n / 16 % DISK_WAYS));
        break;
    case OP_PROVIDER:
        provider(in);
        break;
    case OP_WATCH:
        link = fuzz_u8(in);
        n = fuzz_u8(in);
        workers_watch(&workers, &world, link, (uint8_t)n, fuzz_u16(in));
        break;
    case OP_CANCEL:
        link = fuzz_u8(in);
        workers_cancel(&workers, &world, link, fuzz_u8(in));
        break;
    case OP_SETTINGS:
        settings(in);
        break;
    case OP_DELETE:
        link = fuzz_u8(in);
        workers_delete(&workers, &world, link, fuzz_u8(in));
        break;
    case OP_STATUS:
        workers_send(&workers, &world, fuzz_u8(in), WIRE_STATUS_ASK, (struct slice){"", 0});
        break;
    case OP_COUNT:
        link = fuzz_u8(in);
        workers_count(&workers, &world, link, fuzz_bytes(in, fuzz_u8(in) % 80));
        break;
    case OP_RAW:
        raw(in);
        break;
    case OP_CLOSE:
        workers_close(&workers, &world, fuzz_u8(in));
        break;
    case OP_MAINTAIN:
        core_maintain(&world.core, world.now_us);
        break;
    case OP_DRAIN:
        core_drain(&world.core);
        break;
    case OPERATIONS:
        break;
    }
    pass(0);
}

/* What takes a record back waits for a request of that id that is parked; in a core that drains, for the next
 * core. */
static bool anything_stuck(void)
{
    list_for_each (it, &world.core.stuck_ops) {
        const struct commit_op *op = LIST_ENTRY(it, struct commit_op, node);
        const struct job *j = op->requests_n ? job_find(&world.core, op->requests[0].key) : NULL;
        if (!world.core.draining || !j || j->state != JOB_PARKED || !op->requests[0].only)
            return true;
    }
    return false;
}

static bool anything_left(void)
{
    uint32_t jobs = 0;
    for (int s = 0; s < JOB_STATES; s++)
        jobs += world.core.jobs_n[s];
    /* Parked jobs of a core that drains wait for the next one, on the disk. */
    return jobs - (world.core.draining ? world.core.jobs_n[JOB_PARKED] : 0) ||
           !list_empty(&world.core.calls) || anything_stuck() || !list_empty(&world.core.changes) ||
           world.core.keys.changing || world.core.keys.changes_n || world.flights_n;
}

/* Goes to where the core wants its next turn, or a second on: the driver's housekeeping. */
static void sleep_on(void)
{
    static unsigned spins;
    pass(0);
    uint64_t next = core_next_us(&world.core, world.now_us), second = world.now_us + US_PER_S;
    spins = next > world.now_us ? 0 : spins + 1;
    FUZZ_CHECK(spins < SPINS_MAX, "the core asks for turn after turn without the time moving");
    FUZZ_CHECK(next <= workers_deadline_us(&workers),
               "the core sleeps from %llu to %llu, past the deadline %llu", (unsigned long long)world.now_us,
               (unsigned long long)next, (unsigned long long)workers_deadline_us(&workers));
    if (next == UINT64_MAX || (next > second && !workers_wait(&workers)))
        next = second;
    pass(next > world.now_us ? next - world.now_us : 0);
}

/* Everything comes back as it should, and time passes as the core asks for it. */
static void settle(void)
{
    for (unsigned i = 0; i < ROUNDS_MAX && (anything_left() || workers_wait(&workers) || i < 3); i++) {
        core_world_disk(&world, SIZE_MAX, DISK_WELL);
        while (world.flights_n)
            core_world_provider(&world, 0, CORE_ANSWERS, 200);
        core_maintain(&world.core, world.now_us);
        sleep_on();
    }
    core_world_disk(&world, SIZE_MAX, DISK_WELL);
    pass(0);
    FUZZ_CHECK(!anything_left(), "jobs %u %u %u %u %u, calls %d, stuck %d, changes %d",
               world.core.jobs_n[JOB_ACCEPTING], world.core.jobs_n[JOB_PARKED], world.core.jobs_n[JOB_QUEUED],
               world.core.jobs_n[JOB_CALLING], world.core.jobs_n[JOB_COMMITTING],
               !list_empty(&world.core.calls), anything_stuck(), !list_empty(&world.core.changes));
    for (int p = 0; p < PRIORITIES; p++)
        FUZZ_CHECK(!world.core.calls_running[p], "a slot is still held");
    workers_end(&workers, &world);
    FUZZ_CHECK(!world.core.waiters_n && !world.core.capacity && !world.core.pools,
               "%u waiters and a capacity of %u are left", world.core.waiters_n, world.core.capacity);
    FUZZ_CHECK(!world.key_prepared, "a key is still prepared");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_reader in = fuzz_reader_of((struct slice){(const char *)data, size});
    core_world_open(&world, fuzz_choice(fuzz_u8(&in), 5));
    workers_open(&workers);
    for (unsigned i = 0; i < OPS_MAX && in.at < in.end && world.now_us < DAY_US; i++)
        step(&in);
    settle();
    while (!list_empty(&world.ops)) /* a sweep may follow a sweep */
        core_world_disk(&world, SIZE_MAX, DISK_WELL);
    core_world_close(&world);
    return 0;
}
