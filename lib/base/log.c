/*
 * A program's own log; see log.h. A line is built on the stack, without the heap, so that running out of
 * memory can be logged too, and is at most 4 KiB, which a pipe takes whole (PIPE_BUF) when several processes
 * write to one.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/redact.h"
#include "base/utf8.h"

#define LINE_MAX_BYTES  4096
#define REQUEST_ID_MAX  128
#define LINE_TAIL       "\"}\n"
#define LINE_TAIL_BYTES (sizeof(LINE_TAIL) - 1)

static const char *program_name = "carpool";
static _Atomic int least_level = LOG_LEVEL_INFO;
static int log_fd = STDERR_FILENO;

int log_open(const char *program, enum log_level level, const char *path, struct err *e)
{
    int fd = STDERR_FILENO;
    if (path && *path) {
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
        if (fd < 0)
            return err_set_errno(e, "Cannot open the log file \"%s\"", path);
    }
    log_close();
    program_name = program;
    atomic_store(&least_level, level);
    log_fd = fd;
    return 0;
}

void log_close(void)
{
    if (log_fd != STDERR_FILENO)
        close(log_fd);
    log_fd = STDERR_FILENO;
}

int log_level_parse(const char *text, enum log_level *ret_level)
{
    static const struct {
        const char *name;
        enum log_level level;
    } names[] = {{"debug", LOG_LEVEL_DEBUG},
                 {"info", LOG_LEVEL_INFO},
                 {"warning", LOG_LEVEL_WARNING},
                 {"warn", LOG_LEVEL_WARNING},
                 {"error", LOG_LEVEL_ERROR}};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcasecmp(text, names[i].name) == 0) {
            *ret_level = names[i].level;
            return 0;
        }
    return ERR_INVAL;
}

static const char *level_name(enum log_level level)
{
    static const char *const names[] = {"debug", "info", "warning", "error"};
    return (unsigned)level < ARRAY_LEN(names) ? names[level] : "error";
}

/* Everything up to the text of the message. */
static void write_head(struct buf *line, enum log_level level, const char *request_id)
{
    char now[CLOCK_RFC3339_SIZE];
    struct slice id = slice_of(request_id);
    clock_format_rfc3339(clock_real_us(), now);
    buf_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"program\":\"", now, level_name(level));
    escape_json(line, slice_of(program_name));
    buf_printf(line, "\",\"pid\":%ld,\"request_id\":", (long)getpid());
    if (id.p) {
        buf_append_byte(line, '"');
        escape_json(line, utf8_truncate(id, REQUEST_ID_MAX));
        buf_append_text(line, "\",\"message\":\"");
    } else {
        buf_append_text(line, "null,\"message\":\"");
    }
}

/* The message, or as many of its characters as there is room for. */
static void write_message(struct buf *line, struct slice message)
{
    size_t before = line->len, done = 0;
    escape_json(line, message);
    if (!buf_failed(line))
        return;
    line->len = before;
    line->failed = false;
    while (done < message.n) {
        size_t size = utf8_char_size((struct slice){message.p + done, message.n - done});
        size_t good = line->len;
        size = size ? size : 1;
        escape_json(line, (struct slice){message.p + done, size});
        if (buf_failed(line)) {
            line->len = good;
            line->failed = false;
            return;
        }
        done += size;
    }
}

static void write_line(const char *line, size_t n)
{
    ssize_t written;
    do
        written = write(log_fd, line, n);
    while (written < 0 && errno == EINTR);
    /* A log that cannot be written has nowhere to say so. */
}

void log_write(enum log_level level, const char *request_id, const char *format, ...)
{
    char text[LINE_MAX_BYTES], storage[LINE_MAX_BYTES + 1];
    /* At its full size from the start, so it never reaches for the heap. */
    struct buf line = {.data = storage, .cap = LINE_MAX_BYTES - LINE_TAIL_BYTES + 1};
    int saved_errno = errno;
    va_list args;

    if ((int)level < atomic_load_explicit(&least_level, memory_order_relaxed))
        return;
    line.max = line.cap - 1;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    struct slice message = {text, n < 0 ? 0 : (size_t)n};
    if (message.n >= sizeof(text))
        message = utf8_truncate((struct slice){text, sizeof(text) - 1}, sizeof(text) - 2);
    redact(text, message.n); /* before it is cut: of half a key nobody can tell what it is */
    storage[0] = 0;
    write_head(&line, level, request_id);
    redact(storage, line.len);
    write_message(&line, message);
    memcpy(storage + line.len, LINE_TAIL, LINE_TAIL_BYTES);
    write_line(storage, line.len + LINE_TAIL_BYTES);
    errno = saved_errno;
}
