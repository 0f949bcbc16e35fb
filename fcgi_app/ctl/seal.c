/* The form of a backup; see seal.h. */
#include "ctl/seal.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"

#define HASH_SIZE   32
#define HASHED_SIZE (SEAL_SIZE - HASH_SIZE)
#define PIECE       (64u << 10)

static const char MAGIC[16] = {'c', 'a', 'r', 'p', 'o', 'o', 'l', ' ',
                               'b', 'a', 'c', 'k', 'u', 'p', ' ', '1'};

int seal_write(int fd, const void *bytes, size_t n, struct err *e)
{
    const char *at = bytes;
    while (n) {
        ssize_t written = write(fd, at, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return err_set_errno(e, "The backup cannot be written");
        at += written;
        n -= (size_t)written;
    }
    return 0;
}

static int read_at(int fd, uint64_t offset, void *bytes, size_t n, struct err *e)
{
    char *at = bytes;
    while (n) {
        ssize_t got = pread(fd, at, n, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set_errno(e, "The backup cannot be read");
        if (got == 0)
            return err_set(e, ERR_CORRUPT, "The backup became shorter while it was read.");
        at += got;
        offset += (uint64_t)got;
        n -= (size_t)got;
    }
    return 0;
}

/* Of the first n bytes of the file. */
static int hash_file(int fd, uint64_t n, crypto_generichash_state *hash, struct err *e)
{
    char piece[PIECE];
    int rc = 0;
    crypto_generichash_init(hash, NULL, 0, HASH_SIZE);
    for (uint64_t at = 0; !rc && at < n;) {
        size_t step = n - at < PIECE ? (size_t)(n - at) : PIECE;
        rc = read_at(fd, at, piece, step, e);
        if (!rc)
            crypto_generichash_update(hash, (const unsigned char *)piece, step);
        at += step;
    }
    sodium_memzero(piece, sizeof(piece)); /* the key went through it */
    return rc;
}

static void put_number(uint8_t *at, uint64_t n, size_t size)
{
    for (size_t i = 0; i < size; i++)
        at[i] = (uint8_t)(n >> 8 * i);
}

static uint64_t get_number(const uint8_t *at, size_t size)
{
    uint64_t n = 0;
    for (size_t i = size; i > 0; i--)
        n = n << 8 | at[i - 1];
    return n;
}

int seal_append(int fd, const struct seal *s, struct err *e)
{
    uint8_t bytes[SEAL_SIZE] = {0};
    crypto_generichash_state hash;
    memcpy(bytes, MAGIC, sizeof(MAGIC));
    put_number(bytes + 16, s->schema, 4);
    put_number(bytes + 20, s->key_bytes, 4);
    put_number(bytes + 24, s->data_bytes, 8);
    put_number(bytes + 32, s->made_us, 8);
    int rc = hash_file(fd, s->data_bytes + s->key_bytes, &hash, e);
    if (rc)
        return rc;
    crypto_generichash_update(&hash, bytes, HASHED_SIZE);
    crypto_generichash_final(&hash, bytes + HASHED_SIZE, HASH_SIZE);
    return seal_write(fd, bytes, sizeof(bytes), e);
}

/* The last bytes of the file, and its size. ERR_NOT_FOUND: they are no seal. */
static int read_seal(int fd, uint8_t bytes[SEAL_SIZE], uint64_t *ret_size, struct err *e)
{
    struct stat st;
    if (fstat(fd, &st))
        return err_set_errno(e, "The backup cannot be looked at");
    *ret_size = (uint64_t)st.st_size;
    if (*ret_size < SEAL_SIZE)
        return err_set(e, ERR_NOT_FOUND, "The file is too short for a backup.");
    int rc = read_at(fd, *ret_size - SEAL_SIZE, bytes, SEAL_SIZE, e);
    if (!rc && memcmp(bytes, MAGIC, sizeof(MAGIC)) != 0)
        rc = err_set(e, ERR_NOT_FOUND, "There is no seal of a backup at the end of the file.");
    return rc;
}

bool seal_is_there(int fd)
{
    uint8_t bytes[SEAL_SIZE];
    uint64_t size;
    return !read_seal(fd, bytes, &size, NULL);
}

int seal_check(int fd, struct seal *ret_seal, struct err *e)
{
    uint8_t bytes[SEAL_SIZE], sum[HASH_SIZE];
    crypto_generichash_state hash;
    uint64_t size;
    int rc = read_seal(fd, bytes, &size, e);
    if (rc)
        return rc;
    struct seal s = {.schema = (uint32_t)get_number(bytes + 16, 4),
                     .key_bytes = (uint32_t)get_number(bytes + 20, 4),
                     .data_bytes = get_number(bytes + 24, 8),
                     .made_us = get_number(bytes + 32, 8)};
    rc = hash_file(fd, size - SEAL_SIZE, &hash, e);
    if (rc)
        return rc;
    crypto_generichash_update(&hash, bytes, HASHED_SIZE);
    crypto_generichash_final(&hash, sum, sizeof(sum));
    if (memcmp(sum, bytes + HASHED_SIZE, HASH_SIZE) != 0 || s.key_bytes > SEAL_KEY_MAX ||
        s.data_bytes + s.key_bytes != size - SEAL_SIZE)
        return err_set(e, ERR_CORRUPT, "The backup is damaged: it is not what was written when it was made.");
    *ret_seal = s;
    return 0;
}

int seal_read_key(int fd, const struct seal *s, struct buf *out, struct err *e)
{
    char *at = s->key_bytes ? buf_reserve(out, s->key_bytes) : NULL;
    if (!s->key_bytes)
        return 0;
    if (!at)
        return err_set(e, ERR_NOMEM, "There is not enough memory for the provider's key.");
    int rc = read_at(fd, s->data_bytes, at, s->key_bytes, e);
    if (!rc)
        buf_advance(out, s->key_bytes);
    return rc;
}
