/*
 * What thousands of runs must spare the machine: directories that a test made and, cut short, did not remove;
 * and waiting for a disk, since it is memory that fails here.
 */
#include "quiet.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static struct made_dirs *dirs;

void quiet_init(struct made_dirs *d)
{
    dirs = d;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    chmod(path, 0700);
    return remove(path);
}

void quiet_sweep(void)
{
    for (unsigned i = 0; i < dirs->n; i++)
        nftw(dirs->names[i], remove_one, 8, FTW_DEPTH | FTW_PHYS);
    dirs->n = 0;
}

/* As libc's, but noted. */
char *mkdtemp(char *template)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    size_t n = strlen(template);
    for (int tries = 0; n >= 6 && tries < 100; tries++) {
        unsigned char random[6];
        if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
            return NULL;
        for (size_t i = 0; i < sizeof(random); i++)
            template[n - 6 + i] = letters[random[i] % (sizeof(letters) - 1)];
        if (mkdir(template, 0700) == 0) {
            if (dirs && dirs->n < MADE_DIRS_MAX && n < sizeof(dirs->names[0]))
                strcpy(dirs->names[dirs->n++], template);
            return template;
        }
        if (errno != EEXIST)
            return NULL;
    }
    return NULL;
}

/* Weak: tests have their own. */
__attribute__((weak)) int fsync(int fd)
{
    return fcntl(fd, F_GETFD) < 0 ? -1 : 0;
}

__attribute__((weak)) int fdatasync(int fd)
{
    return fcntl(fd, F_GETFD) < 0 ? -1 : 0;
}

__attribute__((weak)) int msync(void *at, size_t n, int flags)
{
    (void)at, (void)n, (void)flags;
    return 0;
}
