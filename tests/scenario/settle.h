/* The end of a script or a random life: everything comes to its end, and the rules of the end are held
 * against the world. */
#ifndef SCENARIO_SETTLE_H
#define SCENARIO_SETTLE_H

#include "world.h"

void settle_world(struct world *w);

#endif
