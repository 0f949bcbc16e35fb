/* See harden.h. */
#include "base/harden.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef CARPOOL_UNCONFINED
#define MAY_CLOSE false
#else
#define MAY_CLOSE true
#endif

/* Else the store, opened next, would be standard output. Each gets the direction it is not for, so that who
 * uses it is told (EBADF). The lowest free descriptor is the one that is missing. */
static void fill_descriptors(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return;
}

void harden_early(void)
{
    struct rlimit none = {0, 0};
    fill_descriptors();
    umask(077);
    setrlimit(RLIMIT_CORE, &none); /* memory holds prompts and keys */
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (MAY_CLOSE)
        prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

void harden_settle(bool sandbox)
{
    if (MAY_CLOSE && !sandbox)
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

bool harden_is_closed(void)
{
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0;
}
