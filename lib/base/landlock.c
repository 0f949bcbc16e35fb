/*
 * See landlock.h. The numbers are the kernel's (include/uapi/linux/landlock.h), written out since the header
 * of a build machine may be older than the kernel it will run on.
 */
#include "base/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CREATE_VERSION 1u
#define RULE_PATH      1
#define NET_BIND_TCP   1ull
#define FS_EXECUTE     (1ull << 0)
#define FS_WRITE_FILE  (1ull << 1)
#define FS_READ_FILE   (1ull << 2)
#define FS_READ_DIR    (1ull << 3)
#define FS_REMOVE_DIR  (1ull << 4)
#define FS_REMOVE_FILE (1ull << 5)
#define FS_MAKE_DIR    (1ull << 7)
#define FS_MAKE_REG    (1ull << 8)
#define FS_MAKE_SOCK   (1ull << 9)
#define FS_ABI_1       ((1ull << 13) - 1) /* all of the above and the making of devices, pipes, links */
#define FS_REFER       (1ull << 13)       /* ABI 2: renaming across directories */
#define FS_TRUNCATE    (1ull << 14)       /* ABI 3 */
#define ABI_NET        4
#define OF_FILES       (FS_WRITE_FILE | FS_READ_FILE | FS_TRUNCATE)
#define TO_READ        (FS_READ_FILE | FS_READ_DIR)
#define TO_BIND        (FS_MAKE_SOCK | FS_REMOVE_FILE)
#define TO_CHANGE                                                                                            \
    (TO_READ | FS_WRITE_FILE | FS_TRUNCATE | FS_REMOVE_DIR | FS_REMOVE_FILE | FS_MAKE_DIR | FS_MAKE_REG |    \
     FS_MAKE_SOCK | FS_REFER)

/* Sizes grow with the ABI; a kernel takes a longer one when what it does not know is zero. */
struct ruleset {
    uint64_t fs, net;
};

struct __attribute__((packed)) path_rule {
    uint64_t allowed;
    int32_t parent_fd;
};

static uint64_t known_fs(int abi)
{
    return FS_ABI_1 | (abi >= 2 ? FS_REFER : 0) | (abi >= 3 ? FS_TRUNCATE : 0);
}

void landlock_begin(struct landlock *l)
{
    *l = (struct landlock){.fd = -1};
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);
    if (abi < 1)
        return;
    struct ruleset r = {.fs = known_fs((int)abi), .net = abi >= ABI_NET ? NET_BIND_TCP : 0};
    l->fd = (int)syscall(SYS_landlock_create_ruleset, &r, abi >= ABI_NET ? sizeof(r) : sizeof(r.fs), 0);
    l->abi = l->fd >= 0 ? (int)abi : 0;
}

void landlock_allow(struct landlock *l, const char *path, enum landlock_use use)
{
    static const uint64_t rights[] = {
        [LANDLOCK_READ] = TO_READ, [LANDLOCK_CHANGE] = TO_CHANGE, [LANDLOCK_BIND] = TO_BIND};
    struct stat st;
    struct path_rule rule = {.allowed = rights[use] & known_fs(l->abi)};
    if (l->fd < 0 || !path[0])
        return;
    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return;
    if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rule.allowed &= OF_FILES; /* others are refused for a file */
    /* What cannot be allowed will be refused, and say so when it is opened. */
    (void)syscall(SYS_landlock_add_rule, l->fd, RULE_PATH, &rule, 0);
    close(rule.parent_fd);
}

int landlock_enforce(struct landlock *l, struct err *e)
{
    if (l->fd < 0)
        return 0;
    int rc = syscall(SYS_landlock_restrict_self, l->fd, 0) == 0
                 ? l->abi
                 : err_set_errno(e, "Landlock cannot be put in force");
    close(l->fd);
    l->fd = -1;
    return rc;
}
