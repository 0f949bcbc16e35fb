/* Disk, provider and clock of a core in memory; see core_world.h. */
#include "core_world.h"

#include <string.h>

#include "base/clock.h"
#include "coordinator/control.h"
#include "json/scan.h"

#define START_US (1000 * US_PER_S)
#define REAL_US  1769947200000000ull /* at the start */
#define TEXT_MAX (1u << 20)
#define CONFIGS  5

static struct conf confs[CONFIGS];
static struct store *store;

static void load_conf(unsigned i)
{
    static const char *const providers[CONFIGS] = {
        "kind = openai\nbase_url = http://127.0.0.1:9/v1\napi_key = sk-fuzz\n",
        "kind = openai\nbase_url = http://127.0.0.1:9/v1\napi_key = sk-fuzz\nmode = array\n",
        "kind = openai\nbase_url = http://127.0.0.1:9/v1\napi_key = sk-fuzz\nmode = "
        "concurrent\nmax_concurrency = 2\n",
        "kind = gemini\nbase_url = http://127.0.0.1:9\nmodel = gemini-x\napi_key = fuzz\n[limits]\nqueue_max "
        "= 4\n",
        "kind = mock\nmock_latency_ms = 50\n[batch_medium]\npolicy = adaptive\n",
    };
    char path[128];
    struct err e = {0};
    snprintf(path, sizeof(path), "%s/carpool.conf", fuzz_dir());
    FILE *f = fopen(path, "we");
    FUZZ_CHECK(f, "%s cannot be written", path);
    /* Room for few answers: there is a core for each input, and a full one forgets. */
    fprintf(f, "[storage]\ndir = %s\n[cache]\nentries = 8\n[provider]\n%s", fuzz_dir(), providers[i]);
    fclose(f);
    FUZZ_CHECK(conf_load(path, &confs[i], &e) == 0, "%s", e.text);
}

void fuzz_start(void)
{
    struct store_options options = {.access = STORE_WRITER, .map_max_bytes = 64 << 20};
    struct err e = {0};
    for (unsigned i = 0; i < CONFIGS; i++)
        load_conf(i);
    /* Empty, and stays so: a core reads one when it starts. */
    FUZZ_CHECK(store_open(fuzz_dir(), &options, &store, &e) == 0, "%s", e.text);
}

static uint64_t mono(void *arg)
{
    return ((struct core_world *)arg)->now_us;
}

static uint64_t real(void *arg)
{
    return REAL_US + ((struct core_world *)arg)->now_us - START_US;
}

static void port_random(void *arg, void *bytes, size_t n)
{
    fuzz_random(&((struct core_world *)arg)->random, bytes, n);
}

struct core_record *core_record_of(struct core_world *w, const uint8_t key[REQUEST_KEY_SIZE])
{
    for (size_t i = 0; i < w->records_n; i++)
        if (memcmp(w->records[i].key, key, REQUEST_KEY_SIZE) == 0)
            return &w->records[i];
    if (w->records_n == RECORDS_MAX)
        return NULL;
    struct core_record *r = &w->records[w->records_n++];
    *r = (struct core_record){0};
    memcpy(r->key, key, REQUEST_KEY_SIZE);
    buf_init(&r->submit, TEXT_MAX);
    buf_init(&r->refusal, TEXT_MAX);
    buf_init(&r->chat, TEXT_MAX);
    return r;
}

static int lookup(void *arg, const uint8_t key[REQUEST_KEY_SIZE], struct request_record *ret_record,
                  struct slice *ret_chat, struct err *e)
{
    struct core_record *r = core_record_of(arg, key);
    if (!r || !r->there)
        return err_set(e, ERR_NOT_FOUND, "There is none.");
    *ret_record = r->record;
    ret_record->submit = r->submit.len ? buf_slice(&r->submit) : (struct slice){0};
    ret_record->refusal = r->refusal.len ? buf_slice(&r->refusal) : (struct slice){0};
    if (r->record.state == REQUEST_DONE)
        *ret_chat = r->chat.len ? buf_slice(&r->chat) : (struct slice){0};
    return 0;
}

static int chat_of(void *arg, const struct uuid *id, struct slice *ret_chat, struct err *e)
{
    struct core_world *w = arg;
    for (size_t i = 0; i < w->records_n; i++) {
        const struct core_record *r = &w->records[i];
        if (!r->chat.len || memcmp(&r->chat_id, id, sizeof(*id)) != 0)
            continue;
        *ret_chat = buf_slice(&r->chat);
        return 0;
    }
    return err_set(e, ERR_NOT_FOUND, "There is none.");
}

static void lookup_end(void *arg)
{
    (void)arg;
}

static void commit(void *arg, struct commit_op *op)
{
    list_append(&((struct core_world *)arg)->ops, &op->node);
}

/* The promise: nothing is sent without a durable record of it, and nothing is bought a second time but as a
 * repair. */
static int send_call(void *arg, struct call *call, struct err *e)
{
    struct core_world *w = arg;
    struct json_fault fault;
    for (size_t i = 0; i < call->n; i++) {
        struct job *j = call->members[i];
        struct core_record *r = core_record_of(w, j->submit.key);
        FUZZ_CHECK(!r || (r->there && r->record.state == REQUEST_DISPATCHED),
                   "%.*s is sent while its record says %d", (int)j->submit.request_id.n,
                   j->submit.request_id.p, r->there ? (int)r->record.state : 0);
        FUZZ_CHECK(!r || !r->bought || j->repairs, "%.*s is bought twice", (int)j->submit.request_id.n,
                   j->submit.request_id.p);
        FUZZ_CHECK(!r || r->record.repairs == j->repairs, "a repair is sent that is not recorded");
        FUZZ_CHECK(j->repairs <= w->core.conf->retry.attempts, "%u repairs", j->repairs);
        FUZZ_CHECK(memcmp(j->submit.trust_group, call->members[0]->submit.trust_group, TRUST_GROUP_SIZE) == 0,
                   "two tenants in one call");
        FUZZ_CHECK(slice_equal(j->submit.caller_key, call->members[0]->submit.caller_key),
                   "two keys in one call");
    }
    FUZZ_CHECK(json_scan(buf_slice(&call->request.body), &fault) == 0, "a call that is no JSON: %s",
               fault.reason);
    if (w->flights_n == FLIGHTS_MAX)
        return err_set(e, ERR_NOMEM, "Too many calls at once.");
    w->flights[w->flights_n++] = call;
    return 0;
}

static struct steady_bounds real_bounds(void *arg)
{
    return (struct steady_bounds){real(arg), real(arg)};
}

static void log_record(void *arg, enum sink_stream stream, struct slice record)
{
    struct json_fault fault;
    (void)arg;
    if (stream != SINK_EVENTS)
        return;
    FUZZ_CHECK(record.n && record.p[record.n - 1] == '\n', "an event without an end");
    FUZZ_CHECK(json_scan((struct slice){record.p, record.n - 1}, &fault) == 0,
               "an event that is no JSON: %.*s", (int)record.n, record.p);
}

static void publish(void *arg, enum sink_topic topic, struct slice key, struct slice record)
{
    struct json_fault fault;
    (void)arg, (void)topic;
    FUZZ_CHECK(key.n, "a record without a key");
    FUZZ_CHECK(json_scan(record, &fault) == 0, "a record that is no JSON: %.*s", (int)record.n, record.p);
}

static int key_prepare(void *arg, const struct saved_key *key, struct err *e)
{
    struct core_world *w = arg;
    (void)key, (void)e;
    FUZZ_CHECK(!w->key_prepared, "two keys are prepared at once");
    w->key_prepared = true;
    return 0;
}

static void key_settle(void *arg, const struct saved_key *key, bool keep)
{
    struct core_world *w = arg;
    (void)key, (void)keep;
    FUZZ_CHECK(w->key_prepared, "a key is settled that was not prepared");
    w->key_prepared = false;
}

void core_world_open(struct core_world *w, unsigned kind)
{
    struct core_ports ports = {.arg = w,
                               .mono_us = mono,
                               .real_us = real,
                               .real_bounds = real_bounds,
                               .random = port_random,
                               .lookup = lookup,
                               .chat = chat_of,
                               .lookup_end = lookup_end,
                               .commit = commit,
                               .send = send_call,
                               .log = log_record,
                               /* Kafka, in two of the configurations. */
                               .publish = kind % CONFIGS % 2 ? publish : NULL,
                               .key_prepare = key_prepare,
                               .key_settle = key_settle};
    struct saved_key none = {0};
    struct store_read *r;
    struct err e = {0};
    memset(w, 0, offsetof(struct core_world, records));
    w->records_n = w->flights_n = 0;
    w->key_prepared = false;
    w->now_us = START_US;
    w->random = kind + 1;
    list_init(&w->ops);
    FUZZ_CHECK(store_read_begin(store, &r, &e) == 0, "%s", e.text);
    FUZZ_CHECK(core_init(&w->core, &confs[kind % CONFIGS], &ports, 1, r, &none, w->now_us, &e) == 0, "%s",
               e.text);
    store_read_end(r);
}

void core_world_close(struct core_world *w)
{
    core_fini(&w->core);
    for (size_t i = 0; i < w->records_n; i++) {
        buf_fini(&w->records[i].submit);
        buf_fini(&w->records[i].refusal);
        buf_fini(&w->records[i].chat);
    }
}

static void keep(struct buf *b, struct slice s)
{
    buf_clear(b);
    buf_append_slice(b, s);
}

static void apply_request(struct core_world *w, const struct commit_request *q)
{
    struct core_record *r = core_record_of(w, q->key);
    if (!r)
        return;
    if (q->remove) {
        if (!q->only || memcmp(r->record.fingerprint, q->only, REQUEST_KEY_SIZE) == 0)
            r->there = false;
        return;
    }
    r->there = true;
    r->record = q->record;
    keep(&r->submit, q->record.submit);
    keep(&r->refusal, q->record.refusal);
}

static void apply_delete(struct core_world *w, struct commit_op *op)
{
    struct chat chat;
    for (size_t i = 0; i < w->records_n; i++) {
        struct core_record *r = &w->records[i];
        if (!r->there || r->record.state != REQUEST_DONE || chat_decode(buf_slice(&r->chat), &chat) < 0 ||
            !slice_is(chat.request_id, op->delete_id))
            continue;
        r->record.state = REQUEST_DELETED;
        buf_clear(&r->chat);
        op->deleted++;
    }
}

static void apply(struct core_world *w, struct commit_op *op)
{
    for (size_t i = 0; i < op->requests_n; i++)
        apply_request(w, &op->requests[i]);
    for (size_t i = 0; i < op->chats_n; i++) {
        struct core_record *r = core_record_of(w, op->chats[i].chat.key);
        if (!r)
            continue;
        keep(&r->chat, op->chats[i].record);
        r->chat_id = op->chats[i].chat.id;
    }
    if (op->settings)
        op->settings->version = ++w->version;
    if (op->delete_id)
        apply_delete(w, op);
}

void core_world_disk(struct core_world *w, size_t n, enum disk_way way)
{
    static const enum err_code codes[DISK_WAYS] = {0, ERR_NOSPC, ERR_IO, ERR_IO, ERR_CORRUPT};
    struct list group;
    list_init(&group);
    while (n-- && !list_empty(&w->ops)) {
        struct list *first = list_first(&w->ops);
        list_remove(first);
        list_append(&group, first);
    }
    list_for_each_safe (it, next, &group) {
        struct commit_op *op = LIST_ENTRY(it, struct commit_op, node);
        list_remove(it);
        /* Only what becomes of calls is refused for what it is; the rest is not in the store's hands. */
        op->refused = way == DISK_REFUSES && op->requests_n;
        op->rc = way == DISK_REFUSES && !op->refused ? 0 : (int)codes[way];
        if (op->rc < 0)
            err_set(&op->err, (enum err_code)op->rc, "The disk does not.");
        if (op->rc == 0 || way == DISK_FAILS_LATE)
            apply(w, op);
        core_committed(&w->core, op, w->now_us);
    }
}

void core_world_provider(struct core_world *w, size_t flight, enum core_conduct conduct, int status)
{
    struct buf body;
    struct provider_response r = {.transport = TRANSPORT_COMPLETE, .status = 200};
    if (!w->flights_n)
        return;
    flight %= w->flights_n--;
    struct call *call = w->flights[flight];
    w->flights[flight] = w->flights[w->flights_n];
    if (conduct == CORE_LOSES || conduct == CORE_NOT_SENT) {
        r.transport = conduct == CORE_LOSES ? TRANSPORT_LOST : TRANSPORT_NOT_SENT;
        r.transport_error = "It was cut off.";
    }
    if (conduct == CORE_STATUS)
        r.status = status;
    /* api.md "Request ids"; a redirect, which it does not name, was not followed and ran nothing. */
    bool refused = (status >= 400 && status <= 499) || status == 500 || status == 503 || status == 301;
    bool bought = conduct != CORE_NOT_SENT && (conduct != CORE_STATUS || !refused);
    for (size_t i = 0; i < call->n; i++) {
        struct core_record *record = core_record_of(w, call->members[i]->submit.key);
        if (record)
            record->bought = record->bought || bought;
    }
    buf_init(&body, TEXT_MAX);
    core_respond(&body, call, conduct);
    r.body = buf_slice(&body);
    core_called(&w->core, call, &r, w->now_us);
    buf_fini(&body);
}
