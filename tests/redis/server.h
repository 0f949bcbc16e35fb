/*
 * A redis-server of our own in a temporary directory: started, stopped, killed, frozen, started again with
 * what it kept. It dies with us.
 */
#ifndef CARPOOL_TESTS_REDIS_SERVER_H
#define CARPOOL_TESTS_REDIS_SERVER_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <sys/types.h>

#define SERVER_ARGS_MAX 32

struct server {
    pid_t pid;
    char dir[64], socket[96], url[128];
    unsigned port; /* 0: only the socket */
    const char *args[SERVER_ARGS_MAX];
    redisContext *admin; /* a connection of the test's own */
};

/* With appendonly and appendfsync always, and further options (a NULL ends them) that win. Aborts the test
 * when it does not start. */
void server_start(struct server *s, ...) __attribute__((sentinel));
/* Also listens on a free TCP port. */
void server_start_tcp(struct server *s, ...) __attribute__((sentinel));
/* SIGKILL and wait. */
void server_kill(struct server *s);
/* As it was, on what it kept; server_spawn does not wait until it answers. */
void server_again(struct server *s);
void server_spawn(struct server *s);
void server_freeze(struct server *s);
void server_thaw(struct server *s);
/* Kills it and removes its directory. */
void server_fini(struct server *s);

/* A command on the admin connection; the caller frees. Aborts the test when there is no answer. */
redisReply *server_ask(struct server *s, const char *format, ...);
/* As server_ask; the number in the answer. */
long long server_number(struct server *s, const char *format, ...);

unsigned free_port(void);

/* All directories are in one, which the runner makes first and removes at the end, whatever tests leave. */
bool directories_init(void);
void directories_fini(void);
void new_directory(char ret_path[64]);

#endif
