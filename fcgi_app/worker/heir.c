/* What becomes of a pool whose parent was killed; see heir.h. */
#include "worker/heir.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/log.h"

#define NOBODY (-1) /* as keeper: the new parent has left by itself */

/* A pidfd, close-on-exec by itself; the function is not in glibc 2.34. */
static int watch(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* Also when nobody has waited for it yet. */
static bool has_ended(int pidfd)
{
    struct pollfd fd = {.fd = pidfd, .events = POLLIN};
    return poll(&fd, 1, 0) > 0;
}

int heir_init(struct heir *h, char **argv, pid_t server, struct err *e)
{
    *h = (struct heir){.argv = argv, .server = server, .server_fd = -1};
    if (!server)
        return 0;
    h->server_fd = watch(server);
    if (h->server_fd < 0 && (errno == ENOSYS || errno == EPERM)) {
        h->server = 0; /* a kernel or a sandbox without it: a pool whose parent is killed just ends */
        return 0;
    }
    if (h->server_fd < 0)
        return err_set_errno(e, "The web server (process %d) cannot be watched", (int)server);
    void *p = mmap(NULL, sizeof(*h->keeper), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) {
        close(h->server_fd);
        return err_set_errno(e, "There is no shared memory for the pool");
    }
    h->keeper = p;
    return 0;
}

bool heir_server_gone(const struct heir *h)
{
    return h->server && has_ended(h->server_fd);
}

/* The program's arguments with --server, which is there already when the dead parent was an heir itself. */
static char **heirs_argv(const struct heir *h, char option[32])
{
    int n = 0;
    bool there = false;
    for (; h->argv[n]; n++)
        there |= strncmp(h->argv[n], "--server=", 9) == 0;
    char **argv = calloc((size_t)n + 2, sizeof(*argv));
    if (!argv)
        return NULL;
    memcpy(argv, h->argv, (size_t)n * sizeof(*argv));
    if (!there) {
        snprintf(option, 32, "--server=%d", (int)h->server);
        argv[n] = option;
    }
    return argv;
}

/* The new parent; 0: there is none. */
static pid_t start_parent(const struct heir *h, int listen_fd)
{
    char option[32];
    char **argv = heirs_argv(h, option), **environment = conf_environment();
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, usual;
    pid_t pid;
    int number = argv && environment ? posix_spawn_file_actions_init(&actions) : ENOMEM;
    if (number == 0) {
        sigemptyset(&none);
        sigfillset(&usual);
        posix_spawnattr_init(&attributes);
        posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
        posix_spawnattr_setsigmask(&attributes, &none);
        posix_spawnattr_setsigdefault(&attributes, &usual);
        posix_spawn_file_actions_adddup2(&actions, listen_fd,
                                         STDIN_FILENO); /* also clears close-on-exec when they are the same */
        number = posix_spawn(&pid, "/proc/self/exe", &actions, &attributes, argv, environment);
        posix_spawn_file_actions_destroy(&actions);
        posix_spawnattr_destroy(&attributes);
    }
    free(environment);
    free(argv);
    if (number)
        log_error("The pool's parent was killed and no new one could be started: %s", strerror(number));
    else
        log_warning("the pool's parent was killed; process %d takes its place", (int)pid);
    return number ? 0 : pid;
}

static bool lives(pid_t pid)
{
    int fd = watch(pid);
    if (fd < 0)
        return errno != ESRCH;
    bool ended = has_ended(fd);
    close(fd);
    return !ended;
}

/* Whether there is, or need not be, who sees to the pool. */
static bool is_kept(const struct heir *h, int keeper)
{
    int status;
    if (keeper == 0)
        return false;
    if (keeper == NOBODY || keeper == (int)getpid())
        return true; /* this one: the new parent could not be started, and that was said */
    if (waitpid(keeper, &status, WNOHANG) != keeper)
        return lives(keeper);
    if (WIFSIGNALED(status))
        return false;
    atomic_store(h->keeper, NOBODY);
    return true;
}

void heir_succeed(const struct heir *h, int listen_fd)
{
    if (!h->server || heir_server_gone(h))
        return;
    int keeper = atomic_load(h->keeper);
    if (is_kept(h, keeper) || !atomic_compare_exchange_strong(h->keeper, &keeper, (int)getpid()))
        return;
    pid_t parent = start_parent(h, listen_fd);
    if (parent)
        atomic_store(h->keeper, (int)parent);
}
