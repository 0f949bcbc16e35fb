/* One process under mod_fcgid; see fcgid.h. */
#include "worker/fcgid.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define DIGITS "0123456789"

bool fcgid_made(int listen_fd)
{
    struct sockaddr_un a = {0};
    socklen_t size = sizeof(a) - 1; /* a terminator stays */
    if (getsockname(listen_fd, (struct sockaddr *)&a, &size) || a.sun_family != AF_UNIX ||
        size <= offsetof(struct sockaddr_un, sun_path))
        return false;
    const char *slash = strrchr(a.sun_path, '/');
    const char *name = slash ? slash + 1 : a.sun_path;
    size_t pid = strspn(name, DIGITS);
    if (!pid || name[pid] != '.')
        return false;
    size_t number = strspn(name + pid + 1, DIGITS);
    return number && !name[pid + 1 + number];
}

int fcgid_run(struct serve_options *o)
{
    sigset_t ends;
    serve_signals(&ends);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    o->parent_fd = -1;
    o->own_socket = true;
    o->leave_when_replaced = true;
    o->grace_ms = FCGID_GRACE_MS;
    o->wait_max_ms = FCGID_WAIT_MAX_MS;
    o->waiting.child = 0;
    o->waiting.children = 1;
    return serve_run(o);
}
