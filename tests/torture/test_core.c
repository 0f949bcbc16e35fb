/* ROOMS: fcgi_app/coordinator */
/*
 * A coordinator that starts without memory: it comes up with all that was left behind, or says that it does
 * not and leaves nothing. And its commit thread: an operation comes back, as written or as failed.
 */
#include <math.h>
#include <sodium.h>
#include <unistd.h>

#include "base/lock.h"
#include "coordinator/control.h"
#include "coordinator/intake.h"
#include "coordinator/keyfile.h"
#include "short.h"
#include "store/meta.h"

#define NOW_US 1769947200000000ull
#define LEFT   90 /* requests of each kind, more than recovery begins with room for */

static struct conf conf;
static struct store *store;
static struct list ops;

static uint64_t now(void *arg)
{
    (void)arg;
    return NOW_US;
}

static struct steady_bounds bounds(void *arg)
{
    (void)arg;
    return (struct steady_bounds){NOW_US, NOW_US};
}

static void fill_random(void *arg, void *bytes, size_t n)
{
    (void)arg;
    memset(bytes, 7, n);
}

static int lookup(void *arg, const uint8_t key[REQUEST_KEY_SIZE], struct request_record *ret_record,
                  struct slice *ret_chat, struct err *e)
{
    (void)arg, (void)key, (void)ret_record, (void)ret_chat;
    return err_set(e, ERR_NOT_FOUND, "Nothing is looked up.");
}

static int chat(void *arg, const struct uuid *id, struct slice *ret_chat, struct err *e)
{
    (void)arg, (void)id, (void)ret_chat;
    return err_set(e, ERR_NOT_FOUND, "There is no chat.");
}

static void lookup_end(void *arg)
{
    (void)arg;
}

static void commit(void *arg, struct commit_op *op)
{
    (void)arg;
    list_append(&ops, &op->node);
}

static int send_nothing(void *arg, struct call *call, struct err *e)
{
    (void)arg, (void)call;
    return err_set(e, ERR_NOMEM, "Nothing is sent.");
}

static void drop_record(void *arg, enum sink_stream stream, struct slice record)
{
    (void)arg, (void)stream, (void)record;
}

static int key_prepare(void *arg, const struct saved_key *key, struct err *e)
{
    (void)arg, (void)key, (void)e;
    return 0;
}

static void key_settle(void *arg, const struct saved_key *key, bool keep)
{
    (void)arg, (void)key, (void)keep;
}

static const struct core_ports ports = {.mono_us = now,
                                        .real_us = now,
                                        .real_bounds = bounds,
                                        .random = fill_random,
                                        .lookup = lookup,
                                        .chat = chat,
                                        .lookup_end = lookup_end,
                                        .commit = commit,
                                        .send = send_nothing,
                                        .log = drop_record,
                                        .key_prepare = key_prepare,
                                        .key_settle = key_settle};

/* What a coordinator leaves that was killed: requests in the queue, and some on their way. */
static int leave_behind(struct store_write *w, void *arg, struct err *e)
{
    int rc = 0;
    (void)arg;
    for (unsigned i = 0; rc == 0 && i < 2 * LEFT; i++) {
        char id[16];
        struct buf payload;
        snprintf(id, sizeof(id), "id%u", i);
        struct wire_submit m = {.family = FAMILY_QUERY,
                                .endpoint = ENDPOINT_V1_QUERY,
                                .priority = PRIORITY_LOW,
                                .flags = SUBMIT_ASYNC,
                                .temperature = NAN,
                                .request_id = slice_of(id),
                                .prompt = SLICE_LITERAL("Why?")};
        wire_request_key(m.trust_group, m.family, m.request_id, m.key);
        buf_init(&payload, 1 << 16);
        wire_submit_encode(&payload, &m);
        struct request_record r = {.state = i < LEFT ? REQUEST_QUEUED : REQUEST_DISPATCHED,
                                   .is_async = true,
                                   .epoch = 7,
                                   .expires_s = NOW_US / 1000000 + 3600,
                                   .submit = buf_slice(&payload)};
        rc = requests_put(w, m.key, &r, NOW_US / 1000000, e);
        buf_fini(&payload);
    }
    return rc;
}

static void open_store(void)
{
    static struct store_options o = {.access = STORE_WRITER, .map_max_bytes = 64 << 20};
    struct err e = {0};
    char path[128];
    const char *dir = short_dir();
    torture_pause();
    clearenv();
    snprintf(path, sizeof(path), "%s/carpool.conf", dir);
    short_write(path, "[provider]\nkind = openai\nmodel = m\napi_key = sk-one\n");
    cr_assert_eq(conf_load(path, &conf, &e), 0, "%s", e.text);
    cr_assert_eq(store_open(dir, &o, &store, &e), 0, "%s", e.text);
    cr_assert_eq(store_write(store, 0, leave_behind, NULL, &e), 0, "%s", e.text);
    list_init(&ops);
    torture_resume();
}

/* As the loop does it; false: it does not come up. */
static bool start(struct core *c, uint64_t epoch)
{
    struct store_read *r;
    struct saved_key key = {.kind = PROVIDER_MOCK};
    struct err e;
    if (SHORT_E(store_read_begin(store, &r, &e), &e))
        return false;
    bool up = !SHORT_E(core_init(c, &conf, &ports, epoch, r, &key, NOW_US, &e), &e);
    store_read_end(r);
    struct commit_op *op = up ? control_publish(c) : NULL;
    if (!op)
        return false;
    core_commit(c, op);
    e = (struct err){0};
    int rc = commit_apply_group(store, epoch, &ops, &e);
    cr_assert(rc == 0 || rc == ERR_NOMEM, "%d %s", rc, e.text);
    list_for_each_safe (it, next, &ops) {
        struct commit_op *done = LIST_ENTRY(it, struct commit_op, node);
        list_remove(it);
        done->rc = rc;
        done->err = e;
        core_committed(c, done, NOW_US);
    }
    return rc == 0;
}

Test(torture_core, starts_with_all_that_was_left_or_not_at_all)
{
    static struct core c;
    struct err e;
    uint64_t epoch = 0;
    open_store();
    if (!SHORT_E(meta_raise_epoch(store, &epoch, &e), &e) && start(&c, epoch)) {
        cr_assert_eq(c.jobs_n[JOB_QUEUED] + c.jobs_n[JOB_PARKED], LEFT, "%u requests are taken up",
                     c.jobs_n[JOB_QUEUED] + c.jobs_n[JOB_PARKED]);
        torture_pause();
        static struct request_record record;
        struct store_read *r;
        uint8_t key[REQUEST_KEY_SIZE], nobody[TRUST_GROUP_SIZE] = {0};
        char id[16];
        snprintf(id, sizeof(id), "id%u", LEFT + 5);
        wire_request_key(nobody, FAMILY_QUERY, slice_of(id), key);
        cr_assert_eq(store_read_begin(store, &r, &e), 0);
        cr_assert_eq(requests_get(r, key, NOW_US / 1000000, &record, &e), 0);
        cr_assert_eq(record.state, REQUEST_UNKNOWN);
        store_read_end(r);
        torture_resume();
    }
    list_for_each_safe (it, next, &ops) /* as the loop ends */
        commit_op_free(LIST_ENTRY(it, struct commit_op, node));
    core_fini(&c);
    store_close(store);
}

static int came_back;

static void notify(void *arg)
{
    (void)arg;
    __atomic_add_fetch(&came_back, 1, __ATOMIC_SEQ_CST);
}

Test(torture_core, the_commit_thread_gives_everything_back)
{
    static uint8_t keys[20][REQUEST_KEY_SIZE];
    struct commit_thread *t = NULL;
    struct list done;
    struct err e;
    unsigned handed_in = 0, back = 0;
    open_store();
    if (SHORT_E(commit_start(store, 0, notify, NULL, &t, &e), &e)) {
        store_close(store);
        return;
    }
    for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
        struct commit_op *op = commit_op_new(1, 0, NULL);
        if (!op)
            continue;
        keys[i][0] = (uint8_t)(i + 1);
        op->real_us = NOW_US;
        op->requests[0] = (struct commit_request){
            .key = keys[i], .record = {.state = REQUEST_UNKNOWN, .expires_s = NOW_US / 1000000 + 3600}};
        counter_add(&op->counters, "joined", 1);
        list_append(&ops, &op->node);
        handed_in++;
    }
    commit_submit(t, &ops);
    list_init(&done);
    for (int i = 0; i < 2000 && back < handed_in; i++) {
        commit_collect(t, &done);
        list_for_each_safe (it, next, &done) {
            struct commit_op *op = LIST_ENTRY(it, struct commit_op, node);
            cr_assert(op->rc == 0 || op->rc == ERR_NOMEM, "%d %s", op->rc, op->err.text);
            commit_op_free(op);
            back++;
        }
        if (back < handed_in)
            usleep(1000);
    }
    cr_assert_eq(back, handed_in);
    commit_stop(t);
    store_close(store);
}

Test(torture_core, the_key_and_the_lock)
{
    struct saved_key key = {.text = "sk-new", .kind = PROVIDER_OPENAI, .host = "https://a.example"}, got;
    struct err e;
    int fd = -1;
    const char *dir = short_dir();
    if (!SHORT_E(lock_take(dir, &fd, &e), &e)) {
        cr_assert(lock_holds(dir, fd));
        close(fd);
    }
    bool kept = !SHORT_E(keyfile_prepare(dir, &key, &e), &e) && !SHORT_E(keyfile_keep(dir, &key, &e), &e);
    if (!SHORT_E(keyfile_read(dir, &got, &e), &e))
        cr_assert_str_eq(got.text, kept ? "sk-new" : "");
    keyfile_drop(dir);
}
