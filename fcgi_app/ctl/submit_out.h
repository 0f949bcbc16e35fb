/*
 * The file of answers of carpoolctl submit: one JSON object a line, an answer or an error, as they come. It
 * is also the memory of an interrupted run: a line that has its answer there is not asked again.
 */
#ifndef CARPOOL_CTL_SUBMIT_OUT_H
#define CARPOOL_CTL_SUBMIT_OUT_H

#include "ctl/idset.h"
#include "ctl/submit_line.h"
#include "store/chats.h"

/* Invariant: what is in the file ends with a line end, but after a failed write. */
struct submit_out {
    int fd;
    bool lasting;    /* a regular file: kept between runs, locked against another run */
    struct buf line; /* the one being written */
};

/* Opens path ("-": standard output). A regular file is locked, what an earlier run left in it is gone
 * through: request ids with an answer go into done with the value 1, *ret_answers counts them, and lines with
 * an error or cut short are dropped, since they will be asked again. ERR_EXISTS: another run writes there;
 * ERR_INVAL: other things are in the file; ERR_IO, ERR_NOMEM. */
MUST_CHECK
int submit_out_open(struct submit_out *o, const char *path, struct idset *done, uint64_t *ret_answers,
                    struct err *e);
/* Blocks on the disk, so that what was written is there after a power cut, too. */
void submit_out_close(struct submit_out *o);

/* Each writes one line at once. ERR_IO (or ERR_NOSPC): the file is to be closed; ERR_NOMEM. */
MUST_CHECK
int submit_out_answer(struct submit_out *o, const struct submit_line *l, const struct chat *c, bool replayed,
                      struct err *e);
/* hint: what to do about it; NULL: nothing to say. */
MUST_CHECK
int submit_out_refusal(struct submit_out *o, const struct submit_line *l, const struct wire_refusal *r,
                       const char *hint, struct err *e);

#endif
