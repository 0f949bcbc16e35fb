/* The coordinator as a program; see loop.h. */
#include "coordinator/loop.h"

#include <limits.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/dir.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/sched.h"
#include "coordinator/common.h"
#include "coordinator/control.h"
#include "coordinator/keyfile.h"
#include "coordinator/notify.h"
#include "coordinator/program.h"
#include "store/meta.h"

#define DRAIN_MS         30000
#define MAINTAIN_MS      1000
#define ANSWER_MAX_BYTES (16u << 20) /* with its prompt it must fit into a frame (WIRE_MAX_PAYLOAD) */
#define LINKS_MAX        20000
#define LOG_ROTATE_BYTES (10u << 20)
#define LOG_ROTATE_KEEP  5
#define LOG_QUEUE_BYTES  (16u << 20)

static void stop(struct program *p, enum loop_end end)
{
    p->end = end;
    p->stopping = true;
    uv_stop(&p->loop);
}

static void set_timer(struct program *p, uint64_t now_us);

/* Ends each round of events: decide, commit, write. */
static void turn(struct program *p)
{
    uint64_t now_us = clock_mono_us();
    struct core *c = &p->core;
    p->stirred = false;
    core_turn(c, now_us);
    commit_submit(p->commits, &p->ops);
    if (c->fenced) {
        stop(p, LOOP_FENCED); /* and tells nobody: the workers hand in again, to the other coordinator */
        return;
    }
    links_flush(&p->links);
    if (c->draining && core_idle(c) && !links_pending(&p->links) && common_is_told(p))
        stop(p, LOOP_DRAINED);
    else
        set_timer(p, now_us);
}

static void on_due(uv_timer_t *timer)
{
    turn(timer->data);
}

static void set_timer(struct program *p, uint64_t now_us)
{
    uint64_t next = core_next_us(&p->core, now_us);
    if (next == UINT64_MAX) {
        uv_timer_stop(&p->due);
        return;
    }
    uint64_t wait_ms = next > now_us ? (next - now_us + US_PER_MS - 1) / US_PER_MS : 0;
    uv_update_time(&p->loop);
    uv_timer_start(&p->due, on_due, wait_ms, 0);
}

static void on_events(uv_check_t *check)
{
    turn(check->data);
}

/* Timers run before the loop waits (libuv 1.44), and curl's may have brought an answer. */
static void on_waiting(uv_prepare_t *prepare)
{
    struct program *p = prepare->data;
    if (p->stirred && !p->stopping)
        turn(p);
}

static void on_committed(uv_async_t *async)
{
    struct program *p = async->data;
    struct list ops;
    uint64_t now_us = clock_mono_us();
    list_init(&ops);
    commit_collect(p->commits, &ops);
    list_for_each_safe (it, next, &ops) {
        list_remove(it);
        core_committed(&p->core, LIST_ENTRY(it, struct commit_op, node), now_us);
    }
}

static void notify_committed(void *arg)
{
    uv_async_send(&((struct program *)arg)->committed);
}

static void on_called(void *arg, void *owner, const struct provider_response *response)
{
    struct program *p = arg;
    struct core *c = &p->core;
    p->stirred = true;
    if (owner == &c->probe)
        core_probed(c, response, clock_mono_us());
    else
        core_called(c, owner, response, clock_mono_us());
}

static bool on_streamed(void *arg, void *owner, struct slice bytes)
{
    struct program *p = arg;
    p->stirred = true;
    return core_streamed(&p->core, owner, bytes, clock_mono_us());
}

/* Takes over how the sink is, and says it when Kafka goes or comes back. */
static void look_at_sink(struct program *p)
{
    struct core *c = &p->core;
    bool was_away = c->kafka.fault.code;
    c->sink_dropped = sink_dropped(p->sink);
    sink_kafka(p->sink, &c->kafka);
    if (c->kafka.fault.code && !was_away)
        log_warning("Kafka: %s. Its records go to files in %s until it takes them again.",
                    c->kafka.fault.text, p->conf->log.dir);
    else if (was_away && !c->kafka.fault.code)
        log_info("Kafka takes records again; %llu went to files.", (unsigned long long)c->kafka.filed);
}

static void on_maintain(uv_timer_t *timer)
{
    struct program *p = timer->data;
    struct core *c = &p->core;
    uint64_t now_us = clock_mono_us();
    look_at_sink(p);
    if (core_works(c))
        p->busy_us = now_us;
    core_maintain(c, now_us);
    store_reap_readers(p->store);
    turn(p);
    if (p->stopping)
        return;
    if (!lock_holds(p->conf->storage.dir, p->lock_fd) || !store_is_there(p->store)) {
        stop(p, LOOP_LOST);
        return;
    }
    links_check(&p->links);
    uint32_t idle_s = p->conf->coordinator.idle_exit_s;
    if (idle_s && now_us - p->busy_us > idle_s * US_PER_S && core_idle(c))
        stop(p, LOOP_IDLE);
}

static void on_drain_over(uv_timer_t *timer)
{
    log_warning("Calls still run after the time to finish them; their outcome is recorded as unknown.");
    stop(timer->data, LOOP_DRAINED);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct program *p = handle->data;
    if (p->core.draining) {
        if (number == SIGINT)
            return; /* a terminal sends it to the whole group, often twice */
        stop(p, LOOP_DRAINED);
        return;
    }
    notify_manager("STOPPING=1");
    log_info("Finishing what runs, then leaving.");
    core_drain(&p->core);
    uv_timer_start(&p->drain, on_drain_over, DRAIN_MS, 0);
    turn(p);
}

static void loop_handles(struct program *p)
{
    uv_async_init(&p->loop, &p->committed, on_committed);
    uv_check_init(&p->loop, &p->after_events);
    uv_prepare_init(&p->loop, &p->before_waiting);
    uv_timer_init(&p->loop, &p->due);
    uv_timer_init(&p->loop, &p->maintain);
    uv_timer_init(&p->loop, &p->drain);
    uv_signal_init(&p->loop, &p->sigterm);
    uv_signal_init(&p->loop, &p->sigint);
    p->committed.data = p->after_events.data = p->before_waiting.data = p->due.data = p->maintain.data =
        p->drain.data = p->sigterm.data = p->sigint.data = p;
    uv_check_start(&p->after_events, on_events);
    uv_prepare_start(&p->before_waiting, on_waiting);
    uv_timer_start(&p->maintain, on_maintain, MAINTAIN_MS, MAINTAIN_MS);
    uv_signal_start(&p->sigterm, on_signal, SIGTERM);
    uv_signal_start(&p->sigint, on_signal, SIGINT);
}

static int open_store(struct program *p, uint64_t *ret_epoch, struct err *e)
{
    const struct conf *c = p->conf;
    uint32_t threads = c->worker.processes * c->worker.threads + c->worker.manage_threads;
    struct store_options options = {
        .access = STORE_WRITER, .map_max_bytes = c->storage.map_max_mib << 20, .readers_max = threads + 256};
    int rc = store_open(c->storage.dir, &options, &p->store, e);
    return rc < 0 ? rc : meta_raise_epoch(p->store, ret_epoch, e);
}

static int open_core(struct program *p, uint64_t epoch, struct err *e)
{
    struct core_ports ports = ports_of(p);
    struct saved_key key;
    struct store_read *r;
    keyfile_drop(p->conf->storage.dir);
    int rc = keyfile_read(p->conf->storage.dir, &key, e);
    if (rc == 0)
        rc = store_read_begin(p->store, &r, e);
    if (rc == 0) {
        rc = core_init(&p->core, p->conf, &ports, epoch, r, &key, clock_mono_us(), e);
        store_read_end(r);
    }
    sodium_memzero(&key, sizeof(key));
    if (rc < 0)
        return rc;
    struct commit_op *op = control_publish(&p->core);
    if (!op)
        return err_set(e, ERR_NOMEM, "Not enough memory to start.");
    core_commit(&p->core, op);
    rc = commit_apply_group(p->store, epoch, &p->ops, e); /* before anybody can ask */
    list_for_each_safe (it, next, &p->ops) {
        list_remove(it);
        struct commit_op *done = LIST_ENTRY(it, struct commit_op, node);
        done->rc = rc;
        core_committed(&p->core, done, clock_mono_us());
    }
    return rc;
}

static int open_sink(struct program *p, struct err *e)
{
    const struct conf *c = p->conf;
    struct sink_kafka_options kafka = {.servers = c->kafka.bootstrap_servers,
                                       .options_file = c->kafka.options_file,
                                       .topics = {[SINK_REQUESTS] = c->kafka.request_topic,
                                                  [SINK_METRICS] = c->kafka.metrics_topic,
                                                  [SINK_ERRORS] = c->kafka.error_topic}};
    struct sink_options options = {.dir = c->log.dir,
                                   .rotate_bytes = LOG_ROTATE_BYTES,
                                   .rotate_keep = LOG_ROTATE_KEEP,
                                   .queue_max_bytes = LOG_QUEUE_BYTES,
                                   .kafka = c->kafka.enabled ? &kafka : NULL};
    return sink_open(&options, &p->sink, e);
}

static int open_all(struct program *p, struct err *e)
{
    uint64_t epoch = 0;
    char path[PATH_MAX];
    struct upstream_options upstream = {.timeout_ms = p->conf->provider.timeout_ms,
                                        .answer_max_bytes = ANSWER_MAX_BYTES,
                                        .connections_max = p->conf->provider.max_concurrency * 2};
    loop_socket_path(p->conf, path);
    bool ours = dir_contains(p->conf->storage.dir, path); /* everything there is the lock holder's */
    int rc = open_sink(p, e);
    if (rc == 0)
        rc = open_store(p, &epoch, e);
    if (rc == 0)
        rc = open_core(p, epoch, e);
    if (rc == 0)
        rc = upstream_open(&p->loop, &upstream, on_called, p, &p->upstream, e);
    if (rc == 0)
        upstream_on_piece(p->upstream, on_streamed);
    if (rc == 0)
        rc = commit_start(p->store, epoch, notify_committed, p, &p->commits, e);
    if (rc == 0)
        rc = common_open(p, epoch, e);
    if (rc == 0)
        rc = links_open(&p->links, &p->loop, &p->core, path, ours, LINKS_MAX, e);
    return rc;
}

static void close_handle(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void close_all(struct program *p, bool bound)
{
    char path[PATH_MAX];
    loop_socket_path(p->conf, path);
    if (bound && p->end != LOOP_FENCED && p->end != LOOP_LOST)
        unlink(path); /* a successor's socket is not ours to remove */
    if (bound)
        links_close(&p->links);
    common_close(p);
    commit_stop(p->commits);
    list_for_each_safe (it, next, &p->ops)
        commit_op_free(LIST_ENTRY(it, struct commit_op, node));
    upstream_close(p->upstream);
    uv_walk(&p->loop, close_handle, NULL);
    uv_run(&p->loop, UV_RUN_DEFAULT);
    uv_loop_close(&p->loop);
    core_fini(&p->core);
    sink_close(p->sink, 2000);
    store_close(p->store);
}

void loop_socket_path(const struct conf *conf, char *ret_path)
{
    if (conf->coordinator.socket[0])
        snprintf(ret_path, PATH_MAX, "%s", conf->coordinator.socket);
    else
        snprintf(ret_path, PATH_MAX, "%s/coordinator.sock", conf->storage.dir);
}

int loop_run(const struct conf *conf, int lock_fd, void (*ready)(void *arg), void *arg,
             enum loop_end *ret_end, struct err *e)
{
    static struct program program; /* several kilobytes; one a process */
    struct program *p = &program;
    p->conf = conf;
    p->lock_fd = lock_fd;
    p->started = (struct steady){clock_real_us(), clock_boot_us()};
    list_init(&p->ops);
    uv_loop_init(&p->loop);
    sched_be_patient();
    int rc = open_all(p, e);
    if (rc == 0) {
        loop_handles(p);
        look_at_sink(p);
        p->busy_us = clock_mono_us();
        ready(arg);
        turn(p);
        uv_run(&p->loop, UV_RUN_DEFAULT);
    }
    close_all(p, rc == 0);
    *ret_end = p->end;
    return rc;
}
