/*
 * Time. Two clocks: monotonic for waits and deadlines, real for what people read. Both in microseconds.
 * Code under lib/batch and lib/provider takes the time as an argument and never calls this.
 */
#ifndef CARPOOL_BASE_CLOCK_H
#define CARPOOL_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

#define US_PER_MS 1000ull
#define US_PER_S  1000000ull

uint64_t clock_mono_us(void);
uint64_t clock_boot_us(void); /* as mono, but it goes on while the machine is suspended */
uint64_t clock_real_us(void); /* since 1970-01-01T00:00:00Z */

#define CLOCK_RFC3339_SIZE 25
/* "2026-02-01T12:00:00.123Z" (RFC 3339, milliseconds, UTC), terminated. Years past 9999 are clamped. */
void clock_format_rfc3339(uint64_t real_us, char ret_text[CLOCK_RFC3339_SIZE]);
/* Any RFC 3339 date-time, with any offset and fraction; also a plain date "2026-02-01" (midnight UTC).
 * Returns false and leaves *ret_us alone when the text is no such thing or lies before 1970. */
bool clock_parse_rfc3339(struct slice text, uint64_t *ret_us);
/* Day as a number that sorts: 20261120 (UTC). */
uint32_t clock_day(uint64_t real_us);
/* Month as a number that sorts: 202611 (UTC); and when it is over. */
uint32_t clock_month(uint64_t real_us);
uint64_t clock_month_end_us(uint32_t month);

#endif
