/*
 * Files of properties, as Kafka's own tools read them: "name = value" or "name=value" a line, lines that
 * begin with # and empty ones are skipped. What the properties mean is the caller's.
 */
#ifndef CARPOOL_SINK_PROPERTIES_H
#define CARPOOL_SINK_PROPERTIES_H

#include "base/err.h"

/* Calls each for every line until one fails. Errors name file and line, and never a value, which may be a
 * password: ERR_INVAL, or that of reading the file. Blocks on the file. */
MUST_CHECK
int properties_read(const char *path,
                    int (*each)(void *arg, const char *name, const char *value, struct err *e), void *arg,
                    struct err *e);

#endif
