/* UTF-8: every boundary of RFC 3629, and cutting between characters. */
#include <criterion/criterion.h>

#include "base/err.h"
#include "base/utf8.h"

Test(utf8, accepts_the_edges_of_every_length)
{
    static const char *const good[] = {
        "\x01",         "\x7f",         "\xc2\x80",     "\xdf\xbf",         "\xe0\xa0\x80",
        "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        struct slice s = slice_of(good[i]);
        cr_assert_eq(utf8_char_size(s), s.n);
        cr_assert_eq(utf8_valid_prefix(s), s.n);
        for (size_t n = 0; n < s.n; n++)
            cr_assert_eq(utf8_char_size((struct slice){s.p, n}), 0, "cut at %zu of %zu", n, s.n);
    }
}

Test(utf8, refuses_what_is_none)
{
    static const char *const bad[] = {
        "\x80",         "\xbf",         "\xc0\x80",         "\xc1\xbf",         "\xe0\x9f\xbf",
        "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xff",         "\xc2\x41",     "\xe1\x80\x41",     "\xf1\x80\x80\x41", "\xe1\x41\x80"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char text[64];
        cr_assert_eq(utf8_char_size(slice_of(bad[i])), 0);
        /* Behind a run of ASCII that is read in words, at every alignment. */
        for (size_t lead = 0; lead < 20; lead++) {
            memset(text, 'a', lead);
            strcpy(text + lead, bad[i]);
            strcat(text, "tail, long enough for a word");
            cr_assert_eq(utf8_valid_prefix(slice_of(text)), lead);
        }
    }
}

Test(utf8, nul_is_a_character)
{
    cr_assert_eq(utf8_valid_prefix(SLICE_LITERAL("a\0b")), 3);
    cr_assert_eq(utf8_valid_prefix((struct slice){0}), 0);
}

Test(utf8, cuts_between_characters)
{
    struct slice s = SLICE_LITERAL("a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"); /* sizes 1, 2, 3, 4 */
    static const size_t expected[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    for (size_t max = 0; max < ARRAY_LEN(expected); max++)
        cr_assert_eq(utf8_truncate(s, max).n, expected[max], "at %zu", max);
}
