/* The parent of a pool; see pool.h. */
#include "worker/pool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define QUICK_DEATH_US (2 * US_PER_S) /* a child that lives shorter is brought back later each time */
#define BACK_OFF_US    (100 * US_PER_MS)
#define BACK_OFF_MAX   (5 * US_PER_S)

/* Invariant: pid is 0 while it does not run; then it is started at not_before_us. */
struct pool_child {
    pid_t pid;
    uint64_t started_us, not_before_us, back_off_us;
};

struct pool {
    const struct pool_options *options;
    struct pool_child children[WAITING_CHILDREN_MAX];
    int pipe_read, pipe_write;
    sigset_t handled, before;
    bool stopping;
};

static void start_child(struct pool *p, uint32_t i)
{
    struct pool_child *c = &p->children[i];
    c->started_us = clock_mono_us();
    pid_t pid = fork();
    if (pid == 0) {
        struct serve_options o = p->options->serve;
        close(p->pipe_write);
        o.parent_fd = p->pipe_read;
        o.grace_ms = POOL_GRACE_MS;
        o.waiting.child = i;
        o.waiting.children = p->options->processes;
        _exit(serve_run(&o));
    }
    if (pid < 0) {
        log_error("A worker process cannot be forked: %s", strerror(errno));
        c->not_before_us = c->started_us + BACK_OFF_MAX;
        return;
    }
    c->pid = pid;
}

static void note_death(struct pool *p, struct pool_child *c, int status)
{
    uint64_t now_us = clock_mono_us();
    if (!p->stopping && WIFSIGNALED(status))
        log_error("worker process %d was killed by signal %d; it is replaced", c->pid, WTERMSIG(status));
    else if (!p->stopping)
        log_warning("worker process %d left with status %d; it is replaced", c->pid, WEXITSTATUS(status));
    if (now_us - c->started_us >= QUICK_DEATH_US)
        c->back_off_us = 0;
    else
        c->back_off_us = c->back_off_us ? c->back_off_us * 2 : BACK_OFF_US;
    if (c->back_off_us > BACK_OFF_MAX)
        c->back_off_us = BACK_OFF_MAX;
    c->pid = 0;
    c->not_before_us = now_us + c->back_off_us;
}

static void reap(struct pool *p)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (uint32_t i = 0; i < p->options->processes; i++)
            if (p->children[i].pid == pid) {
                waiting_forget(p->options->serve.waiting.shared, i);
                note_death(p, &p->children[i], status);
            }
}

/* Starts what is due. Returns how long until the next start is, in us. */
static uint64_t start_due(struct pool *p)
{
    uint64_t now_us = clock_mono_us(), next_us = 3600 * US_PER_S;
    for (uint32_t i = 0; i < p->options->processes; i++) {
        struct pool_child *c = &p->children[i];
        if (c->pid)
            continue;
        if (c->not_before_us <= now_us)
            start_child(p, i);
        else if (c->not_before_us - now_us < next_us)
            next_us = c->not_before_us - now_us;
    }
    return next_us;
}

static uint32_t signal_all(struct pool *p, int number)
{
    uint32_t running = 0;
    for (uint32_t i = 0; i < p->options->processes; i++)
        if (p->children[i].pid) {
            running++;
            if (number)
                kill(p->children[i].pid, number);
        }
    return running;
}

static int wait_signal(struct pool *p, uint64_t wait_us)
{
    struct timespec t = {.tv_sec = (time_t)(wait_us / US_PER_S),
                         .tv_nsec = (long)(wait_us % US_PER_S) * 1000};
    return sigtimedwait(&p->handled, NULL, &t);
}

static void stop(struct pool *p, int number)
{
    uint64_t until_us = clock_mono_us() + POOL_LIMIT_S * US_PER_S;
    p->stopping = true;
    signal_all(p, number);
    while (signal_all(p, 0)) {
        if (clock_mono_us() >= until_us) {
            log_warning("worker processes did not leave within %d s and are killed", POOL_LIMIT_S);
            signal_all(p, SIGKILL);
            until_us = UINT64_MAX;
        }
        wait_signal(p, US_PER_S);
        reap(p);
    }
}

int pool_run(const struct pool_options *o)
{
    static struct pool pool;
    struct pool *p = &pool;
    int fds[2], number;
    p->options = o;
    serve_signals(&p->handled);
    sigaddset(&p->handled, SIGCHLD);
    sigprocmask(SIG_BLOCK, &p->handled, &p->before);
    if (pipe2(fds, O_CLOEXEC)) {
        log_error("A pipe for the pool cannot be had: %s", strerror(errno));
        return EXIT_FAILURE;
    }
    p->pipe_read = fds[0];
    p->pipe_write = fds[1];
    do {
        uint64_t wait_us = start_due(p);
        number = wait_signal(p, o->adopted && wait_us > US_PER_S ? US_PER_S : wait_us);
        reap(p);
        if (o->adopted && heir_server_gone(&o->serve.heir))
            number = SIGTERM;
    } while (number <= 0 || number == SIGCHLD);
    stop(p, number);
    close(fds[0]);
    close(fds[1]);
    return EXIT_SUCCESS;
}
