/*
 * From the path and method of a request to the one endpoint that serves it: checks everything that is the
 * same for all of them (path, method, key, size and type of the body) before it is called.
 */
#ifndef CARPOOL_WORKER_ROUTE_H
#define CARPOOL_WORKER_ROUTE_H

struct exchange;

/* Fills x->response. */
void route_run(struct exchange *x);

#endif
