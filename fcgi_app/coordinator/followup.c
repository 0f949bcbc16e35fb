/* Calls that follow a call; see followup.h. */
#include "coordinator/followup.h"

#include <stdio.h>

#include "base/clock.h"
#include "batch/retry.h"
#include "coordinator/budget.h"
#include "coordinator/guard.h"

static struct retry_config retry_config(const struct core *c)
{
    return (struct retry_config){.attempts = c->conf->retry.attempts,
                                 .base_ms = c->conf->retry.base_ms,
                                 .cap_ms = c->conf->retry.cap_ms};
}

/* A new call for members[0..n) (bought: after one that may have been charged, which counts as a repair), to
 * be recorded and sent when a slot is free. False when memory is short. */
bool followup_ask(struct core *c, struct call *call, struct job **members, size_t n, bool bought)
{
    struct call *again = call_new(c, call->batch, call->provider, n);
    if (!again)
        return false;
    for (size_t i = 0; i < n; i++) {
        again->members[i] = members[i];
        members[i]->repairs += bought;
        budget_ask_again(c, members[i]);
    }
    core_count(c, "repairs", NULL, bought ? n : 0);
    call_make_ready(c, again);
    return true;
}

bool followup_allowed(const struct core *c, const struct job *j)
{
    return j->repairs < c->conf->retry.attempts;
}

size_t followup_part(struct core *c, struct call *call)
{
    size_t taken = 0;
    while (taken < call->n && followup_ask(c, call, call->members + taken, 1, false))
        taken++;
    return taken;
}

/*
 * A content filter stopped a call of several: the halves are asked for apart, so that only the offender
 * fails; when the repairs allowed would not reach single members, all go alone. Returns how many members were
 * taken care of (all or none).
 */
size_t followup_bisect(struct core *c, struct call *call)
{
    size_t half = (call->n + 1) / 2;
    uint32_t left = c->conf->retry.attempts - call->members[0]->repairs;
    if (!followup_allowed(c, call->members[0]))
        return 0;
    if (left == 1)
        half = 1;
    size_t taken = 0;
    while (taken < call->n) {
        size_t n = call->n - taken < half ? call->n - taken : half;
        if (!followup_ask(c, call, call->members + taken, n, true))
            break;
        taken += n;
    }
    return taken;
}

static bool send_later(struct core *c, struct call *call, uint32_t delay_ms, uint64_t now_us)
{
    call->timer.at_us = now_us + delay_ms * US_PER_MS;
    if (heap_push(&c->timers, &call->timer) < 0)
        return false;
    call->state = CALL_DELAYED;
    call->again = true;
    return true;
}

/* A server that loads its model will answer; that is no failure, and costs nothing to ask. */
static bool wait_for_loading(struct core *c, struct call *call, uint64_t now_us, uint64_t deadline_us)
{
    return now_us + GUARD_LOADING_MS * US_PER_MS < deadline_us &&
           send_later(c, call, GUARD_LOADING_MS, now_us);
}

/* A call that certainly did not run, recorded anew and sent again later if that may help. True: the call
 * lives on. */
bool followup_retry(struct core *c, struct call *call, const struct provider_outcome *o, uint64_t now_us)
{
    struct retry_config config = retry_config(c);
    uint64_t deadline = 0;
    uint32_t random;
    if (o->parts[0].verdict != VERDICT_FAILED || !o->retry_helps || c->draining)
        return false;
    for (size_t i = 0; i < call->n; i++) {
        struct job *j = call->members[i];
        if ((job_is_awaited(j) || job_is_async(j)) && j->deadline_us > deadline)
            deadline = j->deadline_us;
    }
    if (o->loading)
        return wait_for_loading(c, call, now_us, deadline);
    c->ports.random(c->ports.arg, &random, sizeof(random));
    call->failures++;
    uint32_t delay_ms = retry_delay_ms(&config, call->failures, o->retry_after_ms, random);
    uint32_t door_ms = guard_retry_wait_ms(c, call, now_us);
    if (delay_ms < door_ms)
        delay_ms = door_ms;
    if (!retry_allowed(&config, call->failures, delay_ms, now_us, deadline))
        return false;
    if (!guard_retry_spend(c, now_us)) {
        core_count(c, "retries_over_budget", NULL, 1);
        return false;
    }
    if (!send_later(c, call, delay_ms, now_us))
        return false;
    for (size_t i = 0; i < call->n; i++)
        call->members[i]->retries++;
    char reason[64];
    snprintf(reason, sizeof(reason), "%s.%u", o->error_code, call->failures);
    core_count(c, "retries", reason, 1);
    event_retry(c, call, delay_ms);
    return true;
}
