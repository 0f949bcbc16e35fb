/*
 * The coordinator as a program: the core on a libuv loop, with the commit thread, the socket, libcurl and the
 * event log as its ports.
 */
#ifndef CARPOOL_COORDINATOR_LOOP_H
#define CARPOOL_COORDINATOR_LOOP_H

#include "base/conf.h"
#include "base/err.h"

enum loop_end { LOOP_DRAINED, LOOP_IDLE, LOOP_FENCED, LOOP_LOST };

/*
 * Opens everything under conf->storage.dir (the caller holds its lock), calls ready once prompts can be
 * taken, and runs until SIGTERM or SIGINT has drained it, it was idle for coordinator.idle_exit_s, or another
 * coordinator took the store over. On failure before ready: an error with a sentence.
 */
MUST_CHECK
int loop_run(const struct conf *conf, int lock_fd, void (*ready)(void *arg), void *arg,
             enum loop_end *ret_end, struct err *e);

/* <storage.dir>/coordinator.sock unless configured. ret_path has PATH_MAX bytes. */
void loop_socket_path(const struct conf *conf, char *ret_path);

#endif
