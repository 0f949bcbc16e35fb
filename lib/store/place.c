/* The directory of the store; see place.h. */
#include "store/place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* The new file fd of that path: private, and with its bytes on the disk. */
static int prepare_file(int fd, const char *path, uint64_t bytes, struct err *e)
{
    if (fchmod(fd, 0600))
        return err_set_errno(e, "Cannot set the permissions of %s", path);
    errno = bytes ? posix_fallocate(fd, 0, (off_t)bytes) : 0;
    return errno ? err_set_errno(e, "Cannot make room for %s", path) : 0;
}

int place_make_file(const char *dir, const char *name, uint64_t bytes, struct err *e)
{
    char path[PATH_MAX];
    struct stat st;
    if (snprintf(path, sizeof(path), "%s/%s", dir, name) >= (int)sizeof(path))
        return err_set(e, ERR_INVAL, "The path of the storage directory is too long.");
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0) {
        int rc = prepare_file(fd, path, bytes, e);
        if (rc)
            unlink(path);
        close(fd);
        return rc;
    }
    if (errno != EEXIST)
        return err_set_errno(e, "Cannot create %s", path);
    if (stat(path, &st) == 0 && (st.st_mode & 0077) && chmod(path, 0600))
        return err_set_errno(e, "Cannot set the permissions of %s", path);
    return 0;
}

/* statfs(2) and linux/magic.h; the numbers of those that are in neither come from their own sources. */
static const struct {
    uint32_t magic;
    const char *name;
} network[] = {
    {0x6969, "NFS"},       {0x517b, "SMB"},       {0xff534d42, "CIFS"},   {0xfe534d42, "SMB"},
    {0x65735546, "FUSE"},  {0x01021997, "9P"},    {0x00c36400, "Ceph"},   {0x5346414f, "AFS"},
    {0x6b414653, "AFS"},   {0x73757245, "Coda"},  {0x564c, "NCP"},        {0x0bd00bd0, "Lustre"},
    {0x7461636f, "OCFS2"}, {0x01161970, "GFS2"},  {0x47504653, "GPFS"},   {0x786f4256, "vboxsf"},
    {0x19830326, "FhGFS"}, {0xaad7aaea, "PanFS"}, {0xbacbacbc, "vmhgfs"},
};

const char *place_network_name(unsigned long magic)
{
    for (size_t i = 0; i < ARRAY_LEN(network); i++)
        if (network[i].magic == (uint32_t)magic)
            return network[i].name;
    return NULL;
}

int place_check_local(const char *dir, struct err *e)
{
    struct statfs fs;
    if (statfs(dir, &fs))
        return err_set_errno(e, "Cannot look at the file system of %s", dir);
    const char *name = place_network_name((unsigned long)fs.f_type);
    if (!name)
        return 0;
    return err_set(e, ERR_INVAL,
                   "The storage directory %s is on a %s file system, where the database would be damaged; "
                   "set storage.dir (CARPOOL_STORAGE_DIR) to a directory on a local disk.",
                   dir, name);
}
