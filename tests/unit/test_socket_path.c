/* Unix socket addresses: short paths as they are, long ones through their directory, and neither. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/socket_path.h"

static char root[] = "/tmp/carpool-socket-XXXXXX";
static char long_directory[512];

static void setup(void)
{
    cr_assert_not_null(mkdtemp(root));
    int n = snprintf(long_directory, sizeof(long_directory), "%s", root);
    for (int i = 0; i < 2; i++) {
        n += snprintf(long_directory + n, sizeof(long_directory) - (size_t)n, "/%080d", i);
        cr_assert_eq(mkdir(long_directory, 0700), 0);
    }
}

static void teardown(void)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/s", long_directory);
    unlink(path);
    rmdir(long_directory);
    *strrchr(long_directory, '/') = 0;
    rmdir(long_directory);
    rmdir(root);
}

TestSuite(socket_path, .init = setup, .fini = teardown);

Test(socket_path, short_path_is_used_as_it_is)
{
    struct sockaddr_un a;
    int dirfd = 7;
    cr_assert_eq(socket_address("/run/x.sock", &a, &dirfd, NULL), 0);
    cr_assert_str_eq(a.sun_path, "/run/x.sock");
    cr_assert_eq(a.sun_family, AF_UNIX);
    cr_assert_eq(dirfd, -1);
}

Test(socket_path, longest_short_path)
{
    struct sockaddr_un a;
    char path[sizeof(a.sun_path)];
    int dirfd = 7;
    memset(path, 'x', sizeof(path));
    path[0] = '/';
    path[sizeof(path) - 1] = 0;
    cr_assert_eq(socket_address(path, &a, &dirfd, NULL), 0);
    cr_assert_str_eq(a.sun_path, path);
    cr_assert_eq(dirfd, -1);
}

Test(socket_path, long_path_can_be_bound_and_reached)
{
    char path[1024];
    struct sockaddr_un a;
    struct err e;
    int dirfd;
    snprintf(path, sizeof(path), "%s/s", long_directory);
    cr_assert_gt(strlen(path), sizeof(a.sun_path));

    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(socket_address(path, &a, &dirfd, &e), 0, "%s", e.text);
    cr_assert_geq(dirfd, 0);
    cr_assert_eq(fcntl(dirfd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    cr_assert_eq(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
    close(dirfd);
    cr_assert_eq(listen(listener, 1), 0);
    cr_assert_eq(access(path, F_OK), 0, "the socket lies where the path says");

    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(socket_address(path, &a, &dirfd, &e), 0);
    cr_assert_eq(connect(client, (struct sockaddr *)&a, sizeof(a)), 0);
    close(dirfd);
    close(client);
    close(listener);
}

Test(socket_path, refusals_leave_outputs_alone)
{
    struct sockaddr_un a = {.sun_family = 99};
    struct err e = {0};
    char path[1024];
    int dirfd = 7;
    cr_assert_eq(socket_address("", &a, &dirfd, &e), ERR_INVAL);
    cr_assert_eq(socket_address("/run/", &a, &dirfd, &e), ERR_INVAL);
    snprintf(path, sizeof(path), "%s/%0200d", long_directory, 1);
    cr_assert_eq(socket_address(path, &a, &dirfd, &e), ERR_INVAL);
    snprintf(path, sizeof(path), "%s/none/s", long_directory);
    cr_assert_eq(socket_address(path, &a, &dirfd, &e), ERR_NOT_FOUND);
    cr_assert_gt(strlen(e.text), 0);
    cr_assert_eq(dirfd, 7);
    cr_assert_eq(a.sun_family, 99);
}

Test(socket_path, listeners)
{
    char dir[] = "/tmp/carpool-XXXXXX", path[64];
    long pid = -1;
    cr_assert(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s", dir);
    cr_assert_not(socket_has_listener(path, &pid), "nothing there");
    cr_assert_eq(pid, 0);
    struct sockaddr_un address;
    int dirfd, fd = socket(AF_UNIX, SOCK_STREAM, 0);
    cr_assert_eq(socket_address(path, &address, &dirfd, NULL), 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    cr_assert_not(socket_has_listener(path, NULL), "bound only");
    cr_assert_eq(listen(fd, 0), 0);
    cr_assert(socket_has_listener(path, &pid));
    cr_assert_eq(pid, getpid());
    /* Its queue is full now: it is there all the same. */
    cr_assert(socket_has_listener(path, NULL));
    cr_assert(socket_has_listener(path, NULL));
    close(fd);
    cr_assert_not(socket_has_listener(path, NULL), "stale");
    unlink(path);
    rmdir(dir);
    cr_assert_not(socket_has_listener("", NULL));
}
