/*
 * For tests that expect memory to fail: each step may, for that reason only, and says so in full; whatever
 * becomes of it, the test goes on to its cleanup, so that every run is checked for leaks.
 */
#ifndef CARPOOL_TESTS_TORTURE_SHORT_H
#define CARPOOL_TESTS_TORTURE_SHORT_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "shim.h"

/* Whether the step was short of memory. */
#define SHORT(step)                                                                                          \
    ({                                                                                                       \
        int rc_ = (step);                                                                                    \
        cr_assert(rc_ == 0 || rc_ == ERR_NOMEM, "%s: %d", #step, rc_);                                       \
        rc_ < 0;                                                                                             \
    })

/* The same for a step that fills *e, which is empty before. */
#define SHORT_E(step, e)                                                                                     \
    ({                                                                                                       \
        *(e) = (struct err){0};                                                                              \
        int rc_ = (step);                                                                                    \
        cr_assert(rc_ == 0 || rc_ == ERR_NOMEM, "%s: %d %s", #step, rc_, (e)->text);                         \
        cr_assert(rc_ == 0 || ((e)->code == rc_ && (e)->text[0]), "%s fails without a word", #step);         \
        rc_ < 0;                                                                                             \
    })

/* A directory of the test's own, without failing. */
__attribute__((unused)) static const char *short_dir(void)
{
    static char dir[64] = "/tmp/carpool-torture-XXXXXX";
    torture_pause();
    cr_assert_not_null(mkdtemp(dir));
    torture_resume();
    return dir;
}

__attribute__((unused)) static void short_write(const char *path, const char *text)
{
    torture_pause();
    FILE *f = fopen(path, "we");
    cr_assert_not_null(f);
    fputs(text, f);
    fclose(f);
    torture_resume();
}

/* What is in the file, at most size - 1 bytes. */
__attribute__((unused)) static size_t short_read(const char *path, char *ret_text, size_t size)
{
    torture_pause();
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(ret_text, 1, size - 1, f) : 0;
    if (f)
        fclose(f);
    ret_text[n] = 0;
    torture_resume();
    return n;
}

#endif
