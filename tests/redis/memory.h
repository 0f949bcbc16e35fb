/*
 * Memory that fails: malloc and its relatives in front of the C library's or AddressSanitizer's. Only what
 * this program or libhiredis asks for fails, and only between memory_fail() and memory_recover(): libuv
 * aborts by design.
 */
#ifndef CARPOOL_TESTS_REDIS_MEMORY_H
#define CARPOOL_TESTS_REDIS_MEMORY_H

#include <stdbool.h>

/* The nth request from now on fails, or that and all after it. */
void memory_fail(unsigned nth, bool for_ever);
/* Says how many there were. */
unsigned memory_recover(void);
/* Between these nothing fails and nothing counts. */
void memory_pause(void);
void memory_resume(void);

#endif
