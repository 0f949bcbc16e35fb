/*
 * Who may do what (api.md "Keys"). auth_admit() is the one place where that is decided; the route table says
 * which role an endpoint asks for.
 */
#ifndef CARPOOL_WORKER_AUTH_H
#define CARPOOL_WORKER_AUTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/slice.h"
#include "store/keys.h"
#include "wire/message.h"

struct exchange;

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
};

/* Who is asking. A keyless caller has a trust group of zeros. */
struct caller {
    enum role role;
    uint8_t trust_group[TRUST_GROUP_SIZE];
};

void auth_init(struct auth *a, const struct conf *c);
/* Whether a key is asked of everyone. */
bool auth_keys_needed(const struct auth *a);

/* Lets the exchange pass, with x->caller filled, or answers it with 401 or 403 and returns false. */
bool auth_admit(struct exchange *x, enum role needed);

/* Adds the CORS headers that x's Origin is due; before anything is rendered. */
void auth_cors(struct exchange *x);

#endif
