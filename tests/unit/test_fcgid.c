/* Recognising mod_fcgid by its socket, and how a process serves under it. */
/* LINK: fcgi_app/worker/fcgid.c */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "worker/fcgid.h"

static struct serve_options served;
static sigset_t blocked;

void serve_signals(sigset_t *ret_set)
{
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGTERM);
}

int serve_run(const struct serve_options *o)
{
    served = *o;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    return 7;
}

/* Whether a socket of that name is taken for mod_fcgid's. */
static bool made(const char *name)
{
    char dir[] = "/tmp/carpool-XXXXXX";
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    cr_assert(mkdtemp(dir));
    snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", dir, name);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert(fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
    bool result = fcgid_made(fd);
    close(fd);
    unlink(a.sun_path);
    rmdir(dir);
    return result;
}

Test(fcgid, socket_names)
{
    cr_assert(made("4711.0"));
    cr_assert(made("1.1234"));
    cr_assert_not(made("prompt.sock-0"));
    cr_assert_not(made("4711"));
    cr_assert_not(made("4711."));
    cr_assert_not(made(".0"));
    cr_assert_not(made("4711.0a"));
    cr_assert_not(made("a4711.0"));
    cr_assert_not(made("4711.0.1"));
}

Test(fcgid, other_descriptors)
{
    int fds[2];
    cr_assert_not(fcgid_made(-1));
    cr_assert_not(fcgid_made(STDOUT_FILENO));
    cr_assert(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    cr_assert_not(fcgid_made(fds[0]), "a socket without a name");
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(a.sun_path + 1, sizeof(a.sun_path) - 1, "/carpool/%d.0", (int)getpid());
    cr_assert(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0);
    cr_assert_not(fcgid_made(fd), "an abstract name");
    int tcp = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_not(fcgid_made(tcp));
    close(tcp);
    close(fd);
    close(fds[0]);
    close(fds[1]);
}

Test(fcgid, runs_alone_with_less_time)
{
    struct serve_options o = {.threads = 1, .waiting = {.max = 5}};
    cr_assert_eq(fcgid_run(&o), 7);
    cr_assert_eq(served.parent_fd, -1);
    cr_assert(served.own_socket);
    cr_assert_eq(served.waiting.children, 1);
    cr_assert_eq(served.waiting.max, 5);
    cr_assert_lt(served.grace_ms + SERVE_LAST_WORD_MS, 8000, "mod_fcgid kills after 8 s");
    cr_assert(sigismember(&blocked, SIGTERM), "a signal that comes early is not lost");
}
