/* Settings: patches, their merging, which provider's model and address count, storing. */
#include "store/settings.h"

#include "store_fixture.h"
#include "json/read.h"

TestSuite(settings, .init = fixture_setup, .fini = fixture_teardown);

static int parse(const char *text, struct settings_patch *ret_patch, char field[128], struct err *e)
{
    cJSON *root;
    cr_assert_eq(json_parse(slice_of(text), &root, e), 0, "%s: %s", text, e->text);
    int rc = settings_patch_parse(root, ret_patch, field, e);
    cJSON_Delete(root);
    return rc;
}

static struct settings_patch patch(const char *text)
{
    struct settings_patch p;
    struct err e = {0};
    char field[128];
    cr_assert_eq(parse(text, &p, field, &e), 0, "%s: %s", text, e.text);
    return p;
}

static struct conf conf; /* large; zero */

static void set_conf(bool chosen, enum provider_kind kind, const char *model, const char *base_url)
{
    conf.provider.kind_chosen = chosen;
    conf.provider.kind = kind;
    strcpy(conf.provider.model, model);
    strcpy(conf.provider.base_url, base_url);
    conf.priority[PRIORITY_HIGH] = (struct conf_batch){200, 6, 1000, 500, POLICY_WINDOW};
    conf.priority[PRIORITY_MEDIUM] = (struct conf_batch){1000, 4, 5000, 2000, POLICY_WINDOW};
    conf.priority[PRIORITY_LOW] = (struct conf_batch){4000, 4, 10000, 5000, POLICY_WINDOW};
}

Test(settings, what_is_refused_and_where)
{
    static const struct {
        const char *body, *field;
    } cases[] = {
        {"[]", ""},
        {"{\"apikey\":\"x\"}", "apikey"},
        {"{\"Provider\":\"mock\"}", "Provider"},
        {"{\"provider\":\"bard\"}", "provider"},
        {"{\"provider\":1}", "provider"},
        {"{\"api_key\":\"with space\"}", "api_key"},
        {"{\"api_key\":\"new\\nline\"}", "api_key"},
        {"{\"api_key\":\"\xc3\xa4\"}", "api_key"},
        {"{\"api_key\":7}", "api_key"},
        {"{\"model\":\"a\\u0007\"}", "model"},
        {"{\"base_url\":\"ftp://h\"}", "base_url"},
        {"{\"base_url\":\"HTTP://h\"}", "base_url"},
        {"{\"base_url\":\"https://\"}", "base_url"},
        {"{\"base_url\":\"https:///v1\"}", "base_url"},
        {"{\"base_url\":\"https://u@h\"}", "base_url"},
        {"{\"base_url\":\"https://u:p@h/v1\"}", "base_url"},
        {"{\"base_url\":\"https://h?x=1\"}", "base_url"},
        {"{\"base_url\":\"https://h#x\"}", "base_url"},
        {"{\"base_url\":\"https://h\\\\@evil\"}", "base_url"},
        {"{\"base_url\":\"https://h:0\"}", "base_url"},
        {"{\"base_url\":\"https://h:65536\"}", "base_url"},
        {"{\"base_url\":\"https://h:\"}", "base_url"},
        {"{\"base_url\":\"https://h:80x\"}", "base_url"},
        {"{\"base_url\":\"https://[::1\"}", "base_url"},
        {"{\"base_url\":\"https://a b/\"}", "base_url"},
        {"{\"high_priority\":5}", "high_priority"},
        {"{\"high_priority\":null}", "high_priority"},
        {"{\"high_priority\":{\"tokens\":null}}", "high_priority.tokens"},
        {"{\"model\":null}", "model"},
        {"{\"api_key\":null}", "api_key"},
        {"{\"high_priority\":{\"tokens\":0}}", "high_priority.tokens"},
        {"{\"high_priority\":{\"tokens\":1000001}}", "high_priority.tokens"},
        {"{\"high_priority\":{\"tokens\":1.5}}", "high_priority.tokens"},
        {"{\"high_priority\":{\"tokens\":\"5\"}}", "high_priority.tokens"},
        {"{\"medium_priority\":{\"latency_ms\":0}}", "medium_priority.latency_ms"},
        {"{\"medium_priority\":{\"latency_ms\":600001}}", "medium_priority.latency_ms"},
        {"{\"low_priority\":{\"window_ms\":60001}}", "low_priority.window_ms"},
        {"{\"low_priority\":{\"window_ms\":-1}}", "low_priority.window_ms"},
        {"{\"low_priority\":{\"max_batch\":0}}", "low_priority.max_batch"},
        {"{\"low_priority\":{\"max_batch\":257}}", "low_priority.max_batch"},
        {"{\"low_priority\":{\"policy\":\"eager\"}}", "low_priority.policy"},
        {"{\"low_priority\":{\"token\":5}}", "low_priority.token"},
        {"{\"model\":\"fine\",\"high_priority\":{\"tokens\":5,\"x\":1}}", "high_priority.x"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct settings_patch p = {.model = "untouched"};
        struct err e = {0};
        char field[128] = "unset";
        cr_assert_eq(parse(cases[i].body, &p, field, &e), ERR_INVAL, "%s", cases[i].body);
        cr_assert_str_eq(field, cases[i].field, "%s gave %s", cases[i].body, field);
        cr_assert_neq(e.text[0], 0);
        cr_assert_str_eq(p.model, "untouched");
    }
}

Test(settings, lengths)
{
    char body[1200], key[600];
    struct settings_patch p;
    struct err e = {0};
    char field[128];
    memset(key, 'k', sizeof(key));
    snprintf(body, sizeof(body), "{\"api_key\":\"%.500s\"}", key);
    cr_assert_eq(parse(body, &p, field, &e), 0);
    snprintf(body, sizeof(body), "{\"api_key\":\"%.501s\"}", key);
    cr_assert_eq(parse(body, &p, field, &e), ERR_INVAL);
    snprintf(body, sizeof(body), "{\"model\":\"%.511s\"}", key);
    cr_assert_eq(parse(body, &p, field, &e), 0);
    snprintf(body, sizeof(body), "{\"model\":\"%.512s\"}", key);
    cr_assert_eq(parse(body, &p, field, &e), ERR_INVAL);
    snprintf(body, sizeof(body), "{\"%.300s\":1}", key);
    cr_assert_eq(parse(body, &p, field, &e), ERR_INVAL);
    cr_assert_lt(strlen(field), 128);
}

Test(settings, what_is_taken)
{
    struct settings_patch p = patch(
        "{\"provider\":\"openai\",\"model\":\"m\",\"base_url\":\"http://[::1]:8080/v1\",\"api_key\":\"sk-1\","
        "\"high_priority\":{\"tokens\":1000000,\"latency_ms\":600000,\"window_ms\":0,\"max_batch\":256,"
        "\"policy\":\"adaptive\"},\"low_priority\":{}}");
    cr_assert(p.has_provider && p.provider == PROVIDER_OPENAI);
    cr_assert(p.has_model && !strcmp(p.model, "m"));
    cr_assert(p.has_base_url && !strcmp(p.base_url, "http://[::1]:8080/v1"));
    cr_assert(p.has_api_key && !strcmp(p.api_key, "sk-1"));
    cr_assert(p.priority[PRIORITY_HIGH].has_window_ms && p.priority[PRIORITY_HIGH].value.window_ms == 0);
    cr_assert_eq(p.priority[PRIORITY_HIGH].value.tokens, 1000000);
    cr_assert_eq(p.priority[PRIORITY_HIGH].value.policy, POLICY_ADAPTIVE);
    cr_assert_not(p.priority[PRIORITY_LOW].has_tokens);
    p = patch("{\"api_key\":\"\"}");
    cr_assert(p.has_api_key && !p.api_key[0], "takes the key back");
    settings_patch_wipe(&p);
}

Test(settings, a_masked_key_sent_back_is_not_given)
{
    struct settings_patch p = patch("{\"api_key\":\"***abcd\"}");
    cr_assert_not(p.has_api_key);
    p = patch("{\"api_key\":\"***\"}");
    cr_assert_not(p.has_api_key);
}

static void check_document(const struct settings *s, const char *expected)
{
    struct buf b;
    buf_init(&b, 10000);
    settings_encode(&b, s);
    cr_assert_str_eq(b.data, expected);
    /* A page may put back what it got. */
    struct settings_patch p = patch(b.data);
    cr_assert_eq(p.has_api_key, !s->has_key);
    buf_fini(&b);
}

Test(settings, document)
{
    struct settings_patch none = {0};
    struct settings s;
    set_conf(false, PROVIDER_MOCK, "", "");
    settings_resolve(&conf, &none, "", &s);
    check_document(
        &s, "{\"api_key\":\"\","
            "\"high_priority\":{\"tokens\":1000,\"latency_ms\":500,\"window_ms\":200,\"max_batch\":6,"
            "\"policy\":\"window\"},"
            "\"medium_priority\":{\"tokens\":5000,\"latency_ms\":2000,\"window_ms\":1000,"
            "\"max_batch\":4,\"policy\":\"window\"},"
            "\"low_priority\":{\"tokens\":10000,\"latency_ms\":5000,\"window_ms\":4000,\"max_batch\":4,"
            "\"policy\":\"window\"},"
            "\"provider\":\"mock\",\"model\":\"mock\",\"base_url\":\"\"}");
    struct buf b;
    buf_init(&b, 10000);
    static const char *const keys[][2] = {
        {"12345678", "\"***5678\""}, {"1234567", "\"***\""}, {"AIzaSy-abcd", "\"***abcd\""}};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        settings_resolve(&conf, &none, keys[i][0], &s);
        buf_clear(&b);
        settings_encode(&b, &s);
        cr_assert_not_null(strstr(b.data, keys[i][1]), "%s", b.data);
        cr_assert_null(strstr(b.data, keys[i][0]));
    }
    buf_fini(&b);
}

static struct settings resolve(const struct settings_patch *overrides, const char *key)
{
    struct settings s;
    settings_resolve(&conf, overrides, key, &s);
    return s;
}

Test(settings, defaults_by_kind)
{
    static const struct {
        enum provider_kind kind;
        enum provider_mode mode;
        const char *model, *base_url;
    } cases[] = {
        {PROVIDER_MOCK, MODE_COMBINED, "mock", ""},
        {PROVIDER_GEMINI, MODE_COMBINED, "gemini-2.0-flash", "https://generativelanguage.googleapis.com"},
        {PROVIDER_OPENAI, MODE_COMBINED, "gpt-4o-mini", "https://api.openai.com/v1"},
        {PROVIDER_MODEL_SERVICE, MODE_ARRAY, "", "http://127.0.0.1:8001"},
    };
    struct settings_patch none = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        set_conf(true, cases[i].kind, "", "");
        struct settings s = resolve(&none, "a key");
        cr_assert_eq(s.provider, cases[i].kind);
        cr_assert_eq(s.mode, cases[i].mode);
        cr_assert_str_eq(s.model, cases[i].model);
        cr_assert_str_eq(s.base_url, cases[i].base_url);
    }
}

Test(settings, a_key_alone_selects_gemini)
{
    struct settings_patch none = {0}, mock = patch("{\"provider\":\"mock\"}");
    set_conf(false, PROVIDER_MOCK, "gemini-9", "");
    cr_assert_eq(resolve(&none, "").provider, PROVIDER_MOCK);
    struct settings s = resolve(&none, "k");
    cr_assert_eq(s.provider, PROVIDER_GEMINI);
    cr_assert_str_eq(s.model, "gemini-9", "a configuration that names no provider speaks of this one");
    cr_assert_eq(resolve(&mock, "k").provider, PROVIDER_MOCK, "one was chosen");
    set_conf(true, PROVIDER_OPENAI, "", "");
    cr_assert_eq(resolve(&none, "k").provider, PROVIDER_OPENAI);
    set_conf(true, PROVIDER_MOCK, "", "");
    cr_assert_eq(resolve(&none, "k").provider, PROVIDER_MOCK);
}

Test(settings, the_configuration_does_not_leak_into_another_provider)
{
    struct settings_patch none = {0}, gemini = patch("{\"provider\":\"gemini\"}");
    set_conf(true, PROVIDER_OPENAI, "gpt-9", "http://127.0.0.1:9/v1");
    conf.provider.mode = MODE_CONCURRENT;
    struct settings s = resolve(&none, "k");
    cr_assert_str_eq(s.model, "gpt-9");
    cr_assert_eq(s.mode, MODE_CONCURRENT);
    s = resolve(&gemini, "k");
    cr_assert_str_eq(s.model, "gemini-2.0-flash");
    cr_assert_str_eq(s.base_url, "https://generativelanguage.googleapis.com");
    cr_assert_eq(s.mode, MODE_COMBINED);
    set_conf(false, PROVIDER_MOCK, "gpt-9", "http://127.0.0.1:9/v1");
    s = resolve(&gemini, "k");
    cr_assert_str_eq(s.model, "gemini-2.0-flash", "whose model gpt-9 is, nobody said");
}

struct save {
    struct settings_patch overrides;
    struct settings effective;
};

static int save_body(struct store_write *w, void *arg, struct err *e)
{
    struct save *s = arg;
    return settings_save(w, &s->overrides, &s->effective, e);
}

static struct settings_patch load_overrides(void)
{
    struct settings_patch p;
    struct err e = {0};
    struct store_read *r = fixture_read();
    cr_assert_eq(settings_load_overrides(r, &p, &e), 0, "%s", e.text);
    store_read_end(r);
    return p;
}

/* What the coordinator does with a PUT. */
static struct settings put(const char *body, const char *key)
{
    struct save s = {.overrides = load_overrides()};
    struct settings_patch p = patch(body);
    settings_patch_merge(&s.overrides, &p);
    settings_resolve(&conf, &s.overrides, key, &s.effective);
    WRITE(save_body, &s);
    return s.effective;
}

Test(settings, overrides_do_not_leak_into_another_provider)
{
    set_conf(true, PROVIDER_OPENAI, "", "");
    struct settings s = put("{\"model\":\"gpt-9\",\"base_url\":\"https://proxy/v1\"}", "k");
    cr_assert_str_eq(s.model, "gpt-9");
    s = put("{\"high_priority\":{\"tokens\":7}}", "k");
    cr_assert_str_eq(s.model, "gpt-9", "kept");
    s = put("{\"provider\":\"openai\"}", "k");
    cr_assert_str_eq(s.model, "gpt-9", "the provider they were made for, now by name");
    cr_assert_str_eq(s.base_url, "https://proxy/v1");
    s = put("{\"provider\":\"gemini\",\"model\":\"gemini-9\"}", "k");
    cr_assert_str_eq(s.model, "gemini-9", "its own");
    cr_assert_str_eq(s.base_url, "https://generativelanguage.googleapis.com", "not the old proxy");
    s = put("{\"provider\":\"openai\"}", "k");
    cr_assert_str_eq(s.model, "gpt-4o-mini");
    cr_assert_str_eq(s.base_url, "https://api.openai.com/v1", "forgotten");
    cr_assert_eq(s.priority[PRIORITY_HIGH].tokens, 7, "not the provider's affair");
    s = put("{\"model\":\"gpt-9\"}", "k");
    s = put("{\"model\":\"\"}", "k");
    cr_assert_str_eq(s.model, "gpt-4o-mini", "taken back");
}

Test(settings, overrides_do_not_outlive_a_change_of_the_configuration)
{
    set_conf(true, PROVIDER_OPENAI, "", "");
    put("{\"model\":\"gpt-9\",\"base_url\":\"https://proxy/v1\"}", "k");
    set_conf(true, PROVIDER_GEMINI, "", "");
    struct settings_patch p = load_overrides();
    struct settings s = resolve(&p, "k");
    cr_assert_str_eq(s.model, "gemini-2.0-flash");
    cr_assert_str_eq(s.base_url, "https://generativelanguage.googleapis.com");
    s = put("{\"base_url\":\"https://other\"}", "k");
    cr_assert_str_eq(s.model, "gemini-2.0-flash");
    cr_assert_str_eq(s.base_url, "https://other");
    set_conf(true, PROVIDER_OPENAI, "", "");
    p = load_overrides();
    s = resolve(&p, "k");
    cr_assert_str_eq(s.model, "gpt-4o-mini", "gpt-9 was forgotten by the second save");
    cr_assert_str_eq(s.base_url, "https://api.openai.com/v1");
}

Test(settings, implicit_gemini_takes_its_model_away_again)
{
    set_conf(false, PROVIDER_MOCK, "", "");
    put("{\"api_key\":\"kkkkkkkk\",\"model\":\"gemini-9\"}", "kkkkkkkk");
    cr_assert_str_eq(put("{\"provider\":\"gemini\"}", "kkkkkkkk").model, "gemini-9");
    struct settings s = put("{\"provider\":\"mock\"}", "kkkkkkkk");
    cr_assert_str_eq(s.model, "mock");
}

Test(settings, patch_round_trip)
{
    static const char body[] =
        "{\"api_key\":\"sk-secret\",\"provider\":\"model_service\",\"model\":\"\\\"m\",\"base_url\":\"http://"
        "h/\","
        "\"high_priority\":{\"tokens\":1,\"latency_ms\":2,\"window_ms\":3,\"max_batch\":4,\"policy\":"
        "\"adaptive\"},\"low_priority\":{\"window_ms\":0}}";
    struct settings_patch p = patch(body), empty = {0};
    struct buf b;
    buf_init(&b, 10000);
    settings_patch_encode(&b, &p, true);
    cr_assert_str_eq(b.data, body);
    buf_clear(&b);
    settings_patch_encode(&b, &p, false);
    cr_assert_null(strstr(b.data, "secret"));
    buf_clear(&b);
    settings_patch_encode(&b, &empty, true);
    cr_assert_str_eq(b.data, "{}");
    buf_fini(&b);
}

Test(settings, stored_with_a_version)
{
    struct settings s;
    struct err e = {0};
    uint64_t version = 9;
    set_conf(true, PROVIDER_GEMINI, "", "");
    struct store_read *r = fixture_read();
    cr_assert_eq(settings_version(r, &version, &e), 0);
    cr_assert_eq(version, 0);
    cr_assert_eq(settings_load(r, &s, &e), ERR_NOT_FOUND);
    store_read_end(r);
    struct settings first = put("{\"high_priority\":{\"tokens\":77,\"policy\":\"adaptive\"}}", "sk-12345678");
    cr_assert_eq(first.version, 1);
    struct settings second = put("{\"api_key\":\"sk-secret99\"}", "sk-secret99");
    cr_assert_eq(second.version, 2);
    r = fixture_read();
    cr_assert_eq(settings_version(r, &version, &e), 0);
    cr_assert_eq(version, 2);
    cr_assert_eq(settings_load(r, &s, &e), 0, "%s", e.text);
    store_read_end(r);
    cr_assert_eq(s.version, 2);
    cr_assert_eq(s.provider, PROVIDER_GEMINI);
    cr_assert_eq(s.mode, MODE_COMBINED);
    cr_assert(s.has_key);
    cr_assert_str_eq(s.key_last4, "et99");
    cr_assert_str_eq(s.model, second.model);
    cr_assert_str_eq(s.base_url, second.base_url);
    cr_assert_eq(s.priority[PRIORITY_HIGH].tokens, 77);
    cr_assert_eq(s.priority[PRIORITY_HIGH].policy, POLICY_ADAPTIVE);
    cr_assert_eq(s.priority[PRIORITY_LOW].window_ms, 4000);
    cr_assert_not(load_overrides().has_api_key);
}

static bool file_has(const char *text)
{
    static char bytes[1 << 20];
    char path[200];
    snprintf(path, sizeof(path), "%s/data.mdb", store_dir);
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    size_t n = fread(bytes, 1, sizeof(bytes), f);
    cr_assert(n && feof(f));
    fclose(f);
    return memmem(bytes, n, text, strlen(text));
}

Test(settings, the_key_is_nowhere_in_the_file)
{
    set_conf(false, PROVIDER_MOCK, "", "");
    put("{\"api_key\":\"sk-canary-0123456789\"}", "sk-canary-0123456789");
    cr_assert_not(file_has("sk-canary"));
    cr_assert(file_has("made_for"), "the search finds what is there");
}
