/* Keeps the machine tidy and the disk out of it; see quiet.c. */
#ifndef CARPOOL_TESTS_TORTURE_QUIET_H
#define CARPOOL_TESTS_TORTURE_QUIET_H

#define MADE_DIRS_MAX 16

/* Made by mkdtemp() in a run; in memory shared with the runner. */
struct made_dirs {
    unsigned n;
    char names[MADE_DIRS_MAX][96];
};

void quiet_init(struct made_dirs *dirs);
/* Removes what is left of them. */
void quiet_sweep(void);

#endif
