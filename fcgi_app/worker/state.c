/* The state of a worker process; see state.h. */
#include "worker/state.h"

#include "base/clock.h"
#include "base/log.h"

#define STORE_RETRY_US (20 * US_PER_MS)
#define READERS_SPARE                                                                                        \
    64 /* slots beyond one a thread: carpoolctl, the coordinator, processes being replaced */
#define KEY_MAX    4096
#define CACHED_MAX (4u << 20)

static void cache_init(struct body_cache *c)
{
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->made, NULL);
    buf_init(&c->key, KEY_MAX);
    buf_init(&c->body, CACHED_MAX);
}

static void log_start(const struct autostart *a)
{
    if (a->rc)
        log_error("%s", a->result.text);
    else
        log_info(a->by_other ? "no coordinator answered: another process had started one meanwhile"
                             : "no coordinator ran: started one");
}

/* There is a store then: the next worker_store() looks at once. */
static void coordinator_met(void *arg)
{
    struct worker *w = arg;
    atomic_store(&w->store_tried_us, 0);
}

int worker_init(struct worker *w, const struct conf *conf, const struct settings *settings, struct err *e)
{
    *w = (struct worker){.conf = conf, .settings = *settings};
    int rc = link_host_init(&w->host, conf, log_start, e);
    if (rc)
        return rc;
    w->host.met = coordinator_met;
    w->host.arg = w;
    auth_init(&w->auth, conf);
    cache_init(&w->health);
    cache_init(&w->analytics);
    pthread_mutex_init(&w->store_lock, NULL);
    pthread_rwlock_init(&w->settings_lock, NULL);
    return 0;
}

void worker_fini(struct worker *w)
{
    store_close(atomic_exchange(&w->store, NULL));
    buf_fini(&w->health.key);
    buf_fini(&w->health.body);
    buf_fini(&w->analytics.key);
    buf_fini(&w->analytics.body);
    link_host_fini(&w->host);
}

bool worker_leaving(const struct worker *w)
{
    return link_host_leaving(&w->host);
}

static int open_store(struct worker *w, struct store **ret_store, struct err *e)
{
    const struct conf *c = w->conf;
    struct store_options options = {
        .access = STORE_READER,
        .map_max_bytes = c->storage.map_max_mib << 20,
        .readers_max = c->worker.processes * c->worker.threads + c->worker.manage_threads + READERS_SPARE,
    };
    return store_open(c->storage.dir, &options, ret_store, e);
}

int worker_store(struct worker *w, struct store **ret_store, struct err *e)
{
    struct store *s = atomic_load_explicit(&w->store, memory_order_acquire);
    int rc = 0;
    if (!s) {
        pthread_mutex_lock(&w->store_lock);
        s = atomic_load(&w->store);
        uint64_t now_us = clock_mono_us();
        uint64_t tried_us = atomic_load(&w->store_tried_us);
        /* While it cannot be opened, not every request tries again. One that is not there yet is looked for
         * each time: the first key in it shuts the door to those without. */
        if (!s && (!tried_us || now_us >= tried_us + STORE_RETRY_US)) {
            w->store_fault.text[0] = 0;
            w->store_rc = open_store(w, &s, &w->store_fault);
            if (!w->store_rc)
                atomic_store_explicit(&w->store, s, memory_order_release);
            else if (w->store_rc == ERR_NOT_FOUND)
                w->store_rc = 0;
            atomic_store(&w->store_tried_us, w->store_rc ? now_us : 0);
        }
        /* Until the next try, one that cannot be opened is not taken for one that is not there. */
        rc = s ? 0 : w->store_rc;
        if (rc && e)
            *e = w->store_fault;
        pthread_mutex_unlock(&w->store_lock);
    }
    if (!rc)
        *ret_store = s;
    return rc;
}

bool worker_store_lost(struct worker *w)
{
    struct store *s = atomic_load(&w->store);
    return s && !store_is_there(s);
}

int worker_read(struct worker *w, struct store_read **ret_read, struct err *e)
{
    struct store *s;
    int rc = worker_store(w, &s, e);
    if (rc)
        return rc;
    if (s)
        return store_read_begin(s, ret_read, e);
    *ret_read = NULL;
    return 0;
}

static void take_newer(struct worker *w, struct store_read *r)
{
    struct settings fresh;
    struct err e;
    if (settings_load(r, &fresh, &e)) {
        log_error("The settings cannot be read: %s", e.text);
        return;
    }
    pthread_rwlock_wrlock(&w->settings_lock);
    /* A thread that was slow since its transaction began does not bring an older document back. */
    if (fresh.version > w->settings.version) {
        w->settings = fresh;
        atomic_store_explicit(&w->settings_version, fresh.version, memory_order_release);
    }
    pthread_rwlock_unlock(&w->settings_lock);
}

static void follow_settings(struct worker *w, struct store_read *r)
{
    uint64_t stored;
    if (!settings_version(r, &stored, NULL) &&
        stored > atomic_load_explicit(&w->settings_version, memory_order_acquire))
        take_newer(w, r);
}

static int find_key(struct worker *w, struct store_read *r, const uint8_t *hash, struct worker_keys *ret_keys,
                    struct err *e)
{
    int rc = hash ? keys_find(r, hash, &ret_keys->key, e) : ERR_NOT_FOUND;
    ret_keys->found = !rc;
    if (rc == ERR_NOT_FOUND)
        rc = 0;
    ret_keys->any = ret_keys->found || atomic_load_explicit(&w->auth.keys_seen, memory_order_relaxed);
    if (!rc && !ret_keys->any)
        rc = keys_any(r, &ret_keys->any, e);
    if (!rc && ret_keys->any)
        atomic_store_explicit(&w->auth.keys_seen, true, memory_order_relaxed);
    return rc;
}

int worker_begin_request(struct worker *w, const uint8_t *hash, struct worker_keys *ret_keys, struct err *e)
{
    struct store_read *r = NULL;
    struct worker_keys keys = {0};
    int rc = worker_read(w, &r, e);
    if (!rc && r) {
        follow_settings(w, r);
        rc = find_key(w, r, hash, &keys, e);
    }
    store_read_end(r);
    if (!rc)
        *ret_keys = keys;
    return rc;
}

void worker_settings(struct worker *w, struct settings *ret_settings)
{
    struct store_read *r = NULL;
    if (!worker_read(w, &r, NULL) && r)
        follow_settings(w, r);
    store_read_end(r);
    pthread_rwlock_rdlock(&w->settings_lock);
    *ret_settings = w->settings;
    pthread_rwlock_unlock(&w->settings_lock);
}

uint32_t worker_latency_ms(struct worker *w, enum priority p)
{
    pthread_rwlock_rdlock(&w->settings_lock);
    uint32_t latency_ms = w->settings.priority[p].latency_ms;
    pthread_rwlock_unlock(&w->settings_lock);
    return latency_ms;
}
