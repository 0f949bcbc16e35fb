/* The worker's own counters; see counts.h. */
#include "worker/counts.h"

#include <stdbool.h>
#include <stdio.h>

#include "base/clock.h"
#include "client/link.h"

#define SEND_LIMIT_US US_PER_S

/* What was taken out of the shared counts for one frame. */
struct taken {
    uint64_t replays, replayed_tokens;
    uint64_t problems[PROBLEMS];
    uint64_t responses[ROUTES_MAX][COUNTS_STATUSES];
};

/* All that workers answer with; the most frequent ones are found first. */
static const uint16_t statuses[COUNTS_STATUSES] = {200, 400, 404, 429, 503, 202, 204, 401, 403,         405,
                                                   409, 410, 413, 415, 422, 424, 500, 502, COUNTS_GONE, 504};

static unsigned status_number(int status)
{
    for (unsigned i = 0; i < COUNTS_STATUSES; i++)
        if (statuses[i] == status)
            return i;
    return status < 400 ? 0 : status_number(status < 500 ? 400 : 500);
}

void counts_add_replay(struct counts *c, uint64_t tokens)
{
    atomic_fetch_add_explicit(&c->replays, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&c->replayed_tokens, tokens, memory_order_relaxed);
}

void counts_add_response(struct counts *c, unsigned route, int status)
{
    atomic_fetch_add_explicit(&c->responses[route][status_number(status)], 1, memory_order_relaxed);
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
    for (unsigned r = 0; r < ROUTES_MAX; r++)
        for (unsigned i = 0; i < COUNTS_STATUSES; i++)
            sum |= atomic_load_explicit(&c->responses[r][i], memory_order_relaxed);
    return sum > 0;
}

static void take(struct counts *c, struct taken *ret_taken)
{
    ret_taken->replays = atomic_exchange(&c->replays, 0);
    ret_taken->replayed_tokens = atomic_exchange(&c->replayed_tokens, 0);
    for (unsigned i = 0; i < PROBLEMS; i++)
        ret_taken->problems[i] = atomic_exchange(&c->problems[i], 0);
    for (unsigned r = 0; r < ROUTES_MAX; r++)
        for (unsigned i = 0; i < COUNTS_STATUSES; i++)
            ret_taken->responses[r][i] = atomic_exchange(&c->responses[r][i], 0);
}

static void put_back(struct counts *c, const struct taken *taken)
{
    atomic_fetch_add(&c->replays, taken->replays);
    atomic_fetch_add(&c->replayed_tokens, taken->replayed_tokens);
    for (unsigned i = 0; i < PROBLEMS; i++)
        atomic_fetch_add(&c->problems[i], taken->problems[i]);
    for (unsigned r = 0; r < ROUTES_MAX; r++)
        for (unsigned i = 0; i < COUNTS_STATUSES; i++)
            atomic_fetch_add(&c->responses[r][i], taken->responses[r][i]);
}

static void encode(struct buf *out, const struct taken *taken)
{
    char name[128], route[64];
    if (taken->replays)
        wire_count_append(out, SLICE_LITERAL("replays"), taken->replays);
    if (taken->replayed_tokens)
        wire_count_append(out, SLICE_LITERAL("saved.tokens.replay"), taken->replayed_tokens);
    for (unsigned i = 0; i < PROBLEMS; i++) {
        if (!taken->problems[i])
            continue;
        int n = snprintf(name, sizeof(name), "errors.%s.%s", problem_type((enum problem)i),
                         problem_code((enum problem)i));
        wire_count_append(out, (struct slice){name, (size_t)n}, taken->problems[i]);
    }
    for (unsigned r = 0; r < ROUTES_MAX; r++)
        for (unsigned i = 0; i < COUNTS_STATUSES; i++) {
            if (!taken->responses[r][i])
                continue;
            route_name(r, route, sizeof(route));
            int n = snprintf(name, sizeof(name), "http.%u.%s", statuses[i], route);
            wire_count_append(out, (struct slice){name, (size_t)n}, taken->responses[r][i]);
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
