/*
 * The form of a backup: a data.mdb of LMDB, the bytes of provider.key (mostly none), and a seal of 88 bytes
 * by which a restore knows that all of it is there and as it was:
 *
 *   16  "carpool backup 1"
 *    4  schema version of the store      4  bytes of provider.key
 *    8  bytes of data.mdb                8  when it was made, microseconds since 1970
 *   16  zero
 *   32  BLAKE2b-256 of everything before
 *
 * Integers are little-endian.
 */
#ifndef CARPOOL_CTL_SEAL_H
#define CARPOOL_CTL_SEAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define SEAL_SIZE    88
#define SEAL_KEY_MAX (16u << 10)

struct seal {
    uint32_t schema, key_bytes;
    uint64_t data_bytes, made_us;
};

/* Reads what is in the file and appends the seal for it; s->data_bytes + s->key_bytes must be its size.
 * Blocks.
 */
MUST_CHECK
int seal_append(int fd, const struct seal *s, struct err *e);
/* Checks all bytes against the seal at the end. ERR_NOT_FOUND: there is none, it may be a bare data.mdb.
 * ERR_CORRUPT: something was changed or cut out. Blocks. */
MUST_CHECK
int seal_check(int fd, struct seal *ret_seal, struct err *e);
/* Whether the file ends with a seal, right or wrong. Blocks. */
bool seal_is_there(int fd);
/* The provider key in a file that was checked. */
MUST_CHECK
int seal_read_key(int fd, const struct seal *s, struct buf *out, struct err *e);

/* write(2) until all is written, at the file's position. ERR_NOSPC, ERR_IO. */
MUST_CHECK
int seal_write(int fd, const void *bytes, size_t n, struct err *e);

#endif
