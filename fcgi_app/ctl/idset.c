/* A table from hashes to numbers, open addressing; see idset.h. */
#include "ctl/idset.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 1024

void idset_key_of(struct slice bytes, uint8_t ret_key[IDSET_KEY])
{
    crypto_generichash(ret_key, IDSET_KEY, (const unsigned char *)bytes.p, bytes.n, NULL, 0);
}

/* The entry of key, or the free one where it belongs. There is always a free one. */
static struct idset_entry *place_of(struct idset_entry *entries, size_t cap, const uint8_t key[IDSET_KEY])
{
    uint64_t hash;
    memcpy(&hash, key, sizeof(hash));
    size_t i = (size_t)hash & (cap - 1);
    while (entries[i].value && memcmp(entries[i].key, key, IDSET_KEY) != 0)
        i = (i + 1) & (cap - 1);
    return &entries[i];
}

uint32_t idset_get(const struct idset *s, const uint8_t key[IDSET_KEY])
{
    return s->cap ? place_of(s->entries, s->cap, key)->value : 0;
}

static int grow(struct idset *s)
{
    size_t cap = s->cap ? 2 * s->cap : FIRST_CAP;
    struct idset_entry *entries = calloc(cap, sizeof(*entries));
    if (!entries)
        return ERR_NOMEM;
    for (size_t i = 0; i < s->cap; i++)
        if (s->entries[i].value)
            *place_of(entries, cap, s->entries[i].key) = s->entries[i];
    free(s->entries);
    s->entries = entries;
    s->cap = cap;
    return 0;
}

int idset_put(struct idset *s, const uint8_t key[IDSET_KEY], uint32_t value)
{
    if (s->n + 1 > s->cap / 4 * 3 && grow(s))
        return ERR_NOMEM;
    struct idset_entry *at = place_of(s->entries, s->cap, key);
    if (!at->value) {
        memcpy(at->key, key, IDSET_KEY);
        s->n++;
    }
    at->value = value;
    return 0;
}

void idset_fini(struct idset *s)
{
    free(s->entries);
    *s = (struct idset){0};
}
