/*
 * What becomes of a pool whose parent was killed. Its children still hold the listening socket, and lighttpd,
 * which looks whether somebody answers there before it starts a program anew, takes them for a pool that
 * somebody else runs (1.4.69), and never starts one again. So they make that true: one of them starts the
 * program again on the same socket, then all of them leave. No connection is refused meanwhile. As long as
 * one of them is there, it sees to it that the new parent lives.
 */
#ifndef CARPOOL_WORKER_HEIR_H
#define CARPOOL_WORKER_HEIR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* Made by the parent before it forks. Invariant: server_fd is -1 while server is 0. */
struct heir {
    char **argv;        /* the program's own */
    pid_t server;       /* the web server the pool leaves with; 0: none, and then there is no heir */
    int server_fd;      /* a pidfd of it */
    atomic_int *keeper; /* shared by all children: who sees to the pool after its parent's death: one of them
                         * for a moment, then the new parent; 0: nobody yet; -1: nobody any more */
};

/* Where the kernel offers no pidfd, server is 0 afterwards: there will be no heir. */
MUST_CHECK
int heir_init(struct heir *h, char **argv, pid_t server, struct err *e);
/* The web server has ended. */
bool heir_server_gone(const struct heir *h);
/* By each orphan, now and then until it has left: the first starts the new parent, with listen_fd as its
 * standard input, and should that have been killed, the next does. Nothing happens when there is no web
 * server any more. */
void heir_succeed(const struct heir *h, int listen_fd);

#endif
