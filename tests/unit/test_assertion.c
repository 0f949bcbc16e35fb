/* LINK: fcgi_app/worker/assertion.c */
/* Assertions that a library makes about its input end one connection, and ours end the process. What libfcgi
 * asserts is tried in tests/security: it asks malloc for more than valgrind and sanitizers let pass. */
#include <assert.h>
#include <criterion/criterion.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/assertion.h"

static void judge(bool holds)
{
    assert(holds);
}

/* Whether an assertion failed. */
static bool judged_badly(bool holds)
{
    jmp_buf back;
    if (setjmp(back))
        return true;
    assertion_caught = &back;
    judge(holds);
    assertion_caught = NULL;
    return false;
}

Test(assertion, is_caught_as_often_as_it_fails)
{
    for (int i = 0; i < 3; i++) {
        cr_assert(judged_badly(false));
        cr_assert_null(assertion_caught, "the next one would go back to a frame that has left");
        cr_assert_not(judged_badly(true));
    }
}

Test(assertion, ends_the_process_where_nobody_catches_it)
{
    int status;
    cr_assert(judged_badly(false));
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (!pid) {
        close(STDERR_FILENO); /* its last words are expected */
        judge(false);
        _exit(0);
    }
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    cr_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}
