/*
 * The promises of answers that are given again: only what was asked for before, with the same words and
 * parameters, of the same model, by the same trust group and on the same key; and not to who wants none.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "reach.h"
#include "rules.h"
#include "script.h"

#define CONTENT_SIZE 16

/* What was put into a batch at some time. */
struct content {
    UT_hash_handle hh;
    uint8_t hash[CONTENT_SIZE];
};

static void add_bytes(crypto_generichash_state *h, const void *p, size_t n)
{
    crypto_generichash_update(h, (const unsigned char *)&n, sizeof(n));
    crypto_generichash_update(h, p, n);
}

static void add_text(crypto_generichash_state *h, struct slice s)
{
    bool there = s.p;
    add_bytes(h, &there, sizeof(there));
    add_bytes(h, s.n ? s.p : "", s.n);
}

/* As it was asked, with max_tokens as it was in force; of other settings only the model counts, which a chat
 * names. */
static void hash_content(const struct wire_submit *s, uint32_t max_tokens, struct slice model,
                         uint8_t ret_hash[CONTENT_SIZE])
{
    crypto_generichash_state h;
    const uint8_t of_all[] = {(uint8_t)s->priority, s->flags & SUBMIT_COMPLETION};
    crypto_generichash_init(&h, NULL, 0, CONTENT_SIZE);
    add_bytes(&h, of_all, sizeof(of_all));
    add_bytes(&h, s->trust_group, TRUST_GROUP_SIZE);
    add_bytes(&h, &s->temperature, sizeof(s->temperature));
    add_bytes(&h, &max_tokens, sizeof(max_tokens));
    add_text(&h, model);
    add_text(&h, s->prompt);
    add_text(&h, s->system_prompt);
    add_text(&h, s->messages);
    add_text(&h, s->extra);
    add_text(&h, s->caller_key);
    crypto_generichash_final(&h, ret_hash, CONTENT_SIZE);
}

/* Of all machines. */
static struct content **contents_of(struct world *w)
{
    return w->machine ? &w->twin->contents : &w->contents;
}

static struct content *find(struct world *w, const uint8_t hash[CONTENT_SIZE])
{
    struct content *known;
    HASH_FIND(hh, *contents_of(w), hash, CONTENT_SIZE, known);
    return known;
}

uint32_t rules_max_tokens(const struct world *w, const struct wire_submit *s)
{
    return s->max_tokens ? s->max_tokens : w->core->settings.priority[s->priority].tokens;
}

void rules_cache_asked(struct world *w, const struct wire_submit *s, const char *model)
{
    uint8_t hash[CONTENT_SIZE];
    hash_content(s, rules_max_tokens(w, s), s->model.p ? s->model : slice_of(model), hash);
    if (find(w, hash))
        return;
    struct content *known = calloc(1, sizeof(*known));
    memcpy(known->hash, hash, sizeof(known->hash));
    HASH_ADD(hh, *contents_of(w), hash, CONTENT_SIZE, known);
}

/* A model that was put counts for all who come after that was told. */
static bool is_model_put(const struct world *w, const struct client *c, const struct chat *chat)
{
    if (c->submit.model.p)
        return slice_equal(c->submit.model, chat->model);
    bool settled =
        !c->elder && !w->elder_acts && c->asked_us > w->settled_us && list_empty(&w->core->changes);
    return !settled || !w->model[0] || slice_is(chat->model, w->model);
}

void rules_cache_told(struct world *w, const struct client *c, const struct chat *chat)
{
    static const struct uuid none;
    uint8_t hash[CONTENT_SIZE];
    hash_content(&c->submit, c->max_tokens, chat->model, hash);
    /* The same request, which may have come with another key of its own, or without no-cache. */
    bool same = c->flags & (ANSWER_REPLAYED | ANSWER_JOINED);
    if (w->conf.cache.mode == CACHE_OFF)
        world_blame(w, "%s is told an answer from the cache, which is off", c->name);
    /* A call of the mock is seen in the event log only, which without memory has gaps. */
    bool unseen = script_lenient && slice_is(chat->model, "mock");
    if (!find(w, hash) && !same && !unseen)
        world_blame(w, "%s is told an answer from the cache, but nobody asked for that before", c->name);
    if (!same && !is_model_put(w, c, chat))
        world_blame(w, "%s is told what the model %.*s said, not the one in force", c->name,
                    (int)chat->model.n, chat->model.p);
    if ((c->submit.flags & SUBMIT_NO_CACHE) && !same)
        world_blame(w, "%s wants no answer from the cache, and is told one", c->name);
    if (chat->retries || chat->upstream_us || chat->rate_limited ||
        memcmp(&chat->batch_id, &none, sizeof(none)) == 0)
        world_blame(w, "the answer from the cache for %s is not that of another's batch", c->name);
}

void rules_cache_free(struct world *w)
{
    struct content *known, *tmp;
    HASH_ITER (hh, w->contents, known, tmp) {
        HASH_DEL(w->contents, known);
        free(known);
    }
}
