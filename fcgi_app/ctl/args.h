/*
 * The command line of carpoolctl: words and options in any order. Which of them a command takes is checked
 * here, too, so that a command finds only what it knows.
 */
#ifndef CARPOOL_CTL_ARGS_H
#define CARPOOL_CTL_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/conf.h"
#include "base/err.h"

#define ARGS_WORDS_MAX 24

/* Bits of args.given, and of what a command takes. */
enum arg {
    ARG_ROLE = 1,
    ARG_LABEL = 2,
    ARG_REQUESTS = 4,
    ARG_TOKENS = 8,
    ARG_BUDGET = 16,
    ARG_GRACE = 32,
    ARG_LIMIT = 64,
    ARG_API_KEY_FILE = 128,
    ARG_TIMEOUT = 256,
    ARG_PROVIDER_KEY = 512,
    ARG_FORMAT = 1024,
    ARG_FROM = 2048,
    ARG_TO = 4096,
    ARG_USERNAME = 8192,
    ARG_PRIORITY = 16384,
    ARG_OUTPUT = 1 << 24,
    ARG_CONCURRENCY = 1 << 25,
    ARG_ID_PREFIX = 1 << 26,
    ARG_KEY = 1 << 27,
};

enum args_format { FORMAT_JSONL, FORMAT_CSV, FORMAT_TEXT };

struct args {
    bool json, help, version;
    const char *config; /* NULL: not given */
    unsigned given;
    const char *role, *label;
    uint32_t requests_per_minute, tokens_per_minute;
    double budget_usd;
    uint32_t grace_s;
    uint32_t limit;
    const char *api_key_file; /* "-": standard input */
    uint32_t timeout_s;
    bool with_provider_key;
    enum args_format format;
    uint64_t from_us, to_us; /* since 1970; 0: not given */
    const char *username;
    enum priority priority;
    const char *output; /* "-": standard output */
    uint32_t concurrency;
    const char *id_prefix;
    const char *key; /* a label or an id, as for `key set` */
    const char *words[ARGS_WORDS_MAX];
    size_t words_n;
};

/* ERR_INVAL with a sentence. Lends from argv. */
MUST_CHECK
int args_parse(int argc, char **argv, struct args *ret_args, struct err *e);
/* The options given must be among those taken, and so many words, and up to `more` others, must follow group
 * and command. */
MUST_CHECK
int args_check(const struct args *a, unsigned taken, size_t words, size_t more, const char *usage,
               struct err *e);

/* "90", "90s", "15m", "24h", "7d": seconds. */
MUST_CHECK
bool args_parse_duration(const char *text, uint32_t max_s, uint32_t *ret_s);

#endif
