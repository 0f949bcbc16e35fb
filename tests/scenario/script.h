/*
 * A script under way: the file, the line that is executed, its world. README.md beside this file is the
 * language; script.c reads lines, verbs.c does what they say, expect.c compares.
 */
#ifndef SCENARIO_SCRIPT_H
#define SCENARIO_SCRIPT_H

#include "world.h"

#define WORDS_MAX 40

struct line {
    char *words[WORDS_MAX + 1]; /* NULL behind the last */
    size_t n;
    const char *rest; /* of the line behind its first word, unsplit */
};

struct script {
    const char *file;
    unsigned line;
    uint64_t seed;
    bool verbose;
    bool opened, failed;
    bool lived; /* random lives were all it was for */
    struct buf config;
    struct world world;
    struct world *at;  /* that the line is about: world, or its twin */
    unsigned machines; /* 2: there is a twin */
    uint32_t capacity;
};

/* What a script expects may stay out, and only the rules must hold: tests/torture. */
extern bool script_lenient;

/* Runs the file and prints its verdict. */
bool script_run(const char *file, uint64_t seed, bool verbose);
/* Says what is wrong with the line; the script ends. The first call counts. */
void script_fail(struct script *s, const char *format, ...) PRINTF_LIKE(2, 3);

/* verbs.c: executes one line, with its AT taken off. */
void verb_run(struct script *s, struct line *l);
/* expect.c: EXPECT; words[0] is what is expected. */
void expect_run(struct script *s, struct line *l);

/* api_keys.c: KEY … and EXPECT KEY …. */
void api_keys_run(struct script *s, struct line *l);
void api_keys_expect(struct script *s, struct line *l);

/* "20ms", "1.5s", "300us", "2m", "1h". Fails the script. */
uint64_t script_us(struct script *s, const char *text);
/* The value of "key=value" among the words, or NULL. */
const char *line_value(const struct line *l, const char *key);
/* Whether the word stands there by itself. */
bool line_has(const struct line *l, const char *word);

#endif
