/*
 * Why the last start of a coordinator failed: the file coordinator.failed in the storage directory, left by
 * whoever tried it for the processes that only want to know (GET /health, carpoolctl status), and removed by
 * the coordinator that comes up.
 */
#ifndef CARPOOL_BASE_FAILED_START_H
#define CARPOOL_BASE_FAILED_START_H

#include <stdbool.h>
#include <stddef.h>

#define FAILED_START_FILE "coordinator.failed"
#define FAILED_START_SIZE 512

/* What cannot be written is not noted. Blocks on the file. */
void failed_start_note(const char *dir, const char *why);
/* False: the last one did not fail, or nobody knows. */
bool failed_start_read(const char *dir, char ret_why[FAILED_START_SIZE]);
void failed_start_forget(const char *dir);

#endif
