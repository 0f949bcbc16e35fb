/*
 * From the path and method of a request to the one endpoint that serves it: checks everything that is the
 * same for all of them (path, method, key, size and type of the body) before it is called.
 */
#ifndef CARPOOL_WORKER_ROUTE_H
#define CARPOOL_WORKER_ROUTE_H

#include <stddef.h>

struct exchange;

#define ROUTES_MAX 48 /* numbers of routes are below */
#define ROUTE_NONE 0  /* no such path, a method that it does not take, or a preflight */

/* Fills x->response, and x->route as soon as there is one. */
void route_run(struct exchange *x);

/* "POST /v1/query", "GET /v1/requests/{id}"; "other" for ROUTE_NONE and numbers that are none. */
void route_name(unsigned number, char *ret_name, size_t size);

#endif
