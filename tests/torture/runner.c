/* See runner.h. */
#include "runner.h"

#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sanitizer/lsan_interface.h>

#include "quiet.h"
#include "shim.h"

#define PLAN_MAX      (1u << 20)
#define OUTPUT_FD     900 /* out of the way of tests that look at descriptors */
#define OUTPUT_MAX    16384
#define FAILURES_SAID 3 /* a test; more are only counted */

/* What a run leaves for the runner. */
struct report {
    struct made_dirs dirs;
    size_t left;       /* bytes of a run in which nothing failed */
    bool ended, leaky; /* it came to the end of the test; LeakSanitizer was asked */
};

struct options {
    const char *only;
    uint64_t at, every;
    int timeout_s;
    uint64_t budget_s; /* of processor time for a test; 0: any */
    bool list, one_mode;
    enum shim_mode mode;
};

struct totals {
    uint64_t runs, ended;
    unsigned failures;
};

static struct report *report;
static struct shim_plan *plan;
static int output = -1;
static const char *program;
static uint64_t spent_us; /* processor time of the last run */

size_t __sanitizer_get_current_allocated_bytes(void);
const char *__asan_default_options(void);
const char *__ubsan_default_options(void);

const char *__asan_default_options(void)
{
    return "exitcode=99:leak_check_at_exit=0:allocator_may_return_null=1:quarantine_size_mb=16:"
           "malloc_context_size=16:detect_odr_violation=0";
}

const char *__ubsan_default_options(void)
{
    return "print_stacktrace=1:halt_on_error=1:exitcode=99";
}

static const char *mode_name(enum shim_mode mode)
{
    return mode == SHIM_ONCE ? "once" : mode == SHIM_FOREVER ? "forever" : "count";
}

static void *shared(size_t n)
{
    void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) {
        perror("torture: mmap");
        exit(2);
    }
    return p;
}

/* What threads of a library had of their own: glibc keeps it, with their stacks, for the next threads. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:allocate_dtv\n";
}

/* LeakSanitizer stops the process for 0.1 s, so it is asked only when more is left than in the counting run.
 */
static int look_for_leaks(enum shim_mode mode, size_t before)
{
    size_t left = __sanitizer_get_current_allocated_bytes() - before;
    if (mode == SHIM_COUNT)
        report->left = left;
    else if (left == report->left)
        return RUN_WELL;
    if (left == 0)
        return RUN_WELL;
    report->leaky = true;
    return __lsan_do_recoverable_leak_check() ? RUN_LEAK : RUN_WELL;
}

static void child(const struct torture_case *c, enum shim_mode mode, uint64_t at, bool trace)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    shim_arm(mode, at, trace, plan);
    size_t before = __sanitizer_get_current_allocated_bytes();
    c->run(c->arg);
    shim_end();
    report->ended = true;
    _exit(look_for_leaks(mode, before));
}

/* Waits for a run and what it started. Its wait status, or -1: it hung. */
static int wait_for(pid_t pid, int timeout_s)
{
    int status = -1, fd = (int)syscall(SYS_pidfd_open, pid, 0);
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    bool hung = fd >= 0 && poll(&ready, 1, timeout_s * 1000) == 0;
    if (hung)
        kill(pid, SIGKILL);
    struct rusage usage = {0};
    wait4(pid, &status, 0, &usage);
    spent_us = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000u +
               (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    kill(-pid, SIGKILL); /* what the test had started */
    if (fd >= 0)
        close(fd);
    return hung ? -1 : status;
}

static int run(const struct torture_case *c, const struct options *o, enum shim_mode mode, uint64_t at,
               bool trace)
{
    if (ftruncate(output, 0) < 0 || lseek(output, 0, SEEK_SET) < 0)
        return -1;
    report->ended = report->leaky = false;
    pid_t pid = fork();
    if (pid < 0) {
        perror("torture: fork");
        exit(2);
    }
    if (pid == 0)
        child(c, mode, at, trace);
    setpgid(pid, pid);
    int status = wait_for(pid, o->timeout_s);
    quiet_sweep();
    return status;
}

/* What the last run wrote. */
static const char *said(void)
{
    static char text[OUTPUT_MAX + 1];
    ssize_t n = pread(output, text, OUTPUT_MAX, 0);
    text[n > 0 ? n : 0] = 0;
    return text;
}

/* A unit test that looks into a NULL it was given, unasked: its end, not a fault of what gave it. The
 * innermost frame of a source of ours tells whose it is. */
static bool stumbles(const char *text)
{
    static const char *const ours[] = {" lib/", " fcgi_app/", " tests/"};
    const char *first = NULL, *test = NULL;
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++) {
        const char *frame = strstr(text, "\n    #0 ");
        frame = frame ? strstr(frame, ours[i]) : NULL;
        if (frame && (!first || frame < first))
            first = frame;
        if (i == 2)
            test = frame;
    }
    return first && first == test &&
           (strstr(text, "null pointer") || strstr(text, "points to the zero page"));
}

/* NULL when the run was as it should be. A process that a test has forked tells only what it writes. */
static const char *complaint(const struct torture_case *c, int status)
{
    if (status == -1)
        return "hangs";
    if (WIFSIGNALED(status))
        return strsignal(WTERMSIG(status));
    switch (WEXITSTATUS(status)) {
    case RUN_WELL:
        break;
    case RUN_ERROR:
        if (c->strict)
            return "an assertion does not hold";
        break;
    case RUN_BROKEN:
        return "a rule is broken";
    case RUN_LEAK:
        return "leaks";
    default:
        if (!c->strict && stumbles(said()))
            break;
        return "ends with an unknown status, or a sanitizer stopped it";
    }
    const char *text = said();
    if (!c->strict && stumbles(text))
        return NULL;
    return strstr(text, "Sanitizer: ") || strstr(text, "runtime error: ") ? "a process of it met a sanitizer"
                                                                          : NULL;
}

static void indent(const char *text)
{
    for (unsigned lines = 0; *text && lines < 60; lines++) {
        size_t n = strcspn(text, "\n");
        printf("    %.*s\n", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

static void fail(const struct torture_case *c, const struct options *o, enum shim_mode mode, uint64_t at,
                 const char *why, struct totals *t)
{
    if (t->failures++ >= FAILURES_SAID)
        return;
    printf("FAIL %s: %s (allocation %llu, %s)\n", c->name, why, (unsigned long long)at, mode_name(mode));
    if (mode != SHIM_COUNT) {
        printf("  again: %s --test %s --at %llu --mode %s\n", program, c->name, (unsigned long long)at,
               mode_name(mode));
        indent(said());
        printf("  what failed first, in another run of it:\n");
        run(c, o, mode, at, true);
    }
    indent(said());
}

static void attempt(const struct torture_case *c, const struct options *o, enum shim_mode mode, uint64_t at,
                    struct totals *t)
{
    int status = run(c, o, mode, at, false);
    const char *why = complaint(c, status);
    t->runs++;
    t->ended += report->ended;
    if (why)
        fail(c, o, mode, at, why, t);
}

/* The run in which nothing fails, which makes the plan. A few unit tests depend on the time that things take,
 * and get another try on a machine that is busy. */
static int count(const struct torture_case *c, const struct options *o)
{
    int status = -1;
    for (int tries = 0; tries < 3; tries++) {
        plan->count = plan->stacks = plan->n = 0;
        plan->every = o->every;
        plan->max = PLAN_MAX;
        report->left = 0;
        status = run(c, o, SHIM_COUNT, 0, false);
        if (c->strict || status == -1 || !WIFEXITED(status) || WEXITSTATUS(status) != RUN_ERROR)
            break;
    }
    return status;
}

/* Of how many N one is tried, so that a slow test takes its share of time only. */
static uint32_t stride(const struct options *o)
{
    uint64_t all_us = 2 * plan->n * spent_us, budget_us = o->budget_s * 1000000u;
    return !budget_us || all_us <= budget_us ? 1 : (uint32_t)((all_us + budget_us - 1) / budget_us);
}

/* Counts, then tries each N of the plan in both modes. */
static bool torture(const struct torture_case *c, const struct options *o, struct totals *sum)
{
    struct totals t = {.runs = 1};
    int status = count(c, o);
    const char *why = complaint(c, status);
    if (!why && WEXITSTATUS(status) != RUN_WELL)
        why = "does not pass even with all the memory it wants";
    if (why)
        fail(c, o, SHIM_COUNT, 0, why, &t);
    uint32_t step = stride(o);
    for (uint32_t i = 0; t.failures < FAILURES_SAID && i < plan->n; i += step) {
        attempt(c, o, SHIM_ONCE, plan->at[i], &t);
        attempt(c, o, SHIM_FOREVER, plan->at[i], &t);
    }
    if (!t.failures)
        printf("ok %s: %llu allocations of %u stacks, one of %u, %llu runs, %llu to the end\n", c->name,
               (unsigned long long)plan->count, plan->stacks, step, (unsigned long long)t.runs,
               (unsigned long long)t.ended);
    else if (t.failures > FAILURES_SAID)
        printf("FAIL %s: %u more runs\n", c->name, t.failures - FAILURES_SAID);
    sum->runs += t.runs;
    return !t.failures;
}

/* One run, everything said. */
static int replay(const struct torture_case *c, const struct options *o)
{
    enum shim_mode mode = o->one_mode ? o->mode : SHIM_ONCE;
    run(c, o, SHIM_COUNT, 0, false);
    int status = run(c, o, mode, o->at, true);
    const char *why = complaint(c, status);
    fputs(said(), stdout);
    printf("%s %s: %s\n", why ? "FAIL" : "ok", c->name,
           why             ? why
           : report->ended ? "came to its end"
                           : "ended by an assertion");
    return why ? 1 : 0;
}

static uint64_t setting(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void parse(int argc, char **argv, struct options *ret_options)
{
    static const struct option names[] = {{"test", required_argument, NULL, 't'},
                                          {"at", required_argument, NULL, 'a'},
                                          {"mode", required_argument, NULL, 'm'},
                                          {"list", no_argument, NULL, 'l'},
                                          {0}};
    const char *all = getenv("TORTURE");
    struct options o = {.every = setting("TORTURE_EVERY", 64),
                        .timeout_s = (int)setting("TORTURE_TIMEOUT", 60),
                        .budget_s = setting("TORTURE_SECONDS", 15)};
    int letter;
    if (all && strcmp(all, "all") == 0) {
        o.every = UINT64_MAX;
        o.budget_s = 0;
    }
    while ((letter = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (letter == 't')
            o.only = optarg;
        else if (letter == 'a')
            o.at = strtoull(optarg, NULL, 10);
        else if (letter == 'm') {
            o.one_mode = true;
            o.mode = strcmp(optarg, "forever") == 0 ? SHIM_FOREVER : SHIM_ONCE;
        } else if (letter == 'l')
            o.list = true;
        else
            exit(2);
    }
    *ret_options = o;
}

static void prepare(const char *name)
{
    program = name;
    setvbuf(stdout, NULL, _IOLBF, 0);
    report = shared(sizeof(*report));
    plan = shared(sizeof(*plan) + PLAN_MAX * sizeof(plan->at[0]));
    int fd = memfd_create("torture", MFD_CLOEXEC);
    output = fcntl(fd, F_DUPFD_CLOEXEC, OUTPUT_FD);
    close(fd);
    if (output < 0) {
        perror("torture: memfd");
        exit(2);
    }
    quiet_init(&report->dirs);
    shim_init();
}

int torture_main(int argc, char **argv, const struct torture_case *cases, size_t n)
{
    struct options o;
    struct totals sum = {0};
    unsigned passed = 0, failed = 0;
    parse(argc, argv, &o);
    prepare(argv[0]);
    for (size_t i = 0; i < n; i++) {
        if (o.only && strcmp(cases[i].name, o.only) != 0)
            continue;
        if (o.list)
            puts(cases[i].name);
        else if (o.at)
            return replay(&cases[i], &o);
        else if (torture(&cases[i], &o, &sum))
            passed++;
        else
            failed++;
    }
    if (!o.list)
        printf("%u passed, %u failed, %llu runs\n", passed, failed, (unsigned long long)sum.runs);
    return failed || (!passed && !o.list) ? 1 : 0;
}
