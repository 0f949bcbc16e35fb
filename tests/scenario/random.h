/* A life of a world in which everything is up to the seed: arrivals, duplicates, leaves, failures of provider
 * and disk, crashes. */
#ifndef SCENARIO_RANDOM_H
#define SCENARIO_RANDOM_H

#include "world.h"

/* Prints what went wrong and how to see it again. */
bool random_run(uint64_t seed, bool verbose);

#endif
