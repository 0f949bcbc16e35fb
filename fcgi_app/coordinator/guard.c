/* Breaker, retry budget and expected wait; see guard.h. */
#include "coordinator/guard.h"

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/intake.h"
#include "coordinator/probe.h"
#include "coordinator/refusal.h"

#define MISSING_US (60 * US_PER_S) /* how long what the provider does not have is not tried again */

static bool is_in_force(const struct core *c, const struct call *call)
{
    return call->provider->endpoint == c->provider->endpoint;
}

void guard_reset(struct core *c, uint64_t now_us)
{
    c->guard = (struct guard){.breaker.trip_after = c->conf->retry.breaker_failures};
    retry_budget_fill(&c->guard.budget, now_us);
    c->provider_fault.code = 0;
    probe_reset(c);
}

bool guard_permits(const struct core *c, uint64_t now_us)
{
    return now_us >= c->guard.loading_until_us && breaker_permits(&c->guard.breaker, now_us);
}

bool guard_permits_call(const struct core *c, const struct call *call, uint64_t now_us)
{
    return !is_in_force(c, call) || guard_permits(c, now_us);
}

void guard_enter(struct core *c, struct call *call, uint64_t now_us)
{
    call->probe = is_in_force(c, call) && breaker_enter(&c->guard.breaker, now_us);
    if (!call->again && is_in_force(c, call))
        retry_budget_earn(&c->guard.budget, c->conf->retry.budget_percent);
}

void guard_leave(struct core *c, struct call *call)
{
    if (call->probe && is_in_force(c, call))
        breaker_leave(&c->guard.breaker);
}

static void opened(struct core *c, const struct provider_outcome *o, uint64_t now_us)
{
    uint64_t open_us = breaker_open_us(&c->guard.breaker, now_us);
    core_count(c, "breaker.opened", NULL, 1);
    log_write(
        LOG_LEVEL_WARNING, NULL,
        "The provider failed %u times in a row; nothing is sent to it for %u ms. The last failure: %.*s",
        c->guard.breaker.failures, (unsigned)(open_us / US_PER_MS), (int)o->message.n, o->message.p);
    intake_refuse_hopeless(c, now_us + open_us);
}

void guard_note(struct core *c, const struct call *call, const struct provider_outcome *o, uint64_t now_us)
{
    enum verdict v = o->parts[0].verdict;
    bool failed = (v == VERDICT_FAILED || v == VERDICT_UNKNOWN) && o->status >= 500 && !o->loading;
    uint32_t random;
    if (o->array_missing)
        call->provider->array_missing_until_us = now_us + MISSING_US;
    if (o->logprobs_missing)
        call->provider->logprobs_missing_until_us = now_us + MISSING_US;
    if (!is_in_force(c, call))
        return;
    c->guard.loading_until_us = o->loading ? now_us + GUARD_LOADING_MS * US_PER_MS : 0;
    if (v == VERDICT_ANSWERED || v == VERDICT_MISSING || (failed && v == VERDICT_UNKNOWN))
        pace_note(&c->guard.pace, now_us - call->sent_us);
    if (!call->caller_key) { /* what a key the caller brought meets is no word on ours */
        if (v == VERDICT_ANSWERED) {
            c->provider_fault.code = c->key_fault.code = 0;
            if (c->probe.fault.code != ERR_NOT_FOUND) /* which models it has, an answer does not show */
                c->probe.fault.code = 0;
        } else if (o->status >= 500 || o->status == 401)
            err_set(&c->provider_fault, o->away || o->loading ? ERR_AGAIN : ERR_IO, "%.*s", (int)o->message.n,
                    o->message.p);
    }
    if (!failed) {
        if (c->guard.breaker.state != BREAKER_CLOSED)
            log_write(LOG_LEVEL_INFO, NULL, "The provider answers again.");
        breaker_worked(&c->guard.breaker);
        return;
    }
    c->ports.random(c->ports.arg, &random, sizeof(random));
    if (breaker_failed(&c->guard.breaker, call->probe, now_us, o->retry_after_ms, random))
        opened(c, o, now_us);
}

uint64_t guard_next_us(const struct core *c, uint64_t now_us)
{
    uint64_t next_us = breaker_open_us(&c->guard.breaker, now_us) ? c->guard.breaker.open_until_us : 0;
    if (now_us < c->guard.loading_until_us && c->guard.loading_until_us > next_us)
        next_us = c->guard.loading_until_us;
    return next_us ? next_us : UINT64_MAX;
}

uint32_t guard_retry_wait_ms(const struct core *c, const struct call *call, uint64_t now_us)
{
    uint64_t open_us = is_in_force(c, call) ? breaker_open_us(&c->guard.breaker, now_us) : 0;
    return (uint32_t)((open_us + US_PER_MS - 1) / US_PER_MS);
}

bool guard_retry_spend(struct core *c, uint64_t now_us)
{
    return retry_budget_spend(&c->guard.budget, c->conf->retry.budget_percent, now_us);
}

/* Until the answer of a prompt that would join the queue now. */
static uint64_t expected_wait_us(const struct core *c, const struct job *j, uint64_t now_us)
{
    uint32_t running = 0, slots = c->conf->provider.max_concurrency;
    for (int p = 0; p < PRIORITIES; p++)
        running += c->calls_running[p];
    if (running < slots)
        return 0;
    uint32_t ahead = batcher_calls_ahead(c->batcher, j->member.tenant, j->member.priority,
                                         call_mode(c->provider, now_us) == MODE_CONCURRENT);
    return pace_wait_us(&c->guard.pace, running + ahead, slots);
}

bool guard_refuses(const struct core *c, const struct job *j, uint64_t now_us,
                   struct wire_refusal *ret_refusal)
{
    uint64_t open_us = breaker_open_us(&c->guard.breaker, now_us), wait_us;
    if (open_us) {
        *ret_refusal = *refusal_get(REFUSAL_PROVIDER_DOWN);
        ret_refusal->retry_after_ms = (uint32_t)(open_us / US_PER_MS) + 1;
        return true;
    }
    wait_us = expected_wait_us(c, j, now_us);
    if (wait_us <= j->submit.wait_ms * US_PER_MS)
        return false;
    uint64_t later_ms = (wait_us / US_PER_MS - j->submit.wait_ms) + 1;
    *ret_refusal = *refusal_get(REFUSAL_WAIT_TOO_LONG);
    ret_refusal->retry_after_ms = later_ms < 1000 ? 1000 : later_ms < 3600000 ? (uint32_t)later_ms : 3600000;
    return true;
}
