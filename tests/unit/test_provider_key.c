/* LINK: fcgi_app/coordinator/provider_key.c */
/* Which provider key goes where: a file of before keys had a host, and settings that lead elsewhere. */
#include "coordinator/provider_key.h"

#include "store_fixture.h"

TestSuite(provider_key, .init = fixture_setup, .fini = fixture_teardown);

#define KEY "sk-put-before-42c9"

static struct conf conf;
static struct core core;
static struct saved_key prepared, kept;
static int prepare_rc;
static const char *text = KEY;

static int key_prepare(void *arg, const struct saved_key *key, struct err *e)
{
    (void)arg;
    prepared = *key;
    return prepare_rc ? err_set(e, prepare_rc, "The disk is full.") : 0;
}

static void key_settle(void *arg, const struct saved_key *key, bool keep)
{
    (void)arg;
    cr_assert(keep && strcmp(key->text, prepared.text) == 0);
    kept = *key;
}

/* What the version before has left: its settings, and a key file of two lines. */
static struct settings before = {.provider = PROVIDER_OPENAI,
                                 .mode = MODE_COMBINED,
                                 .model = "m",
                                 .base_url = "https://A.example:443/v1",
                                 .has_key = true,
                                 .key_last4 = "42c9"};

static int save_before(struct store_write *w, void *arg, struct err *e)
{
    struct settings_patch none = {0};
    return settings_save(w, &none, arg, e);
}

static void load(bool stored)
{
    struct err e = {0};
    if (stored)
        WRITE(save_before, &before);
    prepared = kept = (struct saved_key){0};
    core = (struct core){.conf = &conf,
                         .ports = {.key_prepare = key_prepare, .key_settle = key_settle},
                         .saved_key = {.kind = PROVIDER_OPENAI, .hostless = true}};
    strcpy(core.saved_key.text, text);
    struct store_read *r = fixture_read();
    cr_assert_eq(provider_key_load(&core, r, &e), 0, "%s", e.text);
    store_read_end(r);
}

static const char *key_for(enum provider_kind kind, const char *base_url)
{
    struct settings_patch o = {.has_provider = true, .provider = kind, .has_base_url = base_url[0] != 0};
    struct settings s;
    strcpy(o.base_url, base_url);
    const char *key = provider_key_resolve(&conf, &o, &core.saved_key, &s);
    cr_assert_eq(s.has_key, key[0] != 0, "what is shown is what is sent");
    return key;
}

Test(provider_key, an_old_file_is_for_where_its_key_was_sent)
{
    load(true);
    cr_assert_str_eq(core.saved_key.host, "https://a.example");
    cr_assert_str_eq(kept.host, "https://a.example", "from now on the file says so");
    cr_assert_str_eq(key_for(PROVIDER_OPENAI, "https://a.example/v2"), KEY);
    cr_assert_str_eq(key_for(PROVIDER_OPENAI, "https://b.example/v2"), "");
    cr_assert_str_eq(key_for(PROVIDER_OPENAI, ""), "");
}

Test(provider_key, an_old_file_that_cannot_be_written_anew)
{
    prepare_rc = ERR_NOSPC;
    load(true);
    cr_assert_str_empty(kept.text);
    cr_assert_str_eq(key_for(PROVIDER_OPENAI, "https://a.example/v2"), KEY, "as long as this one runs");
}

static void check_nowhere(void)
{
    load(true);
    cr_assert_str_empty(kept.text);
    cr_assert(core.saved_key.hostless);
    for (const char *const *url =
             (const char *const[]){"", "https://a.example/v1", "http://127.0.0.1:9", NULL};
         *url; url++)
        cr_assert_str_eq(key_for(PROVIDER_OPENAI, *url), "", "%s", *url);
    core.settings = before;
    core.settings.provider = PROVIDER_OPENAI;
    provider_key_look(&core);
    cr_assert_not_null(strstr(core.key_fault.text, "earlier version"), "%s", core.key_fault.text);
}

/* Killed after the settings of another key and host were committed and before its file was renamed. */
Test(provider_key, an_old_file_with_another_key_than_was_in_force_goes_nowhere)
{
    strcpy(before.key_last4, "0000");
    check_nowhere();
}

Test(provider_key, an_old_file_of_a_provider_that_was_not_in_force_goes_nowhere)
{
    before.provider = PROVIDER_GEMINI;
    check_nowhere();
}

Test(provider_key, an_old_file_while_no_key_was_in_force_goes_nowhere)
{
    before.has_key = false;
    before.key_last4[0] = 0;
    check_nowhere();
}

Test(provider_key, an_old_file_with_a_store_that_is_new_goes_nowhere)
{
    load(false);
    cr_assert(core.saved_key.hostless && !kept.text[0]);
    cr_assert_str_eq(key_for(PROVIDER_OPENAI, ""), "");
}

/* A short one shows nothing by which it could be known again. */
Test(provider_key, an_old_file_with_a_short_key_goes_nowhere)
{
    before.key_last4[0] = 0;
    text = "short";
    check_nowhere();
}

Test(provider_key, the_configured_one_is_for_the_configured_host)
{
    conf =
        (struct conf){.provider = {.kind = PROVIDER_OPENAI, .kind_chosen = true, .api_key = "sk-configured"}};
    core = (struct core){.conf = &conf};
    cr_assert_str_eq(key_for(PROVIDER_OPENAI, ""), "sk-configured");
    cr_assert_str_eq(key_for(PROVIDER_OPENAI, "https://api.openai.com:443/v2"), "sk-configured");
    cr_assert_str_eq(key_for(PROVIDER_OPENAI, "https://api.openai.com.evil.example/v1"), "");
    cr_assert_str_eq(key_for(PROVIDER_OPENAI, "http://api.openai.com/v1"), "");
    cr_assert_str_eq(key_for(PROVIDER_GEMINI, ""), "");
    cr_assert_str_eq(key_for(PROVIDER_GEMINI, "https://api.openai.com/v1"), "",
                     "one provider's is not another's");
    strcpy(conf.provider.base_url, "http://127.0.0.1:8080/v1");
    cr_assert_str_eq(key_for(PROVIDER_OPENAI, ""), "sk-configured");
    cr_assert_str_eq(key_for(PROVIDER_OPENAI, "http://127.0.0.1:8081/v1"), "");
    cr_assert_str_eq(key_for(PROVIDER_OPENAI, "https://api.openai.com/v1"), "");
}

/* Where nothing chooses a provider, the key does; that it may not go anywhere makes no mock of it. */
Test(provider_key, a_key_that_stays_here_still_chooses_the_provider)
{
    struct settings_patch o = {.has_base_url = true, .base_url = "https://b.example"};
    struct saved_key saved = {.text = KEY, .kind = PROVIDER_GEMINI, .host = "https://a.example"};
    struct settings s;
    cr_assert_str_eq(provider_key_resolve(&conf, &o, &saved, &s), "");
    cr_assert(s.provider == PROVIDER_GEMINI && !s.has_key);
    strcpy(saved.host, "https://b.example");
    cr_assert_str_eq(provider_key_resolve(&conf, &o, &saved, &s), KEY);
    cr_assert_str_eq(s.key_last4, "42c9");
}
