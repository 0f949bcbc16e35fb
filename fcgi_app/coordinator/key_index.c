/* The texts of all API keys, in memory; see key_index.h. Two tables with open addressing: hashes and ids are
 * random, so their first bytes say where to look. */
#include "coordinator/key_index.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CAP_LEAST 16

void key_index_fini(struct key_index *x)
{
    free(x->records);
    free(x->by_hash);
    free(x->by_id);
    *x = (struct key_index){0};
}

static size_t place_of(const struct key_index *x, const uint8_t *name)
{
    uint64_t v;
    memcpy(&v, name, sizeof(v));
    return (size_t)v & (x->slots - 1);
}

/* The slot with that hash, or the free one where it belongs. */
static uint32_t *find_hash(const struct key_index *x, const uint8_t *hash)
{
    size_t i = place_of(x, hash);
    while (x->by_hash[i] && memcmp(x->records[x->by_hash[i] - 1].hash, hash, KEY_HASH_SIZE) != 0)
        i = (i + 1) & (x->slots - 1);
    return &x->by_hash[i];
}

static uint32_t *find_id(const struct key_index *x, const uint8_t *id)
{
    size_t i = place_of(x, id);
    while (x->by_id[i] && memcmp(x->records[x->by_id[i] - 1].id, id, TRUST_GROUP_SIZE) != 0)
        i = (i + 1) & (x->slots - 1);
    return &x->by_id[i];
}

/* Whether a is handed out rather than b. */
static bool is_later(const struct key_record *a, const struct key_record *b)
{
    if (!a->ends_s != !b->ends_s)
        return !a->ends_s;
    return a->created_s > b->created_s;
}

static void enter(struct key_index *x, size_t at)
{
    const struct key_record *k = &x->records[at];
    *find_hash(x, k->hash) = (uint32_t)at + 1;
    uint32_t *slot = find_id(x, k->id);
    if (!*slot || is_later(k, &x->records[*slot - 1]))
        *slot = (uint32_t)at + 1;
}

static void enter_all(struct key_index *x)
{
    memset(x->by_hash, 0, x->slots * sizeof(x->by_hash[0]));
    memset(x->by_id, 0, x->slots * sizeof(x->by_id[0]));
    for (size_t i = 0; i < x->n; i++)
        enter(x, i);
}

int key_index_reserve(struct key_index *x, size_t n)
{
    if (n <= x->cap)
        return 0;
    size_t cap = x->cap ? x->cap : CAP_LEAST, slots;
    while (cap < n)
        cap *= 2;
    slots = 2 * cap;
    struct key_record *records = malloc(cap * sizeof(*records));
    uint32_t *by_hash = malloc(slots * sizeof(*by_hash)), *by_id = malloc(slots * sizeof(*by_id));
    if (!records || !by_hash || !by_id) {
        free(records);
        free(by_hash);
        free(by_id);
        return ERR_NOMEM;
    }
    if (x->n)
        memcpy(records, x->records, x->n * sizeof(*records));
    size_t kept = x->n;
    key_index_fini(x);
    *x = (struct key_index){
        .records = records, .by_hash = by_hash, .by_id = by_id, .n = kept, .cap = cap, .slots = slots};
    enter_all(x);
    return 0;
}

void key_index_put(struct key_index *x, const struct key_record *k)
{
    assert(x->slots);
    uint32_t *slot = find_hash(x, k->hash);
    if (!*slot) {
        assert(x->n < x->cap);
        x->records[x->n] = *k;
        enter(x, x->n++);
        return;
    }
    struct key_record *old = &x->records[*slot - 1];
    bool moved = old->ends_s != k->ends_s || old->created_s != k->created_s ||
                 memcmp(old->id, k->id, sizeof(k->id)) != 0;
    *old = *k;
    if (moved)
        enter_all(x); /* another text of its key may be the one that is handed out now */
}

void key_index_remove(struct key_index *x, const uint8_t hash[KEY_HASH_SIZE])
{
    uint32_t *slot = x->slots ? find_hash(x, hash) : NULL;
    if (!slot || !*slot)
        return;
    x->records[*slot - 1] = x->records[--x->n];
    enter_all(x);
}

const struct key_record *key_index_by_hash(const struct key_index *x, const uint8_t hash[KEY_HASH_SIZE])
{
    const uint32_t *slot = x->n ? find_hash(x, hash) : NULL;
    return slot && *slot ? &x->records[*slot - 1] : NULL;
}

const struct key_record *key_index_by_id(const struct key_index *x, const uint8_t id[TRUST_GROUP_SIZE])
{
    const uint32_t *slot = x->n ? find_id(x, id) : NULL;
    return slot && *slot ? &x->records[*slot - 1] : NULL;
}

size_t key_index_ids(const struct key_index *x)
{
    size_t n = 0;
    for (size_t i = 0; i < x->slots; i++)
        n += x->by_id[i] != 0;
    return n;
}
