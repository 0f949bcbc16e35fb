/*
 * How a run of carpoolctl submit gets on, on standard error: a bar that is drawn anew on a terminal, a line
 * now and then elsewhere. Pure but for show_tick() and show_end(), which write.
 */
#ifndef CARPOOL_CTL_SUBMIT_SHOW_H
#define CARPOOL_CTL_SUBMIT_SHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SHOW_TEXT 256

/* All but total and before count this run. */
struct submit_counts {
    uint64_t total;    /* lines of the file; 0: not known */
    uint64_t before;   /* lines whose answer was there already */
    uint64_t answered; /* of which without a call of their own: */
    uint64_t replayed, cached;
    uint64_t calls; /* batches that the others came in */
    uint64_t failed;
};

struct submit_show {
    bool terminal;
    unsigned columns;
    bool drawn; /* the bar stands on the current line */
    uint64_t start_us, next_us;
    uint64_t rate_from_us, rate_from; /* where the rate is counted from: some ten seconds ago */
    double rate;                      /* lines a second; 0: not known yet */
    char waiting[SHOW_TEXT];          /* why nothing goes on; empty: it does */
};

/* Answers that did not need a call each. */
uint64_t show_saved(const struct submit_counts *c);

/* bar: standard error is a terminal that nothing else is written to. */
void show_init(struct submit_show *s, bool bar, uint64_t now_us);
/* Says how it stands if it is time to. Cheap. */
void show_tick(struct submit_show *s, const struct submit_counts *c, uint64_t now_us);
/* Takes the bar away, so that something else can be said. */
void show_end(struct submit_show *s);

/* "4210/10000 42% 118/s ETA 0:49, 3 failed, 2100 calls saved" */
void show_format(const struct submit_show *s, const struct submit_counts *c, char ret_text[SHOW_TEXT]);
/* "0:49", "1:02:03" */
void show_format_time(uint64_t s, char *ret_text, size_t size);
/* From the lines that are done by now. */
void show_measure(struct submit_show *s, const struct submit_counts *c, uint64_t now_us);

#endif
