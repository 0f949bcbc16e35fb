/*
 * Stands in for Criterion, so that a unit test runs in a process that holds nothing but itself: walks the
 * tests that its macros have registered, and takes a failed assertion for the end of the run.
 */
#include <criterion/criterion.h>
#include <criterion/event.h>
#include <criterion/options.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runner.h"
#include "shim.h"

#define CASES_MAX 256

/* The linker marks the ends of the sections. */
extern struct criterion_test *__start_cr_tst[], *__stop_cr_tst[];
extern struct criterion_suite *__start_cr_sts[] __attribute__((weak)), *__stop_cr_sts[] __attribute__((weak));

struct criterion_options criterion_options;

static const struct criterion_test_extra_data *suite, *test;

void criterion_internal_test_setup(void)
{
    if (suite && suite->init)
        suite->init();
    if (test->init)
        test->init();
}

void criterion_internal_test_main(void (*fn)(void))
{
    shim_begin();
    fn();
    shim_end();
}

void criterion_internal_test_teardown(void)
{
    if (test->fini)
        test->fini();
    if (suite && suite->fini)
        suite->fini();
}

void criterion_abort_test(void)
{
    _exit(RUN_ERROR);
}

void criterion_skip_test(const char *format, ...)
{
    (void)format;
    _exit(RUN_WELL);
}

void criterion_send_assert(struct criterion_assert_stats *a)
{
    torture_pause();
    if (!a->passed)
        fprintf(stderr, "%s:%u: %s\n", a->file, a->line, a->message ? a->message : "");
    torture_resume();
}

void cri_asserts_passed_incr(void)
{
}

int cr_asprintf(char **ret_text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    torture_pause();
    int n = vasprintf(ret_text, format, args);
    torture_resume();
    va_end(args);
    return n;
}

void cr_asprintf_free(char *text)
{
    free(text);
}

char *cr_translate_assert_msg(int number, ...)
{
    va_list args;
    va_start(args, number);
    const char *expression = va_arg(args, const char *);
    va_end(args);
    return strdup(expression ? expression : "");
}

static void run_test(const void *arg)
{
    const struct criterion_test *t = *(struct criterion_test *const *)arg;
    test = t->data;
    suite = NULL;
    for (struct criterion_suite **s = __start_cr_sts; s < __stop_cr_sts; s++)
        if (*s && strcmp((*s)->name, t->category) == 0)
            suite = (*s)->data;
    t->test();
}

int main(int argc, char **argv)
{
    static struct torture_case cases[CASES_MAX];
    size_t n = 0;
    /* The programs of tests/torture expect memory to fail: what does not hold there never should. */
    const char *name = strrchr(argv[0], '/');
    bool strict = strncmp(name ? name + 1 : argv[0], "torture_", 8) == 0;
    for (struct criterion_test **t = __start_cr_tst; t < __stop_cr_tst && n < CASES_MAX; t++)
        if (*t)
            cases[n++] = (struct torture_case){(*t)->data->identifier_, run_test, t, strict};
    return torture_main(argc, argv, cases, n);
}
