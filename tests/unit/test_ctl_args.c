/* LINK: fcgi_app/ctl/args.c */
/* The command line of carpoolctl. */
#include "ctl/args.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define MAX 32

/* Splits at spaces and parses. */
static int parse(const char *line, struct args *a, struct err *e)
{
    static char copies[4][512];
    static unsigned turn;
    char *argv[MAX + 1] = {(char *)"carpoolctl"}, *copy = copies[turn++ % 4];
    int argc = 1;
    strcpy(copy, line);
    for (char *word = strtok(copy, " "); word && argc < MAX; word = strtok(NULL, " "))
        argv[argc++] = word;
    *e = (struct err){0};
    return args_parse(argc, argv, a, e);
}

Test(args, words_and_options_in_any_order)
{
    struct args a;
    struct err e;
    cr_assert_eq(parse("--json key --label shop create --role=admin --config x.conf --budget 2.5 "
                       "--requests-per-minute 60 --tokens-per-minute=4000000000",
                       &a, &e),
                 0, "%s", e.text);
    cr_assert(a.json && !a.help && !a.version);
    cr_assert_eq(a.words_n, 2);
    cr_assert_str_eq(a.words[0], "key");
    cr_assert_str_eq(a.words[1], "create");
    cr_assert_str_eq(a.label, "shop");
    cr_assert_str_eq(a.role, "admin");
    cr_assert_str_eq(a.config, "x.conf");
    cr_assert_eq(a.budget_usd, 2.5);
    cr_assert_eq(a.requests_per_minute, 60);
    cr_assert_eq(a.tokens_per_minute, 4000000000u);
    cr_assert_eq(a.given, ARG_LABEL | ARG_ROLE | ARG_BUDGET | ARG_REQUESTS | ARG_TOKENS);
    cr_assert_eq(parse("key import -", &a, &e), 0, "%s", e.text);
    cr_assert_str_eq(a.words[2], "-");
    cr_assert_eq(parse("key revoke -- --label", &a, &e), 0, "%s", e.text);
    cr_assert_str_eq(a.words[2], "--label");
    cr_assert_eq(a.given, 0);
}

Test(args, the_environment_does_not_change_the_order)
{
    struct args a;
    struct err e;
    setenv("POSIXLY_CORRECT", "1", 1);
    cr_assert_eq(parse("key create --json -- --label", &a, &e), 0, "%s", e.text);
    cr_assert(a.json);
    cr_assert_eq(a.words_n, 3);
    cr_assert_str_eq(a.words[1], "create");
    cr_assert_str_eq(a.words[2], "--label");
}

Test(args, what_is_wrong_is_said)
{
    static const char *const lines[][2] = {
        {"key create --role root", "--role"},
        {"key create --role", "--role"},
        {"key create --budget -1", "--budget"},
        {"key create --budget nan", "--budget"},
        {"key create --budget 1e3", "--budget"},
        {"key create --budget 1.2.3", "--budget"},
        {"key create --budget 0.0000001", "--budget"},
        {"key create --budget 1000000001", "--budget"},
        {"key create --budget .", "--budget"},
        {"key create --requests-per-minute 4000000001", "--requests-per-minute"},
        {"key create --requests-per-minute 99999999999999999999", "--requests-per-minute"},
        {"key create --tokens-per-minute -5", "--tokens-per-minute"},
        {"key create --tokens-per-minute 5x", "--tokens-per-minute"},
        {"key rotate x --grace 24", ""},
        {"key rotate x --grace 1w", "--grace"},
        {"key rotate x --grace h", "--grace"},
        {"key rotate x --grace 367d", "--grace"},
        {"key rotate x --grace -1h", "--grace"},
        {"key rotate x --grace 1hh", "--grace"},
        {"audit --limit 0", "--limit"},
        {"audit --limit 10001", "--limit"},
        {"key list --nonsense", "--nonsense"},
        {"status -xy", "-x is not"},
        {"status -x list", "-x is not"},
        {"status --json=1", "--json takes no value"},
        {"export --pri", "--pri"},
        {"1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25", "many words"},
    };
    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        struct args a;
        struct err e;
        int rc = parse(lines[i][0], &a, &e);
        cr_assert_eq(rc, lines[i][1][0] ? ERR_INVAL : 0, "%s: %s", lines[i][0], e.text);
        cr_assert(strstr(e.text, lines[i][1]), "%s: %s", lines[i][0], e.text);
    }
}

Test(args, durations)
{
    static const struct {
        const char *text;
        uint32_t seconds;
    } good[] = {{"0", 0}, {"90", 90}, {"90s", 90}, {"15m", 900}, {"24h", 86400}, {"366d", 31622400}};
    uint32_t s = 7;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        cr_assert(args_parse_duration(good[i].text, 31622400, &s), "%s", good[i].text);
        cr_assert_eq(s, good[i].seconds);
    }
    s = 7;
    static const char *const bad[] = {"",    "s",        "1.5h",       " 1h",         "1h ",
                                      "+1h", "31622401", "4294967297", "99999999999d"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_not(args_parse_duration(bad[i], 31622400, &s), "%s", bad[i]);
    cr_assert_eq(s, 7);
}

Test(args, a_command_gets_what_it_takes)
{
    struct args a;
    struct err e;
    cr_assert_eq(parse("key rotate shop --grace 1h", &a, &e), 0);
    cr_assert_eq(args_check(&a, ARG_GRACE, 1, 0, "key rotate KEY", &e), 0);
    cr_assert_eq(args_check(&a, ARG_LABEL, 1, 0, "key set KEY", &e), ERR_INVAL);
    cr_assert(strstr(e.text, "--grace"), "%s", e.text);
    cr_assert_eq(args_check(&a, ARG_GRACE, 0, 0, "key list", &e), ERR_INVAL);
    cr_assert_eq(args_check(&a, ARG_GRACE, 2, 0, "key copy KEY KEY", &e), ERR_INVAL);
    cr_assert(strstr(e.text, "key copy KEY KEY"), "%s", e.text);
}

Test(args, what_commands_of_many_words_and_options_take)
{
    struct args a;
    struct err e;
    cr_assert_eq(parse("settings set a=1 b=2 --api-key-file -", &a, &e), 0);
    cr_assert_str_eq(a.api_key_file, "-");
    cr_assert_eq(args_check(&a, ARG_API_KEY_FILE, 0, 2, "settings set", &e), 0);
    cr_assert_eq(args_check(&a, ARG_API_KEY_FILE, 0, 1, "settings set", &e), ERR_INVAL);
    cr_assert_eq(parse("export --format csv --from 2026-02-01 --to 2026-02-02T00:00:00Z --username ann "
                       "--priority low --timeout 5m",
                       &a, &e),
                 0, "%s", e.text);
    cr_assert_eq(a.format, FORMAT_CSV);
    cr_assert_eq(a.to_us - a.from_us, 86400000000u);
    cr_assert_str_eq(a.username, "ann");
    cr_assert_eq(a.priority, PRIORITY_LOW);
    cr_assert_eq(a.timeout_s, 300);
    cr_assert_eq(a.given, ARG_FORMAT | ARG_FROM | ARG_TO | ARG_USERNAME | ARG_PRIORITY | ARG_TIMEOUT);
    cr_assert_eq(parse("export --format xml", &a, &e), ERR_INVAL);
    cr_assert_eq(parse("export --from yesterday", &a, &e), ERR_INVAL);
    cr_assert_eq(parse("export --priority 7", &a, &e), ERR_INVAL);
    cr_assert_eq(parse("drain --timeout 2d", &a, &e), ERR_INVAL);
}
