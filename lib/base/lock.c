/* One coordinator a storage directory; see lock.h. */
#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/dir.h"

#define TRIES 8

/* Opens and locks the file. ERR_AGAIN: it was removed in between, so that the lock holds nothing. */
static int take_file(const char *dir, const char *path, int *ret_fd, struct err *e)
{
    char text[32];
    int rc = 0, fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set_errno(e, "Cannot open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        rc = errno == EWOULDBLOCK ? err_set(e, ERR_EXISTS, "A coordinator runs already: %s is locked.", path)
                                  : err_set_errno(e, "Cannot lock %s", path);
    if (rc == 0 && !lock_holds(dir, fd))
        rc = err_set(e, ERR_AGAIN, "Somebody removes %s again and again.", path);
    int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (rc == 0 && (fchmod(fd, 0600) < 0 || ftruncate(fd, 0) < 0 || pwrite(fd, text, (size_t)n, 0) != n))
        rc = err_set_errno(e, "Cannot write %s", path);
    if (rc < 0)
        close(fd);
    else
        *ret_fd = fd;
    return rc;
}

int lock_take(const char *dir, int *ret_fd, struct err *e)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/coordinator.lock", dir) >= (int)sizeof(path))
        return err_set(e, ERR_INVAL, "The storage directory's name is too long: %s.", dir);
    int rc = dir_make(dir, e);
    if (rc < 0)
        return rc;
    rc = ERR_AGAIN;
    for (int i = 0; rc == ERR_AGAIN && i < TRIES; i++)
        rc = take_file(dir, path, ret_fd, e);
    return rc;
}

long lock_holder(const char *dir)
{
    char path[PATH_MAX], text[32];
    snprintf(path, sizeof(path), "%s/coordinator.lock", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[n < 0 ? 0 : n] = 0;
    return strtol(text, NULL, 10);
}

/* Lines such as "3: FLOCK  ADVISORY  WRITE 4711 08:01:131090 0 EOF" (proc_locks(5)). Not the device: file
 * systems made of several show another one there than stat does. */
static bool is_listed(FILE *locks, long pid, unsigned long long inode)
{
    enum { TYPE = 1, PID = 4, FILE_ID = 5, WORDS };
    char line[256];
    while (fgets(line, sizeof(line), locks)) {
        char *words[WORDS], *rest = line;
        size_t n = 0;
        for (char *word; n < WORDS && (word = strsep(&rest, " \n"));)
            if (*word)
                words[n++] = word;
        const char *colon = n == WORDS ? strrchr(words[FILE_ID], ':') : NULL;
        if (colon && !strcmp(words[TYPE], "FLOCK") && strtol(words[PID], NULL, 10) == pid &&
            strtoull(colon + 1, NULL, 10) == inode)
            return true;
    }
    return false;
}

long lock_held_by(const char *dir)
{
    char path[PATH_MAX];
    struct stat st;
    long pid = lock_holder(dir);
    snprintf(path, sizeof(path), "%s/coordinator.lock", dir);
    if (pid <= 0 || stat(path, &st))
        return 0;
    FILE *locks = fopen("/proc/locks", "re");
    if (!locks)
        return kill((pid_t)pid, 0) == 0 || errno == EPERM ? pid : 0;
    bool held = is_listed(locks, pid, (unsigned long long)st.st_ino);
    fclose(locks);
    return held ? pid : 0;
}

bool lock_holds(const char *dir, int fd)
{
    char path[PATH_MAX];
    struct stat there, held;
    snprintf(path, sizeof(path), "%s/coordinator.lock", dir);
    return stat(path, &there) == 0 && fstat(fd, &held) == 0 && there.st_ino == held.st_ino &&
           there.st_dev == held.st_dev;
}
