/*
 * Brings a coordinator up when there is none: runs `carpoold --background`, found beside this program, in
 * ../libexec/carpool or in PATH, and waits until it says that one runs.
 */
#ifndef CARPOOL_CLIENT_AUTOSTART_H
#define CARPOOL_CLIENT_AUTOSTART_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* One a process. Invariant: result is the outcome of the newest of `finished` starts. */
struct autostart {
    void (*ended)(
        const struct autostart *a); /* for the log: a start has ended as rc, by_other and result say,
                                       once for each, under the mutex; NULL: nobody wants to know */
    const char *dir;                /* where a failure is noted (base/failed_start.h); lent; NULL: nowhere */
    pthread_mutex_t one_at_a_time;
    _Atomic uint64_t finished;
    uint64_t finished_us;
    bool by_other; /* rc 0: another process had started one meanwhile */
    int rc;
    struct err result;
};

void autostart_init(struct autostart *a, void (*ended)(const struct autostart *a));

/*
 * Starts one, or takes the outcome of a start that ended while this call waited for its turn or less than
 * 200 ms ago. config: the file that the coordinator shall read; empty: it looks for one itself. Blocks until
 * the started program left its parent (10 s at most), or until leave_fd is readable (-1: never), and then the
 * program goes on by itself. On failure *e holds what the program said; ERR_AGAIN: the system had no process
 * or descriptor for it just then.
 */
MUST_CHECK
int autostart_run(struct autostart *a, const char *config, int leave_fd, struct err *e);

#endif
