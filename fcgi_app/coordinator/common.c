/* The connection to the server that machines share; see common.h. */
#include "coordinator/common.h"

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/news.h"
#include "coordinator/record.h"
#include "store/meta.h"

#define ANSWER_MS 1000 /* a command takes so long at most */
#define FIRST_MS  1000 /* for the first connection, before prompts are taken */

/* ---- ports ---- */

static void on_arrived(struct shared_arrival *a, void *arg)
{
    core_arrived(&((struct program *)arg)->core, a, clock_mono_us());
}

static void port_arrive(void *arg, struct shared_arrival *a)
{
    a->done = on_arrived;
    shared_arrive(((struct program *)arg)->shared, a);
}

static void on_claimed(struct shared_claim *claim, void *arg)
{
    core_claimed(&((struct program *)arg)->core, claim, clock_mono_us());
}

static void port_claim(void *arg, struct shared_claim *claim)
{
    claim->done = on_claimed;
    shared_claim(((struct program *)arg)->shared, claim);
}

static void on_looked(struct shared_look *l, void *arg)
{
    core_looked(&((struct program *)arg)->core, l, clock_mono_us());
}

static void port_look(void *arg, struct shared_look *l)
{
    l->done = on_looked;
    shared_look(((struct program *)arg)->shared, l);
}

static void port_settle(void *arg, const struct shared_ending *endings, size_t n)
{
    struct shared *s = ((struct program *)arg)->shared;
    if (s) /* it is opened last and closed first */
        shared_settle(s, endings, n);
}

static void on_put(struct shared_settings_put *put, void *arg)
{
    core_settings_put(&((struct program *)arg)->core, put, clock_mono_us());
}

static void port_settings_put(void *arg, struct shared_settings_put *put)
{
    put->done = on_put;
    shared_settings_put(((struct program *)arg)->shared, put);
}

static void port_tell_counters(void *arg, uint32_t day, const struct shared_difference *differences, size_t n)
{
    shared_tell_counters(((struct program *)arg)->shared, day, differences, n);
}

static void port_tell_deletion(void *arg, struct slice request_id)
{
    shared_tell_deletion(((struct program *)arg)->shared, request_id);
}

static int port_chat_keys(void *arg, struct slice request_id, uint8_t (*ret_keys)[REQUEST_KEY_SIZE],
                          size_t max, size_t *ret_n)
{
    struct program *p = arg;
    struct store_read *r;
    int rc = store_read_begin(p->store, &r, NULL);
    if (rc < 0)
        return rc;
    rc = chats_request_keys(r, request_id, ret_keys, max, ret_n, NULL);
    store_read_end(r);
    return rc;
}

static void port_charge(void *arg, const struct shared_bucket *buckets, size_t n)
{
    shared_charge(((struct program *)arg)->shared, buckets, n);
}

void common_ports(struct program *p, struct core_ports *ports)
{
    if (!p->conf->redis.enabled)
        return;
    ports->arrive = port_arrive;
    ports->claim = port_claim;
    ports->look = port_look;
    ports->settle = port_settle;
    ports->tell_counters = port_tell_counters;
    ports->tell_deletion = port_tell_deletion;
    ports->chat_keys = port_chat_keys;
    ports->settings_put = port_settings_put;
    ports->charge = port_charge;
}

/* ---- what it says ---- */

static void on_standing(void *arg, const struct shared_standing *standing)
{
    struct program *p = arg;
    p->shared_heard = true;
    if (standing->fault.code)
        log_warning("%s", standing->fault.text);
    else
        log_info("The Redis that the machines share is there.");
    core_shared_standing(&p->core, standing, clock_mono_us());
}

static void on_open(void *arg, const uint8_t (*keys)[SHARED_KEY_SIZE], size_t n)
{
    core_shared_open(&((struct program *)arg)->core, keys, n);
}

static void on_settings(void *arg, uint64_t version, struct slice document)
{
    core_shared_settings(&((struct program *)arg)->core, version, document);
}

static void on_news(void *arg, const struct shared_news *news)
{
    core_shared_news(&((struct program *)arg)->core, news);
}

/* ---- opening and closing ---- */

static void on_waited(uv_timer_t *timer)
{
    ((struct program *)timer->data)->shared_heard = true;
}

static void wait_for_standing(struct program *p)
{
    uv_timer_t timer;
    uv_timer_init(&p->loop, &timer);
    timer.data = p;
    uv_timer_start(&timer, on_waited, FIRST_MS, 0);
    while (!p->shared_heard)
        uv_run(&p->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&p->loop, UV_RUN_NOWAIT);
}

/* Where this machine was when it left. */
static int read_place(struct program *p, char ret_position[META_POSITION_SIZE], uint64_t *ret_version,
                      struct err *e)
{
    struct store_read *r;
    int rc = store_read_begin(p->store, &r, e);
    if (rc < 0)
        return rc;
    rc = meta_shared(r, ret_position, ret_version, e);
    store_read_end(r);
    return rc;
}

int common_open(struct program *p, uint64_t epoch, struct err *e)
{
    char position[META_POSITION_SIZE] = "";
    struct shared_options options = {.url = p->conf->redis.url,
                                     .epoch = epoch,
                                     .position = position,
                                     .answer_ms = ANSWER_MS,
                                     .record_ttl_s = (uint32_t)record_kept_s(&p->core),
                                     .on_standing = on_standing,
                                     .on_open = on_open,
                                     .on_settings = on_settings,
                                     .on_news = on_news,
                                     .arg = p};
    if (!p->conf->redis.enabled)
        return 0;
    int rc = meta_machine(p->store, epoch, &options.machine, e);
    if (rc == 0)
        rc = read_place(p, position, &options.settings_version, e);
    if (rc == 0)
        rc = shared_open(&p->loop, &options, &p->shared, e);
    if (rc == 0)
        wait_for_standing(p);
    return rc;
}

static void on_told(struct shared_look *l, void *arg)
{
    struct program *p = arg;
    (void)l;
    p->telling = TOLD;
}

bool common_is_told(struct program *p)
{
    static const uint8_t nobody[SHARED_KEY_SIZE];
    if (p->telling == TOLD || p->core.shared.reach != SHARED_THERE)
        return true;
    if (p->telling == NOT_TOLD) {
        news_tell(&p->core);
        /* Commands go one after the other: when this one is answered, those before it were. */
        p->last_member = (struct shared_look_member){.key = nobody};
        p->last = (struct shared_look){.done = on_told, .members = &p->last_member, .members_n = 1};
        p->telling = TELLING;
        shared_look(p->shared, &p->last);
    }
    return false;
}

void common_close(struct program *p)
{
    shared_close(p->shared);
    p->shared = NULL;
}
