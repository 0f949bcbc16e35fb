/* The version of all programs of this tree. */
#ifndef CARPOOL_BASE_VERSION_H
#define CARPOOL_BASE_VERSION_H

#define CARPOOL_VERSION "0.1.0"

#endif
