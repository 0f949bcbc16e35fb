/*
 * The configuration of all three programs: one table of options, read from (weakest first) defaults,
 * carpool.conf (INI, parsed by inih), and the environment. Command-line flags are applied by the programs.
 *
 * An option [section] key is CARPOOL_<SECTION>_<KEY> in the environment; the sources' own names
 * (GEMINI_API_KEY, …) are further names of the same options. A secret may also be given as NAME_FILE, the
 * path of a file whose first line it is.
 */
#ifndef CARPOOL_BASE_CONF_H
#define CARPOOL_BASE_CONF_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum priority { PRIORITY_LOW = 0, PRIORITY_MEDIUM = 1, PRIORITY_HIGH = 2 };
#define PRIORITIES 3

enum provider_kind { PROVIDER_MOCK, PROVIDER_GEMINI, PROVIDER_OPENAI, PROVIDER_MODEL_SERVICE };
enum provider_mode { MODE_DEFAULT, MODE_COMBINED, MODE_CONCURRENT, MODE_ARRAY };
enum batch_policy { POLICY_WINDOW, POLICY_ADAPTIVE };
enum auth_required { AUTH_AUTO, AUTH_ON, AUTH_OFF };
enum on_unknown { ON_UNKNOWN_REPORT, ON_UNKNOWN_RETRY };
enum cache_mode { CACHE_OFF, CACHE_EXACT };
enum redis_on_loss { REDIS_LOSS_LOCAL, REDIS_LOSS_REFUSE };

#define CONF_TEXT 512 /* bytes of a text option, its terminator included */

struct conf_batch {
    uint32_t window_ms, max_batch, tokens, latency_ms;
    enum batch_policy policy;
};

#define CONF_PRICES_MAX 128
struct conf_price {
    char model[128];
    double usd_in, usd_out; /* per million tokens */
};

/* One member an option, in the order of etc/carpool.conf. An empty text means "not set". */
struct conf {
    struct {
        char base_path[CONF_TEXT];
        uint64_t max_body_bytes;
        char cors_allow_origin[CONF_TEXT];
        char app_name[CONF_TEXT];
    } server;
    struct {
        enum auth_required required;
        char api_key[CONF_TEXT], admin_key[CONF_TEXT]; /* API_KEY, ADMIN_KEY: environment only */
    } auth;
    struct {
        uint32_t processes, threads, manage_threads, capacity;
    } worker;
    struct {
        char socket[CONF_TEXT]; /* default: <storage.dir>/coordinator.sock */
        bool autostart;
        uint32_t idle_exit_s;
        bool sandbox;
    } coordinator;
    struct {
        char dir[CONF_TEXT];
        uint64_t map_max_mib;
        uint32_t chat_retention_days;
    } storage;
    struct {
        enum provider_kind kind;
        bool kind_chosen; /* by file or environment, or by a key that names its provider */
        char base_url[CONF_TEXT];
        char model[CONF_TEXT];
        char models[CONF_TEXT]; /* comma-separated */
        char api_key[CONF_TEXT];
        char api_key_file[CONF_TEXT];
        enum provider_mode mode;
        uint32_t max_concurrency, timeout_ms;
        double temperature; /* NaN: left to the provider */
        uint32_t max_tokens, context_tokens;
        bool allow_http;
        uint32_t mock_latency_ms;
    } provider;
    struct {
        bool flush_when_all_wait;
    } batch;
    struct conf_batch priority[PRIORITIES]; /* [batch_low], [batch_medium], [batch_high] */
    struct {
        uint32_t queue_max, waiting_max;
        double tenant_share;
        uint32_t requests_per_minute, tokens_per_minute; /* of an API key; 0: none */
        uint32_t user_requests_per_minute, user_tokens_per_minute;
    } limits;
    struct {
        uint32_t attempts, base_ms, cap_ms;
        uint32_t budget_percent;   /* of calls that may be retried; 100: no limit */
        uint32_t breaker_failures; /* in a row, after which nothing is sent for a while; 0: never */
    } retry;
    struct {
        uint32_t ttl_hours;
        enum on_unknown on_unknown;
    } idempotency;
    struct {
        enum cache_mode mode;
        uint32_t ttl_hours, entries;
    } cache;
    struct {
        bool enabled, enabled_chosen; /* chosen: somebody said on or off; else a URL that was set means on */
        char url[CONF_TEXT];
        enum redis_on_loss on_loss;
        uint32_t max_connections;
    } redis;
    struct {
        bool enabled;
        char bootstrap_servers[CONF_TEXT], options_file[CONF_TEXT], request_topic[CONF_TEXT],
            metrics_topic[CONF_TEXT], error_topic[CONF_TEXT];
    } kafka;
    struct {
        char level[32];
        char dir[CONF_TEXT]; /* default: <storage.dir>/logs */
        char file[CONF_TEXT];
        bool debug;
    } log;
    struct conf_price prices[CONF_PRICES_MAX]; /* [prices], one line a model */
    size_t prices_n;
    char file[PATH_MAX]; /* the file that was read, absolute; empty when there was none */
};

/*
 * Fills *ret_conf. file may be NULL: then $CARPOOL_CONF, else carpool.conf beside the running program, else
 * ../carpool.conf from there, else ~/.config/carpool.conf, else etc/carpool/carpool.conf one or two
 * directories above it, else /etc/carpool/carpool.conf; none of them found
 * is not an error. Every value is checked against its range; the error names file and line, or the variable,
 * the rule, and the value that broke it. An unknown section or key, or a CARPOOL_ variable that is no option,
 * is an error; an empty variable counts as not set. Two provider keys (GEMINI_API_KEY and OPENAI_API_KEY)
 * without provider.kind, or provider.api_key without any: an error. Relative paths are made absolute, from
 * the current directory. Blocks on files only. What is secret in it is remembered (redact.h), also on
 * failure.
 */
MUST_CHECK
int conf_load(const char *file, struct conf *ret_conf, struct err *e);

/* Overwrites the secrets (sodium_memzero). */
void conf_wipe(struct conf *c);

/* What stays known of the environment's secrets, for children that are started later. */
enum conf_keep { CONF_KEEP_NOTHING, CONF_KEEP_CALLERS /* auth.api_key and admin_key */, CONF_KEEP_ALL };

/* Overwrites each secret option's variables in the environment (getenv then finds them empty, which counts as
 * not set), so that /proc/PID/environ does not show them. After conf_load, before threads. ERR_NOMEM: some
 * are left. */
MUST_CHECK
int conf_hide_environment(enum conf_keep keep, struct err *e);
/* The environment with what was kept, for a child: NULL-terminated, to be freed by free(); its lines stay
 * where they are. NULL: no memory. Any thread. */
char **conf_environment(void);
/* Wipes what was kept. */
void conf_forget_environment(void);

/* Names for people and for JSON: "HIGH", "openai", "combined", … */
const char *conf_priority_name(enum priority p);
const char *conf_provider_name(enum provider_kind k);
const char *conf_mode_name(enum provider_mode m);
const char *conf_policy_name(enum batch_policy p);
/* The other way; case is ignored. ERR_INVAL. */
MUST_CHECK
int conf_priority_parse(const char *text, enum priority *ret_priority);
MUST_CHECK
int conf_provider_parse(const char *text, enum provider_kind *ret_kind);
MUST_CHECK
int conf_mode_parse(const char *text, enum provider_mode *ret_mode);
MUST_CHECK
int conf_policy_parse(const char *text, enum batch_policy *ret_policy);

/* Calls emit once an option: section, key, environment name, default as text. For the lint that holds
 * etc/carpool.conf to the table. */
void conf_describe(void (*emit)(void *arg, const char *section, const char *key, const char *env,
                                const char *fallback),
                   void *arg);

#endif
