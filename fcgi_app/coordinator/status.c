/* What the coordinator says of itself; see status.h. */
#include "coordinator/status.h"

#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "coordinator/machines.h"
#include "coordinator/record.h"
#include "coordinator/stream.h"
#include "json/write.h"

static void write_part(struct json_writer *w, const char *name, const struct err *fault, const char *kind)
{
    json_key(w, name);
    json_object_begin(w);
    json_field_cstr(w, "status", fault->code ? "down" : "ok");
    if (kind)
        json_field_cstr(w, "kind", kind);
    if (fault->code)
        json_field_cstr(w, "reason", fault->text);
    json_object_end(w);
}

/* What the state of the Redis that machines share means for those who ask. */
static const char *meaning_of(const struct core *c)
{
    if (c->shared.reach == SHARED_THERE)
        return "What is promised of a request id holds on each machine by itself meanwhile.";
    return machines_may_go_without(c) ? "Each machine goes on by itself meanwhile."
                                      : "This machine refuses new request ids meanwhile.";
}

/* The Redis that machines share. One that may forget is there, and says so. */
static void write_shared(struct json_writer *w, const struct core *c)
{
    static const char *const standings[] = {
        [SHARED_OFF] = "disabled", [SHARED_AWAY] = "down", [SHARED_THERE] = "ok"};
    json_key(w, "redis");
    json_object_begin(w);
    json_field_cstr(w, "status", standings[c->shared.reach]);
    if (c->shared.fault.code || c->shared.reach == SHARED_AWAY) {
        struct err reason;
        err_set(&reason, ERR_CLOSED, "%s %s",
                c->shared.fault.code ? c->shared.fault.text : "It has not answered yet.", meaning_of(c));
        json_field_cstr(w, "reason", reason.text);
    }
    json_object_end(w);
}

static void write_breaker(struct json_writer *w, const struct breaker *b)
{
    static const char *const states[] = {
        [BREAKER_CLOSED] = "closed", [BREAKER_OPEN] = "open", [BREAKER_HALF_OPEN] = "half_open"};
    json_key(w, "breaker");
    json_object_begin(w);
    json_field_cstr(w, "state", states[b->state]);
    json_field_u64(w, "failures", b->failures);
    json_object_end(w);
}

/* Prompts that have come in and have no outcome yet. */
static uint64_t prompts_alive(const struct core *c)
{
    uint64_t n = 0;
    for (int s = 0; s < JOB_REAPED; s++)
        n += c->jobs_n[s];
    return n;
}

static void write_queues(struct json_writer *w, const struct core *c, uint64_t now_us)
{
    struct batcher_depth depth;
    batcher_depth(c->batcher, &depth);
    json_key(w, "queue");
    json_object_begin(w);
    for (int p = PRIORITIES - 1; p >= 0; p--) {
        json_key(w, priority_key((enum priority)p));
        json_object_begin(w);
        json_field_u64(w, "waiting", depth.waiting[p]);
        json_field_u64(w, "oldest_ms",
                       depth.oldest_us[p] && depth.oldest_us[p] < now_us
                           ? (now_us - depth.oldest_us[p]) / US_PER_MS
                           : 0);
        json_object_end(w);
    }
    json_object_end(w);
}

static void write_kafka(struct json_writer *w, const struct sink_kafka *k)
{
    json_key(w, "kafka");
    json_object_begin(w);
    json_field_cstr(w, "status", !k->enabled ? "disabled" : k->fault.code ? "down" : "ok");
    if (k->fault.code) {
        char reason[sizeof(k->fault.text) + 64];
        snprintf(reason, sizeof(reason), "Kafka takes no records, and files do meanwhile: %s", k->fault.text);
        json_field_cstr(w, "reason", reason);
    }
    json_field_u64(w, "delivered", k->delivered);
    json_field_u64(w, "filed", k->filed);
    json_object_end(w);
}

void status_write(struct json_writer *w, const struct core *c, uint64_t now_us)
{
    const struct err *provider = c->key_fault.code        ? &c->key_fault
                                 : c->provider_fault.code ? &c->provider_fault
                                                          : &c->probe.fault;
    uint32_t running = 0;
    for (int p = 0; p < PRIORITIES; p++)
        running += c->calls_running[p];
    json_field_u64(w, "pid", (uint64_t)getpid());
    json_field_u64(w, "uptime_s", (now_us - c->started_us) / US_PER_S);
    json_field_u64(w, "started_ms", c->started_real_us / US_PER_MS);
    json_field_u64(w, "epoch", c->epoch);
    json_field_cstr(w, "state",
                    c->draining                             ? "draining"
                    : c->store_fault.code || provider->code ? "degraded"
                                                            : "ok");
    write_part(w, "store", &c->store_fault, NULL);
    write_part(w, "provider", provider, conf_provider_name(c->settings.provider));
    write_shared(w, c);
    write_kafka(w, &c->kafka);
    write_queues(w, c, now_us);
    write_breaker(w, &c->guard.breaker);
    json_key(w, "prompts_per_second");
    json_double(w, meter_per_second(&c->prompts, now_us));
    json_field_u64(w, "prompts", prompts_alive(c));
    json_field_u64(w, "running", running);
    json_field_u64(w, "streams", stream_count(c));
    json_field_u64(w, "waiting", c->waiters_n);
    json_field_u64(w, "capacity", c->capacity);
    json_field_u64(w, "sink_dropped", c->sink_dropped);
}

void status_answer(struct core *c, struct core_link *l, uint64_t id, uint64_t now_us)
{
    struct json_writer w;
    size_t mark = wire_frame_begin(&l->out, WIRE_STATUS, id);
    json_writer_init(&w, &l->out);
    json_object_begin(&w);
    status_write(&w, c, now_us);
    json_object_end(&w);
    wire_frame_end(&l->out, mark);
    core_link_dirty(c, l);
}
