/* Assertions that fail; see assertion.h. */
#include "worker/assertion.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

_Thread_local jmp_buf *assertion_caught;

/* What assert() calls (glibc, Linux Standard Base). Ours is found before that of the C library, by libraries
 * too. */
void __assert_fail(const char *assertion, const char *file, unsigned line, const char *function)
{
    jmp_buf *back = assertion_caught;
    if (back) {
        assertion_caught = NULL;
        log_warning("A connection of the web server is given up, since %s (%s:%u) does not hold: %s",
                    function, file, line, assertion);
        longjmp(*back, 1);
    }
    fprintf(stderr, "%s:%u: %s: Assertion `%s' failed.\n", file, line, function, assertion);
    abort();
}
