/*
 * Runs the tests, each in a process of its own, and closes with "N passed, M failed". Arguments: words, of
 * which one must occur in a test's name; --speed measures instead.
 */
#include <signal.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "drive.h"
#include "server.h"

static bool wanted(const char *name, int argc, char **argv)
{
    bool any = argc < 2;
    for (int i = 1; i < argc && !any; i++)
        any = strstr(name, argv[i]) != NULL;
    return any;
}

/* Leaks are found at exit. */
static bool passes(const struct test *t)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        alarm(60 * STRETCH);
        t->run();
        exit(0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    if (WIFSIGNALED(status))
        fprintf(stderr, "    ended by signal %d\n", WTERMSIG(status));
    return status == 0;
}

int main(int argc, char **argv)
{
    const struct test *const all[] = {promise_tests,  limit_tests,   fence_tests,  away_tests, peer_tests,
                                      exchange_tests, cluster_tests, memory_tests, chaos_tests};
    unsigned passed = 0, failed = 0;
    signal(SIGPIPE, SIG_IGN);
    if (sodium_init() < 0 || !directories_init())
        return 1;
    if (argc == 2 && strcmp(argv[1], "--speed") == 0) {
        speed();
        directories_fini();
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        for (const struct test *t = all[i]; t->name; t++) {
            if (!wanted(t->name, argc, argv))
                continue;
            bool ok = passes(t);
            printf("  %s  %s\n", ok ? "ok  " : "FAIL", t->name);
            fflush(stdout);
            passed += ok;
            failed += !ok;
        }
    directories_fini();
    printf("%u passed, %u failed\n", passed, failed);
    return failed || !passed;
}
