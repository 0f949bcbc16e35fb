/* The stored provider key; see keyfile.h. */
#include "coordinator/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int key_path(const char *dir, const char *name, char ret_path[PATH_MAX], struct err *e)
{
    if (snprintf(ret_path, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        return err_set(e, ERR_INVAL, "The storage directory's name is too long: %s.", dir);
    return 0;
}

int keyfile_read(const char *dir, char *ret_key, size_t size, struct err *e)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = key_path(dir, "provider.key", path, e);
    if (rc < 0)
        return rc;
    ret_key[0] = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_set_errno(e, "Cannot open %s", path);
    ssize_t n = -1;
    if (fstat(fd, &st) < 0)
        rc = err_set_errno(e, "Cannot look at %s", path);
    else if (st.st_mode & 077)
        rc = err_set(e, ERR_PERM, "%s can be read by others; run: chmod 600 %s", path, path);
    else if ((n = read(fd, ret_key, size - 1)) < 0)
        rc = err_set_errno(e, "Cannot read %s", path);
    close(fd);
    if (rc == 0) {
        ret_key[n] = 0;
        ret_key[strcspn(ret_key, "\r\n")] = 0;
    }
    return rc;
}

static int sync_dir(const char *dir)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int rc = fsync(fd);
    close(fd);
    return rc;
}

int keyfile_write(const char *dir, const char *key, struct err *e)
{
    char path[PATH_MAX], fresh[PATH_MAX];
    int rc = key_path(dir, "provider.key", path, e);
    if (rc == 0)
        rc = key_path(dir, "provider.key.new", fresh, e);
    if (rc < 0)
        return rc;
    if (!key[0]) {
        if (unlink(path) < 0 && errno != ENOENT)
            return err_set_errno(e, "Cannot remove %s", path);
        return sync_dir(dir) < 0 ? err_set_errno(e, "Cannot sync %s", dir) : 0;
    }
    unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(e, "Cannot create %s", fresh);
    size_t n = strlen(key);
    bool written = write(fd, key, n) == (ssize_t)n && write(fd, "\n", 1) == 1 && fsync(fd) == 0;
    if (!written)
        rc = err_set_errno(e, "Cannot write %s", fresh);
    close(fd);
    if (rc == 0 && (rename(fresh, path) < 0 || sync_dir(dir) < 0))
        rc = err_set_errno(e, "Cannot replace %s", path);
    if (rc < 0)
        unlink(fresh);
    return rc;
}
