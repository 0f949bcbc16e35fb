/*
 * What random lives have been through: named points, each counted, so that a run can say which of them it
 * never met. A new fault or verb is a line in reach.c and a REACH where it happens.
 */
#ifndef SCENARIO_REACH_H
#define SCENARIO_REACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REACH_MAX 256

/* Where to count from now on: REACH_MAX figures; NULL: nowhere. */
void reach_into(uint32_t *counts);
bool reach_wanted(void);
/* The place of that name in the figures; ends the program when the list has none. */
size_t reach_find(const char *name);
void reach_at(size_t place);
/* "<what> <word>", which need not be in the list. */
void reach_word(const char *what, const char *word);
/* Prints how often each point was reached, and returns how many never were. */
unsigned reach_report(const uint64_t *counts);

#define REACH(name)                                                                                          \
    do {                                                                                                     \
        static size_t place = SIZE_MAX;                                                                      \
        if (place == SIZE_MAX)                                                                               \
            place = reach_find(name);                                                                        \
        reach_at(place);                                                                                     \
    } while (0)

#endif
