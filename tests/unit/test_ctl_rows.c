/* LINK: fcgi_app/ctl/rows.c */
/* Lines and CSV records of carpoolctl submit. */
#include "ctl/rows.h"

#include <criterion/criterion.h>
#include <string.h>

#define CEILING 200

static struct rows rows;
static FILE *file;

static void start(const char *text, bool csv)
{
    file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");
    cr_assert(file);
    rows_init(&rows, file, csv, CEILING);
}

static void end(void)
{
    cr_assert_eq(rows_next(&rows), 0);
    rows_fini(&rows);
    fclose(file);
}

/* The next row has these fields, parted by '|'. */
static void expect(uint64_t number, const char *fields)
{
    char joined[1024] = "";
    cr_assert_eq(rows_next(&rows), 1);
    cr_assert_null(rows.fault, "%s", rows.fault);
    for (size_t i = 0; i < rows.fields_n; i++) {
        struct slice f = rows_field(&rows, i);
        if (i)
            strcat(joined, "|");
        strncat(joined, f.p, f.n);
        cr_assert_eq(f.p[f.n], 0, "a zero byte is behind each");
    }
    cr_assert_str_eq(joined, fields);
    cr_assert_eq(rows.number, number);
}

static void expect_fault(const char *words)
{
    cr_assert_eq(rows_next(&rows), 1);
    cr_assert(rows.fault && strstr(rows.fault, words), "%s", rows.fault ? rows.fault : "no fault");
}

Test(rows, lines_end_as_on_any_system)
{
    start("\xef\xbb\xbfone\r\ntwo, \"three\"\n\nfo\rur\n", false);
    expect(1, "one");
    expect(2, "two, \"three\"");
    expect(3, "");
    expect(4, "fo\rur");
    cr_assert(!rows.torn);
    end();
}

Test(rows, a_last_line_without_its_end_is_told)
{
    start("one\ntw", false);
    expect(1, "one");
    expect(2, "tw");
    cr_assert(rows.torn);
    end();
    start("", false);
    end();
}

Test(rows, csv_quotes)
{
    start("a,b,c\r\n\"x, \"\"y\"\"\r\nz\",,\"\"\n,,last", true);
    expect(1, "a|b|c");
    expect(2, "x, \"y\"\r\nz||");
    expect(4, "||last");
    cr_assert_eq(rows.fields_n, 3);
    end();
}

Test(rows, csv_that_is_none_is_told_and_passed_over)
{
    start("a\"b,c\n\"ab\"c,d\ngood,one\n\"open", true);
    expect_fault("quotation mark");
    expect_fault("quotation mark");
    expect(3, "good|one");
    expect_fault("ends inside");
    end();
}

Test(rows, a_long_line_is_passed_over)
{
    char text[3 * CEILING];
    memset(text, 'x', sizeof(text));
    strcpy(text + sizeof(text) - 8, "\nnext\n");
    start(text, false);
    expect_fault("longer");
    expect(2, "next");
    end();
}

Test(rows, fields_have_a_ceiling)
{
    char text[2 * ROWS_FIELDS_MAX + 8];
    memset(text, ',', sizeof(text));
    strcpy(text + ROWS_FIELDS_MAX, "\na,b\n");
    start(text, true);
    expect_fault("64 fields");
    expect(2, "a|b");
    end();
}

Test(rows, zero_bytes_are_no_text)
{
    static const char text[] = "a,b\0c\n\"x\0\"\nd\n";
    file = fmemopen((void *)(uintptr_t)text, sizeof(text) - 1, "r");
    cr_assert(file);
    rows_init(&rows, file, true, CEILING);
    expect_fault("zero byte");
    expect_fault("zero byte");
    expect(3, "d");
    end();
}

/* U+FF21 and U+FEF5 begin as the mark does. */
Test(rows, text_that_begins_like_a_mark_is_whole)
{
    static const char *const texts[] = {"\xef\xbc\xa1\xef\xbc\xa2", "\xef\xbb\xb5", "\xef\xbb", "\xef",
                                        "\xef\xbc\xa1\"x\""};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        char text[32];
        snprintf(text, sizeof(text), "%s\nnext\n", texts[i]);
        start(text, false);
        expect(1, texts[i]);
        expect(2, "next");
        end();
        start(texts[i], false);
        expect(1, texts[i]);
        cr_assert(rows.torn);
        end();
    }
    start("\xef\xbc\xa1,\"b\"\n\xef\xbb\xb5\"x\"\n", true);
    expect(1, "\xef\xbc\xa1|b");
    expect_fault("quotation mark");
    end();
}

Test(rows, a_mark_is_before_the_first_line_only)
{
    start("\xef\xbb\xbf", false);
    end();
    start("\xef\xbb\xbf\"a,b\"\n\xef\xbb\xbfx\n", true);
    expect(1, "a,b");
    expect(2, "\xef\xbb\xbfx");
    end();
}
