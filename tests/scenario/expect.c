/*
 * EXPECT: lets the world go on until what is expected has been seen, and compares. Batches, calls, replies
 * and progress are each named in the order they happen in.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "money.h"
#include "script.h"
#include "server.h"
#include "speech.h"

#define PATIENCE_US ((script_lenient ? 40 : 3600) * US_PER_S)

/* at=200ms [+-5ms] */
static void expect_at(struct script *s, const struct line *l, const char *what, uint64_t seen_us)
{
    const char *at = line_value(l, "at");
    uint64_t slack = 0;
    if (!at)
        return;
    for (size_t i = 0; i < l->n; i++)
        if (strncmp(l->words[i], "+-", 2) == 0)
            slack = script_us(s, l->words[i] + 2);
    uint64_t expected = script_us(s, at);
    if (seen_us + slack < expected || seen_us > expected + slack)
        script_fail(s, "expected %s at %s, got %.3fms", what, at, (double)seen_us / US_PER_MS);
}

static void expect_text(struct script *s, const struct line *l, const char *key, const char *seen)
{
    const char *expected = line_value(l, key);
    if (expected && strcmp(expected, seen) != 0)
        script_fail(s, "expected %s=%s, got %s", key, expected, seen);
}

static void expect_number(struct script *s, const struct line *l, const char *key, uint64_t seen)
{
    const char *expected = line_value(l, key);
    if (expected && strtoull(expected, NULL, 10) != seen)
        script_fail(s, "expected %s=%s, got %llu", key, expected, (unsigned long long)seen);
}

/* BATCH and CALL: the next one that no line has named yet. */
static void expect_sight(struct script *s, struct line *l, struct sights *sights)
{
    struct world *w = s->at;
    uint64_t limit = world_time(w) + PATIENCE_US;
    while (sights->named == sights->n && !w->fault[0] && world_step(w, limit)) {
    }
    if (w->fault[0])
        return;
    if (sights->named == sights->n) {
        script_fail(s, "expected a %s, got none", l->words[0]);
        return;
    }
    const struct sight *seen = &sights->items[sights->named++];
    expect_number(s, l, "n", seen->n);
    expect_text(s, l, "members", seen->members);
    expect_text(s, l, "priority", conf_priority_name(seen->priority));
    if (seen->reason[0])
        expect_text(s, l, "reason", seen->reason);
    expect_text(s, l, "key", seen->key[0] ? seen->key : "none");
    if (seen->host[0])
        expect_text(s, l, "host", seen->host);
    if (seen->mode[0])
        expect_text(s, l, "mode", seen->mode);
    expect_at(s, l, l->words[0], seen->at_us);
}

static void expect_batch(struct script *s, struct line *l)
{
    expect_sight(s, l, &s->at->batches);
}

static void expect_call(struct script *s, struct line *l)
{
    expect_sight(s, l, &s->at->calls);
}

/* CALLS n: so far. */
static void expect_calls(struct script *s, struct line *l)
{
    size_t expected = l->n > 1 ? strtoul(l->words[1], NULL, 10) : 0;
    if (s->at->calls.n != expected)
        script_fail(s, "expected %zu calls, got %zu", expected, s->at->calls.n);
    s->at->calls.named = s->at->calls.n;
}

static struct client *expected_client(struct script *s, struct line *l)
{
    struct client *c = l->n > 1 ? client_find(s->at, l->words[1]) : NULL;
    if (!c)
        script_fail(s, "there is no client %s", l->n > 1 ? l->words[1] : "without a name");
    return c;
}

static const char *reply_text(const struct client *c, char ret_text[128])
{
    static const char *const names[] = {"nothing", "an answer", "a refusal", "queued"};
    if (c->reply == REPLY_REFUSAL)
        snprintf(ret_text, 128, "a refusal, %u %s", c->status, c->code);
    else
        snprintf(ret_text, 128, "%s", names[c->reply]);
    return ret_text;
}

static struct client *expect_reply(struct script *s, struct line *l, struct client *c, enum reply expected,
                                   const char *what)
{
    struct world *w = s->at;
    char got[128];
    if (!c)
        return NULL;
    uint64_t limit = world_time(w) + PATIENCE_US;
    while (c->reply == REPLY_NONE && !w->fault[0] && world_step(w, limit)) {
    }
    if (w->fault[0])
        return NULL;
    if (c->reply != expected) {
        script_fail(s, "expected %s for %s, got %s", what, c->name, reply_text(c, got));
        return NULL;
    }
    expect_at(s, l, what, c->replied_us);
    return c;
}

/* requests=left/limit@reset_ms tokens=left/limit@reset_ms; "none" for no limit */
static void expect_limit(struct script *s, const struct line *l, const char *key, const struct wire_limit *m)
{
    char seen[64] = "none";
    if (m->per_minute)
        snprintf(seen, sizeof(seen), "%u/%u@%u", m->remaining, m->per_minute, m->reset_ms);
    expect_text(s, l, key, seen);
}

static void expect_limits(struct script *s, const struct line *l, const struct client *c)
{
    expect_limit(s, l, "requests", &c->limits.requests);
    expect_limit(s, l, "tokens", &c->limits.tokens);
}

/* ANSWER name [at=] [replayed] [joined] [cached] [requests=] [tokens=] */
static void expect_answer(struct script *s, struct line *l)
{
    struct client *c = expect_reply(s, l, expected_client(s, l), REPLY_ANSWER, "an answer");
    if (!c)
        return;
    expect_limits(s, l, c);
    expect_number(s, l, "deltas", c->deltas);
    if (line_has(l, "replayed") != ((c->flags & ANSWER_REPLAYED) != 0))
        script_fail(s, "expected %s to be %s", c->name,
                    line_has(l, "replayed") ? "replayed" : "not replayed");
    if (line_has(l, "cached") != c->cached)
        script_fail(s, "expected the answer of %s to be %s the cache", c->name,
                    line_has(l, "cached") ? "from" : "from elsewhere than");
    if (line_has(l, "joined") != ((c->flags & ANSWER_JOINED) != 0))
        script_fail(s, "expected %s to have %s", c->name, line_has(l, "joined") ? "joined" : "not joined");
}

static void compare_refusal(struct script *s, struct line *l, const struct client *c)
{
    expect_number(s, l, "status", c->status);
    expect_number(s, l, "deltas", c->deltas);
    expect_text(s, l, "code", c->code);
    expect_number(s, l, "retry_after_ms", c->retry_after_ms);
    expect_limits(s, l, c);
}

static void expect_refusal(struct script *s, struct line *l)
{
    struct client *c = expect_reply(s, l, expected_client(s, l), REPLY_REFUSAL, "a refusal");
    if (c)
        compare_refusal(s, l, c);
}

static void expect_queued(struct script *s, struct line *l)
{
    expect_reply(s, l, expected_client(s, l), REPLY_QUEUED, "queued");
}

/* DONE [at=] | DENIED [status=] [code=]: what the administrator hears. */
static void expect_done(struct script *s, struct line *l)
{
    expect_reply(s, l, client_find(s->at, "(admin)"), REPLY_QUEUED, "done");
}

static void expect_denied(struct script *s, struct line *l)
{
    struct client *c = expect_reply(s, l, client_find(s->at, "(admin)"), REPLY_REFUSAL, "a refusal");
    if (c)
        compare_refusal(s, l, c);
}

/* PROGRESS name unknown|queued|running|finished|answer|refusal [status=] [at=] */
static void expect_progress(struct script *s, struct line *l)
{
    static const char *const names[] = {"unknown", "queued", "running", "finished", "answer", "refusal"};
    struct world *w = s->at;
    struct client *c = expected_client(s, l);
    if (!c)
        return;
    uint64_t limit = world_time(w) + PATIENCE_US;
    while (c->watching && !w->fault[0] && world_step(w, limit)) {
    }
    if (w->fault[0])
        return;
    if (!c->progress_seen || l->n < 3 || strcmp(names[c->progress], l->words[2]) != 0)
        script_fail(s, "expected progress %s, got %s", l->n > 2 ? l->words[2] : "?",
                    c->progress_seen ? names[c->progress] : "none");
    expect_number(s, l, "status", c->progress_status);
    expect_at(s, l, "progress", c->progress_us);
}

/* STATE name none|queued|dispatched|done|failed|unknown|deleted: its record in the store, now. */
static void expect_state(struct script *s, struct line *l)
{
    struct client *c = expected_client(s, l);
    if (!c)
        return;
    const char *state = disk_state(s->at, c);
    if (l->n < 3 || strcmp(state, l->words[2]) != 0)
        script_fail(s, "expected the record of %s to be %s, got %s", c->name, l->n > 2 ? l->words[2] : "?",
                    state);
}

/* SHARED name none|queued|…: its record at the server, now. */
static void expect_shared(struct script *s, struct line *l)
{
    struct client *c = expected_client(s, l);
    if (!c)
        return;
    const char *state = server_state(s->at, c);
    if (l->n < 3 || strcmp(state, l->words[2]) != 0)
        script_fail(s, "expected the server's record of %s to be %s, got %s", c->name,
                    l->n > 2 ? l->words[2] : "?", state);
}

/* NONE until=time: from here to there no batch is sealed and nobody hears anything. */
static void expect_none(struct script *s, struct line *l)
{
    struct world *w = s->at;
    const char *until = line_value(l, "until");
    uint64_t from_us = world_time(w);
    char got[128];
    size_t batches = w->batches.n, clients = w->clients_n;
    bool heard[WORLD_CLIENTS_MAX];
    for (size_t i = 0; i < clients; i++)
        heard[i] = w->clients[i].reply != REPLY_NONE;
    world_run(w, until ? script_us(s, until) : from_us);
    if (batches < w->batches.n) {
        const struct sight *b = &w->batches.items[batches];
        script_fail(s, "expected nothing, got a batch of %s at %.3fms", b->members,
                    (double)b->at_us / US_PER_MS);
    }
    for (size_t i = 0; i < clients; i++) {
        const struct client *c = &w->clients[i];
        if (c->reply != REPLY_NONE && !heard[i])
            script_fail(s, "expected nothing, got %s for %s at %.3fms", reply_text(c, got), c->name,
                        (double)c->replied_us / US_PER_MS);
    }
}

/* KEYS "…": everything that was done with keys so far. */
static void expect_keys(struct script *s, struct line *l)
{
    const char *expected = l->n > 1 ? l->words[1] : "";
    if (strcmp(expected, s->at->keys) != 0)
        script_fail(s, "expected \"%s\" to be done with keys, got \"%s\"", expected, s->at->keys);
}

/* PROVIDER works|faulty: what /health says of it. */
static void expect_provider(struct script *s, struct line *l)
{
    const char *seen = s->at->core->provider_fault.code || s->at->core->key_fault.code ? "faulty" : "works";
    if (l->n < 2 || strcmp(l->words[1], seen) != 0)
        script_fail(s, "expected a provider that %s, got %s", l->n > 1 ? l->words[1] : "?", seen);
}

/* CORE idle|busy: whether it may leave when nobody asks for anything. */
static void expect_core(struct script *s, struct line *l)
{
    const struct core *c = s->at->core;
    const char *word = l->n > 1 ? l->words[1] : "?";
    const char *seen = core_works(c) ? "busy" : core_idle(c) ? "over" : "idle";
    if (strcmp(word, seen) != 0 && !(strcmp(word, "idle") == 0 && core_idle(c)))
        script_fail(s, "expected a core that is %s, got %s", word, seen);
}

/* CACHE n: entries that there are now. */
static void expect_cache(struct script *s, struct line *l)
{
    uint64_t seen = disk_cache_entries(&s->world), expected = l->n > 1 ? strtoull(l->words[1], NULL, 10) : 0;
    if (seen != expected)
        script_fail(s, "expected %llu entries in the cache, got %llu", (unsigned long long)expected,
                    (unsigned long long)seen);
}

/* AUDIT n ["actor: details"]: entries that there are now, and the newest. */
static void expect_audit(struct script *s, struct line *l)
{
    char newest[512];
    uint64_t seen = disk_audit_entries(s->at, newest),
             expected = l->n > 1 ? strtoull(l->words[1], NULL, 10) : 0;
    if (seen != expected)
        script_fail(s, "expected %llu entries in the audit trail, got %llu", (unsigned long long)expected,
                    (unsigned long long)seen);
    else if (l->n > 2 && strcmp(l->words[2], newest) != 0)
        script_fail(s, "expected the audit trail to say %s, got %s", l->words[2], newest);
}

/* COUNTER name n: as stored, after the next housekeeping. */
static void expect_counter(struct script *s, struct line *l)
{
    struct world *w = s->at;
    if (l->n < 3)
        return;
    world_run(w, world_time(w) + US_PER_S + 2 * w->commit_us);
    uint64_t seen = disk_counter(w, l->words[1]), expected = strtoull(l->words[2], NULL, 10);
    if (seen != expected)
        script_fail(s, "expected the counter %s to be %s, got %llu", l->words[1], l->words[2],
                    (unsigned long long)seen);
}

void expect_run(struct script *s, struct line *l)
{
    static const struct {
        const char *name;
        void (*run)(struct script *s, struct line *l);
    } kinds[] = {{"BATCH", expect_batch},   {"CALL", expect_call},         {"CALLS", expect_calls},
                 {"ANSWER", expect_answer}, {"REFUSAL", expect_refusal},   {"QUEUED", expect_queued},
                 {"DONE", expect_done},     {"DENIED", expect_denied},     {"PROGRESS", expect_progress},
                 {"STATE", expect_state},   {"NONE", expect_none},         {"COUNTER", expect_counter},
                 {"KEYS", expect_keys},     {"PROVIDER", expect_provider}, {"SHARED", expect_shared},
                 {"CACHE", expect_cache},   {"CORE", expect_core},         {"KEY", api_keys_expect},
                 {"SPENT", money_expect},   {"AUDIT", expect_audit},       {"DELTA", listen_expect}};
    for (size_t i = 0; l->n && i < ARRAY_LEN(kinds); i++)
        if (strcmp(l->words[0], kinds[i].name) == 0) {
            kinds[i].run(s, l);
            return;
        }
    script_fail(s, "EXPECT knows no %s", l->n ? l->words[0] : "nothing");
}
