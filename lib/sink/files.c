/* A log file; see files.h. */
#include "sink/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/dir.h"

#define LOOK_EVERY_US   US_PER_S
#define RETRY_AFTER_US  US_PER_S
#define ROTATE_AGAIN_US (60 * US_PER_S)
#define RECORDS_A_CALL  256

/* Makes the directory of path again when somebody removed it. */
static int make_directory(const char *path, struct err *e)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    memcpy(dir, path, (size_t)(slash - path));
    dir[slash - path] = 0;
    return dir_make(dir, e);
}

static int open_path(struct log_file *f, struct err *e)
{
    const int flags = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY;
    struct stat st;
    int fd = open(f->path, flags, 0600);
    if (fd < 0 && errno == ENOENT) {
        int rc = make_directory(f->path, e);
        if (rc < 0)
            return rc;
        fd = open(f->path, flags, 0600);
    }
    if (fd < 0)
        return err_set_errno(e, "The log file %s cannot be opened", f->path);
    if (fstat(fd, &st) != 0 ||
        (S_ISREG(st.st_mode) && (st.st_mode & 07777) != 0600 && fchmod(fd, 0600) != 0)) {
        int rc = err_set_errno(e, "The log file %s cannot be made private", f->path);
        close(fd);
        return rc;
    }
    f->fd = fd;
    f->device = st.st_dev;
    f->inode = st.st_ino;
    f->regular = S_ISREG(st.st_mode);
    f->size = f->regular ? (uint64_t)st.st_size : 0;
    return 0;
}

int log_file_open(struct log_file *f, const char *dir, const char *name, uint64_t rotate_bytes,
                  unsigned rotate_keep, struct err *e)
{
    struct log_file fresh = {.fd = -1, .rotate_bytes = rotate_bytes, .rotate_keep = rotate_keep};
    int n = snprintf(fresh.path, sizeof(fresh.path), "%s/%s", dir, name);
    if (n < 0 || (size_t)n >= sizeof(fresh.path) - 16) /* room for the ".1" of a rotated one */
        return err_set(e, ERR_INVAL, "The path of the log directory %.64s… is too long", dir);
    int rc = open_path(&fresh, e);
    if (rc)
        return rc;
    *f = fresh;
    return 0;
}

void log_file_close(struct log_file *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

static void fail(struct log_file *f, uint64_t now_us)
{
    log_file_close(f);
    f->retry_at_us = now_us + RETRY_AFTER_US;
}

/* Open, and still the file the path leads to: somebody may have moved or removed it. */
static bool ready(struct log_file *f, uint64_t now_us)
{
    struct stat st;
    if (f->fd >= 0 && now_us >= f->look_at_us) {
        f->look_at_us = now_us + LOOK_EVERY_US;
        if (stat(f->path, &st) != 0 || st.st_dev != f->device || st.st_ino != f->inode) {
            log_file_close(f);
            f->retry_at_us = now_us;
        } else if (f->regular) {
            f->size = (uint64_t)st.st_size; /* it may have been emptied in place */
        }
    }
    if (f->fd >= 0)
        return true;
    if (now_us < f->retry_at_us)
        return false;
    if (open_path(f, NULL) == 0)
        return true;
    fail(f, now_us);
    return false;
}

/* path -> path.1 -> path.2 …; the last falls off. Goes on with the same file when it cannot be renamed. */
static void rotate(struct log_file *f, uint64_t now_us)
{
    char from[PATH_MAX + 16], to[PATH_MAX + 16];
    for (unsigned i = f->rotate_keep; i > 1; i--) {
        snprintf(from, sizeof(from), "%s.%u", f->path, i - 1);
        snprintf(to, sizeof(to), "%s.%u", f->path, i);
        rename(from, to); /* mostly missing at first */
    }
    snprintf(to, sizeof(to), "%s.1", f->path);
    if ((f->rotate_keep ? rename(f->path, to) : unlink(f->path)) != 0 && errno != ENOENT) {
        f->rotate_at_us = now_us + ROTATE_AGAIN_US;
        return;
    }
    log_file_close(f);
    f->retry_at_us = now_us;
}

/* All of it, or less than all when the disk fails. */
static size_t write_all(int fd, struct iovec *iov, int n)
{
    size_t written = 0;
    while (n > 0) {
        ssize_t got = writev(fd, iov, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        written += (size_t)got;
        for (; n > 0 && (size_t)got >= iov->iov_len; iov++, n--)
            got -= (ssize_t)iov->iov_len;
        if (n > 0) {
            iov->iov_base = (char *)iov->iov_base + got;
            iov->iov_len -= (size_t)got;
        }
    }
    return written;
}

struct slice log_record_next(struct slice records)
{
    uint32_t n;
    if (records.n < sizeof(n))
        return (struct slice){0};
    memcpy(&n, records.p, sizeof(n));
    return (struct slice){records.p + sizeof(n), n};
}

void log_record_skip(struct slice *records, struct slice record)
{
    records->p += sizeof(uint32_t) + record.n;
    records->n -= sizeof(uint32_t) + record.n;
}

/* Gathers what goes into this file with one call: up to the size at which it is rotated, but at least one
 * record into an empty file. Returns the number of records. */
static int gather(const struct log_file *f, struct slice records, bool may_rotate, struct iovec *ret_iov)
{
    uint64_t size = f->size;
    int n = 0;
    for (struct slice r; n < RECORDS_A_CALL && (r = log_record_next(records)).p;
         log_record_skip(&records, r)) {
        if (may_rotate && size && size + r.n > f->rotate_bytes)
            break;
        ret_iov[n++] = (struct iovec){(void *)r.p, r.n};
        size += r.n;
    }
    return n;
}

/* Counts the records that went out whole into size and cuts off the rest. */
static int settle(struct log_file *f, struct slice *records, size_t written)
{
    int whole = 0;
    for (struct slice r; (r = log_record_next(*records)).p && r.n <= written; log_record_skip(records, r)) {
        written -= r.n;
        f->size += r.n;
        whole++;
    }
    struct stat st;
    if (written && f->regular && fstat(f->fd, &st) == 0 && (uint64_t)st.st_size == f->size + written &&
        ftruncate(f->fd, (off_t)f->size) != 0)
        f->size += written;
    return whole;
}

uint64_t log_file_write(struct log_file *f, struct slice records, uint64_t now_us)
{
    struct iovec iov[RECORDS_A_CALL];
    while (records.n && ready(f, now_us)) {
        bool may_rotate = f->regular && f->rotate_bytes && now_us >= f->rotate_at_us;
        int n = gather(f, records, may_rotate, iov);
        if (!n) {
            rotate(f, now_us);
            continue;
        }
        if (settle(f, &records, write_all(f->fd, iov, n)) < n)
            fail(f, now_us);
    }
    uint64_t lost = 0;
    for (struct slice r; (r = log_record_next(records)).p; log_record_skip(&records, r))
        lost++;
    return lost;
}
