/* Certificate authorities: libcurl's own file where it is there, else this system's. */
/* LINK: fcgi_app/coordinator/trust.c */
#include <criterion/criterion.h>
#include <unistd.h>

#include "coordinator/trust.h"

Test(trust, the_file_that_was_built_in_is_left_alone_where_it_is_there)
{
    cr_assert_null(trust_file("/etc/passwd"));
}

Test(trust, else_it_is_this_systems)
{
    const char *found = trust_file("/nonexistent/ca-certificates.crt");
    cr_assert_eq(found, trust_file(NULL));
    if (access("/etc/ssl/certs/ca-certificates.crt", R_OK) == 0)
        cr_assert_str_eq(found, "/etc/ssl/certs/ca-certificates.crt");
    else
        cr_assert(!found || access(found, R_OK) == 0);
}
