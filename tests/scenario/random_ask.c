/* Who asks for what in a random life; see random.h. */
#include "random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reach.h"
#include "speech.h"

#define LARGE_BYTES (31u << 20) /* of a prompt, nearly as many as a frame may have */
#define LARGE_N     10
#define MUCH        150000 /* bytes, more than a client may leave unread */

bool random_chance(struct world *w, unsigned percent)
{
    return world_random(w, 100) < percent;
}

static const char *pick(struct world *w, const char *const *from, size_t n)
{
    return from[world_random(w, n)];
}

static struct slice keep(struct world *w, const char *text)
{
    return slice_of(arena_copy(&w->arena, slice_of(text)));
}

static const char *mode_of(uint64_t dice)
{
    return dice < 5 ? "combined" : dice < 8 ? "concurrent" : "array";
}

static const char *limits_of(uint64_t dice)
{
    return dice == 0   ? "requests_per_minute = 20\nuser_requests_per_minute = 6\n"
           : dice == 1 ? "tokens_per_minute = 4000\n"
           : dice == 2 ? "user_tokens_per_minute = 1000\nrequests_per_minute = 100\n"
                       : "";
}

void random_configure(struct life *life, uint64_t seed, char ret_config[1024])
{
    struct world dice = {.random_state = seed * 0x9e3779b97f4a7c15 + 1}, *d = &dice;
    bool small_queue = random_chance(d, 20), zero_windows = random_chance(d, 10);
    life->small_context = random_chance(d, 25);
    life->jumps = random_chance(d, 30);
    life->tenants = small_queue ? 2 + (unsigned)world_random(d, 5) : 1 + (unsigned)world_random(d, 4);
    life->ids = 6 + (unsigned)world_random(d, 30);
    snprintf(ret_config, 1024,
             "[provider]\nmode = %s\nmax_concurrency = %u\ntimeout_ms = 5000\nmock_latency_ms = %u\n%s"
             "[retry]\nattempts = %u\nbase_ms = %u\n"
             "[limits]\nqueue_max = %u\n%s"
             "[batch]\nflush_when_all_wait = %s\n"
             "[batch_high]\nmax_batch = %u\nwindow_ms = %u\ntokens = 100\n"
             "[batch_medium]\npolicy = %s\ntokens = 100\n"
             "[batch_low]\nwindow_ms = %u\ntokens = 100\n"
             "[idempotency]\nttl_hours = %u\non_unknown = %s\n"
             "[storage]\nchat_retention_days = %u\n"
             "[cache]\nmode = %s\nttl_hours = %u\n",
             mode_of(world_random(d, 10)), 1 + (unsigned)world_random(d, 5), (unsigned)world_random(d, 300),
             life->small_context ? "context_tokens = 300\n" : "", (unsigned)world_random(d, 4),
             random_chance(d, 50) ? 20 : 250, small_queue ? 4 + (unsigned)world_random(d, 8) : 4096,
             limits_of(seed % 12), random_chance(d, 70) ? "on" : "off", 1 + (unsigned)world_random(d, 8),
             zero_windows ? 0 : 200, random_chance(d, 60) ? "window" : "adaptive", zero_windows ? 0 : 1500,
             random_chance(d, 70) ? 1 : 72, random_chance(d, 80) ? "report" : "retry",
             (unsigned)world_random(d, 2), random_chance(d, 80) ? "exact" : "off",
             random_chance(d, 50) ? 1 : 24);
    life->money = seed % 3 == 0;
    if (life->money)
        snprintf(ret_config + strlen(ret_config), 1024 - strlen(ret_config),
                 "[prices]\ntest = 1 2\nm0 = 1 2\nm1 = 1 2\nother = 10 20\n%s", seed % 2 ? "m2 = 1 2\n" : "");
    life->machines = random_chance(d, 40);
    if (life->machines)
        snprintf(ret_config + strlen(ret_config), 1024 - strlen(ret_config),
                 "[redis]\nenabled = on\non_loss = %s\n", random_chance(d, 60) ? "refuse" : "local");
}

void random_id(struct life *life, char ret_id[32])
{
    snprintf(ret_id, 32, "id%u", (unsigned)world_random(life->w, life->ids));
}

/* What follows from the id, so that who asks again mostly asks the same. */
static void compose_body(struct life *life, struct wire_submit *m, unsigned id)
{
    struct world *w = life->w;
    char text[128];
    m->priority = (enum priority)(id % PRIORITIES);
    snprintf(text, sizeof(text), "Why %u of tenant %u%s", id, m->trust_group[0],
             id % 11 == 3 ? " (offensive)" : "");
    m->prompt = keep(w, text);
    if (id % 3 == 1)
        m->username = SLICE_LITERAL("anne");
    if (id % 5 == 1)
        m->model = keep(w, "other");
    if (id % 7 == 2)
        m->system_prompt = keep(w, "Be kind.");
    if (id % 7 == 4)
        m->temperature = 0.5;
    if (id % 13 == 5)
        m->extra = keep(w, id % 2 ? "{\"top_p\":0.5}" : "{\"stop\":[\"x\"]}");
    if (id % 9 == 6)
        m->max_tokens = 50;
    if (id % 6 == 0) {
        m->endpoint = ENDPOINT_INVOKE;
        REACH("a prompt of /invoke");
    }
    if (id % 8 == 7) {
        m->flags |= SUBMIT_COMPLETION;
        REACH("a text to be continued");
    }
}

static void compose_oddly(struct life *life, struct wire_submit *m)
{
    struct world *w = life->w;
    char text[2048];
    if (random_chance(w, 3)) {
        REACH("a duplicate with another body");
        m->prompt = keep(w, "How else?");
    }
    if (life->small_context && random_chance(w, 8)) {
        size_t n = 900 + world_random(w, 1000);
        memset(text, 'x', n);
        text[n] = 0;
        m->prompt = keep(w, text);
        REACH("a prompt longer than the context");
    }
    if (random_chance(w, 4)) {
        m->flags |= SUBMIT_ALONE;
        REACH("a prompt alone");
    }
    if (random_chance(w, 6)) {
        m->caller_key = keep(w, pick(w, (const char *const[]){"sk-caller-1", "sk-caller-2"}, 2));
        REACH("a caller's key");
    }
}

/* So long that nobody takes it in one go. */
static void talk_on(struct life *life, struct wire_submit *m)
{
    size_t n = MUCH + 1 + world_random(life->w, MUCH);
    char *text = arena_alloc(&life->w->arena, n);
    if (!text)
        return;
    memset(text, 'y', n);
    m->prompt = (struct slice){text, n};
    REACH("a stream of much");
}

/* What OpenAI's API in front hands in as it is, mostly to be told as it comes. */
static void compose_openai(struct life *life, struct wire_submit *m)
{
    struct world *w = life->w;
    m->family = FAMILY_OPENAI;
    m->endpoint = ENDPOINT_CHAT_COMPLETIONS;
    if (random_chance(w, 20)) {
        REACH("a plain prompt of OpenAI's");
        return;
    }
    bool streams = random_chance(w, 80);
    if (random_chance(w, 8))
        talk_on(life, m);
    listen_compose(w, m, streams ? SUBMIT_STREAM : 0);
    if (streams)
        REACH("a stream");
    else
        REACH("a request to go through as it is");
}

static struct client *new_client(struct life *life)
{
    struct world *w = life->w;
    char name[32];
    snprintf(name, sizeof(name), "c%u", life->number++);
    struct client *c = client_add(w, name);
    c->pool = (unsigned)world_random(w, WORLD_POOLS);
    if (w->elder.core && w->elder.stalled_until_us <= w->now_us && random_chance(w, 30)) {
        c->elder = true;
        REACH("asked of the elder");
    }
    return c;
}

static void submit(struct life *life, struct client *c)
{
    struct world *w = life->w;
    uint64_t dice = world_random(w, 100);
    c->deadline_us = w->now_us + (dice < 15   ? world_random(w, 3 * US_PER_S)
                                  : dice < 20 ? world_random(w, 100 * US_PER_MS)
                                              : 40 * US_PER_S);
    wire_request_key(c->submit.trust_group, c->submit.family, c->submit.request_id, c->submit.key);
    wire_submit_fingerprint(&c->submit, c->submit.fingerprint);
    REACH("a prompt");
    if (c->submit.flags & SUBMIT_ASYNC)
        REACH("an asynchronous prompt");
    client_submit(w, c);
}

static void set_tenant(struct wire_submit *m, unsigned tenant)
{
    m->trust_group[0] = (uint8_t)tenant;
}

/* The same again before anything has come of it, to be kept for later. */
static void insist(struct life *life, const struct client *first)
{
    struct wire_submit same = first->submit;
    for (int n = 2; n; n--) {
        struct client *c = new_client(life);
        c->submit = same;
        c->submit.flags = (c->submit.flags | SUBMIT_ASYNC) & ~(unsigned)SUBMIT_STREAM;
        submit(life, c);
    }
    REACH("a prompt again at once");
}

void random_arrive(struct life *life)
{
    struct world *w = life->w;
    struct client *c = new_client(life);
    struct wire_submit *m = &c->submit;
    unsigned id = (unsigned)world_random(w, life->ids);
    char text[32];
    set_tenant(m, (unsigned)world_random(w, life->tenants));
    unsigned body = id;
    if (random_chance(w, 25)) {
        m->flags |= SUBMIT_FRESH_ID | SUBMIT_OWN_ID;
        id = 1000 + life->number;
        REACH("a fresh id");
        body = random_chance(w, 40) ? body : id;
    } else if (random_chance(w, 25))
        m->flags |= SUBMIT_ASYNC;
    if (body == id && random_chance(w, 15))
        id = 2000 + life->number;
    if (body != id)
        REACH("what may have been asked before, under an id of its own");
    snprintf(text, sizeof(text), "id%u", id);
    m->request_id = keep(w, text);
    compose_body(life, m, body);
    compose_oddly(life, m);
    if (random_chance(w, 15))
        compose_openai(life, m);
    if (random_chance(w, 5)) {
        m->flags |= SUBMIT_NO_CACHE;
        REACH("a prompt that is not to be answered from the cache");
    }
    submit(life, c);
    if (m->prompt.n > MUCH && random_chance(w, 60))
        listen_stall(c);
    if (random_chance(w, 6) && w->clients_n + 300 < WORLD_CLIENTS_MAX && !(m->flags & SUBMIT_FRESH_ID))
        insist(life, c);
    world_turn(w);
}

/* Many at once of one tenant, HIGH mostly, while others wait. */
void random_flood(struct life *life)
{
    struct world *w = life->w;
    unsigned tenant = (unsigned)world_random(w, life->tenants);
    enum priority p = random_chance(w, 70) ? PRIORITY_HIGH : (enum priority)world_random(w, PRIORITIES);
    if (p == PRIORITY_HIGH && w->core->jobs_n[JOB_QUEUED])
        REACH("a flood of LOW under HIGH");
    for (uint64_t n = 4 + world_random(w, 16); n && w->clients_n + 300 < WORLD_CLIENTS_MAX; n--) {
        struct client *c = new_client(life);
        char text[32];
        set_tenant(&c->submit, tenant);
        snprintf(text, sizeof(text), "flood%u", life->number);
        c->submit.request_id = keep(w, text);
        snprintf(text, sizeof(text), "Which of %u?", life->number);
        c->submit.prompt = keep(w, text);
        c->submit.priority = p;
        c->submit.flags = random_chance(w, 20) ? SUBMIT_ASYNC : 0;
        submit(life, c);
        if (random_chance(w, 30))
            world_turn(w);
    }
    world_turn(w);
}

/* More bytes than the coordinator takes, from callers who leave before anything is sent. */
void random_large(struct life *life)
{
    static char *text;
    struct world *w = life->w;
    size_t first = w->clients_n;
    if (!text) {
        text = malloc(LARGE_BYTES);
        memset(text, 'x', LARGE_BYTES);
    }
    REACH("prompts of 256 MiB");
    for (unsigned i = 0; i < LARGE_N; i++) {
        struct client *c = new_client(life);
        char id[32];
        c->elder = false;
        snprintf(id, sizeof(id), "large%u", life->number);
        c->submit.request_id = keep(w, id);
        c->submit.prompt = (struct slice){text, LARGE_BYTES};
        memcpy(c->submit.fingerprint, &life->number, sizeof(life->number));
        wire_request_key(c->submit.trust_group, c->submit.family, c->submit.request_id, c->submit.key);
        c->deadline_us = w->now_us + 40 * US_PER_S;
        client_submit(w, c);
    }
    client_read_all(w);
    for (size_t i = first; i < w->clients_n; i++) {
        if (strcmp(w->clients[i].code, "QUEUE_FULL") == 0)
            REACH("refused for 256 MiB of prompts");
        client_cancel(w, &w->clients[i]);
    }
    world_turn(w);
}

void random_settings(struct life *life)
{
    static const char *const providers[] = {"mock",   "openai",        "openai",
                                            "openai", "model_service", "model_service"};
    static const char *const priorities[] = {"high_priority", "medium_priority", "low_priority"};
    static const char *const wrong[] = {"{\"nonsense\":1}", "{\"high_priority\":{\"window_ms\":-1}}",
                                        "{\"base_url\":\"unix:model.sock\"}",
                                        "{\"base_url\":\"http://example.com/v1\"}"};
    static const char *const hosts[] = {"", "https://a.example/v1", "https://A.example:443/v2",
                                        "http://127.0.0.1:9/v1", "http://localhost:9"};
    static const char *const keys[] = {"", "", ",\"api_key\":\"\"", ",\"api_key\":\"sk-put-a\"",
                                       ",\"api_key\":\"sk-put-b\""};
    struct world *w = life->w;
    char json[256];
    switch (world_random(w, 7)) {
    case 0:
        REACH("another provider");
        w->unbounded = true;
        snprintf(json, sizeof(json), "{\"provider\":\"%s\"}", pick(w, providers, ARRAY_LEN(providers)));
        break;
    case 1:
        w->unbounded = true; /* one of the models may have no price */
        snprintf(json, sizeof(json), "{\"model\":\"m%u\"}", (unsigned)world_random(w, 3));
        break;
    case 2:
        REACH("a new key");
        snprintf(json, sizeof(json), "{\"api_key\":\"sk-put-%u\"}", (unsigned)world_random(w, 1000));
        break;
    case 4:
        REACH("another host");
        snprintf(json, sizeof(json), "{\"base_url\":\"%s\"%s}", pick(w, hosts, ARRAY_LEN(hosts)),
                 pick(w, keys, ARRAY_LEN(keys)));
        break;
    case 3:
        REACH("settings that cannot be");
        snprintf(json, sizeof(json), "%s", pick(w, wrong, ARRAY_LEN(wrong)));
        break;
    default:
        snprintf(json, sizeof(json), "{\"%s\":{\"window_ms\":%u,\"max_batch\":%u,\"policy\":\"%s\"}}",
                 pick(w, priorities, ARRAY_LEN(priorities)), (unsigned)world_random(w, 1500),
                 1 + (unsigned)world_random(w, 8), random_chance(w, 30) ? "adaptive" : "window");
    }
    REACH("new settings");
    client_settings_aside(w, json);
    world_turn(w);
}

void random_ask_all(struct life *life)
{
    struct world *w = life->w;
    const struct client *told;
    for (size_t at = 0; w->clients_n < WORLD_CLIENTS_MAX && (told = rules_next_told(w, &at));) {
        struct wire_submit submit_again = told->submit;
        struct client *c = new_client(life);
        c->submit = submit_again;
        c->submit.flags &= ~(unsigned)(SUBMIT_ASYNC | SUBMIT_FRESH_ID | SUBMIT_OWN_ID);
        c->submit.flags &= ~(unsigned)(random_chance(w, 50) ? SUBMIT_STREAM : 0);
        submit(life, c);
        REACH("a prompt again");
        world_turn(w);
    }
}
