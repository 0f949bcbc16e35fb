/* Unix socket addresses of any length; see socket_path.h. */
#include "base/socket_path.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_directory_of(const char *path, const char *slash, int *ret_dirfd, struct err *e)
{
    char *directory = strndup(path, (size_t)(slash - path) + 1);
    if (!directory)
        return err_set(e, ERR_NOMEM, "There is no memory for the path of a socket.");
    int fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    free(directory);
    if (fd < 0)
        return err_set_errno(e, "The directory of the socket %s cannot be opened", path);
    *ret_dirfd = fd;
    return 0;
}

int socket_address(const char *path, struct sockaddr_un *ret_address, int *ret_dirfd, struct err *e)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = strlen(path);
    const char *slash = strrchr(path, '/');
    int dirfd = -1;

    if (!length || path[length - 1] == '/')
        return err_set(e, ERR_INVAL, "\"%s\" is no path of a socket: it does not end in a file name.", path);
    if (length < sizeof(address.sun_path))
        memcpy(address.sun_path, path, length);
    else {
        /* Longest: "/proc/self/fd/" and ten digits, a slash, the name, the terminator. */
        if (!slash || strlen(slash) >= sizeof(address.sun_path) - sizeof("/proc/self/fd/") - 10)
            return err_set(e, ERR_INVAL, "The file name of the socket %s is too long.", path);
        int rc = open_directory_of(path, slash, &dirfd, e);
        if (rc)
            return rc;
        snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%u%.82s", (unsigned)dirfd, slash);
    }
    *ret_address = address;
    *ret_dirfd = dirfd;
    return 0;
}

bool socket_has_listener(const char *path, long *ret_pid)
{
    struct ucred peer = {0};
    socklen_t size = sizeof(peer);
    struct sockaddr_un address;
    int dirfd = -1;
    if (socket_address(path, &address, &dirfd, NULL))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool listens =
        fd >= 0 && (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 || errno == EAGAIN);
    if (ret_pid)
        *ret_pid = listens && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 ? peer.pid : 0;
    if (fd >= 0)
        close(fd);
    if (dirfd >= 0)
        close(dirfd);
    return listens;
}
