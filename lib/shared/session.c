/*
 * That there is a connection, and what ends it: connects, with longer and longer pauses, gives up a server
 * that does not answer in time, and says at each change how it stands. Any error that the server answers ends
 * the connection: what was under way is then settled by what is there afterwards. See shared.h.
 */
#include <hiredis/hiredis.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "shared/shared_private.h"

#define RETRY_MIN_MS 100
#define RETRY_MAX_MS 2000
#define STABLE_US    US_PER_S /* a connection that held so long begins with short pauses again */

const struct redisReply *reply_at(const struct redisReply *reply, size_t i)
{
    return reply && reply->type == REDIS_REPLY_ARRAY && i < reply->elements ? reply->element[i] : NULL;
}

struct slice reply_text(const struct redisReply *reply)
{
    if (!reply || (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_STATUS))
        return (struct slice){NULL, 0};
    return (struct slice){reply->str, reply->len};
}

int64_t reply_number(const struct redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_INTEGER ? reply->integer : 0;
}

bool reply_is_nothing(const struct redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_NIL;
}

/* How it stands */

static void stand(struct shared *s, const struct shared_standing *now)
{
    struct shared_standing *was = &s->standing;
    bool same = was->there == now->there && was->keeps == now->keeps && was->fault.code == now->fault.code &&
                strcmp(was->fault.text, now->fault.text) == 0;
    *was = *now;
    if (!same)
        s->options.on_standing(s->options.arg, &s->standing);
}

void session_ready(struct shared *s)
{
    if (!s->standing.there)
        s->there_since_us = clock_mono_us();
    s->redirects = 0;
    struct shared_standing now = {.there = true, .keeps = s->keeps};
    if (!s->keeps)
        now.fault = s->careless;
    stand(s, &now);
}

/* Operations */

static void on_idle(uv_idle_t *idle)
{
    struct shared *s = idle->data;
    uv_idle_stop(idle);
    /* What they begin in turn, and what ends at once again, waits until the next time. */
    struct list due, *first;
    list_init(&due);
    while ((first = list_first(&s->ended))) {
        list_remove(first);
        list_append(&due, first);
    }
    while ((first = list_first(&due))) {
        struct shared_op *op = LIST_ENTRY(first, struct shared_op, in);
        list_remove(first);
        if (s->closed)
            op->rc = ERR_CLOSED;
        op->answered(s, op, NULL);
    }
}

void session_end(struct shared *s, struct shared_op *op, int rc)
{
    op->rc = rc;
    list_append(&s->ended, &op->in);
    if (!s->closed)
        uv_idle_start(&s->idle, on_idle);
}

bool session_call(struct shared *s, struct shared_op *op, enum script script, size_t keys, size_t arguments)
{
    op->rc = 0;
    if (!s->usable) {
        session_end(s, op, s->fenced ? ERR_FENCED : ERR_CLOSED);
        return false;
    }
    connection_command(s->connection, 3 + 1 + keys + 1 + arguments);
    connection_text(s->connection, "EVALSHA");
    connection_text(s->connection, s->shas[script]);
    connection_number(s->connection, (int64_t)keys + 1);
    connection_argument(s->connection, s->key_fence.bytes, s->key_fence.n);
    return true;
}

void session_number(struct shared *s)
{
    connection_text(s->connection, s->fence);
}

void session_key(struct shared *s, const char *kind, const void *rest, size_t n)
{
    struct record_key key;
    record_key(&key, kind, rest, n);
    connection_argument(s->connection, key.bytes, key.n);
}

static void on_unanswered(struct shared *s, struct shared_op *op, const struct redisReply *reply)
{
    (void)s, (void)reply;
    free(op);
}

struct shared_op *session_unanswered(struct shared *s)
{
    if (!s->usable)
        return NULL;
    struct shared_op *op = calloc(1, sizeof(*op));
    if (!op) {
        session_fail(s, ERR_NOMEM, "is not told everything: there is no memory for it.");
        return NULL;
    }
    op->answered = on_unanswered;
    return op;
}

/* What ends a connection */

void session_fail(struct shared *s, enum err_code code, const char *format, ...)
{
    struct err fault = {.code = code};
    char name[SHARED_URL_NAME_SIZE];
    va_list args;
    if (!s->connection)
        return;
    shared_url_name(&s->there, name);
    int n = snprintf(fault.text, sizeof(fault.text), "Redis at %s ", name);
    va_start(args, format);
    vsnprintf(fault.text + n, sizeof(fault.text) - (size_t)n, format, args);
    va_end(args);
    connection_fail(s->connection, &fault);
}

/* op will not be answered. Those of the handshake are nobody's to end. */
static void lose(struct shared *s, struct shared_op *op)
{
    if (op < s->steps || op >= s->steps + STEP_N)
        session_end(s, op, s->fenced ? ERR_FENCED : ERR_CLOSED);
}

static void on_answered(void *arg, struct shared_op *op, const struct redisReply *reply)
{
    struct shared *s = arg;
    if (reply->type == REDIS_REPLY_ERROR && op != &s->steps[STEP_CONFIG]) {
        session_refused(s, op, reply->str);
        lose(s, op);
        return;
    }
    op->answered(s, op, reply);
}

/* When to try again. */
static void plan_retry(struct shared *s)
{
    uint64_t now_us = clock_mono_us();
    if (s->there_since_us && now_us - s->there_since_us > STABLE_US)
        s->attempts = 0;
    s->there_since_us = 0;
    if (s->moved) {
        s->retry_us = now_us;
        return;
    }
    s->there = s->url;
    s->redirects = 0;
    unsigned doublings = s->attempts < 10 ? s->attempts : 10;
    uint32_t pause_ms = RETRY_MIN_MS << doublings;
    if (pause_ms > RETRY_MAX_MS)
        pause_ms = RETRY_MAX_MS;
    s->attempts++;
    s->retry_us = now_us + (pause_ms / 2 + randombytes_uniform(pause_ms / 2 + 1)) * US_PER_MS;
}

static void on_lost(void *arg, const struct err *fault)
{
    struct shared *s = arg;
    struct shared_standing now = {.fault = *fault};
    struct list unanswered, *first;
    list_init(&unanswered);
    connection_close(s->connection, &unanswered);
    s->connection = NULL;
    s->usable = false;
    while ((first = list_first(&unanswered))) {
        list_remove(first);
        lose(s, LIST_ENTRY(first, struct shared_op, in));
    }
    plan_retry(s);
    /* To be sent on while connecting is nothing to speak of. */
    if (!s->moved || s->standing.there)
        stand(s, &now);
}

static void on_connected(void *arg)
{
    handshake_begin(arg);
}

static void connect_now(struct shared *s)
{
    struct connection_events events = {
        .connected = on_connected, .answered = on_answered, .lost = on_lost, .arg = s};
    struct shared_standing now = {.there = false};
    s->moved = false;
    if (connection_open(s->loop, &s->there, s->attempts, &events, &s->connection, &now.fault) == 0)
        return;
    plan_retry(s);
    stand(s, &now);
}

static void on_timer(uv_timer_t *timer)
{
    struct shared *s = timer->data;
    uint64_t now_us = clock_mono_us(), limit_us = s->options.answer_ms * US_PER_MS;
    if (s->connection) {
        if (connection_overdue(s->connection, now_us > limit_us ? now_us - limit_us : 0))
            session_fail(s, ERR_CLOSED, "does not answer within %u ms.", s->options.answer_ms);
        else if (s->standing.there)
            exchange_tick(s, false);
    } else if (!s->fenced && now_us >= s->retry_us) {
        connect_now(s);
    }
}

/* Open and close */

static void on_closed(uv_handle_t *handle)
{
    struct shared *s = handle->data;
    if (--s->holds)
        return;
    sodium_memzero(&s->url, sizeof(s->url));
    sodium_memzero(&s->there, sizeof(s->there));
    free(s);
}

static void prepare(struct shared *s, const struct shared_options *options)
{
    const struct uuid *me = &options->machine;
    s->options = *options;
    s->options.url = NULL;
    s->there = s->url;
    if (!s->options.answer_ms)
        s->options.answer_ms = 1;
    if (!s->options.record_ttl_s)
        s->options.record_ttl_s = 1;
    list_init(&s->ended);
    record_key(&s->key_fence, KEY_FENCE, me->bytes, sizeof(me->bytes));
    record_key(&s->key_alive, KEY_ALIVE, me->bytes, sizeof(me->bytes));
    record_key(&s->key_open, KEY_OPEN, me->bytes, sizeof(me->bytes));
    record_key(&s->key_settings, KEY_SETTINGS, NULL, 0);
    record_key(&s->key_news, KEY_NEWS, NULL, 0);
    record_key(&s->key_born, KEY_BORN, NULL, 0);
    exchange_init(s);
    s->options.position = NULL;
}

int shared_open(struct uv_loop_s *loop, const struct shared_options *options, struct shared **ret_shared,
                struct err *e)
{
    struct shared *s = calloc(1, sizeof(*s));
    if (!s)
        return err_set(e, ERR_NOMEM, "There is no memory for what goes to Redis.");
    int rc = shared_url_parse(options->url, &s->url, e);
    if (rc < 0) {
        free(s);
        return rc;
    }
    s->loop = loop;
    prepare(s, options);
    uv_timer_init(loop, &s->timer);
    uv_idle_init(loop, &s->idle);
    s->timer.data = s->idle.data = s;
    s->holds = 2;
    /* Fine enough for a time limit, and for settings that are to be in force everywhere within a second. */
    uint64_t period_ms = s->options.answer_ms / 4;
    period_ms = period_ms > 100 ? 100 : period_ms < 10 ? 10 : period_ms;
    uv_timer_start(&s->timer, on_timer, 0, period_ms);
    *ret_shared = s;
    return 0;
}

void shared_close(struct shared *s)
{
    if (!s || s->closed)
        return;
    s->closed = true;
    s->usable = false;
    if (s->connection)
        connection_close(s->connection, &s->ended);
    s->connection = NULL;
    uv_close((uv_handle_t *)&s->timer, on_closed);
    uv_close((uv_handle_t *)&s->idle, on_closed);
    while (!list_empty(&s->ended)) {
        struct shared_op *op = LIST_ENTRY(list_first(&s->ended), struct shared_op, in);
        list_remove(&op->in);
        op->rc = ERR_CLOSED;
        op->answered(s, op, NULL);
    }
    exchange_fini(s);
}
