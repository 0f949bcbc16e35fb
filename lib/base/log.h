/*
 * A program's own log: one JSON line an event, to standard error or a file. Programs call it; lib does so
 * only at debug level. The event log of batches and prompts is another thing: see sink/.
 */
#ifndef CARPOOL_BASE_LOG_H
#define CARPOOL_BASE_LOG_H

#include "base/err.h"
#include "base/slice.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

/* Before any thread starts. path NULL or empty: standard error. program is kept, not copied. A file is opened
 * for appending, 0600. */
MUST_CHECK
int log_open(const char *program, enum log_level level, const char *path, struct err *e);
void log_close(void);
/* "debug", "info", "warning"/"warn", "error", in any case. */
MUST_CHECK
int log_level_parse(const char *text, enum log_level *ret_level);

/* {"time":…,"level":…,"program":…,"pid":…,"request_id":…,"message":…}: one write(2) a line, thread-safe.
 * request_id may be NULL. Longer than 4 KiB is cut at a character. Secrets are
 * taken out (redact.h); do not rely on it. */
void log_write(enum log_level level, const char *request_id, const char *format, ...) PRINTF_LIKE(3, 4);

#define log_debug(...)   log_write(LOG_LEVEL_DEBUG, NULL, __VA_ARGS__)
#define log_info(...)    log_write(LOG_LEVEL_INFO, NULL, __VA_ARGS__)
#define log_warning(...) log_write(LOG_LEVEL_WARNING, NULL, __VA_ARGS__)
#define log_error(...)   log_write(LOG_LEVEL_ERROR, NULL, __VA_ARGS__)

#endif
