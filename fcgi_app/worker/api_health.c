/*
 * GET /health: whether prompts can be served, and what they depend on. The document is rendered at most four
 * times a second a process, with the coordinator's word in it; asking never starts a coordinator.
 */
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failed_start.h"
#include "base/version.h"
#include "provider/provider.h"
#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/state.h"
#include "json/read.h"
#include "json/write.h"

#define KEPT_US      (250 * US_PER_MS)
#define STALE_MAX_US (2 * US_PER_S) /* served while another thread renders the next one */
#define ASK_LIMIT_US (500 * US_PER_MS)
#define LEAVING_US   (200 * US_PER_MS) /* in which a coordinator that closes connections is gone */
#define PAUSE_US     (10 * US_PER_MS)

/* One dependency. Texts lend. */
struct part {
    const char *status; /* "ok", "idle", "down", "disabled" */
    const char *reason; /* NULL: nothing to say */
};

struct health {
    struct part coordinator, store, provider, redis, kafka;
    bool mock, keyless, auth_off, degraded;
    char failed_start[FAILED_START_SIZE]; /* empty: the last start of a coordinator did not fail */
};

static bool is_down(const struct part *p)
{
    return !strcmp(p->status, "down");
}

static const char *text_at(const cJSON *object, const char *key)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, key));
}

static struct part part_of(const cJSON *report, const char *key)
{
    const cJSON *object = cJSON_GetObjectItemCaseSensitive(report, key);
    const char *status = text_at(object, "status"), *reason = text_at(object, "reason");
    struct part p = {status && !strcmp(status, "ok") ? "ok" : "down", reason && reason[0] ? reason : NULL};
    if (is_down(&p) && !p.reason)
        p.reason = "the coordinator says so";
    return p;
}

/* What a running coordinator says of itself; lends from report. */
static void read_report(struct health *h, const cJSON *report)
{
    const char *state = text_at(report, "state");
    const char *kind = text_at(cJSON_GetObjectItemCaseSensitive(report, "provider"), "kind");
    h->coordinator = (struct part){"ok", NULL};
    if (state && !strcmp(state, "draining"))
        h->coordinator = (struct part){"down", "it is stopping and takes no new prompts"};
    else if (state && !strcmp(state, "degraded"))
        h->degraded = true;
    h->store = part_of(report, "store");
    h->provider = part_of(report, "provider");
    if (strcmp(h->redis.status, "disabled") != 0)
        h->redis = part_of(report, "redis");
    if (strcmp(h->kafka.status, "disabled") != 0)
        h->kafka = part_of(report, "kafka");
    h->mock = kind && !strcmp(kind, conf_provider_name(PROVIDER_MOCK));
}

/* What can be known while no coordinator runs. e: why it was not reached. */
static void read_alone(struct health *h, struct worker *w, int rc, struct err *e, struct err *store_error)
{
    struct store *s = NULL;
    struct settings settings;
    worker_settings(w, &settings);
    h->mock = settings.provider == PROVIDER_MOCK;
    h->provider =
        (struct part){h->mock ? "ok" : "idle", h->mock ? NULL : "not asked while no coordinator runs"};
    if (worker_store(w, &s, store_error))
        h->store = (struct part){"down", store_error->text};
    else
        h->store =
            (struct part){s ? "ok" : "idle", s ? NULL : "it is made when the coordinator first starts"};
    bool starts = rc == ERR_NOT_FOUND && w->conf->coordinator.autostart;
    if (starts && failed_start_read(w->conf->storage.dir, h->failed_start))
        h->coordinator = (struct part){"down", h->failed_start};
    else if (starts)
        h->coordinator = (struct part){"idle", "it starts with the next prompt"};
    else
        h->coordinator = (struct part){"down", e->text};
}

static void write_part(struct json_writer *w, const char *key, const struct part *p)
{
    json_key(w, key);
    json_object_begin(w);
    json_field_cstr(w, "status", p->status);
    if (p->reason)
        json_field_cstr(w, "reason", p->reason);
    json_object_end(w);
}

static void write_warnings(struct json_writer *w, const struct health *h)
{
    json_key(w, "warnings");
    json_array_begin(w);
    if (h->mock)
        json_text(
            w, SLICE_LITERAL("The provider is the built-in mock: it answers \"Processed: \" and the prompt. "
                             "Give carpool a provider key, or provider.kind and provider.base_url, for "
                             "answers of a model."));
    if (h->keyless)
        json_text(w,
                  SLICE_LITERAL("The provider needs a key and has none: prompts that bring none are refused. "
                                "Give it one with PUT /v1/settings, or set provider.api_key."));
    if (h->auth_off)
        json_text(w, SLICE_LITERAL("auth.required is off: whoever reaches this server can send prompts."));
    json_array_end(w);
}

static void write_auth(struct json_writer *w, struct worker *worker)
{
    static const char *const names[] = {[AUTH_AUTO] = "auto", [AUTH_ON] = "on", [AUTH_OFF] = "off"};
    bool needed;
    json_key(w, "auth");
    json_object_begin(w);
    json_field_cstr(w, "required", names[worker->auth.required]);
    if (!auth_keys_needed(worker, &needed, NULL))
        json_field_bool(w, "key_needed", needed);
    else {
        json_key(w, "key_needed");
        json_null(w);
    }
    json_object_end(w);
}

/* Returns the HTTP status. */
static int write_health(struct buf *out, struct worker *worker, const struct health *h)
{
    struct json_writer w;
    const char *name = worker->conf->server.app_name;
    /* The next prompt tries another start, and a balancer that sees 503 here would send none. */
    bool down = (is_down(&h->coordinator) && !h->failed_start[0]) || is_down(&h->store);
    bool degraded = h->degraded || is_down(&h->coordinator) || is_down(&h->provider) || is_down(&h->redis) ||
                    is_down(&h->kafka);

    json_writer_init(&w, out);
    json_object_begin(&w);
    json_field_cstr(&w, "status", down ? "down" : degraded ? "degraded" : "ok");
    json_field_cstr(&w, "service", name[0] ? name : "carpool");
    json_field_cstr(&w, "version", CARPOOL_VERSION);
    write_auth(&w, worker);
    json_key(&w, "dependencies");
    json_object_begin(&w);
    write_part(&w, "coordinator", &h->coordinator);
    write_part(&w, "store", &h->store);
    write_part(&w, "provider", &h->provider);
    write_part(&w, "redis", &h->redis);
    write_part(&w, "kafka", &h->kafka);
    json_object_end(&w);
    write_warnings(&w, h);
    json_object_end(&w);
    return down ? 503 : 200;
}

static struct part unasked(bool enabled)
{
    return enabled ? (struct part){"idle", "not asked while no coordinator runs"}
                   : (struct part){"disabled", NULL};
}

/* One that is just leaving, because nobody needs it, closes what comes to it: a moment later there is none,
 * and that is no fault. */
static int ask_status(struct exchange *x, struct wire_frame *ret_frame, struct err *e)
{
    uint64_t begun_us = clock_mono_us();
    for (;;) {
        int rc = link_ask(&x->link, LINK_IF_RUNNING, WIRE_STATUS_ASK, (struct slice){"", 0},
                          begun_us + ASK_LIMIT_US, ret_frame, e);
        if (rc != ERR_CLOSED || worker_leaving(x->worker) || clock_mono_us() - begun_us > LEAVING_US)
            return rc;
        usleep(PAUSE_US);
    }
}

static int render(struct exchange *x, struct buf *out)
{
    struct worker *w = x->worker;
    struct wire_frame frame;
    struct err e = {0}, store_error = {0};
    cJSON *report = NULL;
    struct health h = {
        .auth_off = w->conf->auth.required == AUTH_OFF,
        .redis = unasked(w->conf->redis.enabled),
        .kafka = unasked(w->conf->kafka.enabled),
    };
    struct settings settings;
    worker_settings(w, &settings);
    h.keyless = !settings.has_key && provider_needs_key(settings.provider, settings.base_url);
    int rc = ask_status(x, &frame, &e);
    if (!rc && frame.type != WIRE_STATUS)
        rc = err_set(&e, ERR_INVAL, "The coordinator did not answer with its status.");
    if (!rc)
        rc = json_parse(frame.payload, &report, &e);
    if (rc)
        read_alone(&h, w, rc, &e, &store_error);
    else
        read_report(&h, report);
    int status = write_health(out, w, &h);
    cJSON_Delete(report);
    return status;
}

/* Renders into the response, and keeps a copy. Called with c->making set and without the lock. */
static void render_and_keep(struct exchange *x, struct body_cache *c)
{
    x->response.status = render(x, &x->response.body);
    pthread_mutex_lock(&c->lock);
    buf_clear(&c->body);
    buf_append_slice(&c->body, buf_slice(&x->response.body));
    c->status = x->response.status;
    c->made_us = buf_failed(&c->body) || buf_failed(&x->response.body) ? 0 : clock_mono_us();
    c->making = false;
    pthread_cond_broadcast(&c->made);
    pthread_mutex_unlock(&c->lock);
}

void api_health_get(struct exchange *x)
{
    struct body_cache *c = &x->worker->health;
    pthread_mutex_lock(&c->lock);
    for (;;) {
        uint64_t age_us = c->made_us ? clock_mono_us() - c->made_us : UINT64_MAX;
        if (age_us < KEPT_US || (c->making && age_us < STALE_MAX_US)) {
            x->response.status = c->status;
            buf_append_slice(&x->response.body, buf_slice(&c->body));
            pthread_mutex_unlock(&c->lock);
            return;
        }
        if (!c->making)
            break;
        pthread_cond_wait(&c->made, &c->lock);
    }
    c->making = true;
    pthread_mutex_unlock(&c->lock);
    render_and_keep(x, c);
}
