/* Private directories; see dir.h. */
#include "base/dir.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

static int make_one(const char *path, struct err *e)
{
    struct stat st;
    if (mkdir(path, 0700) == 0)
        return chmod(path, 0700) == 0 ? 0 : err_set_errno(e, "Cannot set the permissions of %s", path);
    if (errno != EEXIST)
        return err_set_errno(e, "Cannot create the directory %s", path);
    if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
        return err_set(e, ERR_INVAL, "%s is not a directory.", path);
    return 0;
}

int dir_make(const char *path, struct err *e)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (!n || n >= sizeof(part))
        return err_set(e, ERR_INVAL, "A directory's name must be 1 to %d bytes long.", PATH_MAX - 1);
    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        memcpy(part, path, (size_t)(slash - path));
        part[slash - path] = 0;
        int rc = make_one(part, e);
        if (rc < 0)
            return rc;
    }
    return make_one(path, e);
}
