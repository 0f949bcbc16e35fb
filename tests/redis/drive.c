/* Machines on one loop; see drive.h. */
#include "drive.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static uv_loop_t loop;
static uv_timer_t guard;
static char *copies[2];

void give_up_at(const char *file, int line, const char *what)
{
    fprintf(stderr, "    %s:%d: %s\n", file, line, what);
    _exit(1);
}

uint64_t drive_now_ms(void)
{
    return clock_mono_us() / US_PER_MS;
}

uint64_t drive_deadline_ms(void)
{
    return drive_now_ms() + 10000 * STRETCH;
}

static void on_guard(uv_timer_t *timer)
{
    (void)timer;
}

uv_loop_t *drive_loop(void)
{
    if (!guard.loop) {
        uv_loop_init(&loop);
        uv_timer_init(&loop, &guard);
        uv_timer_start(&guard, on_guard, 5, 5);
    }
    return &loop;
}

void drive_once(uint64_t until_ms, const char *file, int line, const char *what)
{
    uv_run(drive_loop(), UV_RUN_ONCE);
    if (drive_now_ms() > until_ms)
        give_up_at(file, line, what);
}

void drive_for_ms(unsigned ms)
{
    uint64_t until = drive_now_ms() + ms;
    while (drive_now_ms() < until)
        uv_run(drive_loop(), UV_RUN_ONCE);
}

const uint8_t *key_of(unsigned n)
{
    static uint8_t keys[64][SHARED_KEY_SIZE];
    static unsigned next;
    uint8_t *key = keys[next++ % 64];
    memset(key, 0, SHARED_KEY_SIZE);
    memcpy(key, &n, sizeof(n));
    key[31] = 0xff;
    return key;
}

/* What lib/shared tells */

static void on_standing(void *arg, const struct shared_standing *standing)
{
    struct machine *m = arg;
    CHECK(standing->there != m->standing.there || standing->keeps != m->standing.keeps ||
          strcmp(standing->fault.text, m->standing.fault.text) != 0);
    if (standing->there && !m->standing.there && m->opens_done == 0)
        m->there_before_open = true;
    m->standing = *standing;
    m->standings++;
    if (getenv("VERBOSE"))
        fprintf(stderr, "    %u: there %d, keeps %d: %s\n", m->options.machine.bytes[0], standing->there,
                standing->keeps, standing->fault.text);
}

static void on_open(void *arg, const uint8_t (*keys)[SHARED_KEY_SIZE], size_t n)
{
    struct machine *m = arg;
    if (n == 0)
        m->opens_done++;
    for (size_t i = 0; i < n && m->open_n < OPEN_MAX; i++) {
        memcpy(m->open[m->open_n++], keys[i], SHARED_KEY_SIZE);
        if (m->on_open_key)
            m->on_open_key(m, keys[i]);
    }
}

static void on_settings(void *arg, uint64_t version, struct slice document)
{
    struct machine *m = arg;
    m->settings_n++;
    m->version = version;
    snprintf(m->document, sizeof(m->document), "%.*s", (int)document.n, document.p);
}

static void on_news(void *arg, const struct shared_news *news)
{
    struct machine *m = arg;
    strcpy(m->position, news->position);
    for (size_t i = 0; i < news->differences_n && m->news_n < NEWS_MAX; i++) {
        struct told *t = &m->news[m->news_n++];
        *t = (struct told){.day = news->differences[i].day, .delta = news->differences[i].delta};
        snprintf(t->name, sizeof(t->name), "%.*s", (int)news->differences[i].name.n,
                 news->differences[i].name.p);
    }
    for (size_t i = 0; i < news->deletions_n && m->news_n < NEWS_MAX; i++) {
        struct told *t = &m->news[m->news_n++];
        *t = (struct told){.deletion = true};
        snprintf(t->name, sizeof(t->name), "%.*s", (int)news->deletions[i].n, news->deletions[i].p);
    }
}

void machine_init(struct machine *m, unsigned id, const char *url)
{
    memset(m, 0, sizeof(*m));
    m->options = (struct shared_options){
        .url = url,
        .machine = {{(uint8_t)id, [15] = 7}},
        .epoch = 1,
        .position = "",
        .answer_ms = 1000 * STRETCH,
        .record_ttl_s = 3600,
        .on_standing = on_standing,
        .on_open = on_open,
        .on_settings = on_settings,
        .on_news = on_news,
        .arg = m,
    };
}

void machine_open(struct machine *m)
{
    struct err e = {0};
    if (shared_open(drive_loop(), &m->options, &m->s, &e) < 0)
        give_up(e.text);
}

void machine_start(struct machine *m, unsigned id, const char *url)
{
    machine_init(m, id, url);
    machine_open(m);
    WAIT(m->standing.there);
    CHECK(!m->there_before_open);
}

void machine_stop(struct machine *m)
{
    shared_close(m->s);
    m->s = NULL;
    drive_for_ms(20);
    m->standing = (struct shared_standing){.there = false};
    m->open_n = m->opens_done = 0;
}

/* Operations */

struct waiting {
    bool done;
};

static struct slice keep(unsigned which, struct slice s)
{
    free(copies[which]);
    copies[which] = NULL;
    if (!s.p)
        return s;
    copies[which] = malloc(s.n + 1);
    if (s.n)
        memcpy(copies[which], s.p, s.n);
    copies[which][s.n] = 0;
    return (struct slice){copies[which], s.n};
}

struct arrival {
    struct shared_arrival a;
    struct outcome out;
    bool done;
};

static void on_arrived(struct shared_arrival *a, void *arg)
{
    struct arrival *w = CONTAINER_OF(a, struct arrival, a);
    (void)arg;
    w->out = (struct outcome){.rc = a->rc, .limited = a->limited, .record = a->record};
    w->out.record.value = keep(0, a->record.value);
    w->out.cached = keep(1, a->cached);
    w->done = true;
}

struct outcome drive_arrive(struct machine *m, const uint8_t *key, const uint8_t *cache_key, bool queued)
{
    struct arrival w = {
        .a = {.done = on_arrived, .key = key, .cache_key = cache_key, .fingerprint = key, .queued = queued}};
    shared_arrive(m->s, &w.a);
    CHECK(!w.done);
    WAIT(w.done);
    return w.out;
}

struct outcome drive_arrive_limited(struct machine *m, struct shared_bucket *buckets, size_t n)
{
    struct arrival w = {.a = {.done = on_arrived, .buckets = buckets, .buckets_n = n}};
    shared_arrive(m->s, &w.a);
    CHECK(!w.done);
    WAIT(w.done);
    return w.out;
}

struct claim {
    struct shared_claim c;
    struct outcome out;
    bool done;
};

static void on_claimed(struct shared_claim *c, void *arg)
{
    struct claim *w = CONTAINER_OF(c, struct claim, c);
    (void)arg;
    w->out = (struct outcome){
        .rc = c->rc, .claimed = c->members[0].ret_claimed, .record = c->members[0].ret_record};
    w->out.record.value = keep(0, c->members[0].ret_record.value);
    w->done = true;
}

struct outcome drive_claim(struct machine *m, const uint8_t *key, bool take_unknown)
{
    struct shared_claim_member member = {.key = key, .fingerprint = key};
    struct claim w = {
        .c = {.done = on_claimed, .take_unknown = take_unknown, .members = &member, .members_n = 1}};
    shared_claim(m->s, &w.c);
    CHECK(!w.done);
    WAIT(w.done);
    return w.out;
}

struct look {
    struct shared_look l;
    struct outcome out;
    bool done;
};

static void on_looked(struct shared_look *l, void *arg)
{
    struct look *w = CONTAINER_OF(l, struct look, l);
    (void)arg;
    w->out = (struct outcome){.rc = l->rc, .record = l->members[0].ret_record};
    w->out.record.value = keep(0, l->members[0].ret_record.value);
    w->done = true;
}

struct outcome drive_look(struct machine *m, const uint8_t *key)
{
    struct shared_look_member member = {.key = key};
    struct look w = {.l = {.done = on_looked, .members = &member, .members_n = 1}};
    shared_look(m->s, &w.l);
    CHECK(!w.done);
    WAIT(w.done);
    return w.out;
}

void drive_settle(struct machine *m, const uint8_t *key, enum shared_state state, const char *value)
{
    struct shared_ending e = {.key = key, .fingerprint = key, .state = state, .value = slice_of(value)};
    shared_settle(m->s, &e, 1);
}

struct put {
    struct shared_settings_put p;
    bool done;
};

static void on_put(struct shared_settings_put *p, void *arg)
{
    (void)arg;
    CONTAINER_OF(p, struct put, p)->done = true;
}

int drive_put(struct machine *m, uint64_t based_on, const char *document, uint64_t *ret_version)
{
    struct put w = {.p = {.done = on_put, .based_on = based_on, .document = slice_of(document)}};
    shared_settings_put(m->s, &w.p);
    CHECK(!w.done);
    WAIT(w.done);
    *ret_version = w.p.ret_version;
    return w.p.rc;
}

static void on_begun(struct shared_claim *c, void *arg)
{
    struct begun *b = CONTAINER_OF(c, struct begun, claim);
    (void)arg;
    b->rc = c->rc;
    b->claimed = c->rc == 0 && b->member.ret_claimed;
    b->dones++;
}

void begin_claim(struct machine *m, struct begun *b, const uint8_t *key)
{
    *b = (struct begun){.rc = 1};
    b->member = (struct shared_claim_member){.key = key, .fingerprint = key};
    b->claim = (struct shared_claim){.done = on_begun, .members = &b->member, .members_n = 1};
    shared_claim(m->s, &b->claim);
    CHECK(b->dones == 0);
}
