/*
 * API keys across a restore: an older copy brings no key back. Those of the present store stay, and what is
 * revoked or has ended in either store does so in the restored one, as with carpoolctl key import.
 */
#include <stdlib.h>
#include <string.h>

#include "ctl/restore.h"
#include "store/keys.h"

struct texts {
    struct key_record *keys;
    size_t n, cap;
};

struct carry {
    struct texts old, fresh;
    uint64_t now_s, changed;
};

static int collect(void *arg, const struct key_record *k)
{
    struct texts *t = arg;
    if (t->n == t->cap) {
        size_t cap = t->cap ? t->cap * 2 : 64;
        void *grown = realloc(t->keys, cap * sizeof(*t->keys));
        if (!grown)
            return ERR_NOMEM;
        t->keys = grown;
        t->cap = cap;
    }
    t->keys[t->n++] = *k;
    return 0;
}

static int collect_all(struct store_read *r, struct texts *t, struct err *e)
{
    int rc = keys_each(r, collect, t, e);
    return rc == ERR_NOMEM ? err_set(e, rc, "There is not enough memory for the keys.") : rc;
}

/* 0 is never. */
static uint64_t earlier(uint64_t a, uint64_t b)
{
    return !a || (b && b < a) ? b : a;
}

static uint64_t revoked(const struct texts *t, const uint8_t id[TRUST_GROUP_SIZE])
{
    uint64_t s = 0;
    for (size_t i = 0; i < t->n; i++)
        if (!memcmp(t->keys[i].id, id, TRUST_GROUP_SIZE))
            s = earlier(s, t->keys[i].revoked_s);
    return s;
}

static const struct key_record *find(const struct texts *t, const uint8_t hash[KEY_HASH_SIZE])
{
    for (size_t i = 0; i < t->n; i++)
        if (!memcmp(t->keys[i].hash, hash, KEY_HASH_SIZE))
            return &t->keys[i];
    return NULL;
}

static int put(struct store_write *w, struct carry *c, const struct key_record *k, struct err *e)
{
    c->changed++;
    return keys_put(w, k, e);
}

static int write_keys(struct store_write *w, void *arg, struct err *e)
{
    struct carry *c = arg;
    int rc = 0;
    c->changed = 0;
    for (size_t i = 0; !rc && i < c->fresh.n; i++) {
        struct key_record k = c->fresh.keys[i];
        const struct key_record *old = find(&c->old, k.hash);
        uint64_t ends_s = earlier(k.ends_s, old ? old->ends_s : 0);
        uint64_t revoked_s = earlier(k.revoked_s, revoked(&c->old, k.id));
        if (ends_s == k.ends_s && revoked_s == k.revoked_s)
            continue;
        k.ends_s = ends_s;
        k.revoked_s = revoked_s;
        rc = put(w, c, &k, e);
    }
    for (size_t i = 0; !rc && i < c->old.n; i++) {
        const struct key_record *k = &c->old.keys[i];
        if (key_usable(k, c->now_s) && !find(&c->fresh, k->hash) && !revoked(&c->fresh, k->id))
            rc = put(w, c, k, e);
    }
    return rc;
}

int restore_keys(struct store *s, struct store_read *old, uint64_t now_s, uint64_t *ret_changed,
                 struct err *e)
{
    struct carry c = {.now_s = now_s};
    struct store_read *r;
    int rc = collect_all(old, &c.old, e);
    if (!rc && !(rc = store_read_begin(s, &r, e))) {
        rc = collect_all(r, &c.fresh, e);
        store_read_end(r);
    }
    if (!rc)
        rc = store_write(s, 0, write_keys, &c, e);
    if (!rc)
        *ret_changed = c.changed;
    free(c.old.keys);
    free(c.fresh.keys);
    return rc;
}
