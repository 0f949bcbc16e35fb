/*
 * The promises of batching (api.md "Batching"): who may share a call, how large it may be, why it leaves, how
 * many run at once, and that everybody gets a turn.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/machines.h"
#include "coordinator/record.h"
#include "reach.h"
#include "upstream.h"

#define TENANTS_SEEN 16
#define LEVELS       3

/* One prompt that waits past its window, and how often others went first. Dropped when the settings change.
 */
struct patience {
    UT_hash_handle hh;
    uint8_t key[REQUEST_KEY_SIZE];
    uint64_t arrived_us, version;
    uint32_t own;                       /* batches of its tenant since */
    uint32_t passed[TENANTS_SEEN];      /* by younger batches of its priority, a tenant each */
    uint32_t passed_aged[TENANTS_SEEN]; /* by younger ones of any, since it has the highest level */
};

static uint64_t window_us(const struct world *w, enum priority p)
{
    return w->core->settings.priority[p].window_ms * US_PER_MS;
}

/* batcher.h "Ageing" */
static enum priority level(const struct world *w, enum priority p, uint64_t arrived_us)
{
    uint64_t window = window_us(w, p), step = 4 * window < US_PER_S ? US_PER_S : 4 * window;
    uint64_t waited = w->now_us > arrived_us ? w->now_us - arrived_us : 0;
    uint64_t at = p + (waited > window ? (waited - window) / step : 0);
    return at > PRIORITY_HIGH ? PRIORITY_HIGH : (enum priority)at;
}

/* batcher.h "Slots" */
static uint32_t slots_for(const struct world *w, enum priority at)
{
    uint32_t slots = w->conf.provider.max_concurrency, kept = PRIORITY_HIGH - at;
    return slots > kept ? slots - kept : 1;
}

static uint32_t running(const struct core *c)
{
    uint32_t sum = 0;
    for (int p = 0; p < PRIORITIES; p++)
        sum += c->calls_running[p];
    return sum;
}

static bool same_text(struct slice a, struct slice b)
{
    return !a.p == !b.p && slice_equal(a, b);
}

static bool may_share(const struct wire_submit *a, const struct wire_submit *b)
{
    bool same_heat = isnan(a->temperature) ? isnan(b->temperature) : a->temperature == b->temperature;
    return memcmp(a->trust_group, b->trust_group, TRUST_GROUP_SIZE) == 0 && a->priority == b->priority &&
           same_heat && same_text(a->model, b->model) && same_text(a->system_prompt, b->system_prompt) &&
           same_text(a->extra, b->extra) && same_text(a->caller_key, b->caller_key) &&
           !((a->flags ^ b->flags) & SUBMIT_COMPLETION);
}

static void check_members(struct world *w, const struct job *const *members, size_t n, const char *what)
{
    uint64_t tokens = 0, most = w->conf.provider.context_tokens;
    for (size_t i = 0; i < n; i++) {
        const struct wire_submit *s = &members[i]->submit;
        tokens += members[i]->member.tokens;
        if (!may_share(&members[0]->submit, s))
            world_blame(w, "a %s holds two that may not share it", what);
        if (n > 1 && ((s->flags & SUBMIT_ALONE) || s->messages.p))
            world_blame(w, "%.*s, which goes alone, shares a %s", (int)s->request_id.n, s->request_id.p,
                        what);
    }
    if (n > 1 && most && tokens > most)
        world_blame(w, "a %s of %llu tokens is larger than the context", what, (unsigned long long)tokens);
}

static void check_reason(struct world *w, const struct sight *seen, const struct batch *b)
{
    const struct conf_batch *of = &w->core->settings.priority[b->priority];
    bool right = seen->n <= of->max_batch;
    if (b->reason == FLUSH_WINDOW)
        right = right && w->now_us - b->oldest_us >= of->window_ms * US_PER_MS;
    else if (b->reason == FLUSH_ALL_WAIT)
        right = right && w->core->capacity && w->conf.batch.flush_when_all_wait;
    else if (b->reason == FLUSH_IDLE)
        right = right && of->policy == POLICY_ADAPTIVE && !running(w->core);
    else if (b->reason == FLUSH_ALONE)
        right = right && seen->n == 1;
    if (!right)
        world_blame(w, "a batch of %u leaves as \"%s\" after %.3f ms", seen->n, seen->reason,
                    (double)(w->now_us - b->oldest_us) / US_PER_MS);
}

static void check_slots(struct world *w, const struct sight *seen, const struct batch *b)
{
    const struct core *c = w->core;
    uint32_t calls = call_mode(c->provider, w->now_us) == MODE_CONCURRENT ? seen->n : 1;
    enum priority at = level(w, b->priority, b->oldest_us);
    if (at > b->priority && c->calls_running[b->priority] + calls > slots_for(w, b->priority))
        REACH("a batch leaves aged");
    if (calls > 1)
        REACH("a batch of several in mode concurrent");
    if (running(c) + calls == w->conf.provider.max_concurrency)
        REACH("every slot is taken");
    if (running(c) + calls > w->conf.provider.max_concurrency ||
        c->calls_running[b->priority] + calls > slots_for(w, at))
        world_blame(w, "%u calls of priority %d beside %u (%u in all) are more than its slots", calls,
                    b->priority, c->calls_running[b->priority], running(c));
}

static struct patience *patience_of(struct world *w, const struct job *j)
{
    struct patience *p;
    HASH_FIND(hh, w->patience, j->submit.key, REQUEST_KEY_SIZE, p);
    if (!p) {
        p = calloc(1, sizeof(*p));
        memcpy(p->key, j->submit.key, sizeof(p->key));
        HASH_ADD(hh, w->patience, key, REQUEST_KEY_SIZE, p);
        p->arrived_us = UINT64_MAX;
    }
    if (p->arrived_us != j->member.arrived_us || p->version != w->core->settings.version) {
        memset(p->passed, 0, sizeof(p->passed));
        memset(p->passed_aged, 0, sizeof(p->passed_aged));
        p->own = 0;
        p->arrived_us = j->member.arrived_us;
        p->version = w->core->settings.version;
    }
    return p;
}

/* A batch goes while j waits. Tenants take turns at each level, the oldest of a tenant first, so a younger
 * batch of another tenant passes j once a level, and once more for each turn that j's own tenant has had. */
static void pass(struct world *w, const struct job *j, const struct batch *b, const uint8_t *tenant)
{
    const struct wire_submit *s = &j->submit;
    uint64_t arrived_us = j->member.arrived_us;
    if (w->now_us < arrived_us + window_us(w, s->priority))
        return;
    struct patience *p = patience_of(w, j);
    bool own = memcmp(tenant, s->trust_group, TRUST_GROUP_SIZE) == 0, younger = b->oldest_us > arrived_us;
    bool aged = level(w, s->priority, arrived_us) == PRIORITY_HIGH;
    uint32_t *passed = &p->passed[tenant[0] % TENANTS_SEEN],
             *passed_aged = &p->passed_aged[tenant[0] % TENANTS_SEEN];
    p->own += own;
    if (own && younger && aged)
        world_blame(w, "%.*s is passed over by a younger batch of its own tenant", (int)s->request_id.n,
                    s->request_id.p);
    if (own || !younger)
        return;
    *passed += b->priority == s->priority;
    *passed_aged += aged;
    if (*passed > LEVELS * (1 + p->own))
        world_blame(w, "%.*s is passed over %u times by one tenant, and its own had %u turns",
                    (int)s->request_id.n, s->request_id.p, *passed, p->own);
    if (*passed_aged > 1 + p->own + LEVELS)
        world_blame(w, "%.*s starves: one tenant has passed it %u times since it has the highest level",
                    (int)s->request_id.n, s->request_id.p, *passed_aged);
}

void rules_sealed(struct world *w, const struct sight *seen, const struct batch *b)
{
    const struct job *members[WORLD_BATCH_MAX];
    size_t n = 0;
    list_for_each (it, &w->core->jobs[JOB_CALLING]) {
        const struct job *j = LIST_ENTRY(it, struct job, node);
        if (j->batch == b && n < WORLD_BATCH_MAX)
            members[n++] = j;
    }
    if (w->core->draining)
        world_blame(w, "a batch leaves while the coordinator drains");
    if (n != seen->n)
        world_blame(w, "a batch of %u has %zu members", seen->n, n);
    check_members(w, members, n, "batch");
    for (size_t i = 0; i < n; i++)
        rules_cache_asked(w, &members[i]->submit, w->core->provider->model);
    check_reason(w, seen, b);
    check_slots(w, seen, b);
    /* Tenants whose names end alike count as one; scripts may have such, random lives have not. */
    list_for_each (it, &w->core->jobs[JOB_QUEUED])
        if (w->at_random && !w->elder_acts)
            pass(w, LIST_ENTRY(it, struct job, node), b, members[0]->submit.trust_group);
}

/* One max_tokens is stated for all, and only texts are continued together. */
static void check_array(struct world *w, const struct call *call)
{
    struct provider_member first, other;
    job_member(w->core, call->members[0], &first);
    if (call->n > 1 && first.completion && call->request.mode != MODE_ARRAY)
        world_blame(w, "texts to be continued share a call that answers questions");
    for (size_t i = 1; call->request.mode == MODE_ARRAY && i < call->n; i++) {
        job_member(w->core, call->members[i], &other);
        if (other.max_tokens != first.max_tokens)
            world_blame(w, "prompts of %u and of %u tokens share an array", first.max_tokens,
                        other.max_tokens);
    }
}

/* What was sealed after a change of settings was told done goes to the model and with the key that were put.
 */
static void check_settings(struct world *w, const struct call *call, const char *key)
{
    const struct core *c = w->core;
    if (w->elder_acts || call->batch->sealed_us <= w->settled_us || !list_empty(&c->changes))
        return;
    /* One that is stored already may not have been told yet. */
    if (!call->members[0]->submit.caller_key.p && !rules_key_is_put(w, call, &w->key_told, key) &&
        !rules_key_is_put(w, call, &w->key, key))
        world_blame(w, "a call is sent with the key %s, not with the one that was put", key);
    if (!call->members[0]->submit.model.p && w->model[0] && !w->unheard &&
        call->provider->provider.kind != PROVIDER_MODEL_SERVICE &&
        !memmem(call->request.body.data, call->request.body.len, w->model, strlen(w->model)))
        world_blame(w, "a call does not ask for the model %s, which was put", w->model);
}

void rules_sent(struct world *w, const struct call *call)
{
    const struct wire_submit *first = &call->members[0]->submit;
    char key[64];
    upstream_key(call, key);
    check_members(w, (const struct job *const *)call->members, call->n, "call");
    check_array(w, call);
    for (size_t i = 0; i < call->n; i++) /* the event log may have had no memory to say so before */
        rules_cache_asked(w, &call->members[i]->submit, call->provider->provider.model);
    if (first->caller_key.p ? !slice_is(first->caller_key, key) : strncmp(key, "sk-caller", 9) == 0)
        world_blame(w, "%.*s is sent with the wrong key %s", (int)first->request_id.n, first->request_id.p,
                    key);
    if (first->caller_key.p && call->provider->provider.kind != PROVIDER_OPENAI)
        world_blame(w, "a caller's key is sent to %s", conf_provider_name(call->provider->provider.kind));
    rules_key_sent(w, call, key);
    check_settings(w, call, key);
    uint32_t flights = 1;
    list_for_each (it, &w->flights)
        flights++;
    if (flights > w->conf.provider.max_concurrency || flights > running(w->core))
        world_blame(w, "%u calls run, with %u slots taken of %u", flights, running(w->core),
                    w->conf.provider.max_concurrency);
}

/* Nobody waits past their window while there is a slot for them. While the store fails, or when the provider
 * has not done well, there may be reasons to wait. */
void rules_turned(struct world *w)
{
    const struct core *c = w->core;
    if (c->store_fault.code || c->draining || c->fenced || machines_hold(c) ||
        c->guard.breaker.state != BREAKER_CLOSED || w->now_us < c->guard.loading_until_us || w->trouble_us ||
        running(c) >= w->conf.provider.max_concurrency)
        return;
    list_for_each (it, &c->jobs[JOB_QUEUED]) {
        const struct job *j = LIST_ENTRY(it, struct job, node);
        enum priority p = j->submit.priority;
        if (w->now_us >= j->member.arrived_us + window_us(w, p) && c->calls_running[p] < slots_for(w, p))
            world_blame(w, "%.*s has waited its window, and a slot is free, but it is not sent",
                        (int)j->submit.request_id.n, j->submit.request_id.p);
    }
}

void rules_patience_free(struct world *w)
{
    struct patience *p, *tmp;
    HASH_ITER (hh, w->patience, p, tmp) {
        HASH_DEL(w->patience, p);
        free(p);
    }
}
