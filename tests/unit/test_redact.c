/* Secrets taken out of texts. */
#include <criterion/criterion.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/redact.h"

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

static void expect_redacted(const char *text, const char *expected)
{
    char bytes[512];
    strcpy(bytes, text);
    redact(bytes, strlen(bytes));
    cr_assert_str_eq(bytes, expected, "%s: %s, not %s", text, bytes, expected);
}

Test(redact, texts_of_carpoolctl)
{
    expect_redacted("key cp_9C53HmXht81cQqtsylBHZMNAKtNvi4Szeb7NW0MHMQI.",
                    "key **********************************************.");
    expect_redacted("{\"key\":\"cp_9e0m7zX5I85ZjiAbYtpXqjY2P4IFG1gJxr10-WFYKP_\"}",
                    "{\"key\":\"**********************************************\"}");
    expect_redacted("cp_a_word_that_is_long_enough_to_be_a_key_but_",
                    "**********************************************");
    expect_redacted("scp_9C53HmXht81cQqtsylBHZMNAKtNvi4Szeb7NW0MHMQI",
                    "scp_9C53HmXht81cQqtsylBHZMNAKtNvi4Szeb7NW0MHMQI");
    expect_redacted("cp_copied_files_of_the_night", "cp_copied_files_of_the_night");
}

Test(redact, what_was_remembered)
{
    expect_redacted("my-provider-key", "my-provider-key");
    redact_remember(SLICE_LITERAL("my-provider-key"));
    redact_remember(SLICE_LITERAL("my-provider-key"));
    redact_remember(SLICE_LITERAL("my-provider-key-2"));
    redact_remember(SLICE_LITERAL("short"));
    redact_remember((struct slice){0});
    redact_remember(SLICE_LITERAL("redis://user:of-a-url-x@host:1/a:b@c"));
    redact_remember(SLICE_LITERAL("https://a.host.without:8080/password"));
    redact_remember(SLICE_LITERAL("https://user@host.without.password"));
    expect_redacted("of-a-url-x at host:1", "********** at host:1");
    expect_redacted("https://a.host.without:8080/password", "https://a.host.without:8080/password");
    expect_redacted("a my-provider-key, amy-provider-keyb", "a ***************, a***************b");
    expect_redacted("my-provider-key-2", "*****************");
    expect_redacted("my-provider-ke short my-provider-ke", "my-provider-ke short my-provider-ke");
    redact_forget();
    expect_redacted("my-provider-key", "my-provider-key");
    for (int i = 0; i < 3 * REDACT_SECRETS; i++) {
        char secret[32];
        snprintf(secret, sizeof(secret), "secret-%d-x", 1000 + i);
        redact_remember(slice_of(secret));
    }
    expect_redacted("secret-1000-x secret-1095-x", "secret-1000-x *************");
    redact_forget();
    redact_remember(SLICE_LITERAL("after all"));
    expect_redacted("after all", "*********");
    redact_forget();
}

Test(redact, what_looks_like_a_secret)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"key sk-abcdefghij123456.", "key *******************."},
        {"sk-short", "sk-short"},
        {"a task-oriented-programming-language", "a task-oriented-programming-language"},
        {"\\nsk-abcdefghij123456", "\\n*******************"},
        {"\\u000ask-abcdefghij123456", "\\u000a*******************"},
        {"AIzaSyA1234567890abcdef", "***********************"},
        {"id-AIzaSyA1234567890abcdef", "id-***********************"},
        {"xAIzaSyA1234567890abcdef", "xAIzaSyA1234567890abcdef"},
        {"gsk_abcdefghij123456", "********************"},
        {"Authorization: Bearer abcdef1234.x", "Authorization: Bearer ************"},
        {"bearer  abcdef1234", "bearer  **********"},
        {"the bearer of bad and unexpected tidings", "the bearer of bad and unexpected tidings"},
        {"Bearer realm=\"x\"", "Bearer realm=\"x\""},
        {"Basic dXNlcjpwYXNz==", "Basic **************"},
        {"GET /v1?key=abc&x=1&token=d", "GET /v1?key=***&x=1&token=*"},
        {"?monkey=abc", "?monkey=abc"},
        {"redis://user:secret@host:6379/0", "redis://user:******@host:6379/0"},
        {"redis://:p@ss@host", "redis://:****@host"},
        {"http://host:8080/a@b", "http://host:8080/a@b"},
        {"https://user@host", "https://user@host"},
        {"{\"api_key\":\"abc12345\"}", "{\"api_key\":\"********\"}"},
        {"{\\\"password\\\": \\\"hunter22x\\\"}", "{\\\"password\\\": \\\"*********\\\"}"},
        {"X-Api-Key: abc12345", "X-Api-Key: ********"},
        {"password: wonderful", "password: wonderful"},
        {"", ""},
        {"://", "://"},
        {"?", "?"},
        {"api_key=", "api_key="},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        expect_redacted(cases[i].text, cases[i].expected);
}

/* Each name that a value may follow, in both cases; what begins a key, in its own. */
Test(redact, every_beginning)
{
    static const char *const names[] = {"?key=",   "&api_key=",  "?apikey=", "&api-key=", "?access_token=",
                                        "&token=", "?password=", "&secret=", "://user:",  "bearer ",
                                        "basic ",  "api_key: ",  "apikey=",  "api-key: ", "password: "};
    static const char *const keys[] = {"sk-", "AIza", "gsk_", "xai-", "hf_"};
    for (size_t i = 0; i < 2 * ARRAY_LEN(names); i++) {
        char text[64], expected[64], name[32];
        strcpy(name, names[i / 2]);
        for (char *p = name; *p && i % 2; p++)
            *p = (char)toupper(*p);
        const char *rest = name[0] == ':' ? "@host" : "";
        snprintf(text, sizeof(text), "%sabcdef1234%s", name, rest);
        snprintf(expected, sizeof(expected), "%s**********%s", name, rest);
        expect_redacted(text, expected);
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        char text[64], expected[64];
        snprintf(text, sizeof(text), "%sabcdefghij123456", keys[i]);
        snprintf(expected, sizeof(expected), "%.*s", (int)strlen(text), "********************************");
        expect_redacted(text, expected);
    }
}

/* Whatever the bytes: it stays inside them (AddressSanitizer sees), and what it leaves it leaves for good. */
Test(redact, random_bytes)
{
    static const char alphabet[] = "skAIza-:/@?&key=1 \"\\nBearer password";
    redact_remember(SLICE_LITERAL("aaaaaaaa"));
    srand(1);
    for (int round = 0; round < 20000; round++) {
        size_t n = (size_t)(rand() % 60);
        char *text = malloc(n + 1), before[64];
        cr_assert_not_null(text);
        for (size_t i = 0; i < n; i++)
            text[i] = alphabet[(size_t)rand() % (sizeof(alphabet) - 1)];
        text = realloc(text, n ? n : 1);
        cr_assert_not_null(text);
        memcpy(before, text, n);
        redact(text, n);
        for (size_t i = 0; i < n; i++)
            cr_assert(text[i] == before[i] || text[i] == '*');
        free(text);
    }
    redact_forget();
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
