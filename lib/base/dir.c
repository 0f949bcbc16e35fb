/* Private directories; see dir.h. */
#include "base/dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int dir_sync(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == EACCES ? 0 : err_set_errno(e, "Cannot open the directory %s", path);
    int rc = fsync(fd) == 0 || errno == EINVAL ? 0 : err_set_errno(e, "Cannot sync the directory %s", path);
    close(fd);
    return rc;
}

/* The directory that holds path, which has no slash at its end. */
static int sync_parent(const char *path, struct err *e)
{
    char parent[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = !slash ? 0 : slash == path ? 1 : (size_t)(slash - path);
    memcpy(parent, path, n);
    parent[n] = 0;
    return dir_sync(n ? parent : ".", e);
}

static int make_one(const char *path, struct err *e)
{
    struct stat st;
    if (mkdir(path, 0700) == 0)
        return chmod(path, 0700) == 0 ? sync_parent(path, e)
                                      : err_set_errno(e, "Cannot set the permissions of %s", path);
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

/* Nothing but names is in it. */
static bool holds_only(DIR *d, const char *const *names)
{
    const struct dirent *entry;
    bool known = true;
    while (known && (entry = readdir(d))) {
        known = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
        for (size_t i = 0; !known && names[i]; i++)
            known = strcmp(entry->d_name, names[i]) == 0;
    }
    return known;
}

bool dir_holds_only(const char *path, const char *const *names)
{
    DIR *d = opendir(path);
    bool only = d && holds_only(d, names);
    if (d)
        closedir(d);
    return only;
}

enum dir_privacy dir_tighten(const char *path, const char *const *names)
{
    enum dir_privacy end = DIR_OPEN;
    struct stat st;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    if (!d) {
        if (fd >= 0)
            close(fd);
        return stat(path, &st) == 0 && !(st.st_mode & 077) ? DIR_PRIVATE : DIR_OPEN;
    }
    if (fstat(fd, &st) == 0 && !(st.st_mode & 077))
        end = DIR_PRIVATE;
    else if (st.st_uid == geteuid() && holds_only(d, names) && fchmod(fd, 0700) == 0)
        end = DIR_TIGHTENED;
    closedir(d);
    return end;
}

bool dir_contains(const char *dir, const char *path)
{
    size_t n = strlen(dir);
    return n && strncmp(path, dir, n) == 0 && (path[n] == '/' || dir[n - 1] == '/') && path[n];
}
