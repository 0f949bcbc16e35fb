/* What the core reaches through its ports: clocks, the store, the commit thread, the provider, the event log,
 * the file of the provider key; see core.h. */
#include <sodium.h>

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/call.h"
#include "coordinator/common.h"
#include "coordinator/keyfile.h"
#include "coordinator/program.h"

static uint64_t port_mono(void *arg)
{
    (void)arg;
    return clock_mono_us();
}

static uint64_t port_real(void *arg)
{
    (void)arg;
    return clock_real_us();
}

static struct steady_bounds port_real_bounds(void *arg)
{
    return steady_now(&((struct program *)arg)->started, clock_real_us(), clock_boot_us());
}

static void port_random(void *arg, void *bytes, size_t n)
{
    (void)arg;
    randombytes_buf(bytes, n);
}

static void port_lookup_end(void *arg)
{
    struct program *p = arg;
    store_read_end(p->reading);
    p->reading = NULL;
}

static int port_lookup(void *arg, const uint8_t key[REQUEST_KEY_SIZE], struct request_record *ret_record,
                       struct slice *ret_chat, struct err *e)
{
    struct program *p = arg;
    int rc = store_read_begin(p->store, &p->reading, e);
    if (rc < 0)
        return rc;
    rc = requests_get(p->reading, key, port_real_bounds(p).earliest_us / US_PER_S, ret_record, e);
    if (rc == 0 && ret_record->state == REQUEST_DONE &&
        chats_get(p->reading, &ret_record->chat_id, ret_chat, e) < 0)
        *ret_chat = (struct slice){0};
    if (rc < 0)
        port_lookup_end(p);
    return rc;
}

static int port_chat(void *arg, const struct uuid *id, struct slice *ret_chat, struct err *e)
{
    struct program *p = arg;
    int rc = store_read_begin(p->store, &p->reading, e);
    if (rc < 0)
        return rc;
    rc = chats_get(p->reading, id, ret_chat, e);
    if (rc < 0)
        port_lookup_end(p);
    return rc;
}

static int port_spent(void *arg, uint32_t month, void (*each)(void *each_arg, const struct spend *s),
                      void *each_arg, struct err *e)
{
    struct store_read *r;
    int rc = store_read_begin(((struct program *)arg)->store, &r, e);
    if (rc < 0)
        return rc;
    rc = spend_each(r, month, each, each_arg, e);
    store_read_end(r);
    return rc;
}

static void port_commit(void *arg, struct commit_op *op)
{
    struct program *p = arg;
    list_append(&p->ops, &op->node);
}

static int port_send(void *arg, struct call *call, struct err *e)
{
    return upstream_send(((struct program *)arg)->upstream, &call->request, call, e);
}

static void port_resume(void *arg, struct call *call)
{
    upstream_resume(((struct program *)arg)->upstream, call);
}

static void port_abort(void *arg, struct call *call)
{
    upstream_abort(((struct program *)arg)->upstream, call);
}

static int port_probe(void *arg, const struct provider_call *request)
{
    struct program *p = arg;
    return upstream_send(p->upstream, request, &p->core.probe, NULL);
}

static void port_log(void *arg, enum sink_stream stream, struct slice record)
{
    sink_write(((struct program *)arg)->sink, stream, record);
}

static void port_publish(void *arg, enum sink_topic topic, struct slice key, struct slice record)
{
    sink_publish(((struct program *)arg)->sink, topic, key, record);
}

static int port_key_prepare(void *arg, const struct saved_key *key, struct err *e)
{
    return keyfile_prepare(((struct program *)arg)->conf->storage.dir, key, e);
}

static void port_key_settle(void *arg, const struct saved_key *key, bool keep)
{
    const char *dir = ((struct program *)arg)->conf->storage.dir;
    struct err e = {0};
    if (!keep)
        keyfile_drop(dir);
    else if (keyfile_keep(dir, key, &e) < 0)
        log_error("The new provider key is in force until the next start only: %s", e.text);
}

struct core_ports ports_of(struct program *p)
{
    struct core_ports ports = {
        .arg = p,
        .mono_us = port_mono,
        .real_us = port_real,
        .real_bounds = port_real_bounds,
        .random = port_random,
        .lookup = port_lookup,
        .chat = port_chat,
        .lookup_end = port_lookup_end,
        .spent = port_spent,
        .commit = port_commit,
        .send = port_send,
        .resume = port_resume,
        .abort = port_abort,
        .probe = port_probe,
        .log = port_log,
        .publish = p->conf->kafka.enabled ? port_publish : NULL,
        .key_prepare = port_key_prepare,
        .key_settle = port_key_settle,
    };
    common_ports(p, &ports);
    return ports;
}
