/* Secrets taken out of texts. */
#include <criterion/criterion.h>
#include <string.h>

#include "base/err.h"
#include "provider/redact.h"

Test(redact, every_occurrence_and_nothing_else)
{
    static const struct {
        const char *text, *secret, *expected;
    } cases[] = {
        {"key sk-1 is bad", "sk-1", "key **** is bad"},
        {"sk-1", "sk-1", "****"},
        {"sk-1sk-1 sk-1", "sk-1", "******** ****"},
        {"sk-sk-1", "sk-1", "sk-****"},
        {"aaaaa", "aa", "****a"},
        {"SK-1 sk-", "sk-1", "SK-1 sk-"},
        {"sk", "sk-1", "sk"},
        {"", "sk-1", ""},
        {"nothing to hide", "", "nothing to hide"},
        {"x", "x", "*"},
        {"***", "*", "***"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[64];
        strcpy(text, cases[i].text);
        redact_secret(text, strlen(text), slice_of(cases[i].secret));
        cr_assert_str_eq(text, cases[i].expected, "%s without %s: %s", cases[i].text, cases[i].secret, text);
    }
}

Test(redact, stays_inside_its_bytes)
{
    char text[] = "sk-1 and sk-1";
    redact_secret(text, sizeof(text) - 2, SLICE_LITERAL("sk-1"));
    cr_assert_str_eq(text, "**** and sk-1", "the last one is not wholly inside");
    redact_secret(text, 0, SLICE_LITERAL("*"));
    cr_assert_str_eq(text, "**** and sk-1");
    redact_secret(text, sizeof(text) - 1, (struct slice){0});
    cr_assert_str_eq(text, "**** and sk-1", "no secret matches nothing");
}

Test(redact, bytes_of_any_value)
{
    char text[] = "a\0key\0b\xffkey";
    redact_secret(text, sizeof(text) - 1, SLICE_LITERAL("\0key"));
    cr_assert_eq(memcmp(text, "a****\0b\xffkey", sizeof(text)), 0);
}
