/*
 * What the fuzz harnesses share: a check that ends the run with a sentence, a reader of control bytes, and
 * the start and the end of every harness (fuzz.c). README.md beside this file says how to run and replay.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/slice.h"

/* A promise of the code under test is broken: says so and aborts, which libFuzzer takes for a finding. */
#define FUZZ_CHECK(condition, ...)                                                                           \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            fuzz_fail(__FILE__, __LINE__, #condition, __VA_ARGS__);                                          \
    } while (0)
_Noreturn void fuzz_fail(const char *file, int line, const char *condition, const char *format, ...)
    PRINTF_LIKE(4, 5);

/* The harness's own start, once a process; called by LLVMFuzzerInitialize() of fuzz.c, which has emptied the
 * environment and silenced the log. */
void fuzz_start(void);

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Control bytes from the front of an input; zeros once they are used up. */
struct fuzz_reader {
    const uint8_t *at, *end;
};
static inline struct fuzz_reader fuzz_reader_of(struct slice s)
{
    const uint8_t *at = (const uint8_t *)s.p;
    return (struct fuzz_reader){at, s.n ? at + s.n : at};
}
uint8_t fuzz_u8(struct fuzz_reader *r);
uint16_t fuzz_u16(struct fuzz_reader *r);
/* At most n of the bytes that are left. Lends. */
struct slice fuzz_bytes(struct fuzz_reader *r, size_t n);
/* A digit, or any other byte, as one of `options` choices: seeds stay readable, and no byte is wasted. */
unsigned fuzz_choice(uint8_t byte, unsigned options);

/* FNV-1a and a finaliser: a number that no mutation of the input foresees. */
uint64_t fuzz_hash(const void *bytes, size_t n, uint64_t seed);
/* For the random ports: splitmix64 over *(uint64_t *)state. */
void fuzz_random(void *state, void *bytes, size_t n);

static inline bool fuzz_holds(struct slice text, struct slice part)
{
    return part.n && text.n >= part.n && memmem(text.p, text.n, part.p, part.n);
}

/* A fresh directory that is removed again when the process ends. */
const char *fuzz_dir(void);

#endif
