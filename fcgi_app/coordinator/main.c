/*
 * carpoold, the coordinator: command line, going to the background, the lock. Everything else is in loop.c.
 * Started by systemd, by `make run`, or by the first worker that finds none.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/dir.h"
#include "base/failed_start.h"
#include "base/harden.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/redact.h"
#include "base/version.h"
#include "coordinator/holder.h"
#include "coordinator/loop.h"
#include "coordinator/notify.h"
#include "coordinator/sandbox.h"

static const char usage[] =
    "Usage: carpoold [--config=FILE] [--background]\n"
    "The coordinator of carpool: takes prompts from the workers, batches them, calls the provider.\n"
    "  --config=FILE  read this carpool.conf\n"
    "  --background   return once it is ready (or another one runs already); log to "
    "<log.dir>/coordinator.log\n"
    "  --version, --help\n";

#define HOLDER_LIMIT_MS 5000
#define EXIT_TRY_LATER  75 /* EX_TEMPFAIL of sysexits.h: the system has no process to spare now */

struct arguments {
    const char *config;
    bool background;
};

/* Exits by itself for --help, --version and mistakes. */
static struct arguments parse(int argc, char **argv)
{
    static const struct option options[] = {{"config", required_argument, NULL, 'c'},
                                            {"background", no_argument, NULL, 'b'},
                                            {"help", no_argument, NULL, 'h'},
                                            {"version", no_argument, NULL, 'v'},
                                            {0}};
    struct arguments a = {0};
    int o;
    while ((o = getopt_long(argc, argv, "c:bhv", options, NULL)) != -1) {
        if (o == 'c')
            a.config = optarg;
        else if (o == 'b')
            a.background = true;
        else if (o == 'h' || o == 'v') {
            fputs(o == 'h' ? usage : "carpoold " CARPOOL_VERSION "\n", stdout);
            exit(0);
        } else {
            fputs(usage, stderr);
            exit(2);
        }
    }
    return a;
}

/* Hands the parent's last word over: empty for success, else the sentence. */
static void tell_parent(int fd, const char *text)
{
    if (fd < 0)
        return;
    size_t n = strlen(text);
    if (n && write(fd, text, n) != (ssize_t)n)
        log_warning("The process that started this one has gone.");
    close(fd);
}

/* In the first parent: waits for the child's last word. */
static int await_child(int fd)
{
    char text[600];
    size_t len = 0;
    ssize_t n;
    while (len < sizeof(text) - 1 &&
           ((n = read(fd, text + len, sizeof(text) - 1 - len)) > 0 || (n < 0 && errno == EINTR)))
        len += n > 0 ? (size_t)n : 0;
    text[len] = 0;
    if (strcmp(text, "ready") == 0)
        return 0;
    if (strcmp(text, "another") == 0) {
        fputs("carpoold: another one runs already\n", stderr);
        return 0;
    }
    if (strcmp(text, "no process") == 0) {
        fputs("carpoold: no process can be had now\n", stderr);
        return EXIT_TRY_LATER;
    }
    fprintf(stderr, "carpoold: %s\n",
            len ? text : "it ended before it was ready; see coordinator.log in the log directory");
    return 1;
}

/* Double fork, own session, no descriptors of the starter. Returns in the daemon with the pipe to the starter
 * in *ret_fd. */
static void go_to_background(int *ret_fd)
{
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0) {
        perror("carpoold");
        exit(1);
    }
    pid_t child = fork();
    if (child < 0) {
        perror("carpoold");
        exit(EXIT_TRY_LATER);
    }
    if (child) {
        close(pipe_fds[1]);
        exit(await_child(pipe_fds[0]));
    }
    setsid();
    child = fork();
    if (child < 0)
        tell_parent(pipe_fds[1], "no process");
    if (child)
        _exit(0);
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        dup2(null, fd);
    if (pipe_fds[1] != 3)
        dup3(pipe_fds[1], 3, O_CLOEXEC);
    *ret_fd = 3;
    close_range(4, ~0u, 0);
    if (chdir("/") < 0)
        _exit(1);
}

static void raise_limits(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max < 65536 ? files.rlim_max : 65536;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int open_log(const struct conf *conf, bool background, struct err *e)
{
    char path[PATH_MAX] = "";
    enum log_level level = LOG_LEVEL_INFO;
    if (log_level_parse(conf->log.level, &level) < 0)
        level = LOG_LEVEL_INFO;
    if (conf->log.file[0])
        snprintf(path, sizeof(path), "%s", conf->log.file);
    else if (background) {
        int rc = dir_make(conf->log.dir, e);
        if (rc < 0)
            return rc;
        snprintf(path, sizeof(path), "%s/coordinator.log", conf->log.dir);
    }
    return log_open("carpoold", conf->log.debug ? LOG_LEVEL_DEBUG : level, path, e);
}

/* What is in the storage directory; see etc/operating.md and etc/run. */
static void keep_private(const struct conf *conf)
{
    const char *dir = conf->storage.dir;
    static const char *const ours[] = {"data.mdb",
                                       "lock.mdb",
                                       "coordinator.lock",
                                       "coordinator.sock",
                                       "provider.key",
                                       "provider.key.new",
                                       "logs",
                                       "run",
                                       "run.lock",
                                       "health.json",
                                       "restore.new",
                                       "restored",
                                       FAILED_START_FILE,
                                       NULL};
    enum dir_privacy privacy = dir_tighten(dir, ours);
    if (dir_contains(dir,
                     conf->log.dir)) /* one that is elsewhere may be shared; the files in it are private */
        (void)!chmod(conf->log.dir, 0700);
    if (privacy == DIR_TIGHTENED)
        log_warning("The storage directory %s was open to other users; its mode is 0700 now.", dir);
    else if (privacy == DIR_OPEN)
        log_warning("The storage directory %s can be entered by other users, and there is more in it than "
                    "what is carpool's; give carpool one of its own with mode 0700.",
                    dir);
}

struct start {
    const struct conf *conf;
    int *parent_fd;
    int landlock_abi;
};

static void on_ready(void *arg)
{
    struct start *s = arg;
    sandbox_calls(s->conf, s->landlock_abi);
    failed_start_forget(s->conf->storage.dir);
    tell_parent(*s->parent_fd, "ready");
    *s->parent_fd = -1;
    notify_manager("READY=1");
    log_info("Ready.");
}

static int run(const struct conf *conf, bool background, int *parent_fd, struct err *e)
{
    int lock_fd = -1;
    enum loop_end end;
    struct start start = {.conf = conf, .parent_fd = parent_fd};
    int rc = background ? holder_await(conf, HOLDER_LIMIT_MS, &lock_fd, e)
                        : lock_take(conf->storage.dir, &lock_fd, e);
    if (rc == ERR_EXISTS && background) {
        tell_parent(*parent_fd, "another"); /* what the starter wanted is the case */
        *parent_fd = -1;
        return 0;
    }
    if (rc == 0)
        rc = open_log(conf, background, e);
    if (rc == 0) {
        keep_private(conf);
        start.landlock_abi = sandbox_files(conf);
        rc = loop_run(conf, lock_fd, on_ready, &start, &end, e);
    }
    if (rc == 0 && end == LOOP_FENCED)
        log_error("Another coordinator took over the store; this one leaves without writing anything more.");
    else if (rc == 0 && end == LOOP_LOST)
        log_error("The storage directory %s, its lock or its store was removed; this coordinator leaves.",
                  conf->storage.dir);
    else if (rc == 0)
        log_info(end == LOOP_IDLE
                     ? "Nothing to do for coordinator.idle_exit_s; leaving until a worker needs me."
                     : "Finished.");
    if (rc < 0)
        log_error("%s", e->text);
    if (lock_fd >= 0)
        close(lock_fd);
    return rc;
}

int main(int argc, char **argv)
{
    static struct conf conf;
    harden_early();
    struct arguments a = parse(argc, argv);
    struct err e = {0};
    int parent_fd = -1;
    signal(SIGPIPE, SIG_IGN);
    raise_limits();
    if (sodium_init() < 0 || conf_load(a.config, &conf, &e) < 0 ||
        conf_hide_environment(CONF_KEEP_NOTHING, &e) < 0) {
        fprintf(stderr, "carpoold: %s\n", e.code ? e.text : "libsodium cannot be started");
        return 1;
    }
    harden_settle(conf.coordinator.sandbox);
    if (a.background)
        go_to_background(&parent_fd);
    int rc = run(&conf, a.background, &parent_fd, &e);
    if (rc < 0) {
        tell_parent(parent_fd, e.text);
        if (!a.background)
            fprintf(stderr, "carpoold: %s\n", e.text);
    }
    conf_wipe(&conf);
    log_close();
    redact_forget();
    return rc < 0 ? 1 : 0;
}
