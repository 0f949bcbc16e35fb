/* One process of the pool; see serve.h. */
#include "worker/serve.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/sched.h"
#include "worker/exchange.h"
#include "worker/state.h"

#define STACK_BYTES    (128 * 1024)
#define TICK_MS        1000
#define WAKE_PAUSE_US  (2 * US_PER_MS)
#define WAKE_PAUSE_MAX (50 * US_PER_MS)
#define WAKE_SIGNAL    SIGUSR2

struct serve_thread {
    pthread_t id;
    struct serve *serve;
    atomic_bool idle; /* waits for a connection: may be woken */
    atomic_bool left;
    struct turnstile_place place;
};

struct serve {
    struct worker worker;
    struct serve_thread *threads;
    uint32_t threads_n;
    struct turnstile turnstile;
    int listen_fd;
    bool own_socket;
    bool orphaned; /* it leaves since its parent has died */
    int fault_fd;  /* an eventfd: a thread cannot go on and the process is no use any more */
    atomic_bool stop;
    struct link counts_link;
};

static void *thread_main(void *arg)
{
    struct serve_thread *t = arg;
    struct serve *s = t->serve;
    struct request_gate gate = {.listen_fd = s->listen_fd,
                                .own = s->own_socket,
                                .stop = &s->stop,
                                .idle = &t->idle,
                                .turnstile = &s->turnstile,
                                .place = &t->place};
    struct err e = {0};
    struct exchange *x = malloc(sizeof(*x));
    int rc = x ? exchange_init(x, &s->worker) : ERR_NOMEM;
    sched_be_patient();
    while (!rc) {
        rc = request_accept(&x->request, &gate, &e);
        if (!rc)
            exchange_run(x);
    }
    if (rc != ERR_CLOSED) {
        log_error("A request thread ends: %s", e.text[0] ? e.text : "There is no memory for it.");
        eventfd_write(s->fault_fd, 1);
    }
    if (x)
        exchange_fini(x);
    free(x);
    atomic_store(&t->left, true);
    return NULL;
}

static void on_wake(int number)
{
    (void)number; /* only there to interrupt accept() */
}

static int start_threads(struct serve *s, uint32_t n, struct err *e)
{
    pthread_attr_t attributes;
    int rc = 0;
    s->threads = calloc(n, sizeof(*s->threads));
    if (!s->threads || pthread_attr_init(&attributes))
        return err_set(e, ERR_NOMEM, "There is no memory for %u request threads.", n);
    if (pthread_attr_setstacksize(&attributes, STACK_BYTES))
        rc = err_set(e, ERR_INVAL, "Request threads cannot have stacks of %d bytes.", STACK_BYTES);
    while (!rc && s->threads_n < n) {
        struct serve_thread *t = &s->threads[s->threads_n];
        t->serve = s;
        turnstile_place_init(&t->place);
        errno = pthread_create(&t->id, &attributes, thread_main, t);
        if (errno) {
            /* A host may allow fewer; some are better than none. */
            rc = err_set_errno(e, "Only %u of %u request threads could be started", s->threads_n, n);
            break;
        }
        s->threads_n++;
    }
    pthread_attr_destroy(&attributes);
    if (rc && s->threads_n) {
        log_warning("%s", e->text);
        rc = 0;
    }
    return rc;
}

static bool all_idle(const struct serve *s)
{
    for (uint32_t i = 0; i < s->threads_n; i++)
        if (!atomic_load(&s->threads[i].idle))
            return false;
    return true;
}

/* Whether another file stands where this program was started from; proc_pid_exe(5). */
static bool is_replaced(void)
{
    static const char mark[] = " (deleted)";
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path));
    return n > (ssize_t)sizeof(mark) - 1 &&
           memcmp(path + n - (sizeof(mark) - 1), mark, sizeof(mark) - 1) == 0;
}

/* Until a signal, the end of the parent, or a fault. Returns the exit status. */
static int wait_for_end(struct serve *s, int signal_fd, const struct serve_options *o)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = signal_fd, .events = POLLIN},
                               {.fd = o->parent_fd, .events = POLLIN},
                               {.fd = s->fault_fd, .events = POLLIN}};
        int n = poll(fds, ARRAY_LEN(fds), TICK_MS);
        if (n > 0 && fds[0].revents)
            return EXIT_SUCCESS;
        if (n > 0 && fds[1].revents) {
            s->orphaned = true;
            heir_succeed(&o->heir, s->listen_fd);
            return EXIT_SUCCESS;
        }
        if (n > 0 && fds[2].revents)
            return EXIT_FAILURE;
        counts_flush(&s->worker.counts, &s->counts_link);
        if (worker_store_lost(&s->worker)) {
            log_warning(
                "the store was removed or replaced; this process makes way for one that opens it anew");
            return EXIT_SUCCESS;
        }
        if (o->leave_when_replaced && all_idle(s) && is_replaced()) {
            log_info("the program was replaced; this process makes way");
            return EXIT_SUCCESS;
        }
    }
}

/* Wakes whoever waits for a connection until all have left. A signal that comes just before accept() is lost,
 * hence again and again. At the end of the grace whoever waits for the coordinator answers without it. False:
 * some requests run even after that. */
static bool stop_threads(struct serve *s, const struct serve_options *o)
{
    uint64_t leave_us = clock_mono_us() + o->grace_ms * US_PER_MS;
    uint64_t until_us = leave_us + SERVE_LAST_WORD_MS * US_PER_MS, now_us;
    uint32_t running = s->threads_n;
    useconds_t pause_us = WAKE_PAUSE_US;
    bool leaving = false;
    atomic_store(&s->stop, true);
    turnstile_open(&s->turnstile);
    while (running && (now_us = clock_mono_us()) < until_us) {
        running = 0;
        if (!leaving && now_us >= leave_us)
            leaving = eventfd_write(s->worker.host.leave_fd, 1) == 0;
        for (uint32_t i = 0; i < s->threads_n; i++) {
            struct serve_thread *t = &s->threads[i];
            if (atomic_load(&t->left))
                continue;
            running++;
            if (atomic_load(&t->idle))
                pthread_kill(t->id, WAKE_SIGNAL);
        }
        if (running)
            usleep(pause_us);
        if (s->orphaned)
            heir_succeed(&o->heir, s->listen_fd);
        pause_us = pause_us * 2 < WAKE_PAUSE_MAX ? pause_us * 2 : WAKE_PAUSE_MAX;
    }
    return !running;
}

void serve_signals(sigset_t *ret_set)
{
    sigemptyset(ret_set);
    sigaddset(ret_set, SIGTERM);
    sigaddset(ret_set, SIGINT);
    sigaddset(ret_set, SIGUSR1);
}

static int block_signals(int *ret_fd, struct err *e)
{
    sigset_t ends;
    serve_signals(&ends);
    pthread_sigmask(SIG_SETMASK, &ends, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigaction(WAKE_SIGNAL, &(struct sigaction){.sa_handler = on_wake}, NULL);
    int fd = signalfd(-1, &ends, SFD_CLOEXEC);
    if (fd < 0)
        return err_set_errno(e, "Signals cannot be received");
    *ret_fd = fd;
    return 0;
}

static int serve_open(struct serve *s, const struct serve_options *o, int *ret_signal_fd, struct err *e)
{
    s->listen_fd = o->listen_fd;
    s->own_socket = o->own_socket;
    turnstile_init(&s->turnstile);
    s->fault_fd = eventfd(0, EFD_CLOEXEC);
    if (s->fault_fd < 0)
        return err_set_errno(e, "A worker process cannot start");
    int rc = worker_init(&s->worker, o->conf, o->settings, e);
    if (rc)
        return rc;
    s->worker.host.leave_fd = eventfd(0, EFD_CLOEXEC);
    if (s->worker.host.leave_fd < 0)
        return err_set_errno(e, "A worker process cannot start");
    s->worker.waiting = o->waiting;
    s->worker.host.pool = o->pool_id;
    s->worker.host.capacity = o->capacity;
    s->worker.wait_max_ms = o->wait_max_ms;
    link_init(&s->counts_link, &s->worker.host);
    rc = block_signals(ret_signal_fd, e);
    if (!rc)
        rc = request_library_init(e);
    return rc ? rc : start_threads(s, o->threads, e);
}

int serve_run(const struct serve_options *o)
{
    struct err e = {0};
    int signal_fd = -1, status = EXIT_FAILURE;
    struct serve *s = calloc(1, sizeof(*s));
    if (!s || serve_open(s, o, &signal_fd, &e)) {
        log_error("%s", e.text[0] ? e.text : "There is no memory for a worker process.");
        return EXIT_FAILURE; /* the process ends and takes everything with it */
    }
    status = wait_for_end(s, signal_fd, o);
    if (!stop_threads(s, o)) {
        log_warning("requests still ran when the time to stop was over");
        return EXIT_FAILURE;
    }
    for (uint32_t i = 0; i < s->threads_n; i++) {
        pthread_join(s->threads[i].id, NULL);
        turnstile_place_fini(&s->threads[i].place);
    }
    close(s->worker.host.leave_fd);
    s->worker.host.leave_fd = -1; /* the counts are to get out all the same */
    counts_flush(&s->worker.counts, &s->counts_link);
    link_fini(&s->counts_link);
    worker_fini(&s->worker);
    turnstile_fini(&s->turnstile);
    free(s->threads);
    close(s->fault_fd);
    close(signal_fd);
    free(s);
    return status;
}
