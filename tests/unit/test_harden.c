/* What programs do to themselves (harden, landlock, filter, the environment's secrets). All of that is for
 * good, so each is tried in a child, whose exit status tells. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/filter.h"
#include "base/harden.h"
#include "base/landlock.h"

/* What body returns in a child; 1000 + the signal that ended it. */
static int in_child(int (*body)(void))
{
    int status = 0;
    pid_t pid = fork();
    cr_assert_geq(pid, 0);
    if (pid == 0)
        _exit(body());
    cr_assert_eq(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int hardens(void)
{
    struct rlimit core;
    umask(0);
    harden_early();
    if (umask(0) != 077 || getrlimit(RLIMIT_CORE, &core) || core.rlim_max != 0)
        return 1;
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return 2;
#ifndef CARPOOL_UNCONFINED
    if (!harden_is_closed())
        return 3;
#endif
    harden_settle(false);
    return harden_is_closed() ? 4 : 0;
}

/* Started with its standard descriptors shut, as some schedulers do. */
static int fills_descriptors(void)
{
    char c = 0;
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        close(fd);
    harden_early();
    int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
    if (fd <= STDERR_FILENO)
        return 1;
    if (read(STDIN_FILENO, &c, 1) >= 0 || errno != EBADF)
        return 2;
    for (int out = STDOUT_FILENO; out <= STDERR_FILENO; out++)
        if (write(out, &c, 1) >= 0 || errno != EBADF)
            return 3;
    return 0;
}

Test(harden, a_file_that_is_opened_is_never_standard_output)
{
    cr_assert_eq(in_child(fills_descriptors), 0);
}

Test(harden, closes_and_opens_again)
{
    cr_assert_eq(in_child(hardens), 0);
}

static char dir[] = "/tmp/cp-harden-XXXXXX";
static char inside[64], outside[64], sockets[64];

static void make_places(void)
{
    cr_assert(mkdtemp(dir));
    snprintf(inside, sizeof(inside), "%s/in", dir);
    snprintf(outside, sizeof(outside), "%s/out", dir);
    snprintf(sockets, sizeof(sockets), "%s/sock", dir);
    cr_assert(mkdir(inside, 0700) == 0 && mkdir(outside, 0700) == 0 && mkdir(sockets, 0700) == 0);
}

static void remove_places(void)
{
    char command[96];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    cr_assert_eq(system(command), 0);
}

/* 0, or the errno of making a file there. */
static int make_file(const char *where, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", where, name);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    close(fd);
    return unlink(path) == 0 ? 0 : errno;
}

static int bind_at(const char *where)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    snprintf(a.sun_path, sizeof(a.sun_path), "%.60s/s", where);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && unlink(a.sun_path) == 0 ? 0 : errno;
    close(fd);
    return rc;
}

static int bind_tcp(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 ? 0 : errno;
    close(fd);
    return rc;
}

#define NO_LANDLOCK 99

static int fences(void)
{
    struct landlock l;
    struct err e;
    harden_early();
    landlock_begin(&l);
    landlock_allow(&l, inside, LANDLOCK_CHANGE);
    landlock_allow(&l, sockets, LANDLOCK_BIND);
    landlock_allow(&l, "/etc", LANDLOCK_READ);
    landlock_allow(&l, "/does/not/exist", LANDLOCK_READ);
    int abi = landlock_enforce(&l, &e);
    if (abi < 0)
        return 1;
    if (abi == 0)
        return NO_LANDLOCK;
    if (make_file(inside, "f") != 0 || bind_at(inside) != 0 || bind_at(sockets) != 0)
        return 2;
    if (make_file(outside, "f") != EACCES || make_file(sockets, "f") != EACCES || bind_at(outside) != EACCES)
        return 3;
    if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) < 0 || open("/etc/passwd", O_WRONLY | O_CLOEXEC) >= 0)
        return 4;
    if (open("/usr", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES)
        return 5;
    execl("/bin/true", "true", (char *)NULL);
    if (errno != EACCES)
        return 6;
    return abi >= 4 && bind_tcp() != EACCES ? 7 : 0;
}

Test(landlock, leaves_what_was_allowed_and_nothing_else)
{
    make_places();
    int end = in_child(fences);
    remove_places();
    if (end == NO_LANDLOCK)
        return; /* a kernel without */
    cr_assert_eq(end, 0, "%d", end);
}

#define NO_FILTER 98

static int enforce(enum filter_kind kind)
{
    struct err e;
    harden_early();
    int rc = filter_enforce(kind, &e);
    return rc < 0 ? 1 : rc == 0 ? NO_FILTER : 0;
}

static void *nothing(void *arg)
{
    return arg;
}

static int coordinator_works(void)
{
    pthread_t thread;
    int rc = enforce(FILTER_COORDINATOR);
    if (rc)
        return rc;
    if (pthread_create(&thread, NULL, nothing, NULL) != 0 || pthread_join(thread, NULL) != 0)
        return 2;
    if (make_file("/tmp", "cp-harden-file") != 0 || socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0) < 0)
        return 3;
    if (fork() >= 0 || vfork() >= 0)
        return 4;
    execl("/bin/true", "true", (char *)NULL);
    if (errno != EPERM)
        return 5;
    if (socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0) >= 0)
        return 6;
    return kill(getppid(), 0) < 0 && errno == ENOSYS ? 0 : 7; /* not listed */
}

static int coordinator_traces(void)
{
    int rc = enforce(FILTER_COORDINATOR);
    return rc ? rc : (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL) * 0 + 9;
}

/* The flags are the first argument, but for one architecture. */
static bool makes_namespace(void)
{
#ifdef __s390__
    return false;
#else
    long pid = syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0)
        _exit(0);
    return pid > 0 || errno != EPERM;
#endif
}

static int worker_works(void)
{
    pthread_t thread;
    int rc = enforce(FILTER_WORKER);
    if (rc)
        return rc;
    if (socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) < 0 || socket(AF_PACKET, SOCK_RAW, 0) >= 0 ||
        errno != EAFNOSUPPORT)
        return 2;
    if (syscall(SYS_keyctl, 0, 0, 0, 0, 0) != -1 || errno != EPERM)
        return 3;
    /* The kernel takes the lower half of the register for the family. */
    unsigned long disguised = sizeof(long) > 4 ? AF_PACKET | 1ul << 16 << 16 : AF_PACKET;
    if (syscall(SYS_socket, disguised, SOCK_RAW, 0) >= 0 || errno != EAFNOSUPPORT)
        return 5;
    if (makes_namespace() || syscall(SYS_clone3, NULL, 0) != -1 || errno != ENOSYS)
        return 6;
    if (pthread_create(&thread, NULL, nothing, NULL) != 0 || pthread_join(thread, NULL) != 0)
        return 7;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    if (pid < 0 || waitpid(pid, NULL, 0) != pid)
        return 8;
    execl("/bin/true", "true", (char *)NULL);
    return 4;
}

static int worker_mounts(void)
{
    int rc = enforce(FILTER_WORKER);
    return rc ? rc : (int)syscall(SYS_mount, "", "/nowhere", "", 0, "") * 0 + 9;
}

Test(filter, leaves_what_is_needed_and_nothing_else)
{
    int end = in_child(coordinator_works);
    if (end == NO_FILTER)
        return; /* a build or a kernel without */
    cr_assert_eq(end, 0, "coordinator: %d", end);
    cr_assert_eq(in_child(coordinator_traces), 1000 + SIGSYS);
    cr_assert_eq(end = in_child(worker_works), 0, "worker: %d", end);
    cr_assert_eq(in_child(worker_mounts), 1000 + SIGSYS);
}

static const char *line_of(char **lines, const char *name)
{
    for (; lines && *lines; lines++)
        if (strncmp(*lines, name, strlen(name)) == 0)
            return *lines;
    return "";
}

/* The bytes themselves are gone, since /proc/PID/environ shows them whatever unsetenv() says; children get
 * what was to be kept. */
Test(hide, overwrites_secrets_and_keeps_some_for_children)
{
    static char model[] = "GEMINI_MODEL=mine", file[] = "API_KEY_FILE=/a/file",
                admin[] = "ADMIN_KEY=canary-1", gemini[] = "GEMINI_API_KEY=canary-2",
                own[] = "CARPOOL_PROVIDER_API_KEY=canary-3", redis[] = "REDIS_URL=redis://u:canary-4@h",
                none[] = "OPENAI_API_KEY=", odd[] = "API_KEY";
    char *all[] = {model, file, admin, gemini, own, redis, none, odd, NULL}, **before = environ;
    struct err e;
    cr_assert_geq(sodium_init(), 0);
    environ = all;
    cr_assert_eq(conf_hide_environment(CONF_KEEP_CALLERS, &e), 0);
    for (size_t i = 0; all[i]; i++)
        cr_assert_not(strstr(all[i], "canary"), "%s", all[i]);
    cr_assert(memcmp(gemini, "GEMINI_API_KEY=\0\0\0\0\0\0\0\0", sizeof(gemini)) == 0);
    cr_assert_str_eq(getenv("GEMINI_MODEL"), "mine");
    cr_assert_str_eq(getenv("API_KEY_FILE"), "/a/file");
    char **lines = conf_environment();
    cr_assert_str_eq(line_of(lines, "ADMIN_KEY="), "ADMIN_KEY=canary-1");
    cr_assert_str_eq(line_of(lines, "CARPOOL_PROVIDER_API_KEY="), "CARPOOL_PROVIDER_API_KEY=");
    cr_assert_str_eq(line_of(lines, "GEMINI_MODEL="), "GEMINI_MODEL=mine");
    free(lines);
    conf_forget_environment();
    lines = conf_environment();
    cr_assert_str_eq(line_of(lines, "ADMIN_KEY="), "ADMIN_KEY=");
    free(lines);
    environ = before;
}
