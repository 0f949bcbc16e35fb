/* LINK: fcgi_app/ctl/csv.c */
/* Cells of tables: quoted where it is needed, and never a formula. */
#include "ctl/csv.h"

#include <criterion/criterion.h>

#define S(text) SLICE_LITERAL(text)

static void check(struct slice text, const char *cell)
{
    struct buf b;
    buf_init(&b, 1000);
    csv_text(&b, text);
    cr_assert(buf_failed(&b) || slice_is(buf_slice(&b), cell), "%s instead of %s", buf_slice(&b).p, cell);
    buf_fini(&b);
}

Test(csv, quotes_what_has_to_be)
{
    check((struct slice){0}, "");
    check(S(""), "");
    check(S("plain text"), "plain text");
    check(S("a,b"), "\"a,b\"");
    check(S("say \"hi\""), "\"say \"\"hi\"\"\"");
    check(S("\"\""), "\"\"\"\"\"\"");
    check(S("two\nlines"), "\"two\nlines\"");
    check(S("carriage\r"), "\"carriage\r\"");
    /* LibreOffice divides at these, too, unless it is told not to: what follows would be a cell of its own.
     */
    check(S("a;=1+1"), "\"a;=1+1\"");
    check(S("a\t=1+1"), "\"a\t=1+1\"");
}

Test(csv, is_no_formula)
{
    check(S("=1+1"), "'=1+1");
    check(S("+1"), "'+1");
    check(S("-1"), "'-1");
    check(S("@SUM(A1)"), "'@SUM(A1)");
    check(S("=a,b"), "\"'=a,b\"");
    check(S("  =1"), "'  =1");
    check(S("\xc2\xa0=1"), "'\xc2\xa0=1");
    check(S("\xe2\x80\x83=1"), "'\xe2\x80\x83=1"); /* em space */
    check(S("\xe3\x80\x80\xef\xbb\xbf=1"), "'\xe3\x80\x80\xef\xbb\xbf=1");
    check(S("\xef\xbc\x9d"
            "1"),
          "'\xef\xbc\x9d"
          "1"); /* the wide = */
    check(S("\xef\xbc\xa0x"), "'\xef\xbc\xa0x");
    check(S("\tx"), "\"'\tx\"");
    check(S("\nx"), "\"'\nx\"");
    check(S("a=1"), "a=1");
    check(S("\xe2\x80\x8b=1"), "\xe2\x80\x8b=1"); /* a space of no width is none to them */
    check(S("\xe2\x80"), "\xe2\x80");
}
