/* Rate limits; see rate.h. */
#include "coordinator/rate.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/keys.h"
#include "coordinator/refusal.h"

#define USER_HASH_SIZE 16
#define TEND_STEP      64 /* buckets looked at for one that is full */

/* One of this machine's own. Invariant: in rates.by_name, and in rates.by_use, the one used last at the end.
 */
struct rate_entry {
    UT_hash_handle hh;
    struct list node;
    struct rate_bucket bucket;
    char name[RATE_NAME_SIZE];
};

/* In the order of rate_list; those of users begin with the third. */
static const struct {
    const char *name, *sentence, *option;
    bool tokens, of_user;
} kinds[RATE_JOB_BUCKETS] = {
    {"key-requests", "may ask for %u requests a minute", "limits.requests_per_minute", false, false},
    {"key-tokens", "may use %u tokens a minute", "limits.tokens_per_minute", true, false},
    {"user-requests", "may ask for %u requests a minute", "limits.user_requests_per_minute", false, true},
    {"user-tokens", "may use %u tokens a minute", "limits.user_tokens_per_minute", true, true},
};

/* The limits of a prompt's trust group, as the configuration has them or its key. of_key: that its key has.
 */
struct limits {
    uint32_t per_minute[RATE_JOB_BUCKETS];
    bool of_key[RATE_JOB_BUCKETS];
};

static struct limits limits_of(const struct core *c, const struct job *j)
{
    struct limits l = {.per_minute = {c->conf->limits.requests_per_minute, c->conf->limits.tokens_per_minute,
                                      c->conf->limits.user_requests_per_minute,
                                      c->conf->limits.user_tokens_per_minute}};
    const struct key_record *k = keys_of(c, j->submit.trust_group);
    const uint32_t of_key[] = {k ? k->requests_per_minute : 0, k ? k->tokens_per_minute : 0};
    for (size_t kind = 0; kind < ARRAY_LEN(of_key); kind++) {
        if (!of_key[kind])
            continue;
        l.per_minute[kind] = of_key[kind];
        l.of_key[kind] = true;
    }
    return l;
}

static size_t kind_of(const struct shared_bucket *b)
{
    size_t kind = 0;
    while (kind < RATE_JOB_BUCKETS - 1 && strncmp(b->name, kinds[kind].name, strcspn(b->name, ":")) != 0)
        kind++;
    return kind;
}

/* Names say nothing of the user to whoever may read the shared server. */
static void name_bucket(const struct job *j, size_t kind, char ret_name[RATE_NAME_SIZE])
{
    uint8_t user[USER_HASH_SIZE];
    char group_hex[TRUST_GROUP_SIZE * 2 + 1], user_hex[USER_HASH_SIZE * 2 + 1];
    sodium_bin2hex(group_hex, sizeof(group_hex), j->submit.trust_group, TRUST_GROUP_SIZE);
    if (!kinds[kind].of_user) {
        snprintf(ret_name, RATE_NAME_SIZE, "%s:%s", kinds[kind].name, group_hex);
        return;
    }
    crypto_generichash(user, sizeof(user), (const unsigned char *)j->submit.username.p, j->submit.username.n,
                       NULL, 0);
    sodium_bin2hex(user_hex, sizeof(user_hex), user, sizeof(user));
    snprintf(ret_name, RATE_NAME_SIZE, "%s:%s:%s", kinds[kind].name, group_hex, user_hex);
}

void rate_list(const struct core *c, const struct job *j, struct rate_list *ret_list)
{
    struct limits limits = limits_of(c, j);
    ret_list->n = 0;
    for (size_t kind = 0; kind < RATE_JOB_BUCKETS; kind++) {
        if (!limits.per_minute[kind] || (kinds[kind].of_user && !j->submit.username.p))
            continue;
        size_t i = ret_list->n++;
        name_bucket(j, kind, ret_list->names[i]);
        ret_list->of_key[i] = limits.of_key[kind];
        ret_list->buckets[i] =
            (struct shared_bucket){.name = ret_list->names[i],
                                   .per_minute = limits.per_minute[kind],
                                   .cost = kinds[kind].tokens ? (int64_t)j->member.tokens : 1};
    }
}

/* ---- this machine's own ---- */

static void drop(struct core *c, struct rate_entry *n)
{
    HASH_DEL(c->rates.by_name, n);
    list_remove(&n->node);
    free(n);
}

/* Of those used least lately: drops the full ones among the first few; at least one if one must go. */
static void drop_idle(struct core *c, bool must, uint64_t now_us)
{
    unsigned seen = 0, dropped = 0;
    list_for_each_safe (it, next, &c->rates.by_use) {
        struct rate_entry *n = LIST_ENTRY(it, struct rate_entry, node);
        if (seen++ == TEND_STEP)
            break;
        if (!rate_is_full(&n->bucket, now_us))
            continue;
        drop(c, n);
        dropped++;
    }
    if (must && !dropped)
        drop(c, LIST_ENTRY(list_first(&c->rates.by_use), struct rate_entry, node));
}

void rate_tend(struct core *c, uint64_t now_us)
{
    drop_idle(c, false, now_us);
}

static struct rate_entry *find(struct core *c, const char *name)
{
    struct rate_entry *n;
    HASH_FIND_STR(c->rates.by_name, name, n);
    if (n) {
        list_remove(&n->node);
        list_append(&c->rates.by_use, &n->node);
    }
    return n;
}

static struct rate_entry *find_or_make(struct core *c, const char *name, uint64_t now_us)
{
    struct rate_entry *n = find(c, name);
    if (n)
        return n;
    if (HASH_COUNT(c->rates.by_name) >= RATE_BUCKETS_MAX)
        drop_idle(c, true, now_us);
    n = calloc(1, sizeof(*n));
    if (!n)
        return NULL;
    snprintf(n->name, sizeof(n->name), "%s", name);
    HASH_ADD_STR(c->rates.by_name, name, n);
    if (!n->hh.tbl) {
        free(n);
        return NULL;
    }
    list_append(&c->rates.by_use, &n->node);
    return n;
}

/* As the server does for all machines: from all of them or from none. */
static int take_own(struct core *c, struct rate_list *list, uint64_t now_us, bool *ret_limited)
{
    struct rate_entry *entries[RATE_JOB_BUCKETS];
    bool limited = false;
    for (size_t i = 0; i < list->n; i++) {
        struct shared_bucket *b = &list->buckets[i];
        entries[i] = find_or_make(c, b->name, now_us);
        if (!entries[i])
            return ERR_NOMEM;
        b->ret_wait_ms = rate_wait_ms(&entries[i]->bucket, b->per_minute, b->cost, now_us);
        limited |= b->ret_wait_ms > 0;
    }
    for (size_t i = 0; i < list->n; i++) {
        struct shared_bucket *b = &list->buckets[i];
        if (!limited)
            rate_take(&entries[i]->bucket, b->per_minute, b->cost, now_us);
        b->ret_remaining = rate_remaining(&entries[i]->bucket, b->per_minute, now_us);
        b->ret_reset_ms = rate_reset_ms(&entries[i]->bucket, now_us);
    }
    *ret_limited = limited;
    return 0;
}

/* ---- what comes of it ---- */

/* The tightest of each kind. */
static void note_limits(const struct rate_list *list, struct wire_limits *ret_limits)
{
    *ret_limits = (struct wire_limits){0};
    for (size_t i = 0; i < list->n; i++) {
        const struct shared_bucket *b = &list->buckets[i];
        struct wire_limit *l = kinds[kind_of(b)].tokens ? &ret_limits->tokens : &ret_limits->requests;
        int64_t left = b->ret_remaining < 0               ? 0
                       : b->ret_remaining > b->per_minute ? b->per_minute
                                                          : b->ret_remaining;
        if (!l->per_minute || left < l->remaining)
            *l = (struct wire_limit){b->per_minute, (uint32_t)left, b->ret_reset_ms};
    }
}

static const char *subject(const struct job *j, size_t kind)
{
    static const uint8_t keyless[TRUST_GROUP_SIZE];
    if (kinds[kind].of_user)
        return "This user";
    return memcmp(j->submit.trust_group, keyless, TRUST_GROUP_SIZE) == 0
               ? "Callers without an API key together"
               : "Your API key";
}

static void word_refusal(const struct job *j, const struct rate_list *list, struct rate_refusal *ret)
{
    size_t at = 0;
    char what[64];
    for (size_t i = 1; i < list->n; i++)
        if (list->buckets[i].ret_wait_ms > list->buckets[at].ret_wait_ms)
            at = i;
    const struct shared_bucket *longest = &list->buckets[at];
    size_t kind = kind_of(longest);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(what, sizeof(what), kinds[kind].sentence, longest->per_minute);
#pragma GCC diagnostic pop
    int n = snprintf(ret->message, sizeof(ret->message), "%s %s (%s)", subject(j, kind), what,
                     list->of_key[at] ? "this key's own limit" : kinds[kind].option);
    if (kinds[kind].tokens)
        n += snprintf(ret->message + n, sizeof(ret->message) - (size_t)n, ", and this prompt may take %lld",
                      (long long)longest->cost);
    snprintf(ret->message + n, sizeof(ret->message) - (size_t)n,
             "; nothing was sent. Ask again in %u.%03u s.", longest->ret_wait_ms / 1000,
             longest->ret_wait_ms % 1000);
    ret->refusal = (struct wire_refusal){.status = 429,
                                         .retry_after_ms = longest->ret_wait_ms,
                                         .error_type = SLICE_LITERAL("rate_limit_error"),
                                         .error_code = SLICE_LITERAL("RATE_LIMITED"),
                                         .message = slice_of(ret->message)};
}

bool rate_decide(struct core *c, struct job *j, const struct rate_list *list, bool limited, bool shared,
                 struct rate_refusal *ret_refusal)
{
    note_limits(list, &j->limits);
    if (limited) {
        core_count(c, "rate_limited", NULL, 1);
        word_refusal(j, list, ret_refusal);
        ret_refusal->refusal.limits = j->limits;
        return true;
    }
    j->charged = shared ? RATE_SHARED : RATE_OWN;
    return false;
}

bool rate_refuses(struct core *c, struct job *j, uint64_t now_us, struct rate_refusal *ret_refusal)
{
    struct rate_list list;
    bool limited;
    if (!rate_applies(c, j))
        return false;
    rate_list(c, j, &list);
    if (!list.n)
        return false;
    if (take_own(c, &list, now_us, &limited) < 0) {
        ret_refusal->refusal = *refusal_get(REFUSAL_NO_MEMORY);
        return true;
    }
    return rate_decide(c, j, &list, limited, false, ret_refusal);
}

/* Takes what is given (or gives it back, below 0) of requests and tokens, where j was charged. */
static void charge(struct core *c, struct job *j, int64_t requests, int64_t tokens)
{
    struct rate_list list;
    uint64_t now_us = c->ports.mono_us(c->ports.arg);
    size_t n = 0;
    rate_list(c, j, &list);
    for (size_t i = 0; i < list.n; i++) {
        struct shared_bucket *b = &list.buckets[i];
        b->cost = kinds[kind_of(b)].tokens ? tokens : requests;
        struct rate_entry *own = j->charged == RATE_OWN ? find(c, b->name) : NULL;
        if (own)
            rate_take(&own->bucket, b->per_minute, b->cost, now_us);
        if (b->cost)
            list.buckets[n++] = *b;
    }
    if (j->charged == RATE_SHARED && n && c->shared.reach == SHARED_THERE)
        c->ports.charge(c->ports.arg, list.buckets, n);
}

void rate_return(struct core *c, struct job *j)
{
    if (j->charged == RATE_FREE)
        return;
    charge(c, j, -1, -(int64_t)j->member.tokens);
    j->charged = RATE_FREE;
}

void rate_settle(struct core *c, struct job *j)
{
    int64_t used = (int64_t)(j->prompt_tokens + j->completion_tokens);
    charge(c, j, 0, used - (int64_t)j->member.tokens);
    j->charged = RATE_FREE;
}

void rate_fini(struct core *c)
{
    struct rate_entry *n, *tmp;
    HASH_ITER (hh, c->rates.by_name, n, tmp)
        drop(c, n);
}
