/*
 * The server that the machines of a script share, in memory: what shared/shared.h promises of Redis, with
 * delays, connections that break, and answers that are lost after their command was carried out. Each process
 * has a connection of its own; commands go over it one after the other.
 */
#ifndef SCENARIO_SERVER_H
#define SCENARIO_SERVER_H

#include "world.h"

struct server;
struct connection;

struct server *server_new(void);
void server_free(struct server *s);

/* The ports of a process of w, if its world has a server. */
void server_ports(struct world *w, struct core_ports *ports);
/* A process has started: it connects, if the server can be reached from its machine. */
void server_connect(struct world *w);
/* It ends; nothing of what was on its way comes back. The result holds what is left, for the graves. */
struct connection *server_hang_up(struct world *w);
/* It leaves in order: everything comes back with ERR_CLOSED. */
void server_close(struct world *w);

/* The server cannot be reached from this machine any more. carried: what was on its way there got there. */
void server_lose(struct world *w, bool carried);
/* opens_us: between the first step in which what is open there is listed, and the last. */
void server_return(struct world *w, uint64_t opens_us);

uint64_t server_due_us(const struct world *w);
void server_deliver(struct world *w);

/* A machine that no script can see has a record of that state ("queued", "dispatched", "done", …); other: of
 * another request than c's. False: there is no such state. */
bool server_has(struct world *w, const struct client *c, const char *state, bool alive, bool other);
/* "none" or the state of the record of c's key. */
const char *server_state(struct world *w, const struct client *c);
/* The chat that the server has for the key; absent: none. */
struct slice server_chat(struct world *w, const uint8_t key[REQUEST_KEY_SIZE]);
/* Another machine has deleted that id, and this one has not taken the news in. */
bool server_deletes_later(struct world *w, struct slice request_id);
/* Whether a machine was ever without the server: then on_loss = local promises nothing any more. */
bool server_was_away(const struct world *w);

#endif
