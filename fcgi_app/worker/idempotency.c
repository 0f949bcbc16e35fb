/* The Idempotency-Key header; see idempotency.h. */
#include "worker/idempotency.h"

#include <sodium.h>

#include "base/bytes.h"
#include "worker/exchange.h"
#include "worker/path.h"

#define KEY_MAX   255
#define HASH_SIZE 16

static bool refuse_memory(struct exchange *x)
{
    problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for this request now.");
    return false;
}

/* Of a text, and of one of its parts. */
static bool hashed(struct exchange *x, struct slice text, uint64_t part, struct slice *ret_id)
{
    static const char prefix[] = "idem-";
    uint8_t number[8], hash[HASH_SIZE];
    char *id = arena_alloc(&x->arena, sizeof(prefix) + 2 * HASH_SIZE);
    if (!id)
        return refuse_memory(x);
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, HASH_SIZE);
    bytes_store_be64(number, part);
    crypto_generichash_update(&h, number, sizeof(number));
    crypto_generichash_update(&h, (const unsigned char *)text.p, text.n);
    crypto_generichash_final(&h, hash, HASH_SIZE);
    memcpy(id, prefix, sizeof(prefix) - 1);
    sodium_bin2hex(id + sizeof(prefix) - 1, 2 * HASH_SIZE + 1, hash, HASH_SIZE);
    *ret_id = slice_of(id);
    return true;
}

/* What a string of structured fields (RFC 9651, 3.3.3) stands for; its escapes are of \ and " alone. */
static bool unquote(struct exchange *x, struct slice quoted, struct slice *ret_key)
{
    char *key = arena_alloc(&x->arena, quoted.n);
    size_t n = 0;
    if (!key)
        return refuse_memory(x);
    for (size_t i = 1; i + 1 < quoted.n; i++) {
        if (quoted.p[i] == '\\' && i + 2 < quoted.n)
            i++;
        key[n++] = quoted.p[i];
    }
    *ret_key = (struct slice){key, n};
    return true;
}

bool idempotency_id(struct exchange *x, struct slice *ret_id)
{
    struct slice key = slice_trim(x->request.idempotency_key);
    *ret_id = (struct slice){0};
    if (!x->request.idempotency_key.p)
        return true;
    if (key.n >= 2 && key.p[0] == '"' && key.p[key.n - 1] == '"' && !unquote(x, key, &key))
        return false;
    bool good = key.n >= 1 && key.n <= KEY_MAX;
    for (size_t i = 0; good && i < key.n; i++)
        good = key.p[i] > ' ' && key.p[i] < 0x7f;
    if (!good) {
        problem_respond(x, PROBLEM_INVALID_IDEMPOTENCY_KEY, "Idempotency-Key",
                        "Idempotency-Key must be 1 to %d characters of visible ASCII.", KEY_MAX);
        return false;
    }
    if (!request_id_valid(key))
        return hashed(x, key, UINT64_MAX, ret_id);
    *ret_id = key;
    return true;
}

bool idempotency_part(struct exchange *x, struct slice id, size_t index, struct slice *ret_id)
{
    *ret_id = id;
    return !index || hashed(x, id, index, ret_id);
}
