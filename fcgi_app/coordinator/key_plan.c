/* What a change to the keys leads to; see key_change.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/key_change.h"

/* A plan under way. Invariant: out has room for what it will hold; taken[i]: record i of the index is in it.
 */
struct plan {
    const struct key_index *x;
    const struct key_change *change;
    uint64_t now_s;
    struct commit_keys *out;
    bool *taken;
    size_t fresh_n; /* of those put that the index does not have */
    struct key_refusal *refusal;
};

static int PRINTF_LIKE(5, 6)
    refuse(struct plan *p, uint16_t status, const char *code, const char *field, const char *format, ...)
{
    struct key_refusal *r = p->refusal;
    va_list args;
    *r = (struct key_refusal){.status = status, .code = code};
    snprintf(r->field, sizeof(r->field), "%s", field);
    va_start(args, format);
    vsnprintf(r->message, sizeof(r->message), format, args);
    va_end(args);
    return ERR_INVAL;
}

static bool same_id(const struct key_record *a, const struct key_record *b)
{
    return memcmp(a->id, b->id, sizeof(a->id)) == 0;
}

static bool same_hash(const struct key_record *a, const struct key_record *b)
{
    return memcmp(a->hash, b->hash, sizeof(a->hash)) == 0;
}

static void put(struct plan *p, const struct key_record *k)
{
    const struct key_record *old = key_index_by_hash(p->x, k->hash);
    p->out->keys[p->out->n++] = *k;
    if (old)
        p->taken[old - p->x->records] = true;
    else
        p->fresh_n++;
}

/* Another key that somebody could mean by that label. */
static bool label_taken(const struct plan *p, const char *label, const struct key_record *owner)
{
    for (size_t i = 0; label[0] && i < p->x->n; i++) {
        const struct key_record *k = &p->x->records[i];
        if (!same_id(k, owner) && key_usable(k, p->now_s) && strcmp(k->label, label) == 0)
            return true;
    }
    return false;
}

static int refuse_label(struct plan *p, const char *label)
{
    return refuse(p, 409, "LABEL_TAKEN", "label",
                  "Another key that can be used has the label \"%s\": choose another label, or revoke that "
                  "key first.",
                  label);
}

/* ---- one key ---- */

/* The key that the change is about. */
static int find(struct plan *p, const struct key_record **ret_key)
{
    const struct key_record *k = key_index_by_id(p->x, p->change->key.id);
    if (!k)
        return refuse(p, 404, "KEY_NOT_FOUND", "id", "There is no key of that id.");
    if (k->revoked_s && p->change->op != KEY_OP_REVOKE)
        return refuse(p, 409, "KEY_REVOKED", "id",
                      "That key was revoked and stays so: create a new one in its place.");
    *ret_key = k;
    return 0;
}

static int create(struct plan *p)
{
    struct key_record k = p->change->key;
    if (key_index_by_id(p->x, k.id) || key_index_by_hash(p->x, k.hash))
        return refuse(p, 409, "KEY_EXISTS", key_index_by_id(p->x, k.id) ? "id" : "hash",
                      "There is such a key already.");
    if (label_taken(p, k.label, &k))
        return refuse_label(p, k.label);
    k.created_s = p->now_s;
    put(p, &k);
    return 0;
}

static int rotate(struct plan *p)
{
    const struct key_record *k;
    int rc = find(p, &k);
    if (rc)
        return rc;
    if (key_index_by_hash(p->x, p->change->key.hash))
        return refuse(p, 409, "KEY_EXISTS", "hash", "There is such a key already.");
    if (label_taken(p, k->label, k))
        return refuse_label(p, k->label);
    uint64_t ends_s = p->now_s + p->change->grace_s;
    for (size_t i = 0; i < p->x->n; i++) {
        struct key_record old = p->x->records[i];
        if (!same_id(&old, k) || (old.ends_s && old.ends_s <= ends_s))
            continue;
        old.ends_s = ends_s;
        put(p, &old);
    }
    struct key_record fresh = *k;
    memcpy(fresh.hash, p->change->key.hash, sizeof(fresh.hash));
    fresh.created_s = p->now_s;
    fresh.ends_s = 0;
    put(p, &fresh);
    return 0;
}

static int revoke(struct plan *p)
{
    const struct key_record *k;
    int rc = find(p, &k);
    for (size_t i = 0; !rc && i < p->x->n; i++) {
        struct key_record old = p->x->records[i];
        if (!same_id(&old, k) || old.revoked_s)
            continue;
        old.revoked_s = p->now_s;
        put(p, &old);
    }
    return rc;
}

/* What all texts of a key have in common, but for the revocation. */
static void copy_attributes(struct key_record *to, const struct key_record *from, unsigned which)
{
    if (which & KEY_HAS_LABEL)
        memcpy(to->label, from->label, sizeof(to->label));
    if (which & KEY_HAS_REQUESTS)
        to->requests_per_minute = from->requests_per_minute;
    if (which & KEY_HAS_TOKENS)
        to->tokens_per_minute = from->tokens_per_minute;
    if (which & KEY_HAS_BUDGET)
        to->budget_microusd = from->budget_microusd;
}

static int set(struct plan *p)
{
    const struct key_record *k;
    const struct key_change *change = p->change;
    int rc = find(p, &k);
    if (!rc && (change->given & KEY_HAS_LABEL) && label_taken(p, change->key.label, k))
        rc = refuse_label(p, change->key.label);
    for (size_t i = 0; !rc && i < p->x->n; i++) {
        struct key_record old = p->x->records[i];
        if (!same_id(&old, k))
            continue;
        copy_attributes(&old, &change->key, change->given);
        put(p, &old);
    }
    return rc;
}

/* ---- import ---- */

/* The earlier of two times of which 0 is never. */
static uint64_t earlier(uint64_t a, uint64_t b)
{
    return !a || (b && b < a) ? b : a;
}

static bool same_attributes(const struct key_record *a, const struct key_record *b)
{
    return a->role == b->role && strcmp(a->label, b->label) == 0 &&
           a->requests_per_minute == b->requests_per_minute && a->tokens_per_minute == b->tokens_per_minute &&
           a->budget_microusd == b->budget_microusd && a->revoked_s == b->revoked_s;
}

/* Whether the records of the document go together. */
static int check_imported(struct plan *p)
{
    const struct key_record *keys = p->change->imported;
    for (size_t i = 0; i < p->change->n; i++)
        for (size_t j = 0; j < i; j++) {
            bool usable = key_usable(&keys[i], p->now_s) && key_usable(&keys[j], p->now_s);
            bool same_label = keys[i].label[0] && strcmp(keys[i].label, keys[j].label) == 0;
            if (same_hash(&keys[i], &keys[j]))
                return refuse(p, 400, "INVALID_KEY_CHANGE", "hash", "Two records have the same hash.");
            if (same_id(&keys[i], &keys[j]) && !same_attributes(&keys[i], &keys[j]))
                return refuse(p, 400, "INVALID_KEY_CHANGE", "id",
                              "Two records of the same id differ in more than hash, created_s and ends_s.");
            if (!same_id(&keys[i], &keys[j]) && same_label && usable)
                return refuse(p, 400, "INVALID_KEY_CHANGE", "label", "Two keys have the label \"%s\".",
                              keys[i].label);
        }
    return 0;
}

/* What is revoked or ends in one of the two places does so in both: an old copy brings no key back. */
static int merge(struct plan *p, const struct key_record *given, struct key_record *ret_key)
{
    const struct key_record *same = key_index_by_hash(p->x, given->hash),
                            *kin = key_index_by_id(p->x, given->id);
    struct key_record k = *given;
    if ((same && !same_id(same, given)) || (kin && kin->role != given->role))
        return refuse(
            p, 409, "KEY_EXISTS", same ? "hash" : "id",
            "A key is here already under another id or role: revoke it there and create a new one.");
    if (same) {
        k.created_s = same->created_s;
        k.ends_s = earlier(k.ends_s, same->ends_s);
    }
    if (kin)
        k.revoked_s = earlier(k.revoked_s, kin->revoked_s);
    *ret_key = k;
    return 0;
}

/* The other texts of a key that came in. */
static void put_kin(struct plan *p, const struct key_record *k)
{
    for (size_t i = 0; i < p->x->n; i++) {
        struct key_record old = p->x->records[i];
        if (p->taken[i] || !same_id(&old, k))
            continue;
        copy_attributes(&old, k, KEY_HAS_ATTRIBUTES);
        old.revoked_s = k->revoked_s;
        put(p, &old);
    }
}

/* Of what is put, with one another and with what is here: a text that has ended may bring its label to one
 * that can be used. */
static int check_labels(struct plan *p)
{
    const struct key_record *keys = p->out->keys;
    for (size_t i = 0; i < p->out->n; i++) {
        const char *label = keys[i].label;
        if (!label[0] || !key_usable(&keys[i], p->now_s))
            continue;
        bool taken = label_taken(p, label, &keys[i]);
        for (size_t j = 0; j < i && !taken; j++)
            taken = !same_id(&keys[i], &keys[j]) && key_usable(&keys[j], p->now_s) &&
                    strcmp(keys[j].label, label) == 0;
        if (taken)
            return refuse_label(p, label);
    }
    return 0;
}

static int import(struct plan *p)
{
    int rc = check_imported(p);
    for (size_t i = 0; !rc && i < p->change->n; i++) {
        struct key_record k;
        rc = merge(p, &p->change->imported[i], &k);
        if (!rc)
            put(p, &k);
    }
    for (size_t i = 0, n = p->out->n; !rc && i < n; i++)
        put_kin(p, &p->out->keys[i]);
    return rc ? rc : check_labels(p);
}

/* ---- room ---- */

/* Of those that cannot be used and are not touched by the change, the one that ended first. */
static const struct key_record *oldest(const struct plan *p)
{
    const struct key_record *found = NULL;
    uint64_t found_s = 0;
    for (size_t i = 0; i < p->x->n; i++) {
        const struct key_record *k = &p->x->records[i];
        uint64_t ended_s = earlier(k->revoked_s, k->ends_s);
        if (p->taken[i] || key_usable(k, p->now_s) || (found && ended_s >= found_s))
            continue;
        found = k;
        found_s = ended_s;
    }
    return found;
}

static int make_room(struct plan *p)
{
    while (p->x->n + p->fresh_n > KEY_TEXTS_MAX + p->out->gone_n) {
        const struct key_record *k = oldest(p);
        if (!k)
            return refuse(p, 409, "KEYS_FULL", "",
                          "There are %d keys that can be used, which is the most: revoke some first.",
                          KEY_TEXTS_MAX);
        p->taken[k - p->x->records] = true;
        p->out->keys[p->out->n + p->out->gone_n++] = *k;
    }
    return 0;
}

int key_plan(const struct key_index *x, const struct key_change *change, uint64_t now_s,
             struct commit_keys **ret_keys, struct key_refusal *ret_refusal)
{
    static int (*const make[])(struct plan * p) = {[KEY_OP_CREATE] = create,
                                                   [KEY_OP_ROTATE] = rotate,
                                                   [KEY_OP_REVOKE] = revoke,
                                                   [KEY_OP_SET] = set,
                                                   [KEY_OP_IMPORT] = import};
    size_t fresh_max = change->n + 1, room = x->n + 2 * fresh_max;
    struct plan p = {.x = x, .change = change, .now_s = now_s, .refusal = ret_refusal};
    p.out = calloc(1, sizeof(*p.out) + room * sizeof(p.out->keys[0]));
    p.taken = calloc(x->n + 1, sizeof(*p.taken));
    int rc = p.out && p.taken ? make[change->op](&p) : ERR_NOMEM;
    if (!rc)
        rc = make_room(&p);
    free(p.taken);
    if (rc || !p.out->n) {
        free(p.out);
        p.out = NULL;
    }
    if (!rc)
        *ret_keys = p.out;
    return rc;
}
