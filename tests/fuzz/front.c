/* A worker without its servers; see front.h. What it asks is checked in front_check.c. */
#include "front.h"

#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "front_check.h"
#include "store/chats.h"
#include "store/counters.h"
#include "store/requests.h"

#define CHATS_N   110 /* more than a piece of GET /v1/chat holds */
#define YEARS_S   (10ull * 365 * 86400)
#define REPLIES_N 3 /* questions that are answered; no endpoint asks more on one connection */

struct front front;

static struct chat sample_chat(unsigned i)
{
    struct chat c = {
        .endpoint = ENDPOINT_V1_QUERY,
        .priority = (enum priority)(i % PRIORITIES),
        .time_us = clock_real_us(),
        .latency_us = 201624,
        .prompt_tokens = 4,
        .completion_tokens = 5,
        .confidence = NAN,
        .request_id = SLICE_LITERAL("done"),
        .prompt = SLICE_LITERAL(FRONT_PROMPT),
        .created_at = SLICE_LITERAL("2026-02-01T12:00:00Z"),
        .model = SLICE_LITERAL("mock"),
        .text = SLICE_LITERAL("Processed: \"What\" is\n \xf0\x9f\x9a\x97?"),
        .finish_reason = SLICE_LITERAL("stop"),
    };
    if (i % 2)
        c.username = SLICE_LITERAL("user");
    if (i % 3)
        c.metadata = SLICE_LITERAL("{\"a\":[1,2,{\"b\":null}]}");
    uuid_v7(c.time_us, &c.id);
    uuid_v7(c.time_us, &c.batch_id);
    return c;
}

static int append_chat(struct store_write *w, const struct chat *c, struct err *e)
{
    struct buf record;
    buf_init(&record, 1 << 20);
    chat_encode(&record, c);
    int rc = chats_append(w, c, buf_slice(&record), e);
    buf_fini(&record);
    return rc;
}

static int put_record(struct store_write *w, enum family family, const char *id, enum request_state state,
                      const struct uuid *chat, struct err *e)
{
    uint8_t key[REQUEST_KEY_SIZE];
    uint64_t now_s = clock_real_us() / US_PER_S;
    static const uint8_t nobody[TRUST_GROUP_SIZE];
    struct wire_submit m = {.family = family,
                            .priority = PRIORITY_MEDIUM,
                            .temperature = NAN,
                            .prompt = SLICE_LITERAL(FRONT_PROMPT)};
    struct request_record r = {.state = state, .epoch = 1, .expires_s = now_s + YEARS_S, .chat_id = *chat};
    struct wire_refusal why = {.status = 400,
                               .error_type = SLICE_LITERAL("validation_error"),
                               .error_code = SLICE_LITERAL("PROVIDER_REJECTED"),
                               .message = SLICE_LITERAL("The provider refused the request (HTTP 400).")};
    struct buf refusal;
    buf_init(&refusal, 4096);
    wire_refusal_encode(&refusal, &why);
    if (state == REQUEST_FAILED || state == REQUEST_UNKNOWN)
        r.refusal = buf_slice(&refusal);
    r.final = state == REQUEST_FAILED;
    wire_submit_fingerprint(&m, r.fingerprint);
    wire_request_key(nobody, family, slice_of(id), key);
    int rc = requests_put(w, key, &r, now_s, e);
    buf_fini(&refusal);
    return rc;
}

static int fill(struct store_write *w, void *arg, struct err *e)
{
    static const struct {
        const char *id;
        enum request_state state;
    } records[] = {{"failed", REQUEST_FAILED},   {"unknown", REQUEST_UNKNOWN},
                   {"deleted", REQUEST_DELETED}, {"queued", REQUEST_QUEUED},
                   {"broken", REQUEST_DONE},     {"dispatched", REQUEST_DISPATCHED}};
    static const char *const counters[] = {"batches.high",     "requests.high",     "answered.high",
                                           "calls.high",       "fill.high.6",       "flush.full",
                                           "tokens.in.gpt-4o", "tokens.out.gpt-4o", "latency.high.012",
                                           "errors.X_Y",       "retries.UPSTREAM",  "tokens.in.a \"b\""};
    struct uuid nowhere = {{0}};
    struct chat c = {0};
    int rc = 0;
    (void)arg;
    for (unsigned i = 0; rc == 0 && i < CHATS_N; i++) {
        c = sample_chat(i);
        rc = append_chat(w, &c, e);
    }
    if (rc == 0)
        rc = put_record(w, FAMILY_QUERY, "done", REQUEST_DONE, &c.id, e);
    if (rc == 0)
        rc = put_record(w, FAMILY_INVOKE, "done", REQUEST_DONE, &c.id, e);
    if (rc == 0)
        rc = put_record(w, FAMILY_OPENAI, "done", REQUEST_DONE, &c.id, e);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(records); i++)
        for (enum family f = FAMILY_QUERY; rc == 0 && f <= FAMILY_OPENAI; f++)
            rc = put_record(w, f, records[i].id, records[i].state, &nowhere, e);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(counters); i++)
        rc = counters_add(w, slice_of(counters[i]), 20260201 + (uint32_t)i % 3, 7 + i, e);
    return rc;
}

static void make_store(void)
{
    struct store_options options = {.access = STORE_WRITER, .map_max_bytes = 64 << 20};
    struct store *s;
    struct err e = {0};
    FUZZ_CHECK(store_open(fuzz_dir(), &options, &s, &e) == 0 && store_write(s, 0, fill, NULL, &e) == 0, "%s",
               e.text);
    store_close(s);
}

static void load_conf(void)
{
    char path[128];
    struct err e = {0};
    snprintf(path, sizeof(path), "%s/carpool.conf", fuzz_dir());
    FILE *f = fopen(path, "we");
    FUZZ_CHECK(f, "%s cannot be written", path);
    fprintf(f,
            "[server]\nmax_body_bytes = %d\ncors_allow_origin = https://shown.example\n"
            "[storage]\ndir = %s\n[coordinator]\nautostart = off\n",
            FRONT_BODY_MAX, fuzz_dir());
    fclose(f);
    FUZZ_CHECK(conf_load(path, &front.conf, &e) == 0, "%s", e.text);
}

void front_start(void)
{
    struct settings settings;
    struct settings_patch none = {0};
    struct err e = {0};
    load_conf();
    make_store();
    settings_resolve(&front.conf, &none, "", &settings);
    FUZZ_CHECK(worker_init(&front.worker, &front.conf, &settings, &e) == 0, "%s", e.text);
    FUZZ_CHECK(waiting_new(&front.worker.waiting.shared, &e) == 0, "%s", e.text);
    front.worker.waiting.children = front.worker.waiting.max = 1;
    FUZZ_CHECK(request_library_init(&e) == 0, "%s", e.text);
    FUZZ_CHECK(exchange_init(&front.x, &front.worker) == 0, "no memory");
    front.fd = -1;
}

static void say(struct buf *out, uint64_t id, enum wire_type type, struct slice payload)
{
    size_t mark = wire_frame_begin(out, type, id);
    buf_append_slice(out, payload);
    wire_frame_end(out, mark);
}

/* Pieces of a stream, one of them over two lines. */
static void say_pieces(struct buf *out, uint64_t id)
{
    say(out, id, WIRE_DELTA,
        SLICE_LITERAL("{\"id\":\"c-1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}"));
    say(out, id, WIRE_DELTA,
        SLICE_LITERAL("{\"id\":\"c-1\",\r\n \"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\\nb\"}}]}"));
}

/* response: the chat is of a verbatim request. */
static void say_answer(struct buf *out, uint64_t id, bool response)
{
    struct buf record;
    struct chat c = sample_chat(1);
    struct wire_answer answer = {.timing = {1000, 2000, 3, 4000}};
    if (response)
        c.response = SLICE_LITERAL(
            "{\"id\":\"c-1\",\"created\":7,\"model\":\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":"
            "\"assistant\",\"content\":\"a\\nb "
            "\u20ac\"},\"finish_reason\":\"stop\"}],\"usage\":{\"total_tokens\":3}}");
    buf_init(&record, 1 << 20);
    chat_encode(&record, &c);
    answer.chat = buf_slice(&record);
    size_t mark = wire_frame_begin(out, WIRE_ANSWER, id);
    wire_answer_encode(out, &answer);
    wire_frame_end(out, mark);
    buf_fini(&record);
}

static void say_refusal(struct buf *out, uint64_t id)
{
    struct wire_refusal why = {.status = 429,
                               .retry_after_ms = 1500,
                               .error_type = SLICE_LITERAL("rate_limit_error"),
                               .error_code = SLICE_LITERAL("TENANT_FULL"),
                               .message = SLICE_LITERAL("Your share of the queue is used up.")};
    size_t mark = wire_frame_begin(out, WIRE_REFUSAL, id);
    wire_refusal_encode(out, &why);
    wire_frame_end(out, mark);
}

/* expected: the frame that a coordinator gives to the question there will be. */
static void reply_to(struct buf *out, uint64_t id, enum front_reply reply, enum wire_type expected)
{
    static const char status[] = "{\"coordinator\":{\"status\":\"ok\"},\"store\":{\"status\":\"ok\"},"
                                 "\"provider\":{\"status\":\"ok\"},\"kind\":\"mock\"}";
    if (reply == FRONT_REFUSES)
        say_refusal(out, id);
    else if (reply == FRONT_MISTAKEN)
        say(out, id, expected == WIRE_STATUS ? WIRE_DONE : WIRE_STATUS, SLICE_LITERAL("{}"));
    else if (reply == FRONT_FINISHED && expected == WIRE_ANSWER)
        say(out, id, WIRE_QUEUED, (struct slice){"", 0});
    else if (expected == WIRE_ANSWER)
        say_answer(out, id, false);
    else if (expected == WIRE_DELTA) {
        if (reply == FRONT_FINISHED)
            say_pieces(out, id);
        say_answer(out, id, true);
    } else if (expected == WIRE_PROGRESS)
        say(out, id, WIRE_PROGRESS, (struct slice){reply == FRONT_FINISHED ? "\3" : "\1", 1});
    else if (expected == WIRE_STATUS)
        say(out, id, WIRE_STATUS, SLICE_LITERAL(status));
    else
        say(out, id, WIRE_DONE, (struct slice){"", 0});
}

enum wire_type front_expected(struct slice uri)
{
    static const struct {
        const char *part;
        enum wire_type type;
    } answers[] = {{"/query", WIRE_ANSWER},       {"/completions", WIRE_DELTA}, {"/invoke", WIRE_ANSWER},
                   {"/requests/", WIRE_PROGRESS}, {"/health", WIRE_STATUS},     {"/stats", WIRE_STATUS},
                   {"/metrics", WIRE_STATUS}};
    for (size_t i = 0; i < ARRAY_LEN(answers); i++)
        if (fuzz_holds(uri, slice_of(answers[i].part)))
            return answers[i].type;
    return WIRE_DONE;
}

void front_begin(enum front_auth auth, enum front_reply reply, enum wire_type expected)
{
    struct conf *c = &front.conf;
    struct buf out;
    int pair[2];
    snprintf(c->auth.api_key, sizeof(c->auth.api_key), "%s", auth == FRONT_KEYLESS ? "" : FRONT_CLIENT_KEY);
    snprintf(c->auth.admin_key, sizeof(c->auth.admin_key), "%s",
             auth == FRONT_KEYLESS ? "" : FRONT_ADMIN_KEY);
    c->auth.required = auth == FRONT_KEYS_OFF ? AUTH_OFF : AUTH_AUTO;
    auth_init(&front.worker.auth, c);
    front.worker.health.made_us = front.worker.analytics.made_us = 0;
    FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "no socket pair");
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    front.x.link.fd = pair[0];
    front.fd = pair[1];
    buf_init(&out, 1 << 20);
    for (uint64_t i = 1; reply != FRONT_DIES && i <= REPLIES_N; i++)
        reply_to(&out, front.x.link.last_id + i, reply, expected);
    FUZZ_CHECK(send(front.fd, out.data, out.len, MSG_NOSIGNAL) == (ssize_t)out.len, "the answers do not fit");
    buf_fini(&out);
    /* What is not answered is lost; nobody may wait for it. */
    shutdown(front.fd, SHUT_WR);
}

void front_end(struct front_asked *ret_asked)
{
    struct buf asked;
    ssize_t n;
    buf_init(&asked, 1 << 20);
    do {
        char *at = buf_reserve(&asked, 16384);
        n = recv(front.fd, at, 16384, 0);
        if (n > 0)
            buf_advance(&asked, (size_t)n);
    } while (n > 0);
    link_close(&front.x.link);
    close(front.fd);
    front.fd = -1;
    front_check_questions(buf_slice(&asked), ret_asked);
    buf_fini(&asked);
    FUZZ_CHECK(waiting_enter(&front.worker.waiting), "somebody still waits");
    waiting_leave(&front.worker.waiting);
}
