/* The configuration from the environment: every name of the sources, what beats what, provider and secrets.
 */
#include "conf_fixture.h"

TestSuite(conf_env, .init = conf_begin, .fini = conf_end);

static void expect_text(const char *variable, const char *value, const char *member)
{
    setenv(variable, value, 1);
    expect_loaded(NULL);
    cr_assert_str_eq(member, value, "%s", variable);
    unsetenv(variable);
}

static void expect_u32(const char *variable, const uint32_t *member)
{
    setenv(variable, "77", 1);
    expect_loaded(NULL);
    cr_assert_eq(*member, 77, "%s", variable);
    unsetenv(variable);
}

static void expect_bool(const char *variable, const bool *member)
{
    setenv(variable, "true", 1);
    expect_loaded(NULL);
    cr_assert(*member, "%s", variable);
    setenv(variable, "FALSE", 1);
    expect_loaded(NULL);
    cr_assert_not(*member, "%s", variable);
    unsetenv(variable);
}

Test(conf_env, names_of_the_sources)
{
    expect_text("API_KEY", "client", c.auth.api_key);
    expect_text("ADMIN_KEY", "admin", c.auth.admin_key);
    expect_text("LLM_APP_NAME", "llm-microservice", c.server.app_name);
    expect_text("LLM_DEFAULT_MODEL", "gpt-4o-mini", c.provider.model);
    expect_text("LLM_LOG_FILE", "/app/logs/llm-service.log", c.log.file);
    expect_text("REDIS_URL", "redis://redis:6379", c.redis.url);
    expect_text("KAFKA_BOOTSTRAP_SERVERS", "kafka:9092", c.kafka.bootstrap_servers);
    expect_text("KAFKA_REQUEST_TOPIC", "a", c.kafka.request_topic);
    expect_text("KAFKA_METRICS_TOPIC", "b", c.kafka.metrics_topic);
    expect_text("KAFKA_ERROR_TOPIC", "d", c.kafka.error_topic);
    expect_u32("LLM_DEFAULT_MAX_TOKENS", &c.provider.max_tokens);
    expect_u32("REDIS_TTL_HOURS", &c.cache.ttl_hours);
    expect_u32("REDIS_MAX_CONNECTIONS", &c.redis.max_connections);
    expect_u32("HOSTING_MAX_CONCURRENCY", &c.provider.max_concurrency);
    expect_bool("LLM_DEBUG", &c.log.debug);
    expect_bool("REDIS_ENABLED", &c.redis.enabled);
    expect_bool("KAFKA_ENABLED", &c.kafka.enabled);
}

Test(conf_env, names_of_the_sources_that_change_their_value)
{
    setenv("LLM_DEFAULT_TEMPERATURE", "0.7", 1);
    setenv("LLM_LOG_LEVEL", "WARNING", 1);
    setenv("LLM_ENABLE_AUTH", "true", 1);
    setenv("LLM_HOST", "0.0.0.0", 1); /* for the scripts that start everything */
    setenv("LLM_PORT", "not a port", 1);
    setenv("LLM_VERSION", "1.0.0", 1);
    expect_loaded(NULL);
    cr_assert_eq(c.provider.temperature, 0.7);
    cr_assert_str_eq(c.log.level, "warning");
    cr_assert_eq(c.auth.required, AUTH_ON);
    setenv("LLM_ENABLE_AUTH", "false", 1);
    expect_loaded(NULL);
    cr_assert_eq(c.auth.required, AUTH_OFF);
    setenv("LLM_LOG_LEVEL", "loud", 1);
    expect_refused(NULL, "LLM_LOG_LEVEL: log.level must be debug, info, warning or error, not \"loud\".");
}

Test(conf_env, environment_beats_file_and_own_names_beat_those_of_sources)
{
    setenv("LLM_APP_NAME", "source", 1);
    expect_loaded("[server]\napp_name = file\n");
    cr_assert_str_eq(c.server.app_name, "source");
    setenv("CARPOOL_SERVER_APP_NAME", "own", 1);
    expect_loaded("[server]\napp_name = file\n");
    cr_assert_str_eq(c.server.app_name, "own");
    setenv("CARPOOL_SERVER_APP_NAME", "", 1);
    unsetenv("LLM_APP_NAME");
    expect_loaded("[server]\napp_name = file\n");
    cr_assert_str_eq(c.server.app_name, "file");
}

Test(conf_env, a_misspelt_variable_is_refused)
{
    setenv("CARPOOL_BATCH_HIGH_WINDOW", "100", 1);
    expect_refused(NULL, "There is no option for the environment variable CARPOOL_BATCH_HIGH_WINDOW;");
    unsetenv("CARPOOL_BATCH_HIGH_WINDOW");
    setenv("CARPOOL_SERVER_APP_NAME_FILE", "x", 1);
    expect_refused(NULL, "CARPOOL_SERVER_APP_NAME_FILE");
    unsetenv("CARPOOL_SERVER_APP_NAME_FILE");
    setenv("CARPOOL_BUILD", "build/x", 1);
    setenv("CARPOOL", "x", 1);
    expect_loaded(NULL);
}

Test(conf_env, storage_dir_and_what_lies_in_it)
{
    char expected[CONF_TEXT];
    setenv("CARPOOL_STORAGE_DIR", "./state", 1);
    expect_loaded(NULL);
    snprintf(expected, sizeof(expected), "%s/state", directory);
    cr_assert_str_eq(c.storage.dir, expected);
    strcat(expected, "/logs");
    cr_assert_str_eq(c.log.dir, expected);
    setenv("CARPOOL_COORDINATOR_SOCKET", "/run/x.sock", 1);
    expect_loaded(NULL);
    cr_assert_str_eq(c.coordinator.socket, "/run/x.sock");
    expect_loaded("[storage]\ndir =\n[coordinator]\nsocket = s\n");
}

Test(conf_env, paths_too_long_when_made_absolute)
{
    char dir[CONF_TEXT];
    memset(dir, 'd', sizeof(dir));
    dir[CONF_TEXT - 2] = 0;
    setenv("CARPOOL_STORAGE_DIR", dir, 1);
    expect_refused(NULL, "storage.dir, made absolute, is longer than 511 bytes.");
    dir[0] = '/';
    setenv("CARPOOL_STORAGE_DIR", dir, 1);
    expect_refused(NULL, "coordinator.socket, made absolute, is longer");
}

Test(conf_env, a_key_picks_its_provider)
{
    setenv("GEMINI_API_KEY", "AIza", 1);
    setenv("GEMINI_MODEL", "gemini-x", 1);
    expect_loaded(NULL);
    cr_assert_eq(c.provider.kind, PROVIDER_GEMINI);
    cr_assert(c.provider.kind_chosen);
    cr_assert_str_eq(c.provider.api_key, "AIza");
    cr_assert_str_eq(c.provider.model, "gemini-x");
    unsetenv("GEMINI_API_KEY");
    setenv("OPENAI_API_KEY", "sk-1", 1);
    setenv("LLM_DEFAULT_MODEL", "gpt-x", 1);
    expect_loaded(NULL);
    cr_assert_eq(c.provider.kind, PROVIDER_OPENAI);
    cr_assert(c.provider.kind_chosen);
    cr_assert_str_eq(c.provider.api_key, "sk-1");
    /* GEMINI_MODEL is not for this one. */
    cr_assert_str_eq(c.provider.model, "gpt-x");
}

Test(conf_env, two_keys_need_a_kind)
{
    setenv("GEMINI_API_KEY", "AIza", 1);
    setenv("OPENAI_API_KEY", "sk-1", 1);
    expect_refused(NULL, "GEMINI_API_KEY and OPENAI_API_KEY are both set: say which provider to use, with "
                         "CARPOOL_PROVIDER_KIND=gemini or CARPOOL_PROVIDER_KIND=openai");
    setenv("CARPOOL_PROVIDER_KIND", "openai", 1);
    expect_loaded(NULL);
    cr_assert_eq(c.provider.kind, PROVIDER_OPENAI);
    cr_assert_str_eq(c.provider.api_key, "sk-1");
    setenv("CARPOOL_PROVIDER_KIND", "gemini", 1);
    expect_loaded(NULL);
    cr_assert_str_eq(c.provider.api_key, "AIza");
    setenv("CARPOOL_PROVIDER_KIND", "mock", 1);
    expect_loaded(NULL);
    cr_assert_str_eq(c.provider.api_key, "");
    unsetenv("CARPOOL_PROVIDER_KIND");
    expect_loaded("[provider]\nkind = gemini\n");
    cr_assert_str_eq(c.provider.api_key, "AIza");
    cr_assert(c.provider.kind_chosen);
}

Test(conf_env, own_key_needs_a_kind_and_wins)
{
    setenv("CARPOOL_PROVIDER_API_KEY", "own", 1);
    expect_refused(NULL, "There is a provider key");
    cr_assert_null(strstr(e.text, "own"));
    setenv("OPENAI_API_KEY", "sk-1", 1);
    expect_loaded(NULL);
    cr_assert_eq(c.provider.kind, PROVIDER_OPENAI);
    cr_assert_str_eq(c.provider.api_key, "own");
}

Test(conf_env, secrets_from_files)
{
    write_bytes("secret", "from-file  \nsecond line\n", 24);
    setenv("API_KEY_FILE", "secret", 1);
    setenv("OPENAI_API_KEY_FILE", "secret", 1);
    expect_loaded(NULL);
    cr_assert_str_eq(c.auth.api_key, "from-file");
    cr_assert_eq(c.provider.kind, PROVIDER_OPENAI);
    cr_assert_str_eq(c.provider.api_key, "from-file");
    setenv("API_KEY", "also", 1);
    expect_refused(NULL, "API_KEY and API_KEY_FILE are both set");
    unsetenv("API_KEY");
    setenv("API_KEY_FILE", "missing", 1);
    expect_refused(NULL, "API_KEY_FILE: cannot open missing: No such file");
}

Test(conf_env, key_file_of_the_provider)
{
    write_bytes("secret", "from-file", 9);
    expect_loaded("[provider]\nkind = openai\napi_key_file = secret\n");
    cr_assert_str_eq(c.provider.api_key, "from-file");
    setenv("OPENAI_API_KEY", "sk-env", 1);
    expect_loaded("[provider]\nkind = openai\napi_key_file = secret\n");
    cr_assert_str_eq(c.provider.api_key, "sk-env");
    unsetenv("OPENAI_API_KEY");
    setenv("CARPOOL_PROVIDER_API_KEY_FILE", "secret", 1);
    expect_loaded("[provider]\nkind = openai\napi_key = in-the-file\n");
    cr_assert_str_eq(c.provider.api_key, "from-file");
    unsetenv("CARPOOL_PROVIDER_API_KEY_FILE");
    write_bytes("secret", "\nsecond", 7);
    expect_refused("[provider]\nkind = openai\napi_key_file = secret\n", "/secret is empty");
    char long_secret[600];
    memset(long_secret, 's', sizeof(long_secret));
    write_bytes("secret", long_secret, sizeof(long_secret));
    expect_refused("[provider]\nkind = openai\napi_key_file = secret\n", "must be at most 511 bytes long");
}

Test(conf_env, a_url_switches_redis_on)
{
    expect_loaded(NULL);
    cr_assert_not(c.redis.enabled);
    setenv("REDIS_URL", "redis://redis:6379", 1);
    expect_loaded(NULL);
    cr_assert(c.redis.enabled);
    expect_loaded("[redis]\nenabled = off\n");
    cr_assert_not(c.redis.enabled, "whoever says off is heard");
    setenv("REDIS_ENABLED", "false", 1);
    expect_loaded("[redis]\nurl = redis://other\n");
    cr_assert_not(c.redis.enabled);
    cr_assert_str_eq(c.redis.url, "redis://redis:6379");
    unsetenv("REDIS_ENABLED");
    setenv("REDIS_URL", "", 1);
    expect_loaded(NULL);
    cr_assert_not(c.redis.enabled, "an empty variable is none");
    write_bytes("secret", "unix:///run/redis.sock", 22);
    setenv("REDIS_URL_FILE", "secret", 1);
    expect_loaded(NULL);
    cr_assert(c.redis.enabled);
    unsetenv("REDIS_URL_FILE");
    expect_loaded("[redis]\nurl = redis://a\n");
    cr_assert(c.redis.enabled);
    expect_loaded("[redis]\nenabled = off\nurl = redis://a\n");
    cr_assert_not(c.redis.enabled);
    expect_loaded("[redis]\nurl = redis://a\nenabled = off\n");
    cr_assert_not(c.redis.enabled);
    expect_loaded("[redis]\nurl =\n");
    cr_assert_not(c.redis.enabled);
    setenv("REDIS_ENABLED", "true", 1);
    expect_loaded(NULL);
    cr_assert(c.redis.enabled);
    cr_assert_str_eq(c.redis.url, "redis://localhost:6379");
}

Test(conf_env, secrets_are_not_shown)
{
    setenv("OPENAI_API_KEY", "sk-hidden\x01", 1);
    expect_refused(NULL, "OPENAI_API_KEY: provider.api_key must be text in UTF-8");
    cr_assert_null(strstr(e.text, "hidden"));
    unsetenv("OPENAI_API_KEY");
    setenv("REDIS_URL", "hidden", 1);
    expect_refused(NULL, "REDIS_URL: redis.url must be a text that begins with one of redis://");
    cr_assert_null(strstr(e.text, "hidden"));
}

Test(conf_env, allow_http_is_for_the_file_only)
{
    setenv("CARPOOL_PROVIDER_ALLOW_HTTP", "on", 1);
    expect_refused(NULL, "CARPOOL_PROVIDER_ALLOW_HTTP: provider.allow_http can be set in carpool.conf only.");
}

Test(conf_env, wipe_removes_secrets_only)
{
    setenv("API_KEY", "client", 1);
    setenv("OPENAI_API_KEY", "sk-1", 1);
    expect_loaded(NULL);
    conf_wipe(&c);
    cr_assert_str_eq(c.auth.api_key, "");
    cr_assert_str_eq(c.provider.api_key, "");
    cr_assert_str_eq(c.server.app_name, "carpool");
}

/* Plain http to others is for whoever may edit the file, not for whoever starts the program. */
Test(conf_env, plain_http_is_allowed_in_the_file_only)
{
    setenv("CARPOOL_PROVIDER_ALLOW_HTTP", "on", 1);
    expect_refused(NULL, "CARPOOL_PROVIDER_ALLOW_HTTP: provider.allow_http can be set in carpool.conf only.");
    expect_refused("[provider]\nallow_http = on\n", "in carpool.conf only");
    unsetenv("CARPOOL_PROVIDER_ALLOW_HTTP");
    expect_loaded("[provider]\nallow_http = on\n");
    cr_assert(c.provider.allow_http);
}

/* It goes into a header of HTTP: nothing in it may begin another one. */
Test(conf_env, a_provider_key_is_printable_ascii)
{
    static const char *const bad[] = {"sk-a\r\nX-Evil: 1", "sk-a\nb", "sk-a\rb",     "sk a",
                                      "sk-\x7f",           "sk-\t1",  "sk-\xc3\xa9", "sk-\xff"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        setenv("OPENAI_API_KEY", bad[i], 1);
        expect_refused(NULL, "OPENAI_API_KEY: provider.api_key must be ");
        cr_assert_null(strstr(e.text, "sk-"), "%s", e.text);
    }
    unsetenv("OPENAI_API_KEY");
    expect_refused("[provider]\nkind = openai\napi_key = sk-\xc3\xa9\n",
                   "provider.api_key must be printable ASCII");
    static const char *const files[] = {"sk-a\rb\n", "sk a\n", "sk-\xc3\xa9\n"};
    setenv("OPENAI_API_KEY_FILE", "secret", 1);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        write_bytes("secret", files[i], strlen(files[i]));
        expect_refused(NULL, "OPENAI_API_KEY_FILE: provider.api_key must be ");
    }
    static const char with_nul[] = "sk-a\0b\n", ends_in_nul[] = "sk-a\0\n";
    write_bytes("secret", with_nul, sizeof(with_nul) - 1);
    expect_refused(NULL, "has a NUL byte in it");
    write_bytes("secret", ends_in_nul, sizeof(ends_in_nul) - 1);
    expect_refused(NULL, "has a NUL byte in it");
    write_bytes("secret", "sk-a \t\r\nsecond\r\n", 16);
    expect_loaded(NULL);
    cr_assert_str_eq(c.provider.api_key, "sk-a");
}

Test(conf_env, a_key_that_nobody_could_send)
{
    static const char *const odd[] = {"two words", "schl\xc3\xbcssel", " ", "x "};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
        setenv("API_KEY", odd[i], 1);
        expect_refused(NULL,
                       "API_KEY must be visible ASCII characters without blanks, or nobody could send it.");
        unsetenv("API_KEY");
        setenv("ADMIN_KEY", odd[i], 1);
        expect_refused(NULL,
                       "ADMIN_KEY must be visible ASCII characters without blanks, or nobody could send it.");
        unsetenv("ADMIN_KEY");
    }
}
