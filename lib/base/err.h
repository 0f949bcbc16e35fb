/*
 * Errors. A function that can fail returns 0 or a negative enum err_code, is marked MUST_CHECK, and may
 * fill a struct err with one complete sentence for a person. On failure its outputs are untouched.
 */
#ifndef CARPOOL_BASE_ERR_H
#define CARPOOL_BASE_ERR_H

#define MUST_CHECK                    __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a)             __attribute__((format(printf, f, a)))
#define ARRAY_LEN(a)                  (sizeof(a) / sizeof((a)[0]))
#define CONTAINER_OF(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

enum err_code {
    ERR_NOMEM = -1,     /* memory could not be had */
    ERR_INVAL = -2,     /* the input breaks a rule of its format */
    ERR_IO = -3,        /* the operating system failed a read or a write */
    ERR_NOT_FOUND = -4, /* no such record, file or option */
    ERR_EXISTS = -5,    /* it is there already, or held by somebody else */
    ERR_LIMIT = -6,     /* a named maximum of the configuration is reached */
    ERR_AGAIN = -7,     /* not now; the same call may succeed later */
    ERR_CLOSED = -8,    /* the other side went away */
    ERR_PERM = -9,      /* permission is missing */
    ERR_NOSPC = -10,    /* the disk or the map is full */
    ERR_FENCED = -11,   /* a newer coordinator owns the store */
    ERR_CORRUPT = -12,  /* stored bytes that no version of this program wrote */
    ERR_TIMEOUT = -13   /* the time given was not enough */
};

/* Invariant: text is always terminated; it is empty until a failure fills it. */
struct err {
    enum err_code code;
    char text[512];
};

/* Fills *e (which may be NULL) and returns code, so that a caller can write `return err_set(e, …)`. */
int err_set(struct err *e, enum err_code code, const char *format, ...) PRINTF_LIKE(3, 4);

/* As err_set, with ": <strerror(errno)>" appended. Maps ENOMEM, ENOSPC, EACCES/EPERM, ENOENT to their own
 * codes; everything else is ERR_IO. */
int err_set_errno(struct err *e, const char *format, ...) PRINTF_LIKE(2, 3);

#endif
