/*
 * From a connected socket to a place at the server: password, database, what kind of server it is, whether it
 * keeps what it acknowledges, the scripts, the fence, then settings and news, then what is open of ours.
 */
#include <hiredis/hiredis.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "shared/shared_private.h"

#define VERSION_MIN 6
#define OPEN_STEP   256 /* keys at a time */

/* The value of a line "name:value" of INFO; absent when there is none. */
static struct slice info_value(struct slice info, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = info.p, *end = info.p + info.n; at && at < end;) {
        const char *line_end = memchr(at, '\n', (size_t)(end - at));
        if (!line_end)
            line_end = end;
        if ((size_t)(line_end - at) > n && memcmp(at, name, n) == 0 && at[n] == ':')
            return slice_trim((struct slice){at + n + 1, (size_t)(line_end - at) - n - 1});
        at = line_end + 1;
    }
    return (struct slice){NULL, 0};
}

static void on_info(struct shared *s, struct shared_op *op, const struct redisReply *reply)
{
    (void)op;
    if (!reply)
        return;
    struct slice info = reply_text(reply), version = info_value(info, "redis_version");
    if (version.p && strtol(version.p, NULL, 10) < VERSION_MIN) {
        session_fail(s, ERR_INVAL, "is version %.*s, and %d or newer is needed (any Valkey is).",
                     version.n < 20 ? (int)version.n : 20, version.p, VERSION_MIN);
        return;
    }
    if (slice_is(info_value(info, "role"), "slave")) {
        session_fail(s, ERR_INVAL,
                     "is a replica, which can only be read: name the primary, or a proxy that finds it.");
        return;
    }
    if (slice_is(info_value(info, "loading"), "1")) {
        session_fail(s, ERR_CLOSED, "is still loading its data.");
        return;
    }
    /* What it throws away when memory is short is no promise. */
    struct slice maximum = info_value(info, "maxmemory"), policy = info_value(info, "maxmemory_policy");
    s->careless.code = 0;
    if (maximum.p && !slice_is(maximum, "0") && policy.p && !slice_is(policy, "noeviction"))
        err_set(&s->careless, ERR_INVAL,
                "Redis throws records away when its memory is full (maxmemory-policy %.*s): set noeviction.",
                policy.n < 20 ? (int)policy.n : 20, policy.p);
}

static const struct redisReply *config_value(const struct redisReply *reply, const char *name)
{
    for (size_t i = 0; reply_at(reply, i + 1); i += 2)
        if (slice_is(reply_text(reply_at(reply, i)), name))
            return reply_at(reply, i + 1);
    return NULL;
}

static void on_config(struct shared *s, struct shared_op *op, const struct redisReply *reply)
{
    (void)op;
    if (!reply)
        return;
    s->checking = false;
    if (reply->type == REDIS_REPLY_ERROR || !config_value(reply, "appendfsync"))
        err_set(&s->careless, ERR_PERM,
                "It cannot be checked whether Redis keeps what it acknowledged (CONFIG GET is not allowed).");
    else if (!slice_is(reply_text(config_value(reply, "appendonly")), "yes"))
        err_set(&s->careless, ERR_INVAL, "Redis does not keep what it acknowledged: set appendonly yes.");
    else if (!slice_is(reply_text(config_value(reply, "appendfsync")), "always"))
        err_set(&s->careless, ERR_INVAL, "Redis may lose what it acknowledged last: set appendfsync always.");
    else if (slice_is(reply_text(config_value(reply, "no-appendfsync-on-rewrite")), "yes"))
        err_set(&s->careless, ERR_INVAL,
                "Redis may lose what it acknowledged last: set no-appendfsync-on-rewrite no.");
    s->keeps = s->careless.code == 0;
    if (s->standing.there)
        session_ready(s);
}

/* What INFO finds wrong stays unless CONFIG finds something, too; both are asked in this order. */
static void ask_keeping(struct shared *s)
{
    s->checking = true;
    s->check_us = clock_mono_us();
    s->steps[STEP_INFO].answered = on_info;
    connection_command(s->connection, 1);
    connection_text(s->connection, "INFO");
    connection_expect(s->connection, &s->steps[STEP_INFO]);
    s->steps[STEP_CONFIG].answered = on_config;
    connection_command(s->connection, 3);
    connection_text(s->connection, "CONFIG");
    connection_text(s->connection, "GET");
    connection_text(s->connection, "*append*");
    connection_expect(s->connection, &s->steps[STEP_CONFIG]);
}

void handshake_check(struct shared *s)
{
    if (!s->checking)
        ask_keeping(s);
}

/* The steps */

static void on_ok(struct shared *s, struct shared_op *op, const struct redisReply *reply)
{
    (void)s, (void)op, (void)reply;
}

static void log_in(struct shared *s)
{
    struct connection *c = s->connection;
    if (!s->url.password[0])
        return;
    connection_command(c, s->url.user[0] ? 3 : 2);
    connection_text(c, "AUTH");
    if (s->url.user[0])
        connection_text(c, s->url.user);
    connection_text(c, s->url.password);
    s->steps[STEP_AUTH].answered = on_ok;
    connection_expect(c, &s->steps[STEP_AUTH]);
}

static void select_database(struct shared *s)
{
    if (!s->url.db)
        return;
    connection_command(s->connection, 2);
    connection_text(s->connection, "SELECT");
    connection_number(s->connection, s->url.db);
    s->steps[STEP_SELECT].answered = on_ok;
    connection_expect(s->connection, &s->steps[STEP_SELECT]);
}

static void on_taken(struct shared *s, struct shared_op *op, const struct redisReply *reply)
{
    (void)op;
    if (!reply)
        return;
    s->usable = true;
    exchange_connected(s);
}

/* Leaves a number greater than all before. */
static void take_fence(struct shared *s)
{
    struct connection *c = s->connection;
    char born[BORN_SIZE];
    uint64_t random;
    randombytes_buf(&random, sizeof(random));
    snprintf(born, sizeof(born), "%016" PRIx64, random);
    snprintf(s->fence, sizeof(s->fence), "%020" PRIu64 ".%010" PRIu32, s->options.epoch, ++s->count);
    connection_command(c, 3 + 3 + 4);
    connection_text(c, "EVALSHA");
    connection_text(c, s->shas[SCRIPT_TAKE]);
    connection_number(c, 3);
    connection_argument(c, s->key_fence.bytes, s->key_fence.n);
    connection_argument(c, s->key_alive.bytes, s->key_alive.n);
    connection_argument(c, s->key_born.bytes, s->key_born.n);
    connection_text(c, s->fence);
    connection_number(c, (int64_t)s->options.record_ttl_s * 1000);
    connection_number(c, ALIVE_MS);
    connection_text(c, born);
    s->steps[STEP_TAKE].answered = on_taken;
    connection_expect(c, &s->steps[STEP_TAKE]);
}

static void on_loaded(struct shared *s, struct shared_op *op, const struct redisReply *reply)
{
    size_t i = (size_t)(op - &s->steps[STEP_LOAD]);
    struct slice sha = reply_text(reply);
    if (!reply)
        return;
    if (sha.n != SHA_SIZE - 1) {
        session_fail(s, ERR_CLOSED, "cannot be understood: it names a script strangely.");
        return;
    }
    memcpy(s->shas[i], sha.p, sha.n);
    s->shas[i][sha.n] = 0;
    if (i == SCRIPT_N - 1)
        take_fence(s);
}

static void load_scripts(struct shared *s)
{
    for (size_t i = 0; i < SCRIPT_N; i++) {
        connection_command(s->connection, 3);
        connection_text(s->connection, "SCRIPT");
        connection_text(s->connection, "LOAD");
        connection_text(s->connection, script_texts[i]);
        s->steps[STEP_LOAD + i].answered = on_loaded;
        connection_expect(s->connection, &s->steps[STEP_LOAD + i]);
    }
}

void handshake_begin(struct shared *s)
{
    log_in(s);
    select_database(s);
    ask_keeping(s);
    load_scripts(s);
}

/* What is open */

static void scan_open(struct shared *s, struct slice cursor);

static void on_open_keys(struct shared *s, struct shared_op *op, const struct redisReply *reply)
{
    (void)op;
    struct slice cursor = reply_text(reply_at(reply, 0));
    const struct redisReply *found = reply_at(reply, 1);
    if (!reply)
        return;
    if (!cursor.p || cursor.n > 20) {
        session_fail(s, ERR_CLOSED, "cannot be understood: it lists a set strangely.");
        return;
    }
    uint8_t keys[OPEN_STEP][SHARED_KEY_SIZE];
    size_t n = 0;
    for (size_t i = 0; reply_at(found, i); i++) {
        struct slice key = reply_text(reply_at(found, i));
        if (key.n != SHARED_KEY_SIZE)
            continue;
        memcpy(keys[n++], key.p, SHARED_KEY_SIZE);
        if (n == OPEN_STEP) {
            s->options.on_open(s->options.arg, (const uint8_t(*)[SHARED_KEY_SIZE])keys, n);
            n = 0;
        }
        if (!s->usable)
            return;
    }
    if (n)
        s->options.on_open(s->options.arg, (const uint8_t(*)[SHARED_KEY_SIZE])keys, n);
    if (s->usable && !slice_is(cursor, "0")) {
        scan_open(s, cursor);
        return;
    }
    if (s->usable)
        s->options.on_open(s->options.arg, NULL, 0);
    if (s->usable)
        session_ready(s);
}

static void scan_open(struct shared *s, struct slice cursor)
{
    struct connection *c = s->connection;
    connection_command(c, 5);
    connection_text(c, "SSCAN");
    connection_argument(c, s->key_open.bytes, s->key_open.n);
    connection_argument(c, cursor.p, cursor.n);
    connection_text(c, "COUNT");
    connection_number(c, OPEN_STEP);
    s->steps[STEP_OPEN].answered = on_open_keys;
    connection_expect(c, &s->steps[STEP_OPEN]);
}

void handshake_ticked(struct shared *s)
{
    scan_open(s, SLICE_LITERAL("0"));
}
