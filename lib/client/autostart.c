/* Starting a coordinator; see autostart.h. */
#include "client/autostart.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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

#include "base/clock.h"
#include "base/conf.h"
#include "base/failed_start.h"
#include "base/slice.h"
#include "base/utf8.h"

#define PROGRAM        "carpoold"
#define SPACING_US     (200 * US_PER_MS)
#define START_LIMIT_S  10
#define EXIT_TRY_LATER 75 /* as the coordinator has it */

void autostart_init(struct autostart *a, void (*ended)(const struct autostart *a))
{
    *a = (struct autostart){.ended = ended};
    pthread_mutex_init(&a->one_at_a_time, NULL);
}

/* The program beside this one, or where an installed carpoolctl has it, or its plain name for a search in
 * PATH. */
static void find_program(char ret_path[PATH_MAX])
{
    static const char *const places[] = {"/" PROGRAM, "/../libexec/carpool/" PROGRAM};
    ssize_t n = readlink("/proc/self/exe", ret_path, PATH_MAX - 64);
    char *slash = n > 0 ? memrchr(ret_path, '/', (size_t)n) : NULL;
    for (size_t i = 0; slash && i < ARRAY_LEN(places); i++) {
        strcpy(slash, places[i]);
        if (access(ret_path, X_OK) == 0)
            return;
    }
    strcpy(ret_path, PROGRAM);
}

/* Standard error goes to said_fd; nothing else of ours is inherited. */
static int prepare(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attributes, int said_fd)
{
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    sigdelset(&all, SIGKILL);
    sigdelset(&all, SIGSTOP);
    return posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0) ||
           posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0) ||
           posix_spawn_file_actions_adddup2(actions, said_fd, 2) ||
           posix_spawn_file_actions_addclosefrom_np(actions, 3) ||
           posix_spawnattr_setsigmask(attributes, &none) || posix_spawnattr_setsigdefault(attributes, &all) ||
           posix_spawnattr_setflags(attributes,
                                    POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
}

/* What passes when others end. */
static bool is_shortage(int number)
{
    return number == EAGAIN || number == ENOMEM || number == EMFILE || number == ENFILE;
}

static int spawn(const char *config, int said_fd, pid_t *ret_pid, struct err *e)
{
    /* Off the 128 KiB stack of a request thread, and only one thread is ever here. */
    static char path[PATH_MAX], option[PATH_MAX + 16];
    char background[] = "--background";
    char *args[] = {path, background, NULL, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    char **environment;

    find_program(path);
    if (config[0]) {
        snprintf(option, sizeof(option), "--config=%s", config);
        args[2] = option;
    }
    if (posix_spawn_file_actions_init(&actions))
        return err_set(e, ERR_NOMEM, "There is no memory to start %s.", PROGRAM);
    if (posix_spawnattr_init(&attributes)) {
        posix_spawn_file_actions_destroy(&actions);
        return err_set(e, ERR_NOMEM, "There is no memory to start %s.", PROGRAM);
    }
    int rc = 0;
    environment = conf_environment();
    if (!environment || prepare(&actions, &attributes, said_fd))
        rc = err_set(e, ERR_NOMEM, "There is no memory to start %s.", PROGRAM);
    else if ((errno = posix_spawnp(ret_pid, path, &actions, &attributes, args, environment)) != 0)
        rc = is_shortage(errno)
                 ? err_set(e, ERR_AGAIN, "There is no process or descriptor to start %s just now.", PROGRAM)
                 : err_set_errno(e, "The coordinator's program %s cannot be started", path);
    free(environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

enum wait_end { WAIT_ENDED, WAIT_KILLED, WAIT_LEFT };

/* KILLED: it took too long. LEFT: there is no time to wait for it; it runs on. */
static enum wait_end wait_for(pid_t pid, int leave_fd, int *ret_status)
{
    bool in_time = true;
    int fd = (int)syscall(SYS_pidfd_open, pid, 0); /* glibc 2.34, as hosts have it, lacks the function */
    if (fd >= 0) {
        uint64_t until_us = clock_mono_us() + START_LIMIT_S * US_PER_S, now_us;
        int ready = 0;
        while (ready == 0 && (now_us = clock_mono_us()) < until_us) {
            struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = leave_fd, .events = POLLIN}};
            ready = poll(fds, ARRAY_LEN(fds), (int)((until_us - now_us) / US_PER_MS) + 1);
            if (ready < 0 && errno == EINTR)
                ready = 0;
            if (ready > 0 && !fds[0].revents) {
                close(fd);
                return WAIT_LEFT;
            }
        }
        close(fd);
        in_time = ready > 0;
        if (!in_time)
            kill(pid, SIGKILL);
    }
    while (waitpid(pid, ret_status, 0) < 0 && errno == EINTR)
        ;
    return in_time ? WAIT_ENDED : WAIT_KILLED;
}

/* The last line of what it wrote, cut to what fits into a sentence. */
static void read_reason(int fd, char *ret_text, size_t size)
{
    char text[2048];
    off_t end = lseek(fd, 0, SEEK_END);
    off_t from = end > (off_t)sizeof(text) - 1 ? end - (off_t)sizeof(text) + 1 : 0;
    ssize_t n = pread(fd, text, sizeof(text) - 1, from);
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' '))
        n--;
    text[n > 0 ? n : 0] = 0;
    const char *line = strrchr(text, '\n');
    line = line ? line + 1 : text;
    struct slice s = {line, strlen(line)};
    s.n = utf8_valid_prefix(s);
    s = utf8_truncate(s, size - 1);
    memcpy(ret_text, s.p, s.n);
    ret_text[s.n] = 0;
}

static int start(const char *config, int leave_fd, bool *ret_by_other, struct err *e)
{
    pid_t pid;
    int status = 0;
    char said[384];
    int fd = memfd_create("carpoold-said", MFD_CLOEXEC);
    if (fd < 0)
        return is_shortage(errno)
                   ? err_set(e, ERR_AGAIN, "There is no descriptor to start %s just now.", PROGRAM)
                   : err_set_errno(e, "The coordinator cannot be started");
    int rc = spawn(config, fd, &pid, e);
    enum wait_end end = rc ? WAIT_ENDED : wait_for(pid, leave_fd, &status);
    if (end == WAIT_KILLED)
        rc = err_set(e, ERR_TIMEOUT, "The coordinator did not come up within %d seconds.", START_LIMIT_S);
    else if (end == WAIT_LEFT)
        rc = err_set(e, ERR_CLOSED, "The server is being stopped while the coordinator comes up.");
    else if (!rc && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        read_reason(fd, said, sizeof(said));
        bool later = WIFEXITED(status) && WEXITSTATUS(status) == EXIT_TRY_LATER;
        rc = err_set(e, later ? ERR_AGAIN : ERR_IO, "The coordinator did not start: %s",
                     said[0] ? said : "it did not say why.");
    }
    if (!rc) {
        read_reason(fd, said, sizeof(said));
        *ret_by_other = strstr(said, "another one runs") != NULL;
    }
    close(fd);
    return rc;
}

int autostart_run(struct autostart *a, const char *config, int leave_fd, struct err *e)
{
    uint64_t seen = atomic_load(&a->finished);
    pthread_mutex_lock(&a->one_at_a_time);
    bool ended = atomic_load(&a->finished) != seen ||
                 (a->finished_us && clock_mono_us() < a->finished_us + SPACING_US);
    if (!ended) {
        a->rc = start(config, leave_fd, &a->by_other, &a->result);
        if (a->rc && a->rc != ERR_AGAIN && a->rc != ERR_CLOSED && a->dir)
            failed_start_note(a->dir, a->result.text);
        a->finished_us = clock_mono_us();
        atomic_fetch_add(&a->finished, 1);
        if (a->ended)
            a->ended(a);
    }
    int rc = a->rc;
    if (rc && e)
        *e = a->result;
    pthread_mutex_unlock(&a->one_at_a_time);
    return rc;
}
