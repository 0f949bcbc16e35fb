/*
 * The table `expiry`: what is to be dropped, in the order of its time. Key: when (seconds, big-endian) and
 * the 32 bytes that find it; value: what it is. Not for use outside lib/store: requests.c and cache.c keep
 * their entries here, requests_expire() drops what they stand for.
 */
#ifndef CARPOOL_STORE_EXPIRY_H
#define CARPOOL_STORE_EXPIRY_H

#include "store/table.h"

#define EXPIRY_KEY_SIZE 32

enum expiry_kind { EXPIRY_REQUEST, EXPIRY_CACHE };

/* What is due. */
struct expiry_entry {
    uint64_t at_s;
    enum expiry_kind kind;
    uint8_t key[EXPIRY_KEY_SIZE];
};

MUST_CHECK
int expiry_put(struct store_write *w, enum expiry_kind kind, uint64_t at_s,
               const uint8_t key[EXPIRY_KEY_SIZE], struct err *e);
/* 0 also when there is none. */
MUST_CHECK
int expiry_delete(struct store_write *w, uint64_t at_s, const uint8_t key[EXPIRY_KEY_SIZE], struct err *e);
/* The earliest entry, if its time has come by now_s; else ERR_NOT_FOUND. */
MUST_CHECK
int expiry_next(struct store_write *w, uint64_t now_s, struct expiry_entry *ret_entry, struct err *e);

#endif
