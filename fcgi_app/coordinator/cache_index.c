/* The answers of late by what was asked; see cache_index.h. Linear probing with deletion by moving up (Knuth,
 * The Art of Computer Programming, volume 3, 6.4, algorithm R). */
#include "coordinator/cache_index.h"

#include <stdlib.h>
#include <string.h>

int cache_index_init(struct cache_index *x, uint32_t size)
{
    uint32_t places = 2;
    while (places < 2 * (uint64_t)size && places < 1u << 31)
        places *= 2;
    *x = (struct cache_index){.ring = calloc(size, sizeof(*x->ring)),
                              .slots = calloc(places, sizeof(*x->slots)),
                              .size = size,
                              .mask = places - 1};
    if (x->ring && x->slots)
        return 0;
    cache_index_fini(x);
    return ERR_NOMEM;
}

void cache_index_fini(struct cache_index *x)
{
    free(x->ring);
    free(x->slots);
    *x = (struct cache_index){0};
}

/* Keys are hashes: any part of one is spread evenly. */
static uint32_t home_of(const struct cache_index *x, const uint8_t *key)
{
    uint32_t bits;
    memcpy(&bits, key, sizeof(bits));
    return bits & x->mask;
}

/* The place of the key, or the empty one where it would be. */
static uint32_t place_of(const struct cache_index *x, const uint8_t *key)
{
    uint32_t at = home_of(x, key);
    while (x->slots[at] && memcmp(x->ring[x->slots[at] - 1].key, key, CACHE_KEY_SIZE) != 0)
        at = (at + 1) & x->mask;
    return at;
}

/* Empties a place, and moves up those behind it that would not be found any more. */
static void clear(struct cache_index *x, uint32_t at)
{
    uint32_t hole = at;
    x->slots[hole] = 0;
    for (uint32_t next = (at + 1) & x->mask; x->slots[next]; next = (next + 1) & x->mask) {
        uint32_t home = home_of(x, x->ring[x->slots[next] - 1].key);
        if (((next - home) & x->mask) < ((next - hole) & x->mask))
            continue;
        x->slots[hole] = x->slots[next];
        x->slots[next] = 0;
        hole = next;
    }
}

static void drop_oldest(struct cache_index *x)
{
    uint32_t at = place_of(x, x->ring[x->first].key);
    if (x->slots[at] == x->first + 1)
        clear(x, at);
    x->first = (x->first + 1) % x->size;
    x->n--;
}

static void put(struct cache_index *x, uint32_t number, const uint8_t *key, const struct uuid *chat_id,
                uint64_t until_s)
{
    struct cache_index_entry *entry = &x->ring[number];
    memcpy(entry->key, key, CACHE_KEY_SIZE);
    entry->chat_id = *chat_id;
    entry->until_s = until_s;
    x->n++;
}

void cache_index_add(struct cache_index *x, const uint8_t key[CACHE_KEY_SIZE], const struct uuid *chat_id,
                     uint64_t until_s)
{
    if (!x->ring)
        return;
    if (x->n == x->size)
        drop_oldest(x);
    uint32_t number = (x->first + x->n) % x->size;
    put(x, number, key, chat_id, until_s);
    x->slots[place_of(x, key)] = number + 1;
}

bool cache_index_add_older(struct cache_index *x, const uint8_t key[CACHE_KEY_SIZE],
                           const struct uuid *chat_id, uint64_t until_s)
{
    if (!x->ring || x->n == x->size)
        return false;
    uint32_t at = place_of(x, key);
    x->first = (x->first + x->size - 1) % x->size;
    put(x, x->first, key, chat_id, until_s);
    if (!x->slots[at])
        x->slots[at] = x->first + 1;
    return true;
}

bool cache_index_find(const struct cache_index *x, const uint8_t key[CACHE_KEY_SIZE], uint64_t now_s,
                      struct uuid *ret_chat_id)
{
    uint32_t number = x->ring ? x->slots[place_of(x, key)] : 0;
    if (!number || x->ring[number - 1].until_s <= now_s)
        return false;
    *ret_chat_id = x->ring[number - 1].chat_id;
    return true;
}
