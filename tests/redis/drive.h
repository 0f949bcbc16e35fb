/*
 * Drives lib/shared as a coordinator would: machines on one real loop, whose operations are begun and waited
 * for. A test is a function; each runs in a process of its own.
 */
#ifndef CARPOOL_TESTS_REDIS_DRIVE_H
#define CARPOOL_TESTS_REDIS_DRIVE_H

#include <stdbool.h>
#include <stdio.h>
#include <uv.h>

#include "shared/shared.h"

/* How much longer things may take here than they should. */
#ifdef __SANITIZE_ADDRESS__
#define STRETCH 4
#else
#define STRETCH 2
#endif

/* Ends the test as failed. */
_Noreturn void give_up_at(const char *file, int line, const char *what);
#define give_up(what) give_up_at(__FILE__, __LINE__, what)
#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition))                                                                                    \
            give_up(#condition);                                                                             \
    } while (0)
/* Runs the loop until it holds; 10 s, stretched, are too long. */
#define WAIT(condition)                                                                                      \
    do {                                                                                                     \
        uint64_t until_ms = drive_deadline_ms();                                                             \
        while (!(condition))                                                                                 \
            drive_once(until_ms, __FILE__, __LINE__, #condition);                                            \
    } while (0)

uint64_t drive_now_ms(void);
uint64_t drive_deadline_ms(void);
void drive_once(uint64_t until_ms, const char *file, int line, const char *what);
/* Runs the loop for so long. */
void drive_for_ms(unsigned ms);
uv_loop_t *drive_loop(void);

#define OPEN_MAX 4096
#define NEWS_MAX 4096

struct told {
    bool deletion;
    uint32_t day;
    uint64_t delta;
    char name[132];
};

struct machine {
    struct shared *s;
    struct shared_options options;
    struct shared_standing standing;
    unsigned standings, opens_done;
    uint8_t open[OPEN_MAX][SHARED_KEY_SIZE];
    size_t open_n;
    bool there_before_open; /* told that it is there before what is open was told: never */
    unsigned settings_n;
    uint64_t version;
    char document[256], position[64];
    struct told news[NEWS_MAX];
    size_t news_n;
    void (*on_open_key)(struct machine *m, const uint8_t *key);
};

/* Machine number id, with epoch 1, 1000 ms to answer and an hour's records. */
void machine_init(struct machine *m, unsigned id, const char *url);
void machine_open(struct machine *m);
/* machine_init, machine_open, and waits until it is there. */
void machine_start(struct machine *m, unsigned id, const char *url);
void machine_stop(struct machine *m);

/* The key of a number, and its fingerprint. */
const uint8_t *key_of(unsigned n);

/* Operations, begun and waited for. Values are copied; they stay until the next call. */
struct outcome {
    int rc;
    bool claimed, limited;
    struct shared_record record;
    struct slice cached;
};
struct outcome drive_arrive(struct machine *m, const uint8_t *key, const uint8_t *cache_key, bool queued);
struct outcome drive_arrive_limited(struct machine *m, struct shared_bucket *buckets, size_t n);
struct outcome drive_claim(struct machine *m, const uint8_t *key, bool take_unknown);
struct outcome drive_look(struct machine *m, const uint8_t *key);
void drive_settle(struct machine *m, const uint8_t *key, enum shared_state state, const char *value);
int drive_put(struct machine *m, uint64_t based_on, const char *document, uint64_t *ret_version);

/* Without waiting: rc is 1 until it is done. */
struct begun {
    struct shared_claim claim;
    struct shared_claim_member member;
    int rc;
    bool claimed;
    unsigned dones;
};
void begin_claim(struct machine *m, struct begun *b, const uint8_t *key);

/* Tests */
struct test {
    const char *name;
    void (*run)(void);
};
extern const struct test promise_tests[], limit_tests[], fence_tests[], away_tests[], exchange_tests[],
    cluster_tests[], peer_tests[], memory_tests[], chaos_tests[];
void speed(void);

#endif
