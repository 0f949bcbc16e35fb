/* See failed_start.h. Not a rename: who reads it between the two writes finds nothing, and asks again. */
#include "base/failed_start.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/slice.h"
#include "base/utf8.h"

static int open_in(const char *dir, int flags)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/" FAILED_START_FILE, dir) >= (int)sizeof(path))
        return -1;
    return open(path, flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
}

void failed_start_note(const char *dir, const char *why)
{
    int fd = open_in(dir, O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0)
        return;
    size_t n = strnlen(why, FAILED_START_SIZE - 1);
    if (write(fd, why, n) != (ssize_t)n)
        failed_start_forget(dir);
    close(fd);
}

bool failed_start_read(const char *dir, char ret_why[FAILED_START_SIZE])
{
    int fd = open_in(dir, O_RDONLY);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, ret_why, FAILED_START_SIZE - 1);
    close(fd);
    ret_why[n > 0 ? utf8_valid_prefix((struct slice){ret_why, (size_t)n}) : 0] = 0;
    return ret_why[0];
}

void failed_start_forget(const char *dir)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/" FAILED_START_FILE, dir) < (int)sizeof(path))
        (void)!unlink(path);
}
