/*
 * UUIDs; see uuid.h. A version 7 id is 48 bits of milliseconds, 12 bits that grow within a millisecond
 * (RFC 9562, 6.2, method 3: sub-millisecond time, used as a counter when it stands still) and 62 random bits.
 */
#include "base/uuid.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <string.h>

#define SUB_MS_BITS 12
#define STAMP_BITS  60 /* milliseconds and what grows within one */

/* The greatest stamp given out. */
static _Atomic uint64_t last_stamp;

static uint64_t next_stamp(uint64_t real_us)
{
    uint64_t wanted = (real_us / 1000) << SUB_MS_BITS | (real_us % 1000 << SUB_MS_BITS) / 1000;
    uint64_t last = atomic_load_explicit(&last_stamp, memory_order_relaxed), stamp;
    do
        stamp = wanted > last ? wanted : last + 1;
    while (!atomic_compare_exchange_weak_explicit(&last_stamp, &last, stamp, memory_order_relaxed,
                                                  memory_order_relaxed));
    return stamp & ((1ull << STAMP_BITS) - 1);
}

/* Random bytes are fetched for many ids at a time: one by one they would cost a system call each. A child of
 * fork() must not draw what its parent has in hand. */
#define RANDOM_IDS 64
static _Atomic unsigned forks;
static pthread_once_t watch_forks = PTHREAD_ONCE_INIT;

static void forked(void)
{
    forks++;
}

static void watch(void)
{
    pthread_atfork(NULL, NULL, forked);
}

static void draw(uint8_t ret_bytes[8])
{
    static _Thread_local uint8_t bytes[RANDOM_IDS][8];
    static _Thread_local unsigned left, drawn_after_forks;
    pthread_once(&watch_forks, watch);
    if (!left || drawn_after_forks != forks) {
        drawn_after_forks = forks;
        randombytes_buf(bytes, sizeof(bytes));
        left = RANDOM_IDS;
    }
    memcpy(ret_bytes, bytes[--left], 8);
}

void uuid_v7(uint64_t real_us, struct uuid *ret_id)
{
    uint64_t stamp = next_stamp(real_us);
    uint64_t ms = stamp >> SUB_MS_BITS;
    uint8_t *b = ret_id->bytes;

    draw(b + 8);
    for (int i = 0; i < 6; i++)
        b[i] = (uint8_t)(ms >> (40 - 8 * i));
    b[6] = (uint8_t)(0x70 | (stamp >> 8 & 0x0f));
    b[7] = (uint8_t)stamp;
    b[8] = (uint8_t)(0x80 | (b[8] & 0x3f));
}

void uuid_v7_follow(const struct uuid *id)
{
    uint64_t stamp =
        uuid_time_us(id) / 1000 << SUB_MS_BITS | (uint64_t)(id->bytes[6] & 0x0f) << 8 | id->bytes[7];
    uint64_t last = atomic_load_explicit(&last_stamp, memory_order_relaxed);
    while (last < stamp && !atomic_compare_exchange_weak_explicit(&last_stamp, &last, stamp,
                                                                  memory_order_relaxed, memory_order_relaxed))
        ;
}

uint64_t uuid_time_us(const struct uuid *id)
{
    uint64_t ms = 0;
    for (int i = 0; i < 6; i++)
        ms = ms << 8 | id->bytes[i];
    return ms * 1000;
}

void uuid_format(const struct uuid *id, char ret_text[UUID_TEXT_SIZE])
{
    static const char hex[] = "0123456789abcdef";
    char *at = ret_text;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *at++ = '-';
        *at++ = hex[id->bytes[i] >> 4];
        *at++ = hex[id->bytes[i] & 15];
    }
    *at = 0;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool uuid_parse(struct slice text, struct uuid *ret_id)
{
    struct uuid id;
    const char *at = text.p;
    if (!at || text.n != UUID_TEXT_SIZE - 1)
        return false;
    for (int i = 0; i < 16; i++, at += 2) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && *at++ != '-')
            return false;
        int high = hex_value(at[0]), low = hex_value(at[1]);
        if (high < 0 || low < 0)
            return false;
        id.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret_id = id;
    return true;
}
