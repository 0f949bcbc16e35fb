/* Keys, roles and origins; see auth.h. */
#include "worker/auth.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/utf8.h"
#include "worker/exchange.h"
#include "worker/keyless.h"
#include "worker/state.h"

#define HOW_TO_MAKE_KEYS                                                                                     \
    "To create a key, run carpoolctl key create --role admin where carpool is installed, or "                \
    "set API_KEY (for prompts) and ADMIN_KEY (for everything) in its environment and restart it. Send the "  \
    "key as X-API-Key or Authorization: Bearer."
#define LOG_PAUSE_US (10 * US_PER_S)

/* What is known of the key that came with a request. */
enum standing {
    STANDING_ABSENT,
    STANDING_ODD, /* no key looks like that */
    STANDING_UNKNOWN,
    STANDING_REVOKED,
    STANDING_REPLACED,
    STANDING_GOOD,
};

/* What auth_admit() finds out, before it decides. */
struct finding {
    enum standing standing;
    bool keys_exist; /* those of the environment and of the store */
    bool unreadable; /* neither is certain: the store cannot be read */
};

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

static bool keys_needed(const struct auth *a, bool keys_exist)
{
    return a->required == AUTH_ON || (a->required == AUTH_AUTO && keys_exist);
}

int auth_keys_needed(struct worker *w, bool *ret_needed, struct err *e)
{
    struct worker_keys keys = {0};
    bool known = w->auth.keys_n || atomic_load_explicit(&w->auth.keys_seen, memory_order_relaxed);
    int rc = known || w->auth.required != AUTH_AUTO ? 0 : worker_begin_request(w, NULL, &keys, e);
    if (!rc)
        *ret_needed = keys_needed(&w->auth, known || keys.any);
    return rc;
}

/* The token of "Bearer <token>"; absent when it is another scheme. */
static struct slice bearer(struct slice authorization)
{
    if (authorization.n < 7 || strncasecmp(authorization.p, "Bearer ", 7) != 0)
        return (struct slice){0};
    return slice_trim((struct slice){authorization.p + 7, authorization.n - 7});
}

/* X-API-Key counts first: SDKs of OpenAI's API always send an Authorization, whatever their user put there,
 * and X-API-Key only when somebody asked for it. */
static struct slice presented_key(const struct request *r)
{
    struct slice key = r->api_key;
    if (!key.n)
        key = bearer(r->authorization);
    if (!key.n)
        key = bearer(r->redirect_authorization);
    return key.n ? key : (struct slice){0};
}

static bool looks_like_key(struct slice key)
{
    if (key.n > AUTH_KEY_MAX)
        return false;
    for (size_t i = 0; i < key.n; i++)
        if (key.p[i] <= ' ' || key.p[i] > '~')
            return false;
    return true;
}

/* Looks at every key in constant time. False: none of ours. */
static bool find_in_environment(struct exchange *x, const uint8_t hash[KEY_HASH_SIZE])
{
    const struct auth *a = &x->worker->auth;
    enum role role = ROLE_OPEN;
    for (size_t i = 0; i < a->keys_n; i++)
        if (sodium_memcmp(a->keys[i].hash, hash, KEY_HASH_SIZE) == 0 && a->keys[i].role > role)
            role = a->keys[i].role;
    if (role == ROLE_OPEN)
        return false;
    x->caller.kind = CALLER_ENVIRONMENT;
    x->caller.role = role;
    memcpy(x->caller.trust_group, hash, TRUST_GROUP_SIZE);
    return true;
}

static enum standing take_record(struct exchange *x, const struct key_record *k)
{
    if (k->revoked_s)
        return STANDING_REVOKED;
    if (!key_usable(k, clock_real_us() / US_PER_S))
        return STANDING_REPLACED;
    x->caller.kind = CALLER_STORE;
    x->caller.role = k->role == KEY_ADMIN ? ROLE_ADMIN : ROLE_CLIENT;
    memcpy(x->caller.trust_group, k->id, TRUST_GROUP_SIZE);
    memcpy(x->caller.label, k->label, sizeof(x->caller.label));
    return STANDING_GOOD;
}

/* The reason is for the log: it names files. */
static void log_unreadable(const struct err *e)
{
    static _Atomic uint64_t logged_us;
    uint64_t now_us = clock_mono_us(), last_us = atomic_load(&logged_us);
    if ((!last_us || now_us - last_us > LOG_PAUSE_US) &&
        atomic_compare_exchange_strong(&logged_us, &last_us, now_us))
        log_error("API keys cannot be looked up: %s", e->text);
}

static struct finding identify(struct exchange *x)
{
    struct slice key = presented_key(&x->request);
    struct finding f = {.standing = !key.p                 ? STANDING_ABSENT
                                    : !looks_like_key(key) ? STANDING_ODD
                                                           : STANDING_UNKNOWN};
    uint8_t hash[KEY_HASH_SIZE];
    struct worker_keys keys;
    struct err e = {0};
    if (f.standing == STANDING_UNKNOWN) {
        crypto_generichash(hash, KEY_HASH_SIZE, (const unsigned char *)key.p, key.n, NULL, 0);
        if (find_in_environment(x, hash))
            f.standing = STANDING_GOOD;
    }
    bool look_up = f.standing == STANDING_UNKNOWN;
    f.keys_exist = x->worker->auth.keys_n > 0;
    if (worker_begin_request(x->worker, look_up ? hash : NULL, &keys, &e)) {
        log_unreadable(&e);
        f.unreadable = look_up || (!f.keys_exist && x->worker->auth.required == AUTH_AUTO);
        f.keys_exist = true; /* for the words of a refusal */
        return f;
    }
    f.keys_exist = f.keys_exist || keys.any;
    if (look_up && keys.found)
        f.standing = take_record(x, &keys.key);
    return f;
}

/* Nobody's key was good: in which words that is said. */
static void refuse_stranger(struct exchange *x, enum role needed, const struct finding *f)
{
    if (f->standing == STANDING_ODD)
        problem_respond(x, PROBLEM_KEY_UNKNOWN, NULL,
                        "This is no key of this server: keys are at most %d characters of visible ASCII.",
                        AUTH_KEY_MAX);
    else if (f->standing == STANDING_UNKNOWN)
        problem_respond(x, PROBLEM_KEY_UNKNOWN, NULL,
                        "This server does not know this key: check that it is whole and was made here.");
    else if (!keys_needed(&x->worker->auth, f->keys_exist))
        problem_respond(
            x, PROBLEM_KEY_NEEDED, NULL,
            "Without a key only clients on this machine are served, and no proxy or foreign web page "
            "may stand between. " HOW_TO_MAKE_KEYS);
    else if (!f->keys_exist)
        problem_respond(x, PROBLEM_KEY_MISSING, NULL,
                        "A key is needed and none exists yet. " HOW_TO_MAKE_KEYS);
    else
        problem_respond(x, PROBLEM_KEY_MISSING, NULL,
                        "%s key is needed: send it as X-API-Key or Authorization: Bearer.",
                        needed == ROLE_ADMIN ? "An admin" : "A");
}

/* Without a good key. auth.required = off opens prompts to all, and to whoever sits at this machine the rest.
 */
static bool admit_stranger(struct exchange *x, enum role needed, const struct finding *f)
{
    const struct auth *a = &x->worker->auth;
    if ((a->required == AUTH_OFF && needed == ROLE_CLIENT) ||
        (!keys_needed(a, f->keys_exist) && keyless_allowed(&x->request, a->cors_allow_origin)))
        return true;
    refuse_stranger(x, needed, f);
    return false;
}

bool auth_admit(struct exchange *x, enum role needed)
{
    x->caller = (struct caller){.role = ROLE_OPEN};
    if (needed == ROLE_OPEN)
        return true;
    struct finding f = identify(x);
    if (f.unreadable)
        problem_respond(x, PROBLEM_STORE_UNAVAILABLE, NULL,
                        "The keys of this server cannot be looked up now; see its log.");
    else if (f.standing == STANDING_REVOKED)
        problem_respond(x, PROBLEM_KEY_REVOKED, NULL,
                        "This key was revoked. Whoever runs this server can give you another one.");
    else if (f.standing == STANDING_REPLACED)
        problem_respond(x, PROBLEM_KEY_REPLACED, NULL,
                        "This key was replaced by a newer one, and its time is over: use the newer one.");
    else if (f.standing != STANDING_GOOD)
        return admit_stranger(x, needed, &f);
    else if (x->caller.role >= needed)
        return true;
    else
        problem_respond(x, PROBLEM_ADMIN_ONLY, NULL,
                        "This key may send prompts; what you asked for needs an admin key.");
    return false;
}

void auth_actor(const struct exchange *x, char *ret, size_t size)
{
    const struct caller *c = &x->caller;
    struct slice from = x->request.remote_addr;
    char text[AUTH_ACTOR_MAX];
    if (c->kind == CALLER_STORE)
        snprintf(text, sizeof(text), "key %02x%02x%02x\u2026 %s", c->trust_group[0], c->trust_group[1],
                 c->trust_group[2], c->label);
    else if (c->kind == CALLER_ENVIRONMENT)
        snprintf(text, sizeof(text), "%s of the environment",
                 c->role == ROLE_ADMIN ? "ADMIN_KEY" : "API_KEY");
    else
        snprintf(text, sizeof(text), "%.*s without a key", from.n ? (int)from.n : 8,
                 from.n ? from.p : "somebody");
    struct slice whole = utf8_truncate(slice_of(text), size - 1);
    memcpy(ret, whole.p, whole.n);
    ret[whole.n] = 0;
}

/* The origins whose pages may read answers: "*", a list, or "" for none. */
static const char *readers(struct worker *w)
{
    bool needed = false;
    if (w->auth.cors_allow_origin[0])
        return w->auth.cors_allow_origin;
    return !auth_keys_needed(w, &needed, NULL) && needed ? "*" : "";
}

void auth_cors(struct exchange *x)
{
    if (!x->request.origin.p)
        return;
    const char *allowed = readers(x->worker);
    bool any = !strcmp(allowed, "*");
    /* Also when this origin is none of them: whoever keeps the answer must not give it to one that is. */
    if (!any)
        response_header(&x->response, "Vary", "Origin");
    if (any)
        response_header(&x->response, "Access-Control-Allow-Origin", "*");
    else if (keyless_origin_listed(allowed, x->request.origin))
        response_header(&x->response, "Access-Control-Allow-Origin", "%.*s", (int)x->request.origin.n,
                        x->request.origin.p);
    else
        return;
    response_header(&x->response, "Access-Control-Expose-Headers",
                    "X-Request-Id, Server-Timing, Location, Retry-After, retry-after-ms, x-should-retry, "
                    "Idempotent-Replayed, "
                    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
                    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens");
    if (!x->request.preflight_method.p || x->request.method != METHOD_OPTIONS)
        return;
    response_header(&x->response, "Access-Control-Allow-Methods", "GET, POST, PUT, DELETE");
    /* OpenAI's SDKs say with headers of their own (X-Stainless-…) what they are. */
    response_header(
        &x->response, "Access-Control-Allow-Headers",
        "Content-Type, Authorization, X-API-Key, X-Priority, Prefer, Cache-Control, Idempotency-Key, *");
    response_header(&x->response, "Access-Control-Max-Age", "600");
}
