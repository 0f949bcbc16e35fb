/* Keys, roles and origins; see auth.h. */
#include "worker/auth.h"

#include <sodium.h>
#include <string.h>
#include <strings.h>

#include "worker/exchange.h"
#include "worker/state.h"

#define HOW_TO_MAKE_KEYS                                                                                     \
    "To create a key, set API_KEY (for prompts) and ADMIN_KEY (for everything else) in carpool's "           \
    "environment, restart it, and send the key as X-API-Key or Authorization: Bearer."

static void add_key(struct auth *a, const char *text, enum role role)
{
    if (!text[0])
        return;
    struct auth_key *k = &a->keys[a->keys_n++];
    k->role = role;
    crypto_generichash(k->hash, sizeof(k->hash), (const unsigned char *)text, strlen(text), NULL, 0);
}

void auth_init(struct auth *a, const struct conf *c)
{
    *a = (struct auth){.required = c->auth.required, .cors_allow_origin = c->server.cors_allow_origin};
    add_key(a, c->auth.admin_key, ROLE_ADMIN);
    add_key(a, c->auth.api_key, ROLE_CLIENT);
}

bool auth_keys_needed(const struct auth *a)
{
    return a->required == AUTH_ON || (a->required == AUTH_AUTO && a->keys_n > 0);
}

/* The token of "Bearer <token>"; absent when it is another scheme. */
static struct slice bearer(struct slice authorization)
{
    if (authorization.n < 7 || strncasecmp(authorization.p, "Bearer ", 7) != 0)
        return (struct slice){0};
    struct slice token = {authorization.p + 7, authorization.n - 7};
    while (token.n && *token.p == ' ')
        token = (struct slice){token.p + 1, token.n - 1};
    return token;
}

static struct slice presented_key(const struct request *r)
{
    struct slice key = r->api_key;
    if (!key.n)
        key = bearer(r->authorization);
    if (!key.n)
        key = bearer(r->redirect_authorization);
    return key.n ? key : (struct slice){0};
}

/* Looks at every key in constant time. Role ROLE_OPEN: none of ours. */
static enum role role_of(const struct auth *a, struct slice key, uint8_t ret_hash[KEY_HASH_SIZE])
{
    enum role role = ROLE_OPEN;
    crypto_generichash(ret_hash, KEY_HASH_SIZE, (const unsigned char *)key.p, key.n, NULL, 0);
    for (size_t i = 0; i < a->keys_n; i++)
        if (sodium_memcmp(a->keys[i].hash, ret_hash, KEY_HASH_SIZE) == 0 && a->keys[i].role > role)
            role = a->keys[i].role;
    return role;
}

static bool loopback_name(struct slice host)
{
    if (host.n >= 5 && !memcmp(host.p, "[::1]", 5))
        return host.n == 5 || host.p[5] == ':';
    const char *colon = host.n ? memchr(host.p, ':', host.n) : NULL;
    size_t n = colon ? (size_t)(colon - host.p) : host.n;
    if (n == 9 && !strncasecmp(host.p, "localhost", 9))
        return true;
    /* 127.0.0.0/8, and no name such as 127.0.0.1.example.org. */
    if (n < 4 || memcmp(host.p, "127.", 4) != 0)
        return false;
    for (size_t i = 0; i < n; i++)
        if (host.p[i] != '.' && (host.p[i] < '0' || host.p[i] > '9'))
            return false;
    return true;
}

static bool loopback_address(struct slice address)
{
    if (address.n > 7 && !strncasecmp(address.p, "::ffff:", 7))
        address = (struct slice){address.p + 7, address.n - 7};
    return slice_is(address, "::1") || (address.n > 4 && !memcmp(address.p, "127.", 4));
}

/* Whether the page that sends this came from this very server. */
static bool own_origin(const struct request *r)
{
    struct slice o = r->origin;
    size_t scheme = o.n > 8 && !memcmp(o.p, "https://", 8)  ? 8
                    : o.n > 7 && !memcmp(o.p, "http://", 7) ? 7
                                                            : 0;
    return scheme && o.n - scheme == r->host.n && !strncasecmp(o.p + scheme, r->host.p, r->host.n);
}

/* Whether origin is one of the origins listed; "*" is not one. */
static bool origin_listed(const char *list, struct slice origin)
{
    for (const char *at = list; *at;) {
        at += strspn(at, ", ");
        size_t n = strcspn(at, ", ");
        if (n && n == origin.n && !memcmp(at, origin.p, n))
            return true;
        at += n;
    }
    return false;
}

/* The caller that is served without a key: on this machine, through no proxy, driven by no page from
 * elsewhere. */
static bool keyless_allowed(const struct auth *a, const struct request *r)
{
    return loopback_address(r->remote_addr) && !r->forwarded.p && loopback_name(r->host) &&
           (!r->origin.p || own_origin(r) || origin_listed(a->cors_allow_origin, r->origin));
}

static bool refuse(struct exchange *x, enum role needed, bool known, bool presented)
{
    const struct auth *a = &x->worker->auth;
    if (known)
        problem_respond(x, PROBLEM_ADMIN_ONLY, NULL,
                        "This key may send prompts; what you asked for needs an admin key.");
    else if (presented)
        problem_respond(x, PROBLEM_KEY_UNKNOWN, NULL, "This key is not one that this server knows.");
    else if (auth_keys_needed(a) && a->keys_n)
        problem_respond(x, PROBLEM_KEY_MISSING, NULL,
                        "%s key is needed: send it as X-API-Key or Authorization: Bearer.",
                        needed == ROLE_ADMIN ? "An admin" : "A");
    else if (auth_keys_needed(a))
        problem_respond(x, PROBLEM_KEY_MISSING, NULL,
                        "A key is needed and none exists yet. " HOW_TO_MAKE_KEYS);
    else
        problem_respond(
            x, PROBLEM_KEY_NEEDED, NULL,
            "Without a key only clients on this machine are served, and no proxy or foreign web page "
            "may stand between. " HOW_TO_MAKE_KEYS);
    return false;
}

bool auth_admit(struct exchange *x, enum role needed)
{
    const struct auth *a = &x->worker->auth;
    struct slice key = presented_key(&x->request);
    uint8_t hash[KEY_HASH_SIZE];
    enum role role = key.p ? role_of(a, key, hash) : ROLE_OPEN;

    x->caller = (struct caller){.role = role};
    if (role != ROLE_OPEN)
        memcpy(x->caller.trust_group, hash, TRUST_GROUP_SIZE);
    if (role >= needed)
        return true;
    bool open = a->required == AUTH_OFF && needed == ROLE_CLIENT;
    if (open || (!auth_keys_needed(a) && role == ROLE_OPEN && keyless_allowed(a, &x->request)))
        return true;
    return refuse(x, needed, role != ROLE_OPEN, key.p != NULL);
}

void auth_cors(struct exchange *x)
{
    const struct auth *a = &x->worker->auth;
    const char *allowed = a->cors_allow_origin;
    if (!x->request.origin.p)
        return;
    if (!allowed[0])
        allowed = auth_keys_needed(a) ? "*" : "";
    if (!strcmp(allowed, "*"))
        response_header(&x->response, "Access-Control-Allow-Origin", "*");
    else if (origin_listed(allowed, x->request.origin)) {
        response_header(&x->response, "Access-Control-Allow-Origin", "%.*s", (int)x->request.origin.n,
                        x->request.origin.p);
        response_header(&x->response, "Vary", "Origin");
    } else
        return;
    response_header(&x->response, "Access-Control-Expose-Headers",
                    "X-Request-Id, Server-Timing, Location, Retry-After, Idempotent-Replayed, "
                    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
                    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens");
    if (!x->request.preflight_method.p || x->request.method != METHOD_OPTIONS)
        return;
    response_header(&x->response, "Access-Control-Allow-Methods", "GET, POST, PUT, DELETE");
    response_header(
        &x->response, "Access-Control-Allow-Headers",
        "Content-Type, Authorization, X-API-Key, X-Priority, Prefer, Cache-Control, Idempotency-Key");
    response_header(&x->response, "Access-Control-Max-Age", "600");
}
