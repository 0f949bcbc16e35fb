/*
 * The typed messages in wire frames and the two hashes of a request; see message.h, and etc/protocol.md for
 * the layout of each. A decoder accepts nothing that the encoder beside it would not write, so what passes it
 * needs no second look. The texts of a message are looked at for their presence only: length limits and UTF-8
 * are the worker's business, who has the client to tell.
 */
#include "wire/message.h"

#include <math.h>
#include <sodium.h>
#include <string.h>

#include "base/bytes.h"

#define SUBMIT_FIXED_SIZE (2 * REQUEST_KEY_SIZE + TRUST_GROUP_SIZE + 4 + 4 + 8 + 4)
#define SUBMIT_TEXTS      9
#define SUBMIT_FLAGS                                                                                         \
    (SUBMIT_ASYNC | SUBMIT_FRESH_ID | SUBMIT_ALONE | SUBMIT_NO_CACHE | SUBMIT_COMPLETION | SUBMIT_VERBATIM | \
     SUBMIT_STREAM | SUBMIT_OWN_ID)
#define ANSWER_FLAGS (ANSWER_REPLAYED | ANSWER_JOINED | ANSWER_LIMITS)

const char *endpoint_path(enum endpoint e)
{
    static const char *const paths[] = {
        [ENDPOINT_QUERY] = "/query",
        [ENDPOINT_V1_QUERY] = "/v1/query",
        [ENDPOINT_GENERATE] = "/generate",
        [ENDPOINT_INVOKE] = "/invoke",
        [ENDPOINT_CHAT] = "/chat",
        [ENDPOINT_CHAT_BATCHED] = "/chat/batched",
        [ENDPOINT_CHAT_COMPLETIONS] = "/v1/chat/completions",
        [ENDPOINT_COMPLETIONS] = "/v1/completions",
    };
    unsigned i = (unsigned)e;
    return i < ARRAY_LEN(paths) && paths[i] ? paths[i] : "?";
}

void wire_hello_encode(struct buf *out, const struct wire_hello *m)
{
    bytes_put_fixed(out, m->pool.bytes, sizeof(m->pool.bytes));
    bytes_put_u32(out, m->capacity);
    bytes_put_u32(out, m->pid);
}

int wire_hello_decode(struct slice payload, struct wire_hello *ret_m)
{
    struct bytes_reader r;
    struct wire_hello m;
    bytes_reader_init(&r, payload);
    bytes_get_fixed(&r, m.pool.bytes, sizeof(m.pool.bytes));
    m.capacity = bytes_get_u32(&r);
    m.pid = bytes_get_u32(&r);
    if (!bytes_done(&r))
        return ERR_INVAL;
    *ret_m = m;
    return 0;
}

void wire_welcome_encode(struct buf *out, const struct wire_welcome *m)
{
    bytes_put_u64(out, m->epoch);
    bytes_put_u32(out, m->pid);
}

int wire_welcome_decode(struct slice payload, struct wire_welcome *ret_m)
{
    struct bytes_reader r;
    struct wire_welcome m;
    bytes_reader_init(&r, payload);
    m.epoch = bytes_get_u64(&r);
    m.pid = bytes_get_u32(&r);
    if (!bytes_done(&r))
        return ERR_INVAL;
    *ret_m = m;
    return 0;
}

/* The texts of a submit in the order of the wire. A pointer each, so that encoder and decoder share it. */
static void submit_texts(struct wire_submit *m, struct slice *ret_texts[SUBMIT_TEXTS])
{
    struct slice *texts[SUBMIT_TEXTS] = {&m->request_id, &m->username, &m->created_at,
                                         &m->metadata,   &m->prompt,   &m->system_prompt,
                                         &m->messages,   &m->model,    &m->extra};
    memcpy(ret_texts, texts, sizeof(texts));
}

void wire_submit_encode(struct buf *out, const struct wire_submit *m)
{
    struct wire_submit copy = *m; /* of the pointers; the bytes stay where they are */
    struct slice *texts[SUBMIT_TEXTS];
    submit_texts(&copy, texts);
    size_t size = SUBMIT_FIXED_SIZE + 4 + m->caller_key.n;
    for (unsigned i = 0; i < SUBMIT_TEXTS; i++)
        size += 4 + texts[i]->n;
    /* One growth for the whole payload, so that a long prompt is not moved on the way. */
    if (!buf_reserve(out, size))
        return;
    bytes_put_fixed(out, m->key, sizeof(m->key));
    bytes_put_fixed(out, m->fingerprint, sizeof(m->fingerprint));
    bytes_put_fixed(out, m->trust_group, sizeof(m->trust_group));
    bytes_put_u8(out, (uint8_t)m->family);
    bytes_put_u8(out, (uint8_t)m->endpoint);
    bytes_put_u8(out, (uint8_t)m->priority);
    bytes_put_u8(out, (uint8_t)m->flags);
    bytes_put_u32(out, m->wait_ms);
    bytes_put_double(out, m->temperature);
    bytes_put_u32(out, m->max_tokens);
    for (unsigned i = 0; i < SUBMIT_TEXTS; i++)
        bytes_put_text(out, *texts[i]);
    bytes_put_text(out, m->caller_key);
}

/* What goes through as it is has its call to itself, and only that streams, to somebody who is there. */
static bool flags_valid(unsigned flags)
{
    return !(flags & ~(unsigned)SUBMIT_FLAGS) && (!(flags & SUBMIT_VERBATIM) || flags & SUBMIT_ALONE) &&
           (!(flags & SUBMIT_STREAM) || (flags & SUBMIT_VERBATIM && !(flags & SUBMIT_ASYNC)));
}

static bool submit_valid(const struct wire_submit *m)
{
    return m->family >= FAMILY_QUERY && m->family <= FAMILY_OPENAI && m->endpoint >= ENDPOINT_QUERY &&
           m->endpoint <= ENDPOINT_COMPLETIONS && (unsigned)m->priority < PRIORITIES &&
           flags_valid(m->flags) && !isinf(m->temperature) && m->request_id.p && m->request_id.n &&
           m->prompt.p;
}

int wire_submit_decode(struct slice payload, struct wire_submit *ret_m)
{
    struct bytes_reader r;
    struct wire_submit m;
    struct slice *texts[SUBMIT_TEXTS];
    bytes_reader_init(&r, payload);
    bytes_get_fixed(&r, m.key, sizeof(m.key));
    bytes_get_fixed(&r, m.fingerprint, sizeof(m.fingerprint));
    bytes_get_fixed(&r, m.trust_group, sizeof(m.trust_group));
    m.family = (enum family)bytes_get_u8(&r);
    m.endpoint = (enum endpoint)bytes_get_u8(&r);
    m.priority = (enum priority)bytes_get_u8(&r);
    m.flags = bytes_get_u8(&r);
    m.wait_ms = bytes_get_u32(&r);
    m.temperature = bytes_get_double(&r);
    m.max_tokens = bytes_get_u32(&r);
    submit_texts(&m, texts);
    for (unsigned i = 0; i < SUBMIT_TEXTS; i++)
        *texts[i] = bytes_get_text(&r);
    m.caller_key = bytes_get_text(&r);
    if (!bytes_done(&r) || !submit_valid(&m))
        return ERR_INVAL;
    *ret_m = m;
    return 0;
}

static void put_limits(struct buf *out, const struct wire_limits *m)
{
    const struct wire_limit *both[] = {&m->requests, &m->tokens};
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        bytes_put_u32(out, both[i]->per_minute);
        bytes_put_u32(out, both[i]->remaining);
        bytes_put_u32(out, both[i]->reset_ms);
    }
}

static void get_limits(struct bytes_reader *r, struct wire_limits *ret_m)
{
    struct wire_limit *both[] = {&ret_m->requests, &ret_m->tokens};
    for (size_t i = 0; i < ARRAY_LEN(both); i++) {
        both[i]->per_minute = bytes_get_u32(r);
        both[i]->remaining = bytes_get_u32(r);
        both[i]->reset_ms = bytes_get_u32(r);
    }
}

/* A limit that is none has nothing to say, and no more is left of one than there is. */
static bool limit_valid(const struct wire_limit *m)
{
    return m->remaining <= m->per_minute && (m->per_minute || !m->reset_ms);
}

static bool limits_valid(const struct wire_limits *m)
{
    return wire_limits_any(m) && limit_valid(&m->requests) && limit_valid(&m->tokens);
}

void wire_answer_encode(struct buf *out, const struct wire_answer *m)
{
    bool limits = wire_limits_any(&m->limits);
    bytes_put_u8(out, (uint8_t)(m->flags & ~(unsigned)ANSWER_LIMITS) | (limits ? ANSWER_LIMITS : 0));
    bytes_put_u64(out, m->timing.queue_us);
    bytes_put_u64(out, m->timing.upstream_us);
    bytes_put_u64(out, m->timing.split_us);
    bytes_put_u64(out, m->timing.commit_us);
    if (limits)
        put_limits(out, &m->limits);
    bytes_put_text(out, m->chat);
}

int wire_answer_decode(struct slice payload, struct wire_answer *ret_m)
{
    struct bytes_reader r;
    struct wire_answer m = {0};
    bytes_reader_init(&r, payload);
    m.flags = bytes_get_u8(&r);
    m.timing.queue_us = bytes_get_u64(&r);
    m.timing.upstream_us = bytes_get_u64(&r);
    m.timing.split_us = bytes_get_u64(&r);
    m.timing.commit_us = bytes_get_u64(&r);
    bool limits = m.flags & ANSWER_LIMITS;
    if (limits)
        get_limits(&r, &m.limits);
    m.chat = bytes_get_text(&r);
    if (limits && !limits_valid(&m.limits))
        return ERR_INVAL;
    if (!bytes_done(&r) || (m.flags & ~(unsigned)ANSWER_FLAGS) || !m.chat.p)
        return ERR_INVAL;
    *ret_m = m;
    return 0;
}

void wire_refusal_encode(struct buf *out, const struct wire_refusal *m)
{
    bytes_put_u16(out, m->status);
    bytes_put_u32(out, m->retry_after_ms);
    bytes_put_text(out, m->error_type);
    bytes_put_text(out, m->error_code);
    bytes_put_text(out, m->message);
    bytes_put_text(out, m->field);
    if (wire_limits_any(&m->limits))
        put_limits(out, &m->limits);
}

int wire_refusal_decode(struct slice payload, struct wire_refusal *ret_m)
{
    struct bytes_reader r;
    struct wire_refusal m = {0};
    bytes_reader_init(&r, payload);
    m.status = bytes_get_u16(&r);
    m.retry_after_ms = bytes_get_u32(&r);
    m.error_type = bytes_get_text(&r);
    m.error_code = bytes_get_text(&r);
    m.message = bytes_get_text(&r);
    m.field = bytes_get_text(&r);
    bool limits = !r.failed && !bytes_done(&r); /* only where there is something to say */
    if (limits)
        get_limits(&r, &m.limits);
    if (limits && !limits_valid(&m.limits))
        return ERR_INVAL;
    if (!bytes_done(&r) || m.status < 400 || m.status > 599 || !m.error_type.p || !m.error_code.p ||
        !m.message.p)
        return ERR_INVAL;
    *ret_m = m;
    return 0;
}

void wire_watch_encode(struct buf *out, const struct wire_watch *m)
{
    bytes_put_fixed(out, m->key, sizeof(m->key));
    bytes_put_u32(out, m->wait_ms);
}

int wire_watch_decode(struct slice payload, struct wire_watch *ret_m)
{
    struct bytes_reader r;
    struct wire_watch m;
    bytes_reader_init(&r, payload);
    bytes_get_fixed(&r, m.key, sizeof(m.key));
    m.wait_ms = bytes_get_u32(&r);
    if (!bytes_done(&r))
        return ERR_INVAL;
    *ret_m = m;
    return 0;
}

void wire_change_encode(struct buf *out, const struct wire_change *m)
{
    bytes_put_text(out, m->actor);
    bytes_put_text(out, m->document);
}

int wire_change_decode(struct slice payload, struct wire_change *ret_m)
{
    struct bytes_reader r;
    struct wire_change m;
    bytes_reader_init(&r, payload);
    m.actor = bytes_get_text(&r);
    m.document = bytes_get_text(&r);
    if (!bytes_done(&r) || !m.actor.n || !m.document.n)
        return ERR_INVAL;
    *ret_m = m;
    return 0;
}

void wire_count_append(struct buf *out, struct slice name, uint64_t delta)
{
    bytes_put_text(out, name);
    bytes_put_u64(out, delta);
}

/* The next pair; false at the end and past it. */
/* Names go into records and answers as they are. */
static bool is_counter_name(struct slice name)
{
    for (size_t i = 0; i < name.n; i++)
        if (name.p[i] < ' ' || name.p[i] > '~')
            return false;
    return name.n > 0;
}

static bool count_next(struct bytes_reader *r, struct slice *ret_name, uint64_t *ret_delta)
{
    if (bytes_done(r))
        return false;
    *ret_name = bytes_get_text(r);
    *ret_delta = bytes_get_u64(r);
    if (!is_counter_name(*ret_name))
        r->failed = true;
    return !r->failed;
}

/* Twice over the payload: nothing is added from one that turns out to be cut short. */
int wire_count_decode(struct slice payload, void (*add)(void *arg, struct slice name, uint64_t delta),
                      void *arg)
{
    struct bytes_reader r;
    struct slice name;
    uint64_t delta;
    bytes_reader_init(&r, payload);
    while (count_next(&r, &name, &delta))
        ;
    if (!bytes_done(&r))
        return ERR_INVAL;
    bytes_reader_init(&r, payload);
    while (count_next(&r, &name, &delta))
        add(arg, name, delta);
    return 0;
}

static void hash_u64(crypto_generichash_state *h, uint64_t v)
{
    uint8_t bytes[8];
    bytes_store_be64(bytes, v);
    crypto_generichash_update(h, bytes, sizeof(bytes));
}

/* The length goes in front, so that no two lists of texts give the same bytes; an absent text differs from an
 * empty one. */
static void hash_text(crypto_generichash_state *h, struct slice text)
{
    hash_u64(h, text.p ? text.n : UINT64_MAX);
    if (text.n)
        crypto_generichash_update(h, (const unsigned char *)text.p, text.n);
}

void wire_request_key(const uint8_t trust_group[TRUST_GROUP_SIZE], enum family family,
                      struct slice request_id, uint8_t ret_key[REQUEST_KEY_SIZE])
{
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, REQUEST_KEY_SIZE);
    hash_text(&h, SLICE_LITERAL("carpool request key 1"));
    crypto_generichash_update(&h, trust_group, TRUST_GROUP_SIZE);
    hash_u64(&h, (uint64_t)family);
    hash_text(&h, request_id);
    crypto_generichash_final(&h, ret_key, REQUEST_KEY_SIZE);
    struct uuid id;
    if (uuid_parse(request_id, &id) && id.bytes[6] >> 4 == 7)
        memcpy(ret_key, id.bytes, REQUEST_KEY_STAMP); /* neighbours in time are neighbours in the table */
}

void wire_submit_fingerprint(const struct wire_submit *m, uint8_t ret_fingerprint[REQUEST_KEY_SIZE])
{
    uint64_t temperature = UINT64_MAX; /* any NaN; the bits of no other value */
    if (!isnan(m->temperature)) {
        double t = m->temperature + 0.0; /* -0 becomes 0 */
        memcpy(&temperature, &t, sizeof(temperature));
    }
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, REQUEST_KEY_SIZE);
    hash_text(&h, SLICE_LITERAL("carpool fingerprint 1"));
    hash_u64(&h, (uint64_t)m->family);
    hash_u64(&h, (uint64_t)m->priority);
    hash_u64(&h, m->max_tokens);
    hash_u64(&h, temperature);
    hash_text(&h, m->prompt);
    hash_text(&h, m->system_prompt);
    hash_text(&h, m->messages);
    hash_text(&h, m->model);
    hash_text(&h, m->extra);
    if (m->flags & SUBMIT_COMPLETION)
        hash_text(&h, SLICE_LITERAL("completion"));
    crypto_generichash_final(&h, ret_fingerprint, REQUEST_KEY_SIZE);
}
