/* Errors with a sentence; see err.h. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int err_set(struct err *e, enum err_code code, const char *format, ...)
{
    if (e) {
        va_list args;
        e->code = code;
        va_start(args, format);
        vsnprintf(e->text, sizeof(e->text), format, args);
        va_end(args);
    }
    return code;
}

static enum err_code code_of_errno(int number)
{
    switch (number) {
    case ENOMEM:
        return ERR_NOMEM;
    case ENOSPC:
    case EDQUOT:
        return ERR_NOSPC;
    case EACCES:
    case EPERM:
        return ERR_PERM;
    case ENOENT:
        return ERR_NOT_FOUND;
    default:
        return ERR_IO;
    }
}

int err_set_errno(struct err *e, const char *format, ...)
{
    int number = errno;
    enum err_code code = code_of_errno(number);
    if (e) {
        va_list args;
        e->code = code;
        va_start(args, format);
        int n = vsnprintf(e->text, sizeof(e->text), format, args);
        va_end(args);
        if (n >= 0 && (size_t)n < sizeof(e->text)) {
            char words[128];
            snprintf(e->text + n, sizeof(e->text) - (size_t)n, ": %s",
                     strerror_r(number, words, sizeof(words)));
        }
    }
    return code;
}
