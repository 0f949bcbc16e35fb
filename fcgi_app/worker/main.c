/*
 * carpool.fcgi: the HTTP edge. Reads flags and configuration, finds its listening socket and runs a pool on
 * it: either the prompt pool, or the small one for health, settings, analytics and chats.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/conf.h"
#include "base/filter.h"
#include "base/harden.h"
#include "base/log.h"
#include "base/redact.h"
#include "base/socket_path.h"
#include "base/version.h"
#include "worker/fcgid.h"
#include "worker/pool.h"

#define PROGRAM         "carpool.fcgi"
#define BACKLOG         4096
#define THREADS_MAX     10000
#define DESCRIPTORS_OWN 32 /* of a worker process, besides those of its threads */
#define EXIT_USAGE      2

struct flags {
    const char *config, *socket;
    bool manage;
    uint32_t processes, threads; /* 0: as configured */
    uint32_t server;
};

static const char usage[] =
    "Usage: " PROGRAM
    " [--pool=prompt|manage] [--config=FILE] [--processes=N] [--threads=N] [--socket=PATH]\n"
    "\n"
    "The FastCGI program of carpool. A web server starts it with its listening socket as\n"
    "standard input; systemd with a socket unit; or it listens by itself at --socket.\n"
    "Under Apache's mod_fcgid it is one process with one thread, whatever is configured.\n"
    "\n"
    "  --pool=prompt     serve with [worker] processes x threads (the default)\n"
    "  --pool=manage     serve with one process of [worker] manage_threads, for the\n"
    "                    endpoints that must answer while all prompt threads wait\n"
    "  --config=FILE     the configuration; else $CARPOOL_CONF, else carpool.conf beside\n"
    "                    the program, in its parent directory, in ~/.config/carpool/, or\n"
    "                    in /etc/carpool/\n"
    "  --processes=N     instead of [worker] processes\n"
    "  --threads=N       instead of [worker] threads (or manage_threads)\n"
    "  --socket=PATH     listen on this Unix socket\n"
    "  --server=PID      leave when that process has left; given by a pool that brings back\n"
    "                    its own parent\n"
    "  --help, --version\n";

static bool parse_number(const char *text, uint32_t max, uint32_t *ret_number)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (!*text || *end || n < 1 || n > max)
        return false;
    *ret_number = (uint32_t)n;
    return true;
}

static int complain(const char *option, const char *rule)
{
    fprintf(stderr, PROGRAM ": %s %s\n", option, rule);
    return EXIT_USAGE;
}

/* -1: go on; else the exit status. */
static int parse_flags(int argc, char **argv, struct flags *ret_flags)
{
    static const struct option options[] = {
        {"pool", required_argument, NULL, 'p'},
        {"config", required_argument, NULL, 'c'},
        {"processes", required_argument, NULL, 'n'},
        {"threads", required_argument, NULL, 't'},
        {"socket", required_argument, NULL, 's'},
        {"server", required_argument, NULL, 'w'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {0},
    };
    struct flags f = {0};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h')
            return fputs(usage, stdout) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        if (c == 'v')
            return puts(PROGRAM " " CARPOOL_VERSION) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
        if (c == 'c')
            f.config = optarg;
        else if (c == 's')
            f.socket = optarg;
        else if (c == 'p' && !strcmp(optarg, "manage"))
            f.manage = true;
        else if (c == 'p' && strcmp(optarg, "prompt") != 0)
            return complain("--pool", "must be prompt or manage.");
        else if (c == 'n' && !parse_number(optarg, WAITING_CHILDREN_MAX, &f.processes))
            return complain("--processes", "must be a number from 1 to 256.");
        else if (c == 't' && !parse_number(optarg, THREADS_MAX, &f.threads))
            return complain("--threads", "must be a number from 1 to 10000.");
        else if (c == 'w' && !parse_number(optarg, INT32_MAX, &f.server))
            return complain("--server", "must be the number of a process.");
        else if (c == '?')
            return EXIT_USAGE;
    }
    if (optind < argc)
        return complain(argv[optind], "is not an option; see --help.");
    *ret_flags = f;
    return -1;
}

static int listen_at(const char *path, int *ret_fd, struct err *e)
{
    struct sockaddr_un address;
    int dirfd = -1, fd = -1;
    int rc = socket_address(path, &address, &dirfd, e);
    if (rc)
        return rc;
    mode_t mask = umask(0177);
    unlink(path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) || listen(fd, BACKLOG)) {
        rc = err_set_errno(e, "Nobody can listen at %s", path);
        if (fd >= 0)
            close(fd);
    }
    umask(mask);
    if (dirfd >= 0)
        close(dirfd);
    if (!rc)
        *ret_fd = fd;
    return rc;
}

/* lighttpd, which sets PHP_FCGI_CHILDREN, makes the sockets of its programs as its umask wants them, and only
 * itself, which is this very user, connects. Sockets that others made have the permissions that they were
 * meant to have. */
static void make_private(int fd)
{
    struct sockaddr_un a = {0};
    socklen_t size = sizeof(a) - 1; /* a terminator stays */
    if (getenv("PHP_FCGI_CHILDREN") && getsockname(fd, (struct sockaddr *)&a, &size) == 0 &&
        a.sun_family == AF_UNIX && a.sun_path[0] == '/')
        (void)!chmod(a.sun_path, 0600);
}

/* systemd's protocol; see sd_listen_fds(3). */
static bool is_activated(void)
{
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    return pid && count && strtol(pid, NULL, 10) == getpid() && strtol(count, NULL, 10) >= 1;
}

/* The socket that --socket names, systemd hands over as descriptor 3, or a web server as standard input. */
static int find_socket(const struct flags *f, int *ret_fd, struct err *e)
{
    bool activated = is_activated();
    int listens = 0, fd = activated ? 3 : STDIN_FILENO;
    socklen_t size = sizeof(listens);

    if (f->socket)
        return listen_at(f->socket, ret_fd, e);
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) || !listens)
        return err_set(
            e, ERR_INVAL,
            "Standard input is no listening socket: this program is started by a web server, or with "
            "--socket=PATH; see --help.");
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, flags & ~O_NONBLOCK); /* threads wait inside accept() */
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (!activated)
        make_private(fd);
    *ret_fd = fd;
    return 0;
}

/* lighttpd, which sets that variable, keeps its programs in its own process group. When it dies before one of
 * them has begun, whoever takes over orphans looks like its server. */
static bool is_orphan(pid_t parent)
{
    return getenv("PHP_FCGI_CHILDREN") && getpgid(parent) != getpgrp();
}

/* A web server that was killed cannot stop its programs. Not with --socket: who starts it by hand may leave.
 * *ret_server is 0 then. */
static bool leave_with_server(const struct flags *f, pid_t *ret_server)
{
    pid_t parent = getppid();
    bool alone = f->socket || is_activated(); /* systemd looks after what it started */
    *ret_server = alone ? 0 : f->server ? (pid_t)f->server : parent;
    if (alone || f->server)
        return true;
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    return getppid() == parent && !is_orphan(parent);
}

/* How many threads can each have a descriptor for a connection and one to the coordinator. With more, all
 * descriptors could be taken by connections that then wait for the other one. Raises the limit as far as it
 * goes. */
static uint32_t threads_with_descriptors(uint32_t wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit))
        return wanted;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &limit) && getrlimit(RLIMIT_NOFILE, &limit))
            return wanted;
    }
    rlim_t most = limit.rlim_cur > DESCRIPTORS_OWN + 2 ? (limit.rlim_cur - DESCRIPTORS_OWN) / 2 : 1;
    if (most >= wanted)
        return wanted;
    log_warning("%u threads are configured, but %llu descriptors are allowed (ulimit -n), enough for %llu",
                wanted, (unsigned long long)limit.rlim_cur, (unsigned long long)most);
    return (uint32_t)most;
}

static int open_log(const struct conf *c, struct err *e)
{
    enum log_level level = LOG_LEVEL_INFO;
    if (c->log.level[0]) {
        int rc = log_level_parse(c->log.level, &level);
        if (rc)
            return err_set(e, rc, "log.level must be debug, info, warning or error.");
    }
    return log_open(PROGRAM, c->log.debug ? LOG_LEVEL_DEBUG : level, c->log.file, e);
}

/* How many prompts can wait in the pool at once; 0: not to be counted on, as under mod_fcgid, which starts as
 * many processes as it likes. */
static uint32_t capacity_of(const struct conf *c, const struct flags *f, uint32_t processes, uint32_t threads)
{
    uint64_t all = (uint64_t)processes * threads;
    if (f->manage)
        return 0;
    if (c->worker.capacity)
        return c->worker.capacity;
    if (all == 1)
        return 0;
    return all < c->limits.waiting_max ? (uint32_t)all : c->limits.waiting_max;
}

/* In the manage pool only long polls wait, and half of its threads stay free for what must answer at once. */
static uint32_t waiting_max_of(const struct conf *c, const struct flags *f, uint32_t threads)
{
    uint32_t half = (threads + 1) / 2;
    return f->manage && half < c->limits.waiting_max ? half : c->limits.waiting_max;
}

/* A pool has an id, under which its capacity counts. All processes of mod_fcgid are one pool, or the capacity
 * that is configured would count once for each; another one, while those with the old one leave. */
static void name_pool(struct serve_options *o, bool fcgid)
{
    static const uint8_t fcgid_pool[] = {'m', 'o', 'd', '_', 'f', 'c', 'g', 'i', 'd', 0, 0, 0};
    uuid_v7(clock_real_us(), &o->pool_id);
    if (!fcgid)
        return;
    memcpy(o->pool_id.bytes, fcgid_pool, sizeof(fcgid_pool));
    memcpy(o->pool_id.bytes + sizeof(fcgid_pool), &o->capacity, sizeof(o->capacity));
}

static void set_size(struct pool_options *o, const struct conf *c, const struct flags *f, bool fcgid)
{
    uint32_t threads = f->manage ? c->worker.manage_threads : c->worker.threads;
    o->serve.threads = fcgid ? 1 : threads_with_descriptors(f->threads ? f->threads : threads);
    o->processes = fcgid ? 1 : f->processes ? f->processes : f->manage ? 1 : c->worker.processes;
    if (o->processes > WAITING_CHILDREN_MAX)
        o->processes = WAITING_CHILDREN_MAX;
}

/* From here on the key of the provider and the password of Redis are the coordinator's alone. What an
 * autostarted one must be told by the environment is kept for it, and nowhere else. */
static int leave_secrets(struct conf *c, struct err *e)
{
    redact_forget();
    sodium_memzero(c->provider.api_key, sizeof(c->provider.api_key));
    sodium_memzero(c->redis.url, sizeof(c->redis.url));
    redact_remember(slice_of(c->auth.api_key));
    redact_remember(slice_of(c->auth.admin_key));
    return conf_hide_environment(c->coordinator.autostart ? CONF_KEEP_ALL : CONF_KEEP_CALLERS, e);
}

static int run(const struct flags *f, char **argv, struct conf *c, struct err *e)
{
    static struct settings_patch none;
    static struct settings settings;
    struct pool_options o = {.serve = {.conf = c, .settings = &settings}};
    int rc = find_socket(f, &o.serve.listen_fd, e);
    if (rc)
        return rc;
    bool fcgid = fcgid_made(o.serve.listen_fd);

    set_size(&o, c, f, fcgid);
    o.serve.capacity = capacity_of(c, f, o.processes, o.serve.threads);
    o.serve.waiting.max = waiting_max_of(c, f, o.serve.threads);
    name_pool(&o.serve, fcgid);
    settings_resolve(c, &none, c->provider.api_key, &settings);
    rc = leave_secrets(c, e);
    if (rc)
        return rc;

    rc = waiting_new(&o.serve.waiting.shared, e);
    if (rc)
        return rc;
    pid_t server;
    if (!leave_with_server(f, &server))
        return 0;
    if (c->auth.required == AUTH_OFF)
        log_warning("auth.required is off: whoever reaches this server can send prompts");
    if (fcgid)
        return fcgid_run(&o.serve) == EXIT_SUCCESS ? 0 : err_set(e, ERR_IO, "The process could not go on.");
    o.adopted = f->server != 0;
    rc = heir_init(&o.serve.heir, argv, server, e);
    if (rc)
        return rc;
    if (o.adopted && !o.serve.heir.server)
        return err_set(e, ERR_INVAL, "--server cannot be watched on this system.");
    int status = pool_run(&o);
    if (f->socket)
        unlink(f->socket);
    return status == EXIT_SUCCESS ? 0 : err_set(e, ERR_IO, "The pool could not run.");
}

/* Not Landlock: a coordinator that is started later would inherit it, and its files and those of its
 * libraries are its own affair. */
static void lock_in(bool sandbox)
{
    struct err e = {0};
    harden_settle(sandbox);
    if (sandbox && filter_enforce(FILTER_WORKER, &e) < 0)
        log_warning("%s", e.text);
}

int main(int argc, char **argv)
{
    static struct conf conf; /* large */
    struct flags flags = {0};
    struct err e = {0};
    harden_early();
    int status = parse_flags(argc, argv, &flags);
    signal(SIGPIPE, SIG_IGN);    /* a log that nobody reads any more must not end the pool */
    prctl(PR_SET_NAME, PROGRAM); /* an heir was started through /proc/self/exe */
    if (status >= 0)
        return status;
    if (sodium_init() < 0)
        return complain("libsodium", "could not be initialised.");
    int rc = conf_load(flags.config, &conf, &e);
    if (!rc)
        rc = open_log(&conf, &e);
    if (!rc)
        lock_in(conf.coordinator.sandbox);
    if (!rc)
        rc = run(&flags, argv, &conf, &e);
    if (rc)
        fprintf(stderr, PROGRAM ": %s\n", e.text);
    conf_wipe(&conf);
    conf_forget_environment();
    log_close();
    redact_forget();
    return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
