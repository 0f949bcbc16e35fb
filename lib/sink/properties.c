/* See properties.h. */
#include "sink/properties.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/slice.h"

#define LINE_BYTES 8192 /* a certificate fits into a value */

/* Splits the line in place. Returns false for one to be skipped; *ret_value stays NULL when it has no name or
 * no "=".
 */
static bool split(char *line, const char **ret_name, const char **ret_value)
{
    struct slice whole = slice_trim(slice_of(line));
    if (!whole.n || whole.p[0] == '#')
        return false;
    const char *equals = memchr(whole.p, '=', whole.n);
    if (!equals)
        return true;
    struct slice name = slice_trim((struct slice){whole.p, (size_t)(equals - whole.p)});
    struct slice value = slice_trim((struct slice){equals + 1, whole.n - (size_t)(equals + 1 - whole.p)});
    line[name.p - line + (ptrdiff_t)name.n] = 0;
    line[value.p - line + (ptrdiff_t)value.n] = 0;
    *ret_name = name.p;
    *ret_value = name.n ? value.p : NULL;
    return true;
}

static int refuse(const char *path, unsigned number, const char *what, struct err *e)
{
    return err_set(e, ERR_INVAL, "%s line %u: %s.", path, number, what);
}

int properties_read(const char *path,
                    int (*each)(void *arg, const char *name, const char *value, struct err *e), void *arg,
                    struct err *e)
{
    char line[LINE_BYTES];
    FILE *f = fopen(path, "re");
    if (!f)
        return err_set_errno(e, "The file %s cannot be read", path);
    int rc = 0;
    for (unsigned number = 1; rc == 0 && fgets(line, sizeof(line), f); number++) {
        const char *name = "", *value = NULL;
        struct err why = {0};
        if (strlen(line) == sizeof(line) - 1 && line[sizeof(line) - 2] != '\n')
            rc = refuse(path, number, "is too long", e);
        else if (split(line, &name, &value) && !value)
            rc = refuse(path, number, "is not of the form name = value", e);
        else if (value && each(arg, name, value, &why) < 0)
            rc = refuse(path, number, why.text, e);
    }
    if (rc == 0 && ferror(f)) {
        errno = EIO;
        rc = err_set_errno(e, "The file %s cannot be read", path);
    }
    fclose(f);
    sodium_memzero(line, sizeof(line));
    return rc;
}
