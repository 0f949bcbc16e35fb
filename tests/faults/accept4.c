/*
 * accept4() as a failure point "posix/io/net/accept4": libfiu's own preload library knows accept() only,
 * while libuv and the workers call this one. Loaded beside it by stack.js and switched by the same fiu-ctrl.
 */
#define FIU_ENABLE
#include <dlfcn.h>
#include <errno.h>
#include <fiu.h>
#include <sys/socket.h>

int accept4(int fd, struct sockaddr *restrict address, socklen_t *restrict size, int flags)
{
    static int (*real)(int fd, struct sockaddr *address, socklen_t *size, int flags);
    if (fiu_fail("posix/io/net/accept4")) {
        errno = (int)(long)fiu_failinfo();
        return -1;
    }
    if (!real)
        real = (int (*)(int, struct sockaddr *, socklen_t *, int))dlsym(RTLD_NEXT, "accept4");
    return real(fd, address, size, flags);
}
