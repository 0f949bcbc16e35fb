/*
 * The names of provider.models, for the endpoints that check a model and the one that lists them.
 */
#ifndef CARPOOL_WORKER_MODELS_H
#define CARPOOL_WORKER_MODELS_H

#include <stdbool.h>

#include "base/slice.h"

/* The next name of the list: begin with *at on its first byte. Lends. False at the end. */
bool models_next(const char **at, struct slice *ret_model);

#endif
