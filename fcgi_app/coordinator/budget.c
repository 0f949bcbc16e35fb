/* Budgets of keys; see budget.h. */
#include "coordinator/budget.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/cost.h"
#include "base/log.h"
#include "coordinator/keys.h"
#include "coordinator/record.h"
#include "coordinator/refusal.h"

#define UNDER_WAY_MS 1000 /* until prompts that hold the rest of a budget may have ended */

/* ---- accounts ---- */

static struct budget_account *account_of(const struct core *c, const uint8_t id[TRUST_GROUP_SIZE])
{
    struct budget_account *a;
    HASH_FIND(hh, c->budgets.by_id, id, TRUST_GROUP_SIZE, a);
    return a;
}

static struct budget_account *account_make(struct core *c, const uint8_t id[TRUST_GROUP_SIZE])
{
    struct budget_account *a = account_of(c, id);
    if (a)
        return a;
    a = calloc(1, sizeof(*a));
    if (!a)
        return NULL;
    memcpy(a->id, id, sizeof(a->id));
    HASH_ADD(hh, c->budgets.by_id, id, sizeof(a->id), a);
    if (!a->hh.tbl) {
        free(a);
        return NULL;
    }
    return a;
}

static void load(void *arg, const struct spend *s)
{
    struct core *c = arg;
    struct budget_account *a = account_make(c, s->id);
    if (a)
        a->spent = s->picousd;
    else
        c->budgets.unread = true;
}

/* Of a new month nothing is spent, unless the clock was set back over its beginning before the coordinator
 * started. A clock that is set back now does not bring the old one back. */
static void follow_calendar(struct core *c)
{
    struct budget_account *a, *tmp;
    struct err e = {0};
    uint32_t month = clock_month(c->ports.real_us(c->ports.arg));
    if (month <= c->budgets.month)
        return;
    c->budgets.month = month;
    HASH_ITER (hh, c->budgets.by_id, a, tmp)
        a->spent = a->reserved = 0;
    if (c->ports.spent && c->ports.spent(c->ports.arg, month, load, c, &e) < 0)
        log_error("What API keys have spent this month cannot be read, and counts from 0: %s", e.text);
}

int budget_init(struct core *c, struct store_read *r, struct err *e)
{
    c->budgets.month = clock_month(c->ports.real_us(c->ports.arg));
    int rc = spend_each(r, c->budgets.month, load, c, e);
    if (rc == ERR_CORRUPT) {
        log_error("What some API keys have spent this month is damaged in the store, and counts from 0: %s",
                  e->text);
        rc = 0;
    }
    if (rc == 0 && c->budgets.unread)
        rc = err_set(e, ERR_NOMEM, "Not enough memory for what the API keys have spent.");
    return rc;
}

void budget_fini(struct core *c)
{
    struct budget_account *a, *tmp;
    HASH_ITER (hh, c->budgets.by_id, a, tmp) {
        HASH_DEL(c->budgets.by_id, a);
        free(a);
    }
}

void budget_spend(struct core *c, const struct spend *s)
{
    if (!s->picousd || s->month != c->budgets.month)
        return;
    struct budget_account *a = account_make(c, s->id);
    if (a)
        a->spent = cost_add(a->spent, s->picousd);
}

/* ---- holds ---- */

/* What j holds of its account becomes that much. */
static void hold(struct core *c, struct job *j, uint64_t picousd)
{
    struct budget_hold *h = &j->hold;
    uint64_t reserved = h->account->reserved;
    if (h->month == c->budgets.month)
        h->account->reserved = cost_add(reserved > h->held ? reserved - h->held : 0, picousd);
    h->held = picousd;
}

static void hold_estimate(struct core *c, struct job *j, uint64_t estimate)
{
    j->hold.estimate = estimate;
    hold(c, j, cost_add(j->hold.spent, estimate));
}

static struct slice model_of(const struct job *j, const struct provider_ref *p)
{
    return j->submit.model.p ? j->submit.model : slice_of(p->provider.model);
}

/* Whether j's call at that provider costs the server anything. */
static bool is_free(const struct job *j, const struct provider_ref *p)
{
    return j->submit.caller_key.p || p->provider.kind == PROVIDER_MOCK;
}

/* What it may cost there; false: nobody knows. */
static bool estimate(const struct core *c, const struct job *j, const struct provider_ref *p,
                     uint64_t *ret_picousd)
{
    struct provider_member m;
    *ret_picousd = 0;
    if (is_free(j, p))
        return true;
    job_member(c, j, &m);
    uint64_t tokens = provider_estimate_tokens(&m);
    return cost_picousd(c->conf, model_of(j, p), tokens - m.max_tokens, provider_answers(&m) * m.max_tokens,
                        ret_picousd);
}

static bool open_hold(struct core *c, struct job *j)
{
    struct budget_account *a = account_make(c, j->submit.trust_group);
    if (!a)
        return false;
    j->hold = (struct budget_hold){.account = a, .month = c->budgets.month};
    return true;
}

/* ---- refusals ---- */

static void refuse_unpriced(const struct job *j, const struct provider_ref *p, struct budget_refusal *ret)
{
    struct slice model = model_of(j, p);
    snprintf(ret->message, sizeof(ret->message),
             "Your API key has a budget, and [prices] of the configuration has no line for the model "
             "\"%.*s\", so that nobody could count what it costs; nothing was sent. Ask for a model that has "
             "one, or have it added.",
             (int)(model.n < 128 ? model.n : 128), model.p);
    ret->refusal = (struct wire_refusal){.status = 403,
                                         .error_type = SLICE_LITERAL("permission_error"),
                                         .error_code = SLICE_LITERAL("PRICE_UNKNOWN"),
                                         .message = slice_of(ret->message)};
}

static void refuse_spent(const struct core *c, const struct budget_account *a, uint64_t budget,
                         uint64_t needed, struct budget_refusal *ret)
{
    char has[COST_TEXT_SIZE], spent[COST_TEXT_SIZE], reserved[COST_TEXT_SIZE], may[COST_TEXT_SIZE];
    uint64_t real_us = c->ports.real_us(c->ports.arg), end_us = clock_month_end_us(c->budgets.month);
    uint64_t wait_ms = end_us > real_us ? (end_us - real_us + US_PER_MS - 1) / US_PER_MS : 1;
    cost_format(budget, has);
    cost_format(a->spent, spent);
    cost_format(a->reserved, reserved);
    cost_format(needed, may);
    int n =
        snprintf(ret->message, sizeof(ret->message),
                 "Your API key has spent %s of the %s USD that it may spend in a month (UTC)", spent, has);
    if (a->reserved)
        n += snprintf(ret->message + n, sizeof(ret->message) - (size_t)n,
                      ", its prompts that wait or run may take %s", reserved);
    snprintf(ret->message + n, sizeof(ret->message) - (size_t)n,
             " and this one may cost %s; nothing was sent. An administrator can raise the budget with "
             "`carpoolctl key set`.",
             may);
    if (cost_add(a->spent, needed) <= budget)
        wait_ms = UNDER_WAY_MS;
    ret->refusal =
        (struct wire_refusal){.status = 429,
                              .retry_after_ms = wait_ms < UINT32_MAX ? (uint32_t)wait_ms : UINT32_MAX,
                              .error_type = SLICE_LITERAL("rate_limit_error"),
                              .error_code = SLICE_LITERAL("BUDGET_SPENT"),
                              .message = slice_of(ret->message)};
}

/* ---- on the way in ---- */

bool budget_refuses(struct core *c, struct job *j, struct budget_refusal *ret_refusal)
{
    const struct key_record *key = keys_of(c, j->submit.trust_group);
    uint64_t needed;
    if (!key || j->hold.account)
        return false;
    bool known = estimate(c, j, c->provider, &needed);
    if (!known && key->budget_microusd) {
        refuse_unpriced(j, c->provider, ret_refusal);
        return true;
    }
    if (!known || !needed)
        return false;
    follow_calendar(c);
    if (!open_hold(c, j)) {
        ret_refusal->refusal = *refusal_get(REFUSAL_NO_MEMORY);
        return true;
    }
    const struct budget_account *a = j->hold.account;
    uint64_t budget = cost_of_microusd(key->budget_microusd);
    if (budget && cost_add(cost_add(a->spent, a->reserved), needed) > budget) {
        refuse_spent(c, a, budget, needed, ret_refusal);
        j->hold.account = NULL;
        return true;
    }
    hold_estimate(c, j, needed);
    return false;
}

bool budget_refuses_kept(struct core *c, struct job *j, struct job *duplicate,
                         struct budget_refusal *ret_refusal)
{
    if (j->hold.account)
        return false;
    if (budget_refuses(c, duplicate, ret_refusal))
        return true;
    j->hold = duplicate->hold;
    duplicate->hold.account = NULL;
    return false;
}

void budget_reserve(struct core *c, struct job *j)
{
    uint64_t needed;
    if (!keys_of(c, j->submit.trust_group) || j->hold.account)
        return;
    follow_calendar(c);
    if (estimate(c, j, c->provider, &needed) && needed && open_hold(c, j))
        hold_estimate(c, j, needed);
}

void budget_release(struct core *c, struct job *j)
{
    if (!j->hold.account)
        return;
    hold(c, j, 0);
    j->hold.account = NULL;
}

/* ---- calls ---- */

bool budget_refuses_call(struct core *c, const struct call *call, struct budget_refusal *ret_refusal)
{
    uint64_t needed;
    /* All members are of one key, for one model. */
    const struct job *first = call->members[0];
    const struct key_record *key = keys_of(c, first->submit.trust_group);
    if (!key && !first->hold.account)
        return false;
    for (size_t i = 0; i < call->n; i++) {
        struct job *j = call->members[i];
        bool known = estimate(c, j, call->provider, &needed);
        if (!known && key && key->budget_microusd) {
            refuse_unpriced(j, call->provider, ret_refusal);
            return true;
        }
        if (!j->hold.account && needed) {
            follow_calendar(c);
            if (!open_hold(c, j)) {
                ret_refusal->refusal = *refusal_get(REFUSAL_NO_MEMORY);
                return true;
            }
        }
        if (j->hold.account)
            hold_estimate(c, j, needed);
    }
    return false;
}

/* What j's part in a call has cost. Without a word on usage, what may have been bought costs what it was
 * estimated to. */
static uint64_t cost_of_part(const struct core *c, const struct call *call, const struct job *j,
                             const struct provider_outcome *o, const struct provider_part *part)
{
    uint64_t cost = 0;
    bool told = o->prompt_tokens || o->completion_tokens;
    bool bought = part->verdict == VERDICT_ANSWERED || part->verdict == VERDICT_UNKNOWN ||
                  (part->verdict == VERDICT_MISSING && !o->nothing_ran);
    if (!told)
        return bought ? j->hold.estimate : 0;
    (void)cost_picousd(c->conf, model_of(j, call->provider), part->prompt_tokens, part->completion_tokens,
                       &cost);
    return cost;
}

void budget_note(struct core *c, struct call *call, const struct provider_outcome *o)
{
    for (size_t i = 0; i < call->n; i++) {
        struct job *j = call->members[i];
        if (!j->hold.account || is_free(j, call->provider))
            continue;
        uint64_t cost = o ? cost_of_part(c, call, j, o, &o->parts[i]) : j->hold.estimate;
        j->hold.spent = cost_add(j->hold.spent, cost);
    }
}

void budget_ask_again(struct core *c, struct job *j)
{
    if (j->hold.account)
        hold_estimate(c, j, j->hold.estimate);
}

struct spend budget_close(struct core *c, struct job *j)
{
    if (!j->hold.account)
        return (struct spend){.picousd = 0};
    hold(c, j, j->hold.spent);
    return budget_held(j);
}

void budget_end(struct core *c, struct job *j)
{
    struct spend s = {.month = j->hold.month, .picousd = j->hold.spent};
    memcpy(s.id, j->hold.account->id, sizeof(s.id));
    budget_release(c, j);
    budget_spend(c, &s);
}

struct spend budget_held(const struct job *j)
{
    struct spend s = {.picousd = 0};
    if (!j->hold.account)
        return s;
    memcpy(s.id, j->hold.account->id, sizeof(s.id));
    s.month = j->hold.month;
    s.picousd = j->hold.held;
    return s;
}
