/* The start and the end of every fuzz harness; see fuzz.h. Closes with one line about the processor time,
 * from which run.js works out a rate that does not depend on what else the machine does. */
#include "fuzz.h"

#include <sodium.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"

static char dir[64];

void fuzz_fail(const char *file, int line, const char *condition, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "\n%s:%d: broken: %s\n  ", file, line, condition);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

static void report(void)
{
    struct rusage u;
    if (getrusage(RUSAGE_SELF, &u) != 0)
        return;
    unsigned long long ms = (unsigned long long)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
                            (unsigned long long)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
    fprintf(stderr, "fuzz: %llu ms of processor time, %ld waits\n", ms, u.ru_nvcsw);
}

static void remove_dir(void)
{
    static const char *const names[] = {"data.mdb", "lock.mdb", "carpool.conf"};
    char path[128];
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

const char *fuzz_dir(void)
{
    if (dir[0])
        return dir;
    snprintf(dir, sizeof(dir), "%s/carpool-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    FUZZ_CHECK(mkdtemp(dir), "no directory for the harness");
    atexit(remove_dir);
    return dir;
}

/* The same chance each time, for the code under test too. */

static uint64_t chance = 1;

static void chance_bytes(void *const bytes, const size_t n)
{
    fuzz_random(&chance, bytes, n);
}

static uint32_t chance_number(void)
{
    uint32_t n;
    chance_bytes(&n, sizeof(n));
    return n;
}

static const char *chance_name(void)
{
    return "fuzz";
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static randombytes_implementation implementation = {
        .implementation_name = chance_name, .random = chance_number, .buf = chance_bytes};
    (void)argc;
    (void)argv;
    clearenv(); /* the configuration of this machine has no part in it */
    randombytes_set_implementation(&implementation);
    FUZZ_CHECK(sodium_init() >= 0, "libsodium does not start");
    FUZZ_CHECK(log_open("fuzz", LOG_LEVEL_ERROR, "/dev/null", NULL) == 0, "no log");
    atexit(report);
    fuzz_start();
    return 0;
}

uint8_t fuzz_u8(struct fuzz_reader *r)
{
    return r->at < r->end ? *r->at++ : 0;
}

uint16_t fuzz_u16(struct fuzz_reader *r)
{
    uint8_t low = fuzz_u8(r);
    return (uint16_t)(low | fuzz_u8(r) << 8);
}

struct slice fuzz_bytes(struct fuzz_reader *r, size_t n)
{
    size_t left = (size_t)(r->end - r->at);
    struct slice s = {(const char *)r->at, n < left ? n : left};
    r->at += s.n;
    return s;
}

unsigned fuzz_choice(uint8_t byte, unsigned options)
{
    return (byte >= '0' ? byte - '0' : byte) % options;
}

uint64_t fuzz_hash(const void *bytes, size_t n, uint64_t seed)
{
    const uint8_t *p = bytes;
    uint64_t h = 0xcbf29ce484222325 ^ seed;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3;
    h = (h ^ (h >> 30)) * 0xbf58476d1ce4e5b9;
    return h ^ (h >> 31);
}

void fuzz_random(void *state, void *bytes, size_t n)
{
    uint64_t *s = state;
    for (uint8_t *at = bytes; n; at++, n--) {
        uint64_t z = *s += 0x9e3779b97f4a7c15;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        *at = (uint8_t)(z >> 56);
    }
}

/* Short call stacks and a small quarantine: twice the speed, and what is used after it was freed is found
 * soon after it was. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "malloc_context_size=6:quarantine_size_mb=16:detect_stack_use_after_return=0";
}
