/* The configuration: defaults, the file, ranges, prices, and messages that name the line or the variable. */
#include <math.h>

#include "conf_fixture.h"

TestSuite(conf, .init = conf_begin, .fini = conf_end);

Test(conf, defaults)
{
    char expected[CONF_TEXT];
    expect_loaded(NULL);
    cr_assert_str_eq(c.file, "");
    cr_assert_str_eq(c.server.base_path, "");
    cr_assert_eq(c.server.max_body_bytes, 1048576);
    cr_assert_str_eq(c.server.cors_allow_origin, "");
    cr_assert_str_eq(c.server.app_name, "carpool");
    cr_assert_eq(c.auth.required, AUTH_AUTO);
    cr_assert_str_eq(c.auth.api_key, "");
    cr_assert_eq(c.worker.processes, 2);
    cr_assert_eq(c.worker.threads, 320);
    cr_assert_eq(c.worker.manage_threads, 16);
    cr_assert_eq(c.worker.capacity, 0);
    cr_assert(c.coordinator.autostart);
    cr_assert_eq(c.coordinator.idle_exit_s, 0);
    cr_assert(c.coordinator.sandbox);
    snprintf(expected, sizeof(expected), "%s/var", directory);
    cr_assert_str_eq(c.storage.dir, expected);
    snprintf(expected, sizeof(expected), "%s/var/logs", directory);
    cr_assert_str_eq(c.log.dir, expected);
    snprintf(expected, sizeof(expected), "%s/var/coordinator.sock", directory);
    cr_assert_str_eq(c.coordinator.socket, expected);
    cr_assert_eq(c.storage.map_max_mib, sizeof(void *) > 4 ? 65536 : 1024);
    cr_assert_eq(c.storage.chat_retention_days, 0);
    cr_assert_eq(c.provider.kind, PROVIDER_MOCK);
    cr_assert_not(c.provider.kind_chosen);
    cr_assert_eq(c.provider.mode, MODE_DEFAULT);
    cr_assert_eq(c.provider.max_concurrency, 8);
    cr_assert_eq(c.provider.timeout_ms, 120000);
    cr_assert(isnan(c.provider.temperature));
    cr_assert_not(c.provider.allow_http);
    cr_assert(c.batch.flush_when_all_wait);
    cr_assert_eq(c.limits.queue_max, 4096);
    cr_assert_eq(c.limits.waiting_max, 512);
    cr_assert_eq(c.limits.tenant_share, 0.5);
    cr_assert_eq(c.retry.attempts, 3);
    cr_assert_eq(c.retry.base_ms, 250);
    cr_assert_eq(c.retry.cap_ms, 8000);
    cr_assert_eq(c.idempotency.ttl_hours, 72);
    cr_assert_eq(c.idempotency.on_unknown, ON_UNKNOWN_REPORT);
    cr_assert_eq(c.cache.mode, CACHE_EXACT);
    cr_assert_eq(c.cache.ttl_hours, 24);
    cr_assert_not(c.redis.enabled);
    cr_assert_not(c.kafka.enabled);
    cr_assert_str_eq(c.log.level, "info");
    cr_assert_str_eq(c.log.file, "");
    cr_assert_not(c.log.debug);
    cr_assert_eq(c.prices_n, 0);
}

Test(conf, windows_and_sizes_of_the_priorities)
{
    static const struct conf_batch expected[PRIORITIES] = {
        [PRIORITY_HIGH] = {200, 6, 1000, 500, POLICY_WINDOW},
        [PRIORITY_MEDIUM] = {1000, 4, 5000, 2000, POLICY_WINDOW},
        [PRIORITY_LOW] = {4000, 4, 10000, 5000, POLICY_WINDOW},
    };
    expect_loaded(NULL);
    for (int p = 0; p < PRIORITIES; p++)
        cr_assert_eq(memcmp(&c.priority[p], &expected[p], sizeof(expected[p])), 0, "%s",
                     conf_priority_name((enum priority)p));
}

Test(conf, reads_a_file)
{
    expect_loaded(
        "; comment\n# comment\n\n[server]\nbase_path = /carpool/\n  max_body_bytes=2048\n"
        "[provider]\nkind = OpenAI\nbase_url = http://127.0.0.1:9/v1 ; behind a value\nallow_http = yes\n"
        "api_key: sk-1\ntemperature = 0.25\n[batch_high]\npolicy = adaptive\r\nwindow_ms = 10\r\n"
        "[storage]\ndir = /srv/state\n[log]\ndir = my logs\n");
    cr_assert_str_eq(c.file, path);
    cr_assert_str_eq(c.server.base_path, "/carpool");
    cr_assert_eq(c.server.max_body_bytes, 2048);
    cr_assert_eq(c.provider.kind, PROVIDER_OPENAI);
    cr_assert(c.provider.kind_chosen);
    cr_assert_str_eq(c.provider.base_url, "http://127.0.0.1:9/v1");
    cr_assert(c.provider.allow_http);
    cr_assert_str_eq(c.provider.api_key, "sk-1");
    cr_assert_eq(c.provider.temperature, 0.25);
    cr_assert_eq(c.priority[PRIORITY_HIGH].policy, POLICY_ADAPTIVE);
    cr_assert_eq(c.priority[PRIORITY_HIGH].window_ms, 10);
    cr_assert_eq(c.priority[PRIORITY_HIGH].max_batch, 6);
    cr_assert_str_eq(c.storage.dir, "/srv/state");
    cr_assert_str_eq(c.coordinator.socket, "/srv/state/coordinator.sock");
    char logs[CONF_TEXT];
    snprintf(logs, sizeof(logs), "%s/my logs", directory);
    cr_assert_str_eq(c.log.dir, logs);
}

Test(conf, finds_its_file)
{
    char file[PATH_MAX];
    write_bytes(path, "[server]\napp_name = by-variable\n", 31);
    setenv("CARPOOL_CONF", "carpool.conf", 1);
    expect_loaded(NULL);
    cr_assert_str_eq(c.server.app_name, "by-variable");
    cr_assert_str_eq(c.file, path);

    unsetenv("CARPOOL_CONF");
    setenv("HOME", directory, 1);
    mkdir(".config", 0700);
    snprintf(file, sizeof(file), "%s/.config/carpool.conf", directory);
    write_bytes(file, "[server]\napp_name = at-home\n", 27);
    expect_loaded(NULL);
    cr_assert_str_eq(c.server.app_name, "at-home");
    unlink(file);
    rmdir(".config");
}

Test(conf, a_file_that_was_asked_for_must_be_there)
{
    cr_assert_eq(conf_load("/nowhere/carpool.conf", &c, &e), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(e.text, "/nowhere/carpool.conf"));
    setenv("CARPOOL_CONF", "/nowhere/else.conf", 1);
    cr_assert_eq(conf_load(NULL, &c, &e), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(e.text, "/nowhere/else.conf"));
    cr_assert_neq(conf_load(directory, &c, &e), 0);
}

Test(conf, errors_in_a_file_name_the_line)
{
    expect_refused("[server]\nmax_body_bytes = 12x\n",
                   "carpool.conf line 2: server.max_body_bytes must be a whole number from 1024 to 8388608, "
                   "not \"12x\".");
    expect_refused("[server]\n\n\nnonsense = 1\n",
                   "carpool.conf line 4: there is no option \"nonsense\" in [server].");
    expect_refused("[sever]\nx = 1\n", "line 2: there is no section [sever].");
    expect_refused("x = 1\n", "line 1: \"x\" stands before the first [section].");
    expect_refused("[server]\nbase_path\n", "line 2 is no \"[section]\", no \"key = value\" and no comment.");
    expect_refused("[server\nbase_path = /\n", "line 1 is no");
    expect_refused("[server]\napp_name = a\napp_name = b\n",
                   "line 3: server.app_name was set on line 2 already.");
    expect_refused("[auth]\napi_key = k\n",
                   "line 2: auth.api_key is taken from the environment only (API_KEY).");
    expect_refused("[server]\nbase_path = carpool\n", "must be a text that begins with /, not \"carpool\"");
    expect_refused("[provider]\nbase_url = ftp://x\n", "begins with one of http:// https://");
    expect_refused("[provider]\nkind = gpt\n", "must be mock, gemini, openai or model_service, not \"gpt\".");
    expect_refused("[provider]\nmax_concurrency =\n", "must be a whole number");
    expect_refused("[auth]\nrequired = maybe\n", "must be auto, on or off, not \"maybe\".");
    expect_refused("[coordinator]\nautostart = 2\n", "must be on or off, not \"2\".");
    expect_refused("[log]\nlevel = loud\n", "must be debug, info, warning or error, not \"loud\".");
    expect_refused("[server]\napp_name = a\x01"
                   "b\n",
                   "line 2: server.app_name must be text in UTF-8");
    expect_refused("[server]\napp_name = a\xff\n", "line 2: server.app_name must be text in UTF-8");
    expect_refused("[retry]\nbase_ms = 500\ncap_ms = 400\n", "retry.cap_ms (400) must not be less than");
}

Test(conf, long_lines_are_never_cut)
{
    char text[4000] = "[server]\napp_name = ";
    memset(text + strlen(text), 'a', CONF_TEXT - 1);
    expect_loaded(text);
    cr_assert_eq(strlen(c.server.app_name), CONF_TEXT - 1);
    strcat(text, "a");
    expect_refused(text, "line 2: server.app_name must be at most 511 bytes long");
    memset(text + strlen(text), 'a', 2100);
    expect_refused(text, "line 2 is longer than 2048 bytes.");
    char comment[2200] = "# ";
    memset(comment + 2, 'x', 2044);
    strcat(comment, "\n[server]\napp_name = b\n");
    expect_loaded(comment);
    cr_assert_str_eq(c.server.app_name, "b");
}

Test(conf, zero_bytes_are_refused)
{
    write_bytes(path, "[server]\napp_name = a\0b\n", 24);
    cr_assert_eq(conf_load(path, &c, &e), ERR_INVAL);
    cr_assert_not_null(strstr(e.text, "line 2 holds a zero byte"));
}

Test(conf, indented_lines_are_options_of_their_own)
{
    expect_loaded("[server]\napp_name = a\n  base_path = /b\n");
    cr_assert_str_eq(c.server.app_name, "a");
    cr_assert_str_eq(c.server.base_path, "/b");
}

struct range {
    const char *variable, *good[2], *bad[4];
};

Test(conf, ranges)
{
    static const struct range ranges[] = {
        {"CARPOOL_WORKER_PROCESSES", {"1", "256"}, {"0", "257", "-1", "1.5"}},
        {"CARPOOL_BATCH_HIGH_WINDOW_MS", {"0", "60000"}, {"60001", "", "1e3", " 1"}},
        {"CARPOOL_BATCH_LOW_MAX_BATCH", {"1", "256"}, {"0", "257", "4294967297", "99999999999999999999999"}},
        {"CARPOOL_LIMITS_TENANT_SHARE", {"0.01", "1"}, {"0", "1.1", "nan", "0x1"}},
        {"CARPOOL_PROVIDER_TEMPERATURE", {"0", "2.0"}, {"-0.1", "2.1", "inf", "1,5"}},
        {"CARPOOL_CACHE_TTL_HOURS", {"1", "87600"}, {"0", "87601", "+5", "5h"}},
        {"CARPOOL_SERVER_MAX_BODY_BYTES", {"1024", "8388608"}, {"1023", "8388609", "1M", "0x400"}},
        {"CARPOOL_STORAGE_MAP_MAX_MIB", {"16", "16777216"}, {"15", "16777217", "a", "1 6"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
        for (int k = 0; k < 2; k++) {
            setenv(ranges[i].variable, ranges[i].good[k], 1);
            expect_loaded(NULL);
        }
        for (int k = 0; k < 4; k++) {
            if (!*ranges[i].bad[k])
                continue;
            char shown[64];
            setenv(ranges[i].variable, ranges[i].bad[k], 1);
            expect_refused(NULL, ranges[i].variable);
            snprintf(shown, sizeof(shown), "not \"%s\".", ranges[i].bad[k]);
            cr_assert_not_null(strstr(e.text, shown), "%s", e.text);
        }
        unsetenv(ranges[i].variable);
    }
}

Test(conf, prices)
{
    expect_loaded("[prices]\ngpt-4o-mini = 0.15 0.60\nllama3:8b = 0 0\nns:m:tag = 1  2.5\ngemini-x: 3 4\n");
    cr_assert_eq(c.prices_n, 4);
    cr_assert_str_eq(c.prices[0].model, "gpt-4o-mini");
    cr_assert_eq(c.prices[0].usd_in, 0.15);
    cr_assert_eq(c.prices[0].usd_out, 0.60);
    cr_assert_str_eq(c.prices[1].model, "llama3:8b");
    cr_assert_str_eq(c.prices[2].model, "ns:m:tag");
    cr_assert_eq(c.prices[2].usd_out, 2.5);
    cr_assert_str_eq(c.prices[3].model, "gemini-x");
    expect_refused("[prices]\na = 1\n", "line 2: the price of a must be two numbers");
    expect_refused("[prices]\na = 1 2 3\n", "not \"1 2 3\"");
    expect_refused("[prices]\na = -1 2\n", "not \"-1 2\"");
    expect_refused("[prices]\na = x y\n", "not \"x y\"");
    expect_refused("[prices]\na = 1 2\na = 1 3\n", "line 3: [prices] names a twice.");
}

Test(conf, prices_have_a_maximum)
{
    char text[16000] = "[prices]\n";
    for (int i = 0; i <= CONF_PRICES_MAX; i++)
        snprintf(text + strlen(text), 40, "model-%d = 1 2\n", i);
    expect_refused(text, "[prices] holds at most 128 models.");
}

Test(conf, names_and_back)
{
    enum priority p;
    enum provider_kind k;
    enum provider_mode m;
    enum batch_policy b;
    cr_assert_str_eq(conf_priority_name(PRIORITY_HIGH), "HIGH");
    cr_assert_eq(conf_priority_parse("high", &p), 0);
    cr_assert_eq(p, PRIORITY_HIGH);
    cr_assert_eq(conf_priority_parse("urgent", &p), ERR_INVAL);
    cr_assert_eq(p, PRIORITY_HIGH);
    cr_assert_str_eq(conf_provider_name(PROVIDER_MODEL_SERVICE), "model_service");
    cr_assert_eq(conf_provider_parse("Gemini", &k), 0);
    cr_assert_eq(k, PROVIDER_GEMINI);
    cr_assert_str_eq(conf_mode_name(MODE_COMBINED), "combined");
    cr_assert_eq(conf_mode_parse("array", &m), 0);
    cr_assert_eq(m, MODE_ARRAY);
    cr_assert_str_eq(conf_policy_name(POLICY_ADAPTIVE), "adaptive");
    cr_assert_eq(conf_policy_parse("window", &b), 0);
    cr_assert_eq(b, POLICY_WINDOW);
    cr_assert_eq(conf_policy_parse("", &b), ERR_INVAL);
}

static int described;

/* Every option that can be set by the environment takes its own default under its own name. */
static void set_default(void *arg, const char *section, const char *key, const char *env,
                        const char *fallback)
{
    (void)arg;
    described++;
    cr_assert_gt(strlen(section), 0);
    cr_assert_gt(strlen(key), 0);
    if (*env) {
        setenv(env, fallback, 1);
        cr_assert_eq(strncmp(env, "CARPOOL_", 8), 0);
    }
}

Test(conf, describes_every_option)
{
    static struct conf plain;
    expect_loaded(NULL);
    plain = c;
    conf_describe(set_default, NULL);
    cr_assert_eq(described, 77);
    expect_loaded(NULL);
    cr_assert(c.provider.kind_chosen);
    c.provider.kind_chosen = false;
    cr_assert(c.redis.enabled_chosen);
    c.redis.enabled_chosen = false;
    /* NaN has one form here, and padding is zero in both. */
    cr_assert_eq(memcmp(&plain, &c, sizeof(c)), 0);
}
