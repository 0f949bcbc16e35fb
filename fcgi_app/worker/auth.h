/*
 * Who may do what (api.md "Keys"). auth_admit() is the one place where that is decided, and route.c the one
 * that asks, before any endpoint is called; the route table says which role each needs.
 *
 * Keys are those of the environment (API_KEY, ADMIN_KEY), known when the process starts, and those of the
 * store, looked up anew for each request, so that a change is in force for every request that begins after
 * it.
 */
#ifndef CARPOOL_WORKER_AUTH_H
#define CARPOOL_WORKER_AUTH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/slice.h"
#include "store/keys.h"
#include "wire/message.h"

struct exchange;
struct worker;

#define AUTH_KEY_MAX   512 /* bytes of a key; a longer one is refused before it is hashed */
#define AUTH_ACTOR_MAX 200 /* bytes of auth_actor()'s text, its terminator included */

enum role { ROLE_OPEN, ROLE_CLIENT, ROLE_ADMIN };

/* A key is known by its BLAKE2b alone. */
struct auth_key {
    uint8_t hash[KEY_HASH_SIZE];
    enum role role;
};

#define AUTH_KEYS_MAX 2 /* API_KEY and ADMIN_KEY of the environment */

struct auth {
    enum auth_required required;
    const char *cors_allow_origin; /* of the configuration; empty: the default of the mode */
    struct auth_key keys[AUTH_KEYS_MAX];
    size_t keys_n;
    atomic_bool keys_seen; /* the store has or had a key: that never becomes untrue (keys_any) */
};

enum caller_kind { CALLER_KEYLESS, CALLER_ENVIRONMENT, CALLER_STORE };

/* Who is asking. A keyless caller has a trust group of zeros and ROLE_OPEN. */
struct caller {
    enum caller_kind kind;
    enum role role;
    uint8_t trust_group[TRUST_GROUP_SIZE]; /* of a key of the store: its id, which rotation keeps */
    char label[KEY_LABEL_MAX + 1];         /* of a key of the store */
};

void auth_init(struct auth *a, const struct conf *c);

/* Whether a key is asked of everyone. ERR_*: the store cannot be read, so nobody knows. */
MUST_CHECK
int auth_keys_needed(struct worker *w, bool *ret_needed, struct err *e);

/* Lets the exchange pass, with x->caller filled and the settings as they are now (state.h), or answers it
 * (401, 403, 503) and returns false. */
bool auth_admit(struct exchange *x, enum role needed);

/* Who makes the change that x asks for, for the audit trail: "key 5f3a9c… backoffice", "ADMIN_KEY of the
 * environment", "127.0.0.1 without a key". After auth_admit(). Cut, at a character, to fit. */
void auth_actor(const struct exchange *x, char *ret, size_t size);

/* Adds the CORS headers that x's Origin is due; before anything is rendered. */
void auth_cors(struct exchange *x);

#endif
