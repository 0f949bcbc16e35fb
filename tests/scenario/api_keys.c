/*
 * API keys in scenarios: KEY asks for a change as carpoolctl does, EXPECT KEY looks at what came of it. The
 * key of a tenant has the tenant's name as its trust group, so that its prompts are those of ARRIVE tenant=.
 */
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "coordinator/keys.h"
#include "rules.h"
#include "script.h"
#include "store/keys.h"

static void name_id(const char *name, uint8_t ret_id[TRUST_GROUP_SIZE])
{
    memset(ret_id, 0, TRUST_GROUP_SIZE);
    memcpy(ret_id, name, strnlen(name, TRUST_GROUP_SIZE));
}

static void append_hex(struct buf *b, const char *key, const void *bytes, size_t n)
{
    char hex[2 * KEY_HASH_SIZE + 1];
    sodium_bin2hex(hex, sizeof(hex), bytes, n);
    buf_printf(b, ",\"%s\":\"%s\"", key, hex);
}

static void append_text_hash(struct buf *b, const char *text)
{
    uint8_t hash[KEY_HASH_SIZE];
    crypto_generichash(hash, sizeof(hash), (const unsigned char *)text, strlen(text), NULL, 0);
    append_hex(b, "hash", hash, sizeof(hash));
}

/* KEY create|rotate|revoke|set tenant [text=] [role=] [label=] [requests=] [tokens=] [budget=] [grace=] | KEY
 * {json} */
void api_keys_run(struct script *s, struct line *l)
{
    static const char *const texts[][2] = {{"role", "role"}, {"label", "label"}};
    static const char *const numbers[][2] = {{"requests", "requests_per_minute"},
                                             {"tokens", "tokens_per_minute"},
                                             {"budget", "budget_usd"},
                                             {"grace", "grace_s"}};
    const char *op = l->n > 1 ? l->words[1] : "", *name = l->n > 2 ? l->words[2] : "", *v;
    uint8_t id[TRUST_GROUP_SIZE];
    struct buf json;
    if (op[0] == '{') {
        client_keys(s->at, op);
        world_turn(s->at);
        return;
    }
    buf_init(&json, 4096);
    buf_printf(&json, "{\"op\":\"%s\"", op);
    name_id(name, id);
    append_hex(&json, "id", id, sizeof(id));
    if ((v = line_value(l, "text")) || strcmp(op, "create") == 0)
        append_text_hash(&json, v ? v : name);
    if (!line_value(l, "role") && strcmp(op, "create") == 0)
        buf_append_text(&json, ",\"role\":\"client\"");
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        if ((v = line_value(l, texts[i][0])))
            buf_printf(&json, ",\"%s\":\"%s\"", texts[i][1], v);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if ((v = line_value(l, numbers[i][0])))
            buf_printf(&json, ",\"%s\":%s", numbers[i][1], v);
    buf_append_text(&json, "}");
    if (l->n < 3 || buf_failed(&json))
        script_fail(s, "KEY create|rotate|revoke|set tenant … | KEY {json}");
    else
        client_keys(s->at, json.data);
    buf_fini(&json);
    world_turn(s->at);
}

/* What there is of a key, by a walk over the store. */
struct found {
    uint8_t id[TRUST_GROUP_SIZE];
    uint64_t now_s;
    unsigned texts, usable;
    bool revoked;
    struct key_record last;
};

static int find(void *arg, const struct key_record *k)
{
    struct found *f = arg;
    if (memcmp(k->id, f->id, sizeof(f->id)) != 0)
        return 0;
    f->texts++;
    f->usable += key_usable(k, f->now_s);
    f->revoked |= k->revoked_s != 0;
    f->last = *k;
    return 0;
}

static void compare(struct script *s, const struct line *l, const char *key, uint64_t seen)
{
    const char *expected = line_value(l, key);
    char text[32];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)seen);
    if (expected && strcmp(expected, text) != 0)
        script_fail(s, "expected %s=%s of the key, got %s", key, expected, text);
}

/* KEY tenant none|usable|ended|revoked [texts=] [usable=] [label=] [requests=] [tokens=] [microusd=]: in the
 * store, now. */
void api_keys_expect(struct script *s, struct line *l)
{
    struct found f = {.now_s = disk_real_us(s->at) / 1000000};
    struct store_read *r;
    const char *label = line_value(l, "label");
    name_id(l->n > 1 ? l->words[1] : "", f.id);
    if (store_read_begin(s->at->store, &r, NULL) < 0)
        return;
    if (keys_each(r, find, &f, NULL) < 0)
        script_fail(s, "the keys cannot be read");
    store_read_end(r);
    const char *seen = !f.texts ? "none" : f.revoked ? "revoked" : f.usable ? "usable" : "ended";
    if (l->n < 3 || strcmp(seen, l->words[2]) != 0)
        script_fail(s, "expected the key to be %s, got %s", l->n > 2 ? l->words[2] : "?", seen);
    if (label && strcmp(label, f.last.label) != 0)
        script_fail(s, "expected the label %s, got %s", label, f.last.label);
    compare(s, l, "texts", f.texts);
    compare(s, l, "usable", f.usable);
    compare(s, l, "requests", f.last.requests_per_minute);
    compare(s, l, "tokens", f.last.tokens_per_minute);
    compare(s, l, "microusd", f.last.budget_microusd);
}

/* ---- the rule ---- */

struct comparison {
    struct world *w;
    size_t n;
};

static int check_one(void *arg, const struct key_record *k)
{
    struct comparison *m = arg;
    const struct key_index *x = &m->w->core->keys.index;
    const struct key_record *known = key_index_by_hash(x, k->hash), *key = key_index_by_id(x, k->id);
    m->n++;
    if (!known || memcmp(known, k, sizeof(*k)) != 0)
        world_blame(m->w, "the core knows the key %s otherwise than the store", k->label);
    else if (!key || key->role != k->role || strcmp(key->label, k->label) != 0 ||
             key->revoked_s != k->revoked_s || key->budget_microusd != k->budget_microusd ||
             key->requests_per_minute != k->requests_per_minute ||
             key->tokens_per_minute != k->tokens_per_minute)
        world_blame(m->w, "the texts of the key %s differ", k->label);
    return 0;
}

/* The index of the core is what the store holds. */
void rules_keys(struct world *w)
{
    struct comparison m = {.w = w};
    struct store_read *r;
    if (w->core->keys.changing || w->core->keys.changes_n)
        world_blame(w, "changes of keys are left");
    if (store_read_begin(w->store, &r, NULL) < 0)
        return;
    if (keys_each(r, check_one, &m, NULL) < 0)
        world_blame(w, "the keys cannot be read");
    store_read_end(r);
    if (m.n != w->core->keys.index.n)
        world_blame(w, "the core knows %zu texts of keys, the store %zu", w->core->keys.index.n, m.n);
}
