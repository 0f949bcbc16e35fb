/*
 * The allocator that fails on demand: malloc and its relatives, put in front of AddressSanitizer's. Counts
 * and fails what carpool's code allocates, itself or through a library (cJSON, LMDB, inih, libsodium, libc);
 * what a test allocates for itself, the loader, the runner, libfcgi and librdkafka (which abort by design)
 * never fails. Who asked is told by the stack: the innermost frame inside the program decides, and carpool's
 * code is in a section of its own (see rules.mk).
 */
#ifndef CARPOOL_TESTS_TORTURE_SHIM_H
#define CARPOOL_TESTS_TORTURE_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum shim_mode {
    SHIM_COUNT,   /* nothing fails */
    SHIM_ONCE,    /* the Nth allocation fails */
    SHIM_FOREVER, /* so do all after it */
};

/* What a counting run found, in memory that outlives it. */
struct shim_plan {
    uint64_t every;  /* in: each N up to here is taken */
    uint64_t count;  /* out: allocations */
    uint32_t stacks; /* out: distinct call stacks among them */
    uint32_t n, max; /* out: N that were taken; in: room for them */
    uint32_t at[];
};

/* Before anything else. */
void shim_init(void);
/* What shim_begin() will begin. trace: the stack of the first allocation that fails is written to stderr.
 * plan: for SHIM_COUNT. */
void shim_arm(enum shim_mode mode, uint64_t at, bool trace, struct shim_plan *plan);
void shim_begin(void);
void shim_end(void);
bool shim_traced(void);
/* How many allocations have failed so far. */
uint64_t shim_refused(void);
/* One in four of the runs without memory for ever: it does not come back before the end either. */
bool shim_stays_short(void);

/* Between these nothing fails and nothing counts: the harness uses carpool's code for itself. They nest. */
void torture_pause(void);
void torture_resume(void);
/* Whether this run is one in which memory fails, now or later. */
bool torture_active(void);
/* From here on there is memory again. */
void torture_recover(void);

#endif
