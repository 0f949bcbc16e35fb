/*
 * Under Apache's mod_fcgid, which starts as many processes as it likes, each with a socket of its own, and
 * hands one request at a time to each: the program is one process with one thread then, without a pool.
 */
#ifndef CARPOOL_WORKER_FCGID_H
#define CARPOOL_WORKER_FCGID_H

#include <stdbool.h>

#include "worker/serve.h"

/* mod_fcgid (2.3.9) sends SIGTERM, again after 1 s, and SIGKILL after 8 s; until the last of its programs has
 * left, Apache starts no other. With SERVE_LAST_WORD_MS a worker has left after 7 s at most. */
#define FCGID_GRACE_MS 6000
/* It gives a program up, and its client a 500, that says nothing for 40 s (FcgidIOTimeout, as hosts have it).
 */
#define FCGID_WAIT_MAX_MS 30000

/* Whether mod_fcgid made the socket, which it names "<pid of its process manager>.<number>". */
bool fcgid_made(int listen_fd);

/* Serves in this process until told to stop, or until its program has been replaced and nothing runs: a file
 * that is new makes mod_fcgid start others, but of each file it once ran it keeps up to three processes
 * (FcgidMinProcessesPerClass) for good, and a host may allow five in all. Its exit status. */
int fcgid_run(struct serve_options *o);

#endif
