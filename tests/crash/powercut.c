/*
 * A library to preload under the coordinator that keeps a journal of what it writes into its storage
 * directory, so that a power cut can be played: kill -9 alone loses nothing, since the kernel writes later
 * what it has, and a forgotten fsync would go unseen. powercut.js reads the journal and makes of it what a
 * disk may hold after the power failed. Files with names of their own count (data.mdb, provider.key*), locks
 * and logs do not.
 *
 * An operation is in the journal before it is done; a sync once more after it was done. From the environment:
 * POWERCUT_JOURNAL, a file.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

/* One entry: this, then path_n bytes of a path, then data_n bytes. Native byte order. */
struct entry {
    char kind; /* see powercut.js */
    char pad[3];
    uint32_t path_n;
    uint64_t inode;
    uint64_t offset; /* of a write; the size for a truncation */
    uint64_t data_n;
};

/* The journal's name, or NULL in processes that are not watched. */
static const char *journal_path(void)
{
    static const char *path;
    static bool asked;
    if (!asked) {
        path = strcmp(program_invocation_short_name, "carpoold") == 0 ? getenv("POWERCUT_JOURNAL") : NULL;
        asked = true;
    }
    return path;
}

/* Whoever cannot write down what it does must not go on: the test would pass for nothing. */
static void must(bool good)
{
    if (!good)
        abort();
}

/* One write(2) with O_APPEND an entry, so that those of several threads do not mix; by syscall(2), since
 * write() is ours here. Opened anew each time: going to the background closes what is open. */
static void record(char kind, const char *path, uint64_t inode, uint64_t offset, const struct iovec *data,
                   int n)
{
    struct iovec parts[IOV_MAX];
    struct entry e = {.kind = kind, .path_n = (uint32_t)strlen(path), .inode = inode, .offset = offset};
    int saved = errno, fd;
    must(n <= IOV_MAX - 2);
    for (int i = 0; i < n; i++) {
        parts[i + 2] = data[i];
        e.data_n += data[i].iov_len;
    }
    parts[0] = (struct iovec){&e, sizeof(e)};
    parts[1] = (struct iovec){(void *)path, e.path_n};
    fd = (int)syscall(SYS_openat, AT_FDCWD, journal_path(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    must(fd >= 0);
    must(syscall(SYS_writev, fd, parts, n + 2) == (long)(sizeof(e) + e.path_n + e.data_n));
    syscall(SYS_close, fd);
    errno = saved;
}

static bool is_kept(const char *path)
{
    const char *name = strrchr(path, '/');
    name = name ? name + 1 : path;
    return strcmp(name, "data.mdb") == 0 || strncmp(name, "provider.key", 12) == 0;
}

/* What an open descriptor stands for; false: nothing to keep a journal of. */
struct target {
    char path[PATH_MAX];
    uint64_t inode;
    bool is_dir;
    bool synced; /* each write is, O_SYNC or O_DSYNC */
};

static bool look_up(int fd, struct target *ret)
{
    char link[64];
    struct stat st;
    int saved = errno;
    bool found = false;
    if (!journal_path())
        return false;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, ret->path, sizeof(ret->path) - 1);
    if (n > 0 && fstat(fd, &st) == 0) {
        ret->path[n] = 0;
        ret->inode = st.st_ino;
        ret->is_dir = S_ISDIR(st.st_mode);
        ret->synced = fcntl(fd, F_GETFL) & (O_SYNC | O_DSYNC);
        found = ret->is_dir || (S_ISREG(st.st_mode) && is_kept(ret->path));
    }
    errno = saved;
    return found;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static ssize_t write_parts(int fd, const struct iovec *parts, int n, off_t at, ssize_t (*act)(void *),
                           void *arg)
{
    struct target t;
    if (!look_up(fd, &t) || t.is_dir)
        return act(arg);
    if (at < 0)
        at = lseek(fd, 0, fcntl(fd, F_GETFL) & O_APPEND ? SEEK_END : SEEK_CUR);
    record(t.synced ? 'D' : 'w', t.path, t.inode, (uint64_t)at, parts, n);
    ssize_t done = act(arg);
    if (t.synced)
        record('d', t.path, t.inode, 0, NULL, 0);
    return done;
}

struct write_args {
    int fd;
    const void *bytes;
    size_t n;
    const struct iovec *parts;
    int parts_n;
    off_t at;
};

static ssize_t act_write(void *arg)
{
    struct write_args *a = arg;
    return REAL(write)(a->fd, a->bytes, a->n);
}

static ssize_t act_pwrite(void *arg)
{
    struct write_args *a = arg;
    return REAL(pwrite)(a->fd, a->bytes, a->n, a->at);
}

static ssize_t act_writev(void *arg)
{
    struct write_args *a = arg;
    return REAL(writev)(a->fd, a->parts, a->parts_n);
}

static ssize_t act_pwritev(void *arg)
{
    struct write_args *a = arg;
    return REAL(pwritev)(a->fd, a->parts, a->parts_n, a->at);
}

EXPORT ssize_t write(int fd, const void *bytes, size_t n)
{
    struct iovec part = {(void *)bytes, n};
    return write_parts(fd, &part, 1, -1, act_write, &(struct write_args){.fd = fd, .bytes = bytes, .n = n});
}

EXPORT ssize_t pwrite(int fd, const void *bytes, size_t n, off_t at)
{
    struct iovec part = {(void *)bytes, n};
    return write_parts(fd, &part, 1, at, act_pwrite,
                       &(struct write_args){.fd = fd, .bytes = bytes, .n = n, .at = at});
}

EXPORT ssize_t writev(int fd, const struct iovec *parts, int n)
{
    return write_parts(fd, parts, n, -1, act_writev,
                       &(struct write_args){.fd = fd, .parts = parts, .parts_n = n});
}

EXPORT ssize_t pwritev(int fd, const struct iovec *parts, int n, off_t at)
{
    return write_parts(fd, parts, n, at, act_pwritev,
                       &(struct write_args){.fd = fd, .parts = parts, .parts_n = n, .at = at});
}

/* lmdb is built for large files. */
EXPORT ssize_t pwrite64(int fd, const void *bytes, size_t n, off64_t at)
{
    return pwrite(fd, bytes, n, at);
}

EXPORT ssize_t pwritev64(int fd, const struct iovec *parts, int n, off64_t at)
{
    return pwritev(fd, parts, n, at);
}

static int sync_fd(int fd, int (*act)(int))
{
    struct target t;
    bool kept = look_up(fd, &t);
    if (kept)
        record(t.is_dir ? 'N' : 'S', t.path, t.inode, 0, NULL, 0);
    int rc = act(fd);
    if (kept && rc == 0)
        record(t.is_dir ? 'n' : 's', t.path, t.inode, 0, NULL, 0);
    return rc;
}

EXPORT int fsync(int fd)
{
    return sync_fd(fd, REAL(fsync));
}

EXPORT int fdatasync(int fd)
{
    return sync_fd(fd, REAL(fdatasync));
}

EXPORT int ftruncate(int fd, off_t size)
{
    struct target t;
    if (look_up(fd, &t) && !t.is_dir)
        record('t', t.path, t.inode, (uint64_t)size, NULL, 0);
    return REAL(ftruncate)(fd, size);
}

EXPORT int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

/* A name for a file: what was there may have been another file. */
static int opened(int fd, int flags)
{
    struct target t;
    if (fd >= 0 && (flags & O_CREAT) && look_up(fd, &t) && !t.is_dir)
        record('c', t.path, t.inode, 0, NULL, 0);
    if (fd >= 0 && (flags & O_TRUNC) && look_up(fd, &t) && !t.is_dir)
        record('t', t.path, t.inode, 0, NULL, 0);
    return fd;
}

static mode_t mode_of(int flags, va_list list)
{
    return flags & O_CREAT ? va_arg(list, mode_t) : 0;
}

EXPORT int open(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = mode_of(flags, list);
    va_end(list);
    return opened(REAL(open)(path, flags, mode), flags);
}

EXPORT int open64(const char *path, int flags, ...)
{
    va_list list;
    va_start(list, flags);
    mode_t mode = mode_of(flags, list);
    va_end(list);
    return opened(REAL(open64)(path, flags, mode), flags);
}

EXPORT int rename(const char *from, const char *to)
{
    struct iovec name = {(void *)from, strlen(from)};
    if (journal_path() && is_kept(to))
        record('r', to, 0, 0, &name, 1);
    return REAL(rename)(from, to);
}

EXPORT int unlink(const char *path)
{
    if (journal_path() && is_kept(path))
        record('u', path, 0, 0, NULL, 0);
    return REAL(unlink)(path);
}
