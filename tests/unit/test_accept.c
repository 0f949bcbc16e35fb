/* LINK: fcgi_app/worker/request.c fcgi_app/worker/assertion.c fcgi_app/worker/turnstile.c */
/* What request_accept() makes of what a web server writes, over a socket pair. */
#include <criterion/criterion.h>
#include <fcgiapp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker/request.h"

#define BEGIN   "\1\1\0\1\0\10\0\0\0\1\0\0\0\0\0\0"
#define METHOD  "\1\4\0\1\0\25\0\0\16\5REQUEST_METHODQUERY" /* one record of variables */
#define FORWARD "\1\4\0\1\0\36\0\0\24\10HTTP_X_FORWARDED_FOR10.0.0.1"
#define END     "\1\4\0\1\0\0\0\0\1\5\0\1\0\0\0\0"

static struct turnstile turnstile;
static struct turnstile_place place;
static struct request request;

/* 0 when the bytes, after which the server leaves, are a request. */
static int accept_from(const char *bytes, size_t n)
{
    atomic_bool stop = false, idle;
    struct request_gate gate = {-1, false, &stop, &idle, &turnstile, &place};
    int pair[2];
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    cr_assert_eq(send(pair[1], bytes, n, 0), (ssize_t)n);
    shutdown(pair[1], SHUT_WR);
    cr_assert_eq(request_init(&request, 1000), 0);
    request.fcgi->ipcFd = pair[0];
    request.fcgi->keepConnection = 1;
    int rc = request_accept(&request, &gate, NULL);
    close(pair[1]);
    return rc;
}

static void setup(void)
{
    cr_assert_eq(request_library_init(NULL), 0);
    turnstile_init(&turnstile);
    turnstile_place_init(&place);
}

TestSuite(accept, .init = setup);

Test(accept, whole_variables)
{
    static const char bytes[] = BEGIN METHOD FORWARD END;
    cr_assert_eq(accept_from(bytes, sizeof(bytes) - 1), 0);
    cr_assert(slice_is(request.method_text, "QUERY"));
    cr_assert(slice_is(request.forwarded, "10.0.0.1"));
    request_fini(&request);
}

/* libfcgi takes the end of the connection for the end of the variables: what would come behind them, such as
 * the headers that only a proxy adds, must not count as absent. */
Test(accept, variables_that_break_off)
{
    static const char bytes[] = BEGIN METHOD FORWARD END;
    for (size_t n = 0; n < sizeof(bytes) - 1 - 8; n++) {
        cr_assert_eq(accept_from(bytes, n), ERR_IO, "%zu bytes are a request", n);
        cr_assert_lt(request.fcgi->ipcFd, 0);
        request_fini(&request);
    }
}
