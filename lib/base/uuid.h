/*
 * UUIDs (RFC 9562): version 7 for ids that should sort by time, and the usual text form.
 */
#ifndef CARPOOL_BASE_UUID_H
#define CARPOOL_BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct uuid {
    uint8_t bytes[16];
};

#define UUID_TEXT_SIZE 37

/* A version 7 UUID. Within a process each is greater (memcmp) than the one before, also when the real clock
 * steps back. Thread-safe; fork-safe as far as the random part goes (libsodium). */
void uuid_v7(uint64_t real_us, struct uuid *ret_id);
/* From now on they are greater than this one, too, which another process may have made: order outlives a
 * restart with the clock set back. */
void uuid_v7_follow(const struct uuid *id);
/* The time stamp of a version 7 UUID, to the millisecond. */
uint64_t uuid_time_us(const struct uuid *id);
void uuid_format(const struct uuid *id, char ret_text[UUID_TEXT_SIZE]);
bool uuid_parse(struct slice text, struct uuid *ret_id);

#endif
