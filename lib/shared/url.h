/*
 * Where a Redis server is and who we are there: redis://[user:password@]host[:port][/db] (as registered with
 * IANA) and unix://[:password@]/path[?db=n]. User and password are percent-decoded.
 */
#ifndef CARPOOL_SHARED_URL_H
#define CARPOOL_SHARED_URL_H

#include "base/err.h"

#define SHARED_URL_PORT 6379

/* Invariant: either host or path is empty. All texts are terminated. */
struct shared_url {
    char host[256];
    char path[108]; /* as sun_path */
    char user[128];
    char password[512];
    unsigned port;
    unsigned db;
};

/* ERR_INVAL with a sentence, which never holds the password. */
MUST_CHECK
int shared_url_parse(const char *text, struct shared_url *ret_url, struct err *e);

#define SHARED_URL_NAME_SIZE 280
/* "host:port" or the path: for people, without secrets. */
void shared_url_name(const struct shared_url *url, char ret_name[SHARED_URL_NAME_SIZE]);

#endif
