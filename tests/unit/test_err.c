/* Errors: codes of errno, sentences that are cut rather than overflow. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/err.h"

Test(err, fills_and_returns_the_code)
{
    struct err e = {0};
    cr_assert_eq(err_set(&e, ERR_LIMIT, "at most %d", 3), ERR_LIMIT);
    cr_assert_eq(e.code, ERR_LIMIT);
    cr_assert_str_eq(e.text, "at most 3");
    cr_assert_eq(err_set(NULL, ERR_INVAL, "nobody reads"), ERR_INVAL);
}

Test(err, maps_errno)
{
    struct err e = {0};
    errno = ENOENT;
    cr_assert_eq(err_set_errno(&e, "Cannot open %s", "x"), ERR_NOT_FOUND);
    cr_assert_str_eq(e.text, "Cannot open x: No such file or directory");
    errno = ENOSPC;
    cr_assert_eq(err_set_errno(&e, "x"), ERR_NOSPC);
    errno = EACCES;
    cr_assert_eq(err_set_errno(&e, "x"), ERR_PERM);
    errno = ENOMEM;
    cr_assert_eq(err_set_errno(&e, "x"), ERR_NOMEM);
    errno = EIO;
    cr_assert_eq(err_set_errno(NULL, "x"), ERR_IO);
}

Test(err, long_sentences_are_cut)
{
    struct err e = {0};
    char text[2000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    errno = EIO;
    cr_assert_eq(err_set_errno(&e, "%s", text), ERR_IO);
    cr_assert_eq(strlen(e.text), sizeof(e.text) - 1);
}
