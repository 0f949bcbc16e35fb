/*
 * Runs a test again and again, each time with another allocation failing, and each time in a process of its
 * own. A run may end well, or with an error that the test did not expect (unless the test is strict). It must
 * not crash, meet a sanitizer, hang, break a rule or leak.
 */
#ifndef CARPOOL_TESTS_TORTURE_RUNNER_H
#define CARPOOL_TESTS_TORTURE_RUNNER_H

#include <stdbool.h>
#include <stddef.h>

/* How a run ends, as exit status. */
enum run_end {
    RUN_WELL = 0,
    RUN_ERROR = 64,    /* an assertion of the test did not hold */
    RUN_BROKEN = 65,   /* something that holds in any case did not */
    RUN_LEAK = 66,     /* something is left that nobody knows any more */
    RUN_SANITIZER = 99 /* see __asan_default_options */
};

struct torture_case {
    const char *name;
    void (*run)(
        const void *arg); /* calls shim_begin() when the test itself begins; returns, or RUN_ERROR/BROKEN */
    const void *arg;
    bool strict; /* RUN_ERROR is a failure, too */
};

/*
 * main() of a program of cases. Options: --test NAME, --at N, --mode once|forever, --list. From the
 * environment: TORTURE=all takes every N; else each up to TORTURE_EVERY, then one of each call stack, and of
 * those fewer when a test would take more than TORTURE_SECONDS of processor time. TORTURE_TIMEOUT is the
 * limit of a run in seconds. Closes with "N passed, M failed, R runs".
 */
int torture_main(int argc, char **argv, const struct torture_case *cases, size_t n);

#endif
