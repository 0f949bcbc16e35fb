/* LINK: fcgi_app/worker/auth.c fcgi_app/worker/keyless.c fcgi_app/worker/state.c */
/* LINK: fcgi_app/worker/problem.c fcgi_app/worker/openai_error.c */
/* LINK: fcgi_app/worker/answer.c fcgi_app/worker/response.c */
/* auth_admit() over a real store: keys as they come, are replaced and go. */
#include <sodium.h>
#include <sys/stat.h>

#include "store_fixture.h"

#include "base/clock.h"
#include "worker/exchange.h"
#include "worker/state.h"

static struct conf conf;
static struct worker worker;
static struct exchange x;

/* Of the rooms that have no part in it. */
const char *exchange_id(struct exchange *of)
{
    (void)of;
    return "id";
}

void counts_add_problem(struct counts *c, enum problem p)
{
    (void)c, (void)p;
}

static void setup(void)
{
    static const struct settings none;
    struct err e;
    cr_assert_geq(sodium_init(), 0);
    fixture_setup();
    snprintf(conf.storage.dir, sizeof(conf.storage.dir), "%s", store_dir);
    conf.storage.map_max_mib = 64;
    cr_assert_eq(worker_init(&worker, &conf, &none, &e), 0);
    x.worker = &worker;
    response_init(&x.response);
    x.request =
        (struct request){.remote_addr = SLICE_LITERAL("127.0.0.1"), .host = SLICE_LITERAL("localhost")};
}

static void teardown(void)
{
    response_fini(&x.response);
    if (store)
        atomic_store(&worker.store, NULL);
    worker_fini(&worker);
    fixture_teardown();
}

TestSuite(auth, .init = setup, .fini = teardown);

/* Criterion's store is the writer; one process must not open it twice, so the worker borrows it. */
static void lend_store(void)
{
    atomic_store(&worker.store, store);
}

static struct key_record key_of(const char *text, enum key_role role, uint8_t id)
{
    struct key_record k = {.role = role, .id = {id, 0xbc, 0x0d}, .label = "backoffice", .created_s = 1};
    crypto_generichash(k.hash, sizeof(k.hash), (const unsigned char *)text, strlen(text), NULL, 0);
    return k;
}

static int put(struct store_write *w, void *arg, struct err *e)
{
    return keys_put(w, arg, e);
}

static void with_environment(const char *client, const char *admin, enum auth_required required)
{
    snprintf(conf.auth.api_key, sizeof(conf.auth.api_key), "%s", client);
    snprintf(conf.auth.admin_key, sizeof(conf.auth.admin_key), "%s", admin);
    conf.auth.required = required;
    auth_init(&worker.auth, &conf);
}

/* The status and code of the refusal; "" when it is admitted. */
static const char *ask(const char *key, enum role needed)
{
    static char code[64];
    x.request.api_key = slice_of(key);
    response_reset(&x.response, NULL, "id", false);
    if (auth_admit(&x, needed))
        return "";
    cr_assert_not(buf_failed(&x.response.body));
    buf_append(&x.response.body, "", 1);
    const char *at = strstr(x.response.body.data, "\"error_code\":\"");
    cr_assert_not_null(at);
    snprintf(code, sizeof(code), "%d %.*s", x.response.status, (int)strcspn(at + 14, "\""), at + 14);
    return code;
}

#define EXPECT(key, needed, wanted) cr_assert_str_eq(ask(key, needed), wanted, "got %s", ask(key, needed))

Test(auth, a_key_of_the_store_is_in_force_at_once)
{
    lend_store();
    with_environment("", "", AUTH_AUTO);
    EXPECT(NULL, ROLE_ADMIN, "");
    cr_assert_eq(x.caller.kind, CALLER_KEYLESS);
    EXPECT("made-up", ROLE_CLIENT, ""); /* an SDK that has to send something */

    struct key_record client = key_of("client", KEY_CLIENT, 1), admin = key_of("admin", KEY_ADMIN, 2);
    WRITE(put, &client);
    EXPECT(NULL, ROLE_CLIENT, "401 KEY_MISSING");
    EXPECT("made-up", ROLE_CLIENT, "401 KEY_UNKNOWN");
    EXPECT("client", ROLE_CLIENT, "");
    cr_assert_eq(x.caller.kind, CALLER_STORE);
    cr_assert_eq(memcmp(x.caller.trust_group, client.id, TRUST_GROUP_SIZE), 0);
    EXPECT("client", ROLE_ADMIN, "403 ADMIN_ONLY");
    WRITE(put, &admin);
    EXPECT("admin", ROLE_ADMIN, "");
    EXPECT("admin", ROLE_CLIENT, "");
    EXPECT(NULL, ROLE_OPEN, "");

    client.revoked_s = 5;
    admin.revoked_s = 5;
    WRITE(put, &client);
    EXPECT("client", ROLE_CLIENT, "401 KEY_REVOKED");
    cr_assert_eq(x.caller.role, ROLE_OPEN);
    WRITE(put, &admin);
    EXPECT("admin", ROLE_ADMIN, "401 KEY_REVOKED");
    EXPECT(NULL, ROLE_CLIENT, "401 KEY_MISSING"); /* the last one is gone, the door stays shut */
}

Test(auth, rotation_keeps_the_trust_group)
{
    lend_store();
    with_environment("", "", AUTH_AUTO);
    uint64_t now_s = clock_real_us() / US_PER_S;
    struct key_record old = key_of("old", KEY_CLIENT, 1), fresh = key_of("fresh", KEY_CLIENT, 1);
    uint8_t group[TRUST_GROUP_SIZE];
    old.ends_s = now_s + 1000;
    WRITE(put, &old);
    WRITE(put, &fresh);
    EXPECT("old", ROLE_CLIENT, "");
    memcpy(group, x.caller.trust_group, sizeof(group));
    EXPECT("fresh", ROLE_CLIENT, "");
    cr_assert_eq(memcmp(group, x.caller.trust_group, sizeof(group)), 0);
    old.ends_s = now_s;
    WRITE(put, &old);
    EXPECT("old", ROLE_CLIENT, "401 KEY_REPLACED");
    EXPECT("fresh", ROLE_CLIENT, "");
    old.revoked_s = now_s;
    WRITE(put, &old);
    EXPECT("old", ROLE_CLIENT, "401 KEY_REVOKED");
}

Test(auth, required_on_and_off)
{
    lend_store();
    with_environment("", "", AUTH_ON);
    EXPECT(NULL, ROLE_CLIENT, "401 KEY_MISSING");
    with_environment("", "", AUTH_OFF);
    EXPECT(NULL, ROLE_ADMIN, "");
    x.request.remote_addr = SLICE_LITERAL("10.0.0.1");
    EXPECT(NULL, ROLE_CLIENT, "");
    EXPECT("made-up", ROLE_CLIENT, "");
    EXPECT(NULL, ROLE_ADMIN, "403 KEY_NEEDED");
    EXPECT("made-up", ROLE_ADMIN, "401 KEY_UNKNOWN");
    struct key_record client = key_of("client", KEY_CLIENT, 1);
    WRITE(put, &client);
    EXPECT("client", ROLE_CLIENT, "");
    cr_assert_eq(x.caller.kind, CALLER_STORE, "its own group, not that of the keyless");
    EXPECT("client", ROLE_ADMIN, "403 ADMIN_ONLY");
    EXPECT(NULL, ROLE_CLIENT, "");
    client.revoked_s = 5;
    WRITE(put, &client);
    EXPECT("client", ROLE_CLIENT, "401 KEY_REVOKED");
}

Test(auth, keys_of_the_environment)
{
    lend_store();
    with_environment("client", "admin", AUTH_AUTO);
    struct key_record same = key_of("client", KEY_ADMIN, 9);
    WRITE(put, &same);
    EXPECT("client", ROLE_ADMIN, "403 ADMIN_ONLY"); /* that of the environment counts */
    cr_assert_eq(x.caller.kind, CALLER_ENVIRONMENT);
    EXPECT("admin", ROLE_ADMIN, "");
    EXPECT("admi", ROLE_CLIENT, "401 KEY_UNKNOWN");
    EXPECT("admin ", ROLE_CLIENT, "401 KEY_UNKNOWN");
    EXPECT("", ROLE_CLIENT, "401 KEY_MISSING");
    with_environment("both", "both", AUTH_AUTO);
    EXPECT("both", ROLE_ADMIN, "");
}

Test(auth, where_a_key_may_stand)
{
    lend_store();
    with_environment("client", "admin", AUTH_AUTO);
    static const struct {
        const char *authorization, *redirected, *api_key, *wanted;
    } cases[] = {
        {"Bearer admin", NULL, NULL, ""},
        {"bearer   admin", NULL, NULL, ""},
        {NULL, "Bearer admin", NULL, ""},
        {"Bearer admin", NULL, "", ""},
        {"Bearer of-the-sdk", NULL, "admin", ""}, /* X-API-Key counts */
        {"Bearer admin", NULL, "of-the-sdk", "401 KEY_UNKNOWN"},
        {"Bearer", NULL, NULL, "401 KEY_MISSING"},
        {"Bearer ", NULL, NULL, "401 KEY_MISSING"},
        {"Beareradmin", NULL, NULL, "401 KEY_MISSING"},
        {"Basic YWRtaW46YWRtaW4=", NULL, NULL, "401 KEY_MISSING"},
        {"admin", NULL, NULL, "401 KEY_MISSING"},
        {"Bearer admin admin", NULL, NULL, "401 KEY_UNKNOWN"},
        {"Bearer Bearer admin", NULL, NULL, "401 KEY_UNKNOWN"},
        {"Basic YWRtaW46YWRtaW4=", NULL, "admin", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        x.request.authorization = slice_of(cases[i].authorization);
        x.request.redirect_authorization = slice_of(cases[i].redirected);
        cr_assert_str_eq(ask(cases[i].api_key, ROLE_ADMIN), cases[i].wanted, "%zu", i);
    }
}

Test(auth, odd_keys_are_refused_unhashed)
{
    lend_store();
    with_environment("client", "", AUTH_AUTO);
    char *longest = malloc(1 << 20);
    memset(longest, 'k', 1 << 20);
    longest[AUTH_KEY_MAX] = 0;
    struct key_record k = key_of(longest, KEY_CLIENT, 1);
    WRITE(put, &k);
    EXPECT(longest, ROLE_CLIENT, "");
    longest[AUTH_KEY_MAX] = 'k';
    longest[AUTH_KEY_MAX + 1] = 0;
    k = key_of(longest, KEY_CLIENT, 1);
    WRITE(put, &k);
    EXPECT(longest, ROLE_CLIENT, "401 KEY_UNKNOWN");
    longest[AUTH_KEY_MAX + 1] = 'k';
    longest[(1 << 20) - 1] = 0;
    EXPECT(longest, ROLE_CLIENT, "401 KEY_UNKNOWN");
    free(longest);
    for (const char *const *odd = (const char *const[]){"a b", "\x01", "k\x7f", "k\xc3\xa4", "k\tk", NULL};
         *odd; odd++) {
        k = key_of(*odd, KEY_CLIENT, 1);
        WRITE(put, &k);
        EXPECT(*odd, ROLE_CLIENT, "401 KEY_UNKNOWN");
    }
}

Test(auth, a_store_that_cannot_be_read_lets_nobody_in)
{
    char path[200];
    struct key_record k = key_of("stored", KEY_ADMIN, 1);
    WRITE(put, &k);
    store_close(store);
    store = NULL;
    snprintf(path, sizeof(path), "%s/data.mdb", store_dir);
    FILE *f = fopen(path, "r+");
    for (int i = 0; i < 8192; i++)
        fputc('x', f);
    fclose(f);
    with_environment("", "", AUTH_AUTO);
    EXPECT(NULL, ROLE_CLIENT, "503 STORE_UNAVAILABLE");
    EXPECT("stored", ROLE_CLIENT, "503 STORE_UNAVAILABLE");
    EXPECT(NULL, ROLE_OPEN, "");
    EXPECT("not a key", ROLE_CLIENT, "503 STORE_UNAVAILABLE");
    cr_assert_null(strstr(x.response.body.data, store_dir), "a stranger learns no path");
    with_environment("client", "admin", AUTH_AUTO);
    EXPECT("admin", ROLE_ADMIN, "");
    EXPECT("client", ROLE_CLIENT, "");
    EXPECT("stored", ROLE_CLIENT, "503 STORE_UNAVAILABLE");
    EXPECT(NULL, ROLE_CLIENT, "401 KEY_MISSING");
    with_environment("", "", AUTH_ON);
    EXPECT(NULL, ROLE_CLIENT, "401 KEY_MISSING");
    with_environment("", "", AUTH_OFF);
    EXPECT(NULL, ROLE_CLIENT, "");
    EXPECT("stored", ROLE_CLIENT, "503 STORE_UNAVAILABLE"); /* whose prompts it may see is not known */
}

Test(auth, without_a_store_there_are_no_keys_in_it)
{
    snprintf(conf.storage.dir, sizeof(conf.storage.dir), "%s/none", store_dir);
    with_environment("", "", AUTH_AUTO);
    EXPECT(NULL, ROLE_ADMIN, "");
    with_environment("client", "", AUTH_AUTO);
    EXPECT("client", ROLE_CLIENT, "");
    EXPECT("other", ROLE_CLIENT, "401 KEY_UNKNOWN");
}

/* Also when a request was served without keys just before. */
Test(auth, the_first_key_is_in_force_in_a_store_that_is_new)
{
    char from[128], to[128];
    struct key_record k = key_of("first", KEY_ADMIN, 1);
    WRITE(put, &k);
    store_close(store);
    store = NULL;
    snprintf(conf.storage.dir, sizeof(conf.storage.dir), "%s/new", store_dir);
    snprintf(from, sizeof(from), "%s/data.mdb", store_dir);
    snprintf(to, sizeof(to), "%s/new/data.mdb", store_dir);
    cr_assert_eq(mkdir(conf.storage.dir, 0700), 0);
    with_environment("", "", AUTH_AUTO);
    EXPECT(NULL, ROLE_ADMIN, "");
    cr_assert_eq(rename(from, to), 0);
    EXPECT(NULL, ROLE_ADMIN, "401 KEY_MISSING");
    EXPECT("first", ROLE_ADMIN, "");
}

static const char *actor(size_t size)
{
    static char text[AUTH_ACTOR_MAX];
    auth_actor(&x, text, size);
    return text;
}

Test(auth, who_did_it)
{
    lend_store();
    with_environment("client", "admin", AUTH_AUTO);
    struct key_record k = key_of("stored", KEY_ADMIN, 0x5f);
    WRITE(put, &k);
    ask("stored", ROLE_ADMIN);
    cr_assert_str_eq(actor(AUTH_ACTOR_MAX), "key 5fbc0d\u2026 backoffice");
    cr_assert_str_eq(actor(13), "key 5fbc0d", "cut at a character");
    ask("admin", ROLE_ADMIN);
    cr_assert_str_eq(actor(AUTH_ACTOR_MAX), "ADMIN_KEY of the environment");
    ask("client", ROLE_CLIENT);
    cr_assert_str_eq(actor(AUTH_ACTOR_MAX), "API_KEY of the environment");
    ask(NULL, ROLE_CLIENT);
    cr_assert_str_eq(actor(AUTH_ACTOR_MAX), "127.0.0.1 without a key");
    x.request.remote_addr = (struct slice){0};
    cr_assert_str_eq(actor(AUTH_ACTOR_MAX), "somebody without a key");
}
