/*
 * scenario: replays scripts of time and events through the real coordinator core, or random lives from seeds;
 * see README.md.
 */
#include <getopt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "random.h"
#include "script.h"

static const char usage[] = "Usage: scenario [--seed=N] [--verbose] FILE…\n"
                            "       scenario --random SEED COUNT [--verbose] [--jobs=N] [--census]\n";

static int random_lives(int argc, char **argv, const struct life_options *options)
{
    if (argc != 2) {
        fputs(usage, stderr);
        return 2;
    }
    uint64_t first = strtoull(argv[0], NULL, 10), count = strtoull(argv[1], NULL, 10), failed;
    failed = lives_run(first, count, options);
    printf("seeds %llu to %llu\n%llu passed, %llu failed\n", (unsigned long long)first,
           (unsigned long long)(first + count - 1), (unsigned long long)(count > failed ? count - failed : 0),
           (unsigned long long)failed);
    return failed ? 1 : 0;
}

static int scripts(int argc, char **argv, uint64_t seed, bool verbose)
{
    int failed = 0;
    for (int i = 0; i < argc; i++)
        failed += !script_run(argv[i], seed, verbose);
    printf("%d passed, %d failed\n", argc - failed, failed);
    return failed ? 1 : 0;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'}, {"verbose", no_argument, NULL, 'v'},
        {"random", no_argument, NULL, 'r'},     {"jobs", required_argument, NULL, 'j'},
        {"census", no_argument, NULL, 'c'},     {0}};
    uint64_t seed = 1;
    struct life_options lives = {.jobs = 1};
    bool random = false;
    int o;
    while ((o = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (o == 's')
            seed = strtoull(optarg, NULL, 10);
        else if (o == 'v')
            lives.verbose = true;
        else if (o == 'c')
            lives.census = true;
        else if (o == 'j' && atoi(optarg) > 0 && atoi(optarg) <= 64)
            lives.jobs = (unsigned)atoi(optarg);
        else if (o == 'r')
            random = true;
        else {
            fputs(usage, stderr);
            return 2;
        }
    }
    clearenv(); /* the configuration of this machine has no part in a script */
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (sodium_init() < 0 ||
        log_open("scenario", lives.verbose ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR, "", NULL) < 0)
        return 2;
    return random ? random_lives(argc - optind, argv + optind, &lives)
                  : scripts(argc - optind, argv + optind, seed, lives.verbose);
}
