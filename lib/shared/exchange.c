/*
 * What machines tell each other: that they are alive, settings, counters, deletions. One script every quarter
 * of a second asks for all of it. See shared.h.
 *
 * News are a stream of entries: m machine, and c with day and pairs of name and difference (base/bytes.h), or
 * d with a request id.
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "shared/shared_private.h"

#define TICK_US        (250 * US_PER_MS)
#define BEAT_US        (1000 * US_PER_MS) /* a write at the server: not with each tick */
#define CHECK_US       (10 * US_PER_S)
#define NEWS_AT_ONCE   200
#define NEWS_KEPT      100000 /* entries in the stream, about */
#define PIECE_MAX      4096   /* bytes of counters in one entry */
#define DELETE_AT_ONCE 64

/* Settings */

static void on_put(struct shared *s, struct shared_op *op, const struct redisReply *reply)
{
    struct shared_settings_put *p = CONTAINER_OF(op, struct shared_settings_put, op);
    p->rc = op->rc;
    if (reply) {
        p->ret_version = (uint64_t)reply_number(reply_at(reply, 1));
        p->rc = reply_number(reply_at(reply, 0)) == 1 ? 0 : ERR_EXISTS;
    }
    if (reply && p->rc == 0 && p->ret_version > s->settings_version)
        s->settings_version = p->ret_version;
    if (p->rc == ERR_EXISTS)
        exchange_tick(s, true);
    p->done(p, s->options.arg);
}

void shared_settings_put(struct shared *s, struct shared_settings_put *p)
{
    p->op.answered = on_put;
    if (!session_call(s, &p->op, SCRIPT_PUT, 1, 2))
        return;
    connection_argument(s->connection, s->key_settings.bytes, s->key_settings.n);
    session_number(s);
    connection_number(s->connection, (int64_t)p->based_on);
    connection_argument(s->connection, p->document.p, p->document.n);
    connection_expect(s->connection, &p->op);
}

/* Telling */

/* Begins a script that adds n entries; its kinds and payloads follow. */
static bool begin_tell(struct shared *s, struct shared_op *op, size_t n)
{
    if (!session_call(s, op, SCRIPT_TELL, 1, 2 + 2 * n))
        return false;
    connection_argument(s->connection, s->key_news.bytes, s->key_news.n);
    session_number(s);
    connection_argument(s->connection, s->options.machine.bytes, sizeof(s->options.machine.bytes));
    connection_number(s->connection, NEWS_KEPT);
    return true;
}

static void tell_piece(struct shared *s, const struct buf *piece)
{
    struct shared_op *op = session_unanswered(s);
    if (!op || !begin_tell(s, op, 1))
        return;
    connection_text(s->connection, "c");
    connection_argument(s->connection, piece->data, piece->len);
    connection_expect(s->connection, op);
}

void shared_tell_counters(struct shared *s, uint32_t day, const struct shared_difference *differences,
                          size_t n)
{
    struct buf piece;
    buf_init(&piece, 2 * PIECE_MAX);
    for (size_t i = 0; i < n && s->usable; i++) {
        if (!piece.len)
            bytes_put_u32(&piece, day);
        size_t before = piece.len;
        bytes_put_text(&piece, differences[i].name);
        bytes_put_u64(&piece, differences[i].delta);
        if (buf_failed(&piece)) {
            /* A name that fits into no entry, or no memory: these are figures. */
            piece.failed = false;
            piece.len = before;
        }
        if (piece.len > PIECE_MAX || (i + 1 == n && piece.len > sizeof(day))) {
            tell_piece(s, &piece);
            buf_clear(&piece);
        }
    }
    buf_fini(&piece);
}

static void tell_deletions(struct shared *s);

static void on_deletions(struct shared *s, struct shared_op *op, const struct redisReply *reply)
{
    (void)op;
    if (!reply)
        return;
    for (; s->deletions_told; s->deletions_told--, s->deletions_n--) {
        struct list *first = list_first(&s->deletions);
        list_remove(first);
        free(LIST_ENTRY(first, struct deletion, in));
    }
    tell_deletions(s);
}

/* All that wait, in order; one script is on its way at a time. */
static void tell_deletions(struct shared *s)
{
    struct shared_op *op = &s->steps[STEP_DELETIONS];
    size_t n = s->deletions_n < DELETE_AT_ONCE ? s->deletions_n : DELETE_AT_ONCE;
    if (!s->usable || !n || s->deletions_told)
        return;
    op->answered = on_deletions;
    if (!begin_tell(s, op, n))
        return;
    list_for_each (it, &s->deletions) {
        struct deletion *d = LIST_ENTRY(it, struct deletion, in);
        connection_text(s->connection, "d");
        connection_argument(s->connection, d->request_id, d->n);
        if (++s->deletions_told == n)
            break;
    }
    connection_expect(s->connection, op);
}

void shared_tell_deletion(struct shared *s, struct slice request_id)
{
    struct deletion *d = request_id.n <= REQUEST_ID_BYTES ? malloc(sizeof(*d)) : NULL;
    if (!d)
        return;
    if (s->deletions_n == DELETIONS_MAX) {
        struct list *oldest = list_first(&s->deletions);
        list_remove(oldest);
        free(LIST_ENTRY(oldest, struct deletion, in));
        s->deletions_n--;
        if (s->deletions_told)
            s->deletions_told--;
    }
    d->n = request_id.n;
    memcpy(d->request_id, request_id.p, request_id.n);
    list_append(&s->deletions, &d->in);
    s->deletions_n++;
    tell_deletions(s);
}

/* Hearing */

struct entry {
    struct slice id, payload;
    bool ours, counters, deletion;
};

static struct entry entry_of(const struct shared *s, const struct redisReply *reply)
{
    const struct redisReply *fields = reply_at(reply, 1);
    struct slice machine = reply_text(reply_at(fields, 1)), kind = reply_text(reply_at(fields, 2));
    const struct uuid *me = &s->options.machine;
    return (struct entry){
        .id = reply_text(reply_at(reply, 0)),
        .payload = reply_text(reply_at(fields, 3)),
        .ours = slice_equal(machine, (struct slice){(const char *)me->bytes, sizeof(me->bytes)}),
        .counters = slice_is(kind, "c"),
        .deletion = slice_is(kind, "d"),
    };
}

/* Appends the differences of a payload to those of news, where there is room; counts them in any case. */
static void take_counters(struct slice payload, struct shared_news *news, size_t room)
{
    struct bytes_reader r;
    bytes_reader_init(&r, payload);
    uint32_t day = bytes_get_u32(&r);
    while (!r.failed && r.at < r.end) {
        struct slice name = bytes_get_text(&r);
        uint64_t delta = bytes_get_u64(&r);
        if (r.failed || !name.p)
            return;
        if (news->differences_n < room) {
            news->differences[news->differences_n].day = day;
            news->differences[news->differences_n].name = name;
            news->differences[news->differences_n].delta = delta;
        }
        news->differences_n++;
    }
}

/* Fills news from the entries of others, or counts where the room is 0. */
static void take_entries(const struct shared *s, const struct redisReply *entries, struct shared_news *news,
                         size_t differences_room, size_t deletions_room)
{
    news->differences_n = news->deletions_n = 0;
    for (size_t i = 0; reply_at(entries, i); i++) {
        struct entry e = entry_of(s, reply_at(entries, i));
        if (e.ours || !e.payload.p)
            continue;
        if (e.counters) {
            take_counters(e.payload, news, differences_room);
        } else if (e.deletion) {
            if (news->deletions_n < deletions_room)
                news->deletions[news->deletions_n] = e.payload;
            news->deletions_n++;
        }
    }
}

/* False: no memory; to be asked for again. */
static bool hear(struct shared *s, const struct redisReply *entries)
{
    struct shared_news news = {.differences = NULL};
    size_t n = entries->elements;
    struct slice last = n ? entry_of(s, reply_at(entries, n - 1)).id : (struct slice){NULL, 0};
    if (!last.p || last.n >= sizeof(s->position))
        return true;
    take_entries(s, entries, &news, 0, 0);
    size_t differences_n = news.differences_n, deletions_n = news.deletions_n;
    if (differences_n)
        news.differences = calloc(differences_n, sizeof(*news.differences));
    if (deletions_n)
        news.deletions = calloc(deletions_n, sizeof(*news.deletions));
    bool ok = (news.differences || !differences_n) && (news.deletions || !deletions_n);
    if (ok) {
        take_entries(s, entries, &news, differences_n, deletions_n);
        memcpy(s->position, last.p, last.n);
        s->position[last.n] = 0;
        snprintf(news.position, sizeof(news.position), "%s %s", s->born, s->position);
        if (differences_n || deletions_n)
            s->options.on_news(s->options.arg, &news);
    }
    free(news.differences);
    free(news.deletions);
    return ok;
}

static void on_tick(struct shared *s, struct shared_op *op, const struct redisReply *reply)
{
    (void)op;
    struct slice version = reply_text(reply_at(reply, 0)), document = reply_text(reply_at(reply, 1));
    struct slice born = reply_text(reply_at(reply, 2));
    const struct redisReply *entries = reply_at(reply, 3);
    if (!reply)
        return;
    s->ticking = false;
    if (!version.p || !born.p || born.n >= sizeof(s->born) || !entries ||
        entries->type != REDIS_REPLY_ARRAY) {
        session_fail(s, ERR_CLOSED, "cannot be understood: its settings or news are of another kind.");
        return;
    }
    memcpy(s->born, born.p, born.n);
    s->born[born.n] = 0;
    uint64_t newest = strtoull(version.p, NULL, 10);
    if (newest > s->settings_version && document.p) {
        s->settings_version = newest;
        s->options.on_settings(s->options.arg, newest, document);
    }
    if (!s->usable)
        return;
    if (hear(s, entries) && entries->elements == NEWS_AT_ONCE)
        s->tick_us = 0; /* there is more */
    if (!s->usable)
        return;
    if (!s->standing.there)
        handshake_ticked(s);
    else
        exchange_tick(s, false);
}

void exchange_tick(struct shared *s, bool now)
{
    struct shared_op *op = &s->steps[STEP_TICK];
    struct connection *c = s->connection;
    uint64_t now_us = clock_mono_us();
    if (now)
        s->tick_us = 0;
    if (!s->usable || s->ticking || now_us - s->tick_us < TICK_US)
        return;
    bool beat = now_us - s->beat_us >= BEAT_US;
    s->tick_us = now_us;
    if (beat)
        s->beat_us = now_us;
    op->answered = on_tick;
    if (!session_call(s, op, SCRIPT_TICK, 5, 6))
        return;
    s->ticking = true;
    connection_argument(c, s->key_alive.bytes, s->key_alive.n);
    connection_argument(c, s->key_open.bytes, s->key_open.n);
    connection_argument(c, s->key_settings.bytes, s->key_settings.n);
    connection_argument(c, s->key_news.bytes, s->key_news.n);
    connection_argument(c, s->key_born.bytes, s->key_born.n);
    session_number(s);
    connection_number(c, beat ? ALIVE_MS : 0);
    connection_number(c, (int64_t)s->options.record_ttl_s * 1000);
    connection_number(c, (int64_t)s->settings_version);
    connection_text(c, s->born);
    connection_text(c, s->position);
    connection_number(c, NEWS_AT_ONCE);
    connection_expect(c, op);
    if (now_us - s->check_us >= CHECK_US)
        handshake_check(s);
}

void exchange_connected(struct shared *s)
{
    s->ticking = false;
    s->beat_us = 0;
    s->deletions_told = 0;
    exchange_tick(s, true);
    tell_deletions(s);
}

void exchange_init(struct shared *s)
{
    const char *position = s->options.position ? s->options.position : "";
    const char *space = strchr(position, ' ');
    list_init(&s->deletions);
    s->settings_version = s->options.settings_version;
    strcpy(s->position, "0-0");
    if (!space || (size_t)(space - position) >= sizeof(s->born) || strlen(space + 1) >= sizeof(s->position))
        return;
    memcpy(s->born, position, (size_t)(space - position));
    strcpy(s->position, space + 1);
}

void exchange_fini(struct shared *s)
{
    while (!list_empty(&s->deletions)) {
        struct list *first = list_first(&s->deletions);
        list_remove(first);
        free(LIST_ENTRY(first, struct deletion, in));
    }
}
