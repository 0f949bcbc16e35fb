/*
 * The command line of carpoolctl: words and options in any order. Which of them a command takes is checked
 * here, too, so that a command finds only what it knows.
 */
#ifndef CARPOOL_CTL_ARGS_H
#define CARPOOL_CTL_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define ARGS_WORDS_MAX 8

/* Bits of args.given, and of what a command takes. */
enum arg {
    ARG_ROLE = 1,
    ARG_LABEL = 2,
    ARG_REQUESTS = 4,
    ARG_TOKENS = 8,
    ARG_BUDGET = 16,
    ARG_GRACE = 32,
    ARG_LIMIT = 64,
};

struct args {
    bool json, help, version;
    const char *config; /* NULL: not given */
    unsigned given;
    const char *role, *label;
    uint32_t requests_per_minute, tokens_per_minute;
    double budget_usd;
    uint32_t grace_s;
    uint32_t limit;
    const char *words[ARGS_WORDS_MAX];
    size_t words_n;
};

/* ERR_INVAL with a sentence. Lends from argv, whose order it may change. */
MUST_CHECK
int args_parse(int argc, char **argv, struct args *ret_args, struct err *e);
/* The options given must be among those taken, and so many words must follow group and command. */
MUST_CHECK
int args_check(const struct args *a, unsigned taken, size_t words, const char *usage, struct err *e);

/* "90", "90s", "15m", "24h", "7d": seconds. */
MUST_CHECK
bool args_parse_duration(const char *text, uint32_t max_s, uint32_t *ret_s);

#endif
