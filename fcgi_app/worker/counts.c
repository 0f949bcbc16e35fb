/* The worker's own counters; see counts.h. */
#include "worker/counts.h"

#include <stdbool.h>
#include <stdio.h>

#include "base/clock.h"
#include "worker/coordinator.h"

#define SEND_LIMIT_US US_PER_S

/* What was taken out of the shared counts for one frame. */
struct taken {
    uint64_t replays;
    uint64_t problems[PROBLEMS];
};

void counts_add_replay(struct counts *c)
{
    atomic_fetch_add_explicit(&c->replays, 1, memory_order_relaxed);
}

void counts_add_problem(struct counts *c, enum problem p)
{
    atomic_fetch_add_explicit(&c->problems[p], 1, memory_order_relaxed);
}

static bool anything(struct counts *c)
{
    uint64_t sum = atomic_load_explicit(&c->replays, memory_order_relaxed);
    for (unsigned i = 0; i < PROBLEMS; i++)
        sum |= atomic_load_explicit(&c->problems[i], memory_order_relaxed);
    return sum > 0;
}

static void take(struct counts *c, struct taken *ret_taken)
{
    ret_taken->replays = atomic_exchange(&c->replays, 0);
    for (unsigned i = 0; i < PROBLEMS; i++)
        ret_taken->problems[i] = atomic_exchange(&c->problems[i], 0);
}

static void put_back(struct counts *c, const struct taken *taken)
{
    atomic_fetch_add(&c->replays, taken->replays);
    for (unsigned i = 0; i < PROBLEMS; i++)
        atomic_fetch_add(&c->problems[i], taken->problems[i]);
}

static void encode(struct buf *out, const struct taken *taken)
{
    if (taken->replays)
        wire_count_append(out, SLICE_LITERAL("replays"), taken->replays);
    for (unsigned i = 0; i < PROBLEMS; i++) {
        char name[64];
        if (!taken->problems[i])
            continue;
        int n = snprintf(name, sizeof(name), "errors.%s", problem_code((enum problem)i));
        wire_count_append(out, (struct slice){name, (size_t)n}, taken->problems[i]);
    }
}

void counts_flush(struct counts *c, struct link *l)
{
    struct taken taken;
    size_t mark;
    uint64_t deadline_us = clock_mono_us() + SEND_LIMIT_US;

    if (!anything(c) || link_connect(l, LINK_IF_RUNNING, deadline_us, NULL))
        return;
    take(c, &taken);
    link_question(l, WIRE_COUNT, &mark);
    encode(&l->out, &taken);
    wire_frame_end(&l->out, mark);
    if (link_send(l, deadline_us) != LINK_OK)
        put_back(c, &taken);
}
