/* The command line; see args.h. */
#include "ctl/args.h"

#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_MAX  4000000000u /* as limits.requests_per_minute */
#define BUDGET_MAX 1e9
#define GRACE_MAX  31622400u /* 366 days */
#define ROWS_MAX   10000u

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

enum { OPTION_HELP = 256, OPTION_VERSION, OPTION_JSON, OPTION_CONFIG };

static const struct option options[] = {{"help", no_argument, NULL, OPTION_HELP},
                                        {"version", no_argument, NULL, OPTION_VERSION},
                                        {"json", no_argument, NULL, OPTION_JSON},
                                        {"config", required_argument, NULL, OPTION_CONFIG},
                                        {"role", required_argument, NULL, ARG_ROLE},
                                        {"label", required_argument, NULL, ARG_LABEL},
                                        {"requests-per-minute", required_argument, NULL, ARG_REQUESTS},
                                        {"tokens-per-minute", required_argument, NULL, ARG_TOKENS},
                                        {"budget", required_argument, NULL, ARG_BUDGET},
                                        {"grace", required_argument, NULL, ARG_GRACE},
                                        {"limit", required_argument, NULL, ARG_LIMIT},
                                        {0}};

static const char *name_of(int option)
{
    for (size_t i = 0; options[i].name; i++)
        if (options[i].val == option)
            return options[i].name;
    return "?";
}

static int take_value(struct args *a, int option, const char *value, struct err *e)
{
    const char *rule = NULL;
    a->given |= (unsigned)option;
    if (option == ARG_ROLE) {
        a->role = value;
        if (strcmp(value, "client") != 0 && strcmp(value, "admin") != 0)
            rule = "client or admin";
    } else if (option == ARG_LABEL)
        a->label = value;
    else if (option == ARG_REQUESTS && !parse_number(value, LIMIT_MAX, &a->requests_per_minute))
        rule = "a whole number up to 4000000000; 0 is the configuration's limit";
    else if (option == ARG_TOKENS && !parse_number(value, LIMIT_MAX, &a->tokens_per_minute))
        rule = "a whole number up to 4000000000; 0 is the configuration's limit";
    else if (option == ARG_BUDGET && !parse_budget(value, &a->budget_usd))
        rule = "an amount of USD such as 12.50; 0 is any";
    else if (option == ARG_GRACE && !args_parse_duration(value, GRACE_MAX, &a->grace_s))
        rule = "a time such as 90s, 15m, 24h or 7d, up to 366d";
    else if (option == ARG_LIMIT && (!parse_number(value, ROWS_MAX, &a->limit) || !a->limit))
        rule = "a whole number from 1 to 10000";
    return rule ? err_set(e, ERR_INVAL, "--%s must be %s.", name_of(option), rule) : 0;
}

int args_parse(int argc, char **argv, struct args *ret_args, struct err *e)
{
    struct args a = {0};
    int option, rc = 0;
    opterr = 0;
    optind = 0;
    while (!rc && (option = getopt_long(argc, argv, ":", options, NULL)) != -1) {
        if (option == OPTION_HELP)
            a.help = true;
        else if (option == OPTION_VERSION)
            a.version = true;
        else if (option == OPTION_JSON)
            a.json = true;
        else if (option == OPTION_CONFIG)
            a.config = optarg;
        else if (option == ':')
            rc = err_set(e, ERR_INVAL, "%s needs a value; see --help.", argv[optind - 1]);
        else if (option == '?')
            rc = err_set(e, ERR_INVAL, "%s is not an option of this program; see --help.", argv[optind - 1]);
        else
            rc = take_value(&a, option, optarg, e);
    }
    for (int i = optind; !rc && i < argc; i++) {
        if (a.words_n == ARGS_WORDS_MAX)
            return err_set(e, ERR_INVAL, "There are too many words in the command; see --help.");
        a.words[a.words_n++] = argv[i];
    }
    if (!rc)
        *ret_args = a;
    return rc;
}

int args_check(const struct args *a, unsigned taken, size_t words, const char *usage, struct err *e)
{
    for (size_t i = 0; options[i].name; i++) {
        int option = options[i].val;
        if (option < OPTION_HELP && ((unsigned)option & a->given & ~taken))
            return err_set(e, ERR_INVAL, "--%s is no option of this command: carpoolctl %s", options[i].name,
                           usage);
    }
    if (a->words_n != words + 2)
        return err_set(e, ERR_INVAL, "The command should be: carpoolctl %s", usage);
    return 0;
}
