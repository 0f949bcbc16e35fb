/*
 * A table from 16 bytes of hash to a number, for the ids and contents of a file of prompts: 24 bytes an
 * entry, so that a million lines cost some 64 MB at the worst.
 */
#ifndef CARPOOL_CTL_IDSET_H
#define CARPOOL_CTL_IDSET_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/slice.h"

#define IDSET_KEY 16

struct idset_entry {
    uint8_t key[IDSET_KEY];
    uint32_t value; /* 0: the place is free */
};

/* Invariants: cap is 0 or a power of two; n <= cap * 3 / 4. */
struct idset {
    struct idset_entry *entries;
    size_t n, cap;
};

/* BLAKE2b of bytes. */
void idset_key_of(struct slice bytes, uint8_t ret_key[IDSET_KEY]);
/* 0: not in the table. key must be a hash: its bytes are its place. */
uint32_t idset_get(const struct idset *s, const uint8_t key[IDSET_KEY]);
/* value must not be 0. ERR_NOMEM: the table is as it was. */
MUST_CHECK
int idset_put(struct idset *s, const uint8_t key[IDSET_KEY], uint32_t value);
void idset_fini(struct idset *s);

#endif
