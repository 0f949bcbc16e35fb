/*
 * One log file of the sink: appended to, rotated by size, opened again when it was moved away or after the
 * disk had failed. Used by the sink's thread alone; everything here may block on the disk.
 */
#ifndef CARPOOL_SINK_FILES_H
#define CARPOOL_SINK_FILES_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/slice.h"

/* Invariant: size counts whole records only; what a failed write left behind it is cut off again. */
struct log_file {
    char path[PATH_MAX];
    uint64_t rotate_bytes;
    unsigned rotate_keep;
    int fd; /* -1: not open */
    dev_t device;
    ino_t inode;
    bool regular; /* what is no regular file (a FIFO, a terminal) is never rotated */
    uint64_t size;
    uint64_t look_at_us;   /* when to see whether the path still leads to this file */
    uint64_t retry_at_us;  /* not open: when to try again */
    uint64_t rotate_at_us; /* a rotation failed: not before */
};

/* Opens dir/name, 0600 whatever the umask; directories that are missing are made, 0700. */
MUST_CHECK
int log_file_open(struct log_file *f, const char *dir, const char *name, uint64_t rotate_bytes,
                  unsigned rotate_keep, struct err *e);
void log_file_close(struct log_file *f);

/* The first record of a queue of them, each a u32 of its length (in this machine's byte order) and its bytes,
 * or an absent one at its end; the rest after it. */
struct slice log_record_next(struct slice records);
void log_record_skip(struct slice *records, struct slice record);

/* Appends records, each as log_record_next() finds it, many with one call of the system. No record is split
 * between two files. Returns how many could not be written. */
uint64_t log_file_write(struct log_file *f, struct slice records, uint64_t now_us);

#endif
