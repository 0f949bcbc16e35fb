/* Many random lives; see random.h. */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "random.h"
#include "reach.h"

#define LIFE_S      120 /* a life that takes longer hangs */
#define TWICE_EVERY 50  /* so many seeds apart run twice */
/* So many lives reach every point. */
#define CENSUS_LIVES 1000

/* What a life leaves behind, in memory shared with its process. */
struct slot {
    pid_t pid; /* 0: free */
    uint64_t seed;
    bool second;
    bool lived, ok;
    uint64_t trace, first_trace;
    char fault[1024];
    uint32_t reached[REACH_MAX];
};

struct run {
    const struct life_options *options;
    struct slot *slots;
    uint64_t failed, reached[REACH_MAX];
};

static void be_a_life(struct slot *s)
{
    alarm(LIFE_S);
    mallopt(M_TRIM_THRESHOLD, INT_MAX); /* giving memory back and taking it again was a third of a life */
    mallopt(M_MMAP_THRESHOLD, INT_MAX);
    reach_into(s->reached);
    s->ok = random_run(s->seed, false, s->seed % TWICE_EVERY ? NULL : &s->trace, s->fault);
    s->lived = true;
    exit(0); /* a leak checker has its say here */
}

static void start(struct slot *s)
{
    s->lived = s->ok = false;
    memset(s->reached, 0, sizeof(s->reached));
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        be_a_life(s);
    if (pid < 0) {
        perror("scenario: fork");
        exit(2);
    }
    s->pid = pid; /* by the parent only: both see it */
}

static void complain(struct run *r, const struct slot *s, const char *what)
{
    r->failed++;
    printf("FAIL --random %llu 1: %s\n", (unsigned long long)s->seed, what);
}

/* Its process has ended. */
static void end(struct run *r, struct slot *s, int status)
{
    char text[64];
    s->pid = 0;
    for (size_t i = 0; i < REACH_MAX; i++)
        r->reached[i] += s->reached[i];
    if (WIFSIGNALED(status))
        snprintf(text, sizeof(text), "ended by signal %d%s", WTERMSIG(status),
                 WTERMSIG(status) == SIGALRM ? " (it hangs)" : "");
    else
        snprintf(text, sizeof(text), "ended with status %d", WEXITSTATUS(status));
    if (!s->lived || WIFSIGNALED(status) || WEXITSTATUS(status))
        complain(r, s, text);
    else if (!s->ok)
        complain(r, s, s->fault);
    else if (s->second && s->trace != s->first_trace)
        complain(r, s, "it went another way the second time");
    else if (!s->second && s->seed % TWICE_EVERY == 0) {
        s->second = true;
        s->first_trace = s->trace;
        start(s);
    }
}

static void wait_for_one(struct run *r)
{
    int status;
    pid_t pid = waitpid(-1, &status, 0);
    for (unsigned i = 0; i < r->options->jobs; i++)
        if (pid > 0 && r->slots[i].pid == pid)
            end(r, &r->slots[i], status);
    if (pid < 0 && errno != EINTR) {
        perror("scenario: waitpid");
        exit(2);
    }
}

static struct slot *free_slot(const struct run *r)
{
    for (unsigned i = 0; i < r->options->jobs; i++)
        if (!r->slots[i].pid)
            return &r->slots[i];
    return NULL;
}

static bool busy(const struct run *r)
{
    for (unsigned i = 0; i < r->options->jobs; i++)
        if (r->slots[i].pid)
            return true;
    return false;
}

static uint64_t run_here(uint64_t first, uint64_t count)
{
    uint64_t failed = 0;
    char fault[1024];
    for (uint64_t seed = first; seed < first + count; seed++)
        if (!random_run(seed, true, NULL, fault)) {
            printf("FAIL --random %llu 1: %s\n", (unsigned long long)seed, fault);
            failed++;
        }
    return failed;
}

uint64_t lives_run(uint64_t first, uint64_t count, const struct life_options *options)
{
    struct run r = {.options = options};
    struct slot *s;
    if (options->verbose)
        return run_here(first, count);
    size_t bytes = options->jobs * sizeof(*r.slots);
    r.slots = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (r.slots == MAP_FAILED) {
        perror("scenario: mmap");
        exit(2);
    }
    for (uint64_t seed = first; seed < first + count || busy(&r);) {
        if (seed < first + count && (s = free_slot(&r))) {
            s->seed = seed++;
            s->second = false;
            start(s);
        } else
            wait_for_one(&r);
    }
    munmap(r.slots, bytes);
    unsigned never = options->census ? reach_report(r.reached) : 0;
    if (never && count >= CENSUS_LIVES)
        printf("FAIL %u points were never reached\n", never);
    return r.failed + (never && count >= CENSUS_LIVES);
}
