/* The table of options; see conf_table.h. etc/carpool.conf lists the same for people (tests/lint/conf.sh). */
#include "base/conf_table.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

const struct conf_choice conf_priorities[] = {
    {"LOW", PRIORITY_LOW}, {"MEDIUM", PRIORITY_MEDIUM}, {"HIGH", PRIORITY_HIGH}, {NULL, 0}};
const struct conf_choice conf_providers[] = {{"mock", PROVIDER_MOCK},
                                             {"gemini", PROVIDER_GEMINI},
                                             {"openai", PROVIDER_OPENAI},
                                             {"model_service", PROVIDER_MODEL_SERVICE},
                                             {NULL, 0}};
const struct conf_choice conf_modes[] = {{"default", MODE_DEFAULT},
                                         {"combined", MODE_COMBINED},
                                         {"concurrent", MODE_CONCURRENT},
                                         {"array", MODE_ARRAY},
                                         {NULL, 0}};
const struct conf_choice conf_policies[] = {
    {"window", POLICY_WINDOW}, {"adaptive", POLICY_ADAPTIVE}, {NULL, 0}};

static const struct conf_choice bools[] = {{"on", 1}, {"off", 0}, {"true", 1}, {"false", 0}, {"yes", 1},
                                           {"no", 0}, {"1", 1},   {"0", 0},    {NULL, 0}};
static const struct conf_choice auths[] = {
    {"auto", AUTH_AUTO}, {"on", AUTH_ON},  {"off", AUTH_OFF}, {"true", AUTH_ON}, {"false", AUTH_OFF},
    {"yes", AUTH_ON},    {"no", AUTH_OFF}, {"1", AUTH_ON},    {"0", AUTH_OFF},   {NULL, 0}};
static const struct conf_choice unknowns[] = {
    {"report", ON_UNKNOWN_REPORT}, {"retry", ON_UNKNOWN_RETRY}, {NULL, 0}};
static const struct conf_choice caches[] = {{"off", CACHE_OFF}, {"exact", CACHE_EXACT}, {NULL, 0}};
static const struct conf_choice losses[] = {
    {"local", REDIS_LOSS_LOCAL}, {"refuse", REDIS_LOSS_REFUSE}, {NULL, 0}};
/* The last words are those of Python's logging, which LLM_LOG_LEVEL comes from. */
static const struct conf_choice levels[] = {{"debug", 0}, {"info", 1},     {"warning", 2}, {"warn", 2},
                                            {"error", 3}, {"critical", 3}, {"fatal", 3},   {NULL, 0}};

/* An address space of 32 bits has no room for more. */
#if UINTPTR_MAX > UINT32_MAX
#define MAP_MAX_MIB_TEXT "65536"
#else
#define MAP_MAX_MIB_TEXT "1024"
#endif

#define MEMBER(m)       .offset = offsetof(struct conf, m), .size = sizeof(((struct conf *)0)->m)
#define OPTION(s, k)    .section = #s, .key = #k, MEMBER(s.k)
#define TEXT            .type = CONF_IS_TEXT
#define U32(low, high)  .type = CONF_IS_U32, .min = (low), .max = (high)
#define U64(low, high)  .type = CONF_IS_U64, .min = (low), .max = (high)
#define REAL(low, high) .type = CONF_IS_DOUBLE, .min = (low), .max = (high)
#define BOOL            .type = CONF_IS_BOOL, .choices = bools
#define CHOICE(list)    .type = CONF_IS_CHOICE, .choices = (list)
#define DEFAULT(text)   .fallback = (text)
#define ALSO(...)       .variables = {__VA_ARGS__}
#define NAME(n)                                                                                              \
    {                                                                                                        \
        .name = (n)                                                                                          \
    }
#define NAME_FOR(n, k)                                                                                       \
    {                                                                                                        \
        .name = (n), .by_kind = true, .kind = (k)                                                            \
    }

/* [batch_high] and its like are an array in struct conf, by priority. */
#define BATCH(s, k, p) .section = #s, .key = #k, MEMBER(priority[p].k)
#define BATCH_OPTIONS(s, p, window, batch, tokens_, latency)                                                 \
    {BATCH(s, window_ms, p), U32(0, 60000), DEFAULT(window)},                                                \
        {BATCH(s, max_batch, p), U32(1, 256), DEFAULT(batch)},                                               \
        {BATCH(s, policy, p), CHOICE(conf_policies), DEFAULT("window")},                                     \
        {BATCH(s, tokens, p), U32(1, 1000000), DEFAULT(tokens_)},                                            \
    {                                                                                                        \
        BATCH(s, latency_ms, p), U32(1, 3600000), DEFAULT(latency)                                           \
    }

/* clang-format off */
const struct conf_option conf_options[] = {
    {OPTION(server, base_path), TEXT, .prefixes = "/", DEFAULT("")},
    {OPTION(server, max_body_bytes), U64(1024, 8388608), DEFAULT("1048576")},
    {OPTION(server, cors_allow_origin), TEXT, DEFAULT("")},
    {OPTION(server, app_name), TEXT, DEFAULT("carpool"), ALSO(NAME("LLM_APP_NAME"))},

    {OPTION(auth, required), CHOICE(auths), DEFAULT("auto"), ALSO(NAME("LLM_ENABLE_AUTH"))},
    {OPTION(auth, api_key), TEXT, .flags = CONF_SECRET | CONF_ENV_ONLY, DEFAULT(""), ALSO(NAME("API_KEY"))},
    {OPTION(auth, admin_key), TEXT, .flags = CONF_SECRET | CONF_ENV_ONLY, DEFAULT(""), ALSO(NAME("ADMIN_KEY"))},

    {OPTION(worker, processes), U32(1, 256), DEFAULT("2")},
    {OPTION(worker, threads), U32(1, 4096), DEFAULT("320")},
    {OPTION(worker, manage_threads), U32(1, 1024), DEFAULT("16")},
    {OPTION(worker, capacity), U32(0, 1000000), DEFAULT("0")},

    {OPTION(coordinator, socket), TEXT, DEFAULT("")},
    {OPTION(coordinator, autostart), BOOL, DEFAULT("on")},
    {OPTION(coordinator, idle_exit_s), U32(0, 31536000), DEFAULT("0")},
    {OPTION(coordinator, sandbox), BOOL, DEFAULT("on")},

    {OPTION(storage, dir), TEXT, DEFAULT("var")},
    {OPTION(storage, map_max_mib), U64(16, 16777216), DEFAULT(MAP_MAX_MIB_TEXT)},
    {OPTION(storage, chat_retention_days), U32(0, 36500), DEFAULT("0")},

    {OPTION(provider, kind), CHOICE(conf_providers), DEFAULT("mock")},
    {OPTION(provider, base_url), TEXT, .prefixes = "http:// https:// unix:/", DEFAULT("")},
    {OPTION(provider, model), TEXT, DEFAULT(""),
     ALSO(NAME_FOR("GEMINI_MODEL", PROVIDER_GEMINI), NAME("LLM_DEFAULT_MODEL"))},
    {OPTION(provider, models), TEXT, DEFAULT("gpt-4o-mini, gpt-4o, gpt-3.5-turbo, gpt-3.5-turbo-16k")},
    {OPTION(provider, api_key), TEXT, .flags = CONF_SECRET | CONF_GRAPHIC, DEFAULT(""),
     ALSO(NAME_FOR("GEMINI_API_KEY", PROVIDER_GEMINI), NAME_FOR("OPENAI_API_KEY", PROVIDER_OPENAI))},
    {OPTION(provider, api_key_file), TEXT, DEFAULT("")},
    {OPTION(provider, mode), CHOICE(conf_modes), DEFAULT("default")},
    {OPTION(provider, max_concurrency), U32(1, 10000), DEFAULT("8"), ALSO(NAME("HOSTING_MAX_CONCURRENCY"))},
    {OPTION(provider, timeout_ms), U32(100, 3600000), DEFAULT("120000")},
    {OPTION(provider, temperature), REAL(0, 2), DEFAULT(""), ALSO(NAME("LLM_DEFAULT_TEMPERATURE"))},
    {OPTION(provider, max_tokens), U32(1, 1000000), DEFAULT("1000"), ALSO(NAME("LLM_DEFAULT_MAX_TOKENS"))},
    {OPTION(provider, context_tokens), U32(0, 100000000), DEFAULT("128000")},
    {OPTION(provider, allow_http), BOOL, .flags = CONF_FILE_ONLY, DEFAULT("off")},
    {OPTION(provider, mock_latency_ms), U32(0, 600000), DEFAULT("0")},

    {OPTION(batch, flush_when_all_wait), BOOL, DEFAULT("on")},
    BATCH_OPTIONS(batch_high, PRIORITY_HIGH, "200", "6", "1000", "500"),
    BATCH_OPTIONS(batch_medium, PRIORITY_MEDIUM, "1000", "4", "5000", "2000"),
    BATCH_OPTIONS(batch_low, PRIORITY_LOW, "4000", "4", "10000", "5000"),

    {OPTION(limits, queue_max), U32(1, 1000000), DEFAULT("4096")},
    {OPTION(limits, waiting_max), U32(1, 1000000), DEFAULT("512")},
    {OPTION(limits, tenant_share), REAL(0.01, 1), DEFAULT("0.5")},
    {OPTION(limits, requests_per_minute), U32(0, 4000000000u), DEFAULT("0")},
    {OPTION(limits, tokens_per_minute), U32(0, 4000000000u), DEFAULT("0")},
    {OPTION(limits, user_requests_per_minute), U32(0, 4000000000u), DEFAULT("0")},
    {OPTION(limits, user_tokens_per_minute), U32(0, 4000000000u), DEFAULT("0")},

    {OPTION(retry, attempts), U32(0, 20), DEFAULT("3")},
    {OPTION(retry, base_ms), U32(1, 600000), DEFAULT("250")},
    {OPTION(retry, cap_ms), U32(1, 600000), DEFAULT("8000")},
    {OPTION(retry, budget_percent), U32(0, 100), DEFAULT("10")},
    {OPTION(retry, breaker_failures), U32(0, 1000000), DEFAULT("5")},

    {OPTION(idempotency, ttl_hours), U32(1, 87600), DEFAULT("72")},
    {OPTION(idempotency, on_unknown), CHOICE(unknowns), DEFAULT("report")},

    {OPTION(cache, mode), CHOICE(caches), DEFAULT("exact")},
    {OPTION(cache, ttl_hours), U32(1, 87600), DEFAULT("24"), ALSO(NAME("REDIS_TTL_HOURS"))},
    {OPTION(cache, entries), U32(1, 100000000), DEFAULT("100000")},

    {OPTION(redis, enabled), BOOL, DEFAULT("off"), ALSO(NAME("REDIS_ENABLED"))},
    {OPTION(redis, url), TEXT, .flags = CONF_SECRET, .prefixes = "redis:// rediss:// unix://",
     DEFAULT("redis://localhost:6379"), ALSO(NAME("REDIS_URL"))},
    {OPTION(redis, on_loss), CHOICE(losses), DEFAULT("local")},
    {OPTION(redis, max_connections), U32(1, 10000), DEFAULT("10"), ALSO(NAME("REDIS_MAX_CONNECTIONS"))},

    {OPTION(kafka, enabled), BOOL, DEFAULT("off"), ALSO(NAME("KAFKA_ENABLED"))},
    {OPTION(kafka, bootstrap_servers), TEXT, DEFAULT("localhost:9092"), ALSO(NAME("KAFKA_BOOTSTRAP_SERVERS"))},
    {OPTION(kafka, options_file), TEXT, DEFAULT("")},
    {OPTION(kafka, request_topic), TEXT, DEFAULT("llm-requests"), ALSO(NAME("KAFKA_REQUEST_TOPIC"))},
    {OPTION(kafka, metrics_topic), TEXT, DEFAULT("llm-metrics"), ALSO(NAME("KAFKA_METRICS_TOPIC"))},
    {OPTION(kafka, error_topic), TEXT, DEFAULT("llm-errors"), ALSO(NAME("KAFKA_ERROR_TOPIC"))},

    {OPTION(log, level), TEXT, .choices = levels, DEFAULT("info"), ALSO(NAME("LLM_LOG_LEVEL"))},
    {OPTION(log, dir), TEXT, DEFAULT("")},
    {OPTION(log, file), TEXT, DEFAULT(""), ALSO(NAME("LLM_LOG_FILE"))},
    {OPTION(log, debug), BOOL, DEFAULT("off"), ALSO(NAME("LLM_DEBUG"))},
};
/* clang-format on */
const size_t conf_options_n = ARRAY_LEN(conf_options);

const struct conf_option *conf_option_find(const char *section, const char *key)
{
    for (size_t i = 0; i < conf_options_n; i++)
        if (strcmp(conf_options[i].section, section) == 0 && strcmp(conf_options[i].key, key) == 0)
            return &conf_options[i];
    return NULL;
}

bool conf_section_exists(const char *section)
{
    for (size_t i = 0; i < conf_options_n; i++)
        if (strcmp(conf_options[i].section, section) == 0)
            return true;
    return strcmp(section, "prices") == 0;
}

void conf_env_name(const struct conf_option *o, char ret_name[CONF_ENV_NAME_SIZE])
{
    snprintf(ret_name, CONF_ENV_NAME_SIZE, "CARPOOL_%s_%s", o->section, o->key);
    for (char *p = ret_name; *p; p++)
        *p = (char)toupper((unsigned char)*p);
}

const char *conf_choice_name(const struct conf_choice *choices, int value)
{
    for (; choices->name; choices++)
        if (choices->value == value)
            return choices->name;
    return "";
}

int conf_choice_parse(const struct conf_choice *choices, const char *text, int *ret_value)
{
    for (; choices->name; choices++)
        if (strcasecmp(choices->name, text) == 0) {
            *ret_value = choices->value;
            return 0;
        }
    return ERR_INVAL;
}

void conf_describe(void (*emit)(void *arg, const char *section, const char *key, const char *env,
                                const char *fallback),
                   void *arg)
{
    for (size_t i = 0; i < conf_options_n; i++) {
        const struct conf_option *o = &conf_options[i];
        char name[CONF_ENV_NAME_SIZE] = "";
        if (o->flags & CONF_ENV_ONLY)
            continue;
        if (!(o->flags & CONF_FILE_ONLY))
            conf_env_name(o, name);
        emit(arg, o->section, o->key, name, o->fallback);
    }
}
