/*
 * Stands between lib/shared and a server, on the test's loop: holds back what one side says on some
 * connections while others pass, cuts them, or answers itself. One relay a test.
 */
#ifndef CARPOOL_TESTS_REDIS_RELAY_H
#define CARPOOL_TESTS_REDIS_RELAY_H

#include "server.h"

/* Listens at ret_url (a Unix socket beside the server's). server NULL: says `canned` to each connection that
 * has said something, then nothing more; directory is where the socket goes. */
void relay_start(const struct server *server, const char *directory, const char *canned, char ret_url[128]);
/* What connections that are open now say to the server stays here, also after they were closed. */
void relay_hold_commands(void);
/* What the server answers stays here. */
void relay_hold_answers(void);
/* Held commands go on to the server, and everything flows again. */
void relay_release(void);
void relay_cut(void);
unsigned relay_connections(void); /* accepted so far */
void relay_stop(void);

#endif
