/* The command line; see args.h. */
#include "ctl/args.h"

#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/chats.h"

#define LIMIT_MAX  4000000000u /* as limits.requests_per_minute */
#define BUDGET_MAX 1e9
#define GRACE_MAX  31622400u /* 366 days */
#define ROWS_MAX   10000u
#define WAIT_MAX   86400u

#define CONCURRENCY_MAX 4096u
#define ID_PREFIX_MAX   64u

/* Only digits, so that neither signs nor spaces pass. */
static bool parse_number(const char *text, uint32_t max, uint32_t *ret_number)
{
    char *end;
    if (!text[0] || strlen(text) > 10 || strspn(text, "0123456789") != strlen(text))
        return false;
    unsigned long long n = strtoull(text, &end, 10);
    if (*end || n > max)
        return false;
    *ret_number = (uint32_t)n;
    return true;
}

bool args_parse_duration(const char *text, uint32_t max_s, uint32_t *ret_s)
{
    static const struct {
        char unit;
        uint32_t seconds;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char digits[12] = "";
    uint32_t factor = 1, n;
    size_t len = strspn(text, "0123456789");
    if (!len || len >= sizeof(digits))
        return false;
    memcpy(digits, text, len);
    if (text[len]) {
        factor = 0;
        for (size_t i = 0; i < ARRAY_LEN(units); i++)
            if (text[len] == units[i].unit && !text[len + 1])
                factor = units[i].seconds;
    }
    if (!factor || !parse_number(digits, max_s / factor, &n))
        return false;
    *ret_s = n * factor;
    return true;
}

static bool parse_budget(const char *text, double *ret_usd)
{
    char *end;
    if (!text[0] || strspn(text, "0123456789.") != strlen(text))
        return false;
    double usd = strtod(text, &end);
    if (*end || !isfinite(usd) || usd > BUDGET_MAX || (usd > 0 && usd < 1e-6))
        return false;
    *ret_usd = usd;
    return true;
}

/* ---- what options take: false when the value breaks the rule ---- */

static bool take_help(struct args *a, const char *value)
{
    (void)value;
    return a->help = true;
}

static bool take_version(struct args *a, const char *value)
{
    (void)value;
    return a->version = true;
}

static bool take_json(struct args *a, const char *value)
{
    (void)value;
    return a->json = true;
}

static bool take_config(struct args *a, const char *value)
{
    a->config = value;
    return true;
}

static bool take_role(struct args *a, const char *value)
{
    a->role = value;
    return !strcmp(value, "client") || !strcmp(value, "admin");
}

static bool take_label(struct args *a, const char *value)
{
    a->label = value;
    return true;
}

static bool take_requests(struct args *a, const char *value)
{
    return parse_number(value, LIMIT_MAX, &a->requests_per_minute);
}

static bool take_tokens(struct args *a, const char *value)
{
    return parse_number(value, LIMIT_MAX, &a->tokens_per_minute);
}

static bool take_budget(struct args *a, const char *value)
{
    return parse_budget(value, &a->budget_usd);
}

static bool take_grace(struct args *a, const char *value)
{
    return args_parse_duration(value, GRACE_MAX, &a->grace_s);
}

static bool take_limit(struct args *a, const char *value)
{
    return parse_number(value, ROWS_MAX, &a->limit) && a->limit;
}

static bool take_api_key_file(struct args *a, const char *value)
{
    a->api_key_file = value;
    return value[0];
}

static bool take_timeout(struct args *a, const char *value)
{
    return args_parse_duration(value, WAIT_MAX, &a->timeout_s);
}

static bool take_provider_key(struct args *a, const char *value)
{
    (void)value;
    return a->with_provider_key = true;
}

static bool take_format(struct args *a, const char *value)
{
    static const char *const names[] = {
        [FORMAT_JSONL] = "jsonl", [FORMAT_CSV] = "csv", [FORMAT_TEXT] = "text"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (!strcmp(value, names[i])) {
            a->format = (enum args_format)i;
            return true;
        }
    return false;
}

static bool take_from(struct args *a, const char *value)
{
    return clock_parse_rfc3339(slice_of(value), &a->from_us);
}

static bool take_to(struct args *a, const char *value)
{
    return clock_parse_rfc3339(slice_of(value), &a->to_us);
}

static bool take_username(struct args *a, const char *value)
{
    a->username = value;
    return strlen(value) <= CHAT_NAME_MAX;
}

static bool take_priority(struct args *a, const char *value)
{
    return !conf_priority_parse(value, &a->priority);
}

static bool take_output(struct args *a, const char *value)
{
    a->output = value;
    return value[0];
}

static bool take_concurrency(struct args *a, const char *value)
{
    return parse_number(value, CONCURRENCY_MAX, &a->concurrency) && a->concurrency;
}

/* Leaves room for the 32 digits that are put behind it. */
static bool take_id_prefix(struct args *a, const char *value)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-";
    a->id_prefix = value;
    return value[0] && strlen(value) <= ID_PREFIX_MAX && strspn(value, letters) == strlen(value);
}

static bool take_key(struct args *a, const char *value)
{
    a->key = value;
    return value[0];
}

#define RULE_LIMIT "a whole number up to 4000000000; 0 is the configuration's limit"
#define RULE_TIME  "a date such as 2026-02-01 or a date-time of RFC 3339"

/* bit 0: every command takes it. rule NULL: there is no value. */
static const struct option_rule {
    const char *name;
    unsigned bit;
    const char *rule;
    bool (*take)(struct args *a, const char *value);
} rules[] = {
    {"help", 0, NULL, take_help},
    {"version", 0, NULL, take_version},
    {"json", 0, NULL, take_json},
    {"config", 0, "a file", take_config},
    {"role", ARG_ROLE, "client or admin", take_role},
    {"label", ARG_LABEL, "a text", take_label},
    {"requests-per-minute", ARG_REQUESTS, RULE_LIMIT, take_requests},
    {"tokens-per-minute", ARG_TOKENS, RULE_LIMIT, take_tokens},
    {"budget", ARG_BUDGET, "an amount of USD such as 12.50; 0 is any", take_budget},
    {"grace", ARG_GRACE, "a time such as 90s, 15m, 24h or 7d, up to 366d", take_grace},
    {"limit", ARG_LIMIT, "a whole number from 1 to 10000", take_limit},
    {"api-key-file", ARG_API_KEY_FILE, "a file, or - for standard input", take_api_key_file},
    {"timeout", ARG_TIMEOUT, "a time such as 90s or 15m, up to 24h", take_timeout},
    {"with-provider-key", ARG_PROVIDER_KEY, NULL, take_provider_key},
    {"format", ARG_FORMAT, "jsonl, csv or text", take_format},
    {"from", ARG_FROM, RULE_TIME, take_from},
    {"to", ARG_TO, RULE_TIME, take_to},
    {"username", ARG_USERNAME, "at most 128 bytes long", take_username},
    {"priority", ARG_PRIORITY, "HIGH, MEDIUM or LOW", take_priority},
    {"output", ARG_OUTPUT, "a file, or - for standard output", take_output},
    {"concurrency", ARG_CONCURRENCY, "a whole number from 1 to 4096", take_concurrency},
    {"id-prefix", ARG_ID_PREFIX, "1 to 64 characters of A-Z, a-z, 0-9 and . _ : -", take_id_prefix},
    {"key", ARG_KEY, "a label or an id", take_key},
};

#define FIRST_OPTION 256 /* beyond the characters that getopt gives */

static void list_options(struct option options[ARRAY_LEN(rules) + 1])
{
    memset(options, 0, (ARRAY_LEN(rules) + 1) * sizeof(*options));
    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        options[i].name = rules[i].name;
        options[i].has_arg = rules[i].rule ? required_argument : no_argument;
        options[i].val = FIRST_OPTION + (int)i;
    }
}

static int take_option(struct args *a, const struct option_rule *o, const char *value, struct err *e)
{
    a->given |= o->bit;
    return o->take(a, value) ? 0 : err_set(e, ERR_INVAL, "--%s must be %s.", o->name, o->rule);
}

/* What getopt has just met. In the middle of letters, such as -xy, optind is still that of the word. */
static int refuse_option(char **argv, struct err *e)
{
    if (optopt >= FIRST_OPTION)
        return err_set(e, ERR_INVAL, "--%s takes no value; see --help.", rules[optopt - FIRST_OPTION].name);
    if (optopt)
        return err_set(e, ERR_INVAL, "-%c is not an option of this program; see --help.", optopt);
    return err_set(e, ERR_INVAL, "%s is not an option of this program; see --help.", argv[optind - 1]);
}

static int take_word(struct args *a, const char *word, struct err *e)
{
    if (a->words_n == ARGS_WORDS_MAX)
        return err_set(e, ERR_INVAL, "There are too many words in the command; see --help.");
    a->words[a->words_n++] = word;
    return 0;
}

int args_parse(int argc, char **argv, struct args *ret_args, struct err *e)
{
    struct option options[ARRAY_LEN(rules) + 1];
    struct args a = {0};
    int option, rc = 0;
    list_options(options);
    opterr = 0;
    optind = 0;
    /* -: words come in their order, as 1; POSIXLY_CORRECT would end the options at the first one. */
    while (!rc && (option = getopt_long(argc, argv, "-:", options, NULL)) != -1) {
        if (option == 1)
            rc = take_word(&a, optarg, e);
        else if (option >= FIRST_OPTION)
            rc = take_option(&a, &rules[option - FIRST_OPTION], optarg, e);
        else if (option == ':')
            rc = err_set(e, ERR_INVAL, "%s needs a value; see --help.", argv[optind - 1]);
        else
            rc = refuse_option(argv, e);
    }
    for (int i = optind; !rc && i < argc; i++)
        rc = take_word(&a, argv[i], e);
    if (!rc)
        *ret_args = a;
    return rc;
}

int args_check(const struct args *a, unsigned taken, size_t words, size_t more, const char *usage,
               struct err *e)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (rules[i].bit & a->given & ~taken)
            return err_set(e, ERR_INVAL, "--%s is no option of this command: carpoolctl %s", rules[i].name,
                           usage);
    if (a->words_n < words + 2 || a->words_n > words + more + 2)
        return err_set(e, ERR_INVAL, "The command should be: carpoolctl %s", usage);
    return 0;
}
