/* See filter.h. Calls go by name, so that one table serves all architectures; a name that this architecture
 * or this libseccomp does not know is passed over. */
#include "base/filter.h"

#if defined(HAVE_SECCOMP) && !defined(CARPOOL_UNCONFINED)

#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* What becomes of a call that is not on the list. EXTRA=-DFILTER_ELSE=SCMP_ACT_LOG lets it through and has
 * the kernel's log name it (audit type 1326): so the list was made, and so a new library is tried. */
#ifndef FILTER_ELSE
#define FILTER_ELSE SCMP_ACT_ERRNO(ENOSYS)
#endif

/* What the coordinator, its C library, libcurl with OpenSSL, libuv, librdkafka and LMDB do, by what they do
 * it for, with the older and the newer call where there are two. */
static const char *const coordinator[] = {
    /* files */
    "read", "write", "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2",
    "lseek", "_llseek", "open", "openat", "openat2", "close", "close_range", "dup", "dup2", "dup3", "fcntl",
    "fcntl64", "flock", "stat", "stat64", "lstat", "lstat64", "fstat", "fstat64", "newfstatat", "fstatat64",
    "statx", "statfs", "statfs64", "fstatfs", "fstatfs64", "access", "faccessat", "faccessat2", "readlink",
    "readlinkat", "getdents", "getdents64", "getcwd", "mkdir", "mkdirat", "rmdir", "unlink", "unlinkat",
    "rename", "renameat", "renameat2", "ftruncate", "ftruncate64", "fallocate", "fsync", "fdatasync",
    "sync_file_range", "chmod", "fchmod", "fchmodat", "fchmodat2", "umask", "utimensat", "ioctl", "sendfile",
    "sendfile64", "copy_file_range", "fadvise64", "fadvise64_64", "readahead",
    /* memory */
    "brk", "mmap", "mmap2", "munmap", "mremap", "mprotect", "madvise", "msync", "mincore", "mlock", "mlock2",
    "munlock", "membarrier", "memfd_create",
    /* waiting */
    "poll", "ppoll", "ppoll_time64", "select", "_newselect", "pselect6", "pselect6_time64", "epoll_create",
    "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "eventfd", "eventfd2",
    "signalfd", "signalfd4", "timerfd_create", "timerfd_settime", "timerfd_settime64", "timerfd_gettime",
    "timerfd_gettime64", "pipe", "pipe2", "nanosleep", "clock_nanosleep", "clock_nanosleep_time64",
    "restart_syscall",
    /* sockets; socket() itself is below */
    "socketpair", "connect", "bind", "listen", "accept", "accept4", "send", "recv", "sendto", "recvfrom",
    "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "recvmmsg_time64", "getsockopt", "setsockopt",
    "getsockname", "getpeername", "shutdown",
    /* threads and signals; clone() is below */
    "futex", "futex_time64", "futex_waitv", "futex_wake", "futex_wait", "futex_requeue", "set_robust_list",
    "get_robust_list", "rseq", "set_tid_address", "exit", "exit_group", "gettid", "sched_yield",
    "sched_getaffinity", "sched_setaffinity", "sched_setscheduler", "sched_getscheduler", "sched_setparam",
    "sched_getparam", "sched_setattr", "sched_getattr", "sched_get_priority_max", "sched_get_priority_min",
    "setpriority", "getpriority", "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigpending",
    "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_sigsuspend", "sigaltstack", "sigreturn", "tgkill",
    "arch_prctl", "set_thread_area", "prctl",
    /* what time it is, who we are */
    "clock_gettime", "clock_gettime64", "clock_getres", "clock_getres_time64", "gettimeofday", "time",
    "times", "getpid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getuid32", "geteuid32",
    "getgid32", "getegid32", "getresuid", "getresgid", "getresuid32", "getresgid32", "getgroups",
    "getgroups32", "getpgrp", "getpgid", "getsid", "uname", "sysinfo", "getrusage", "getrlimit", "ugetrlimit",
    "setrlimit", "prlimit64", "getrandom", "getcpu", "capget"};

/* Refused in a way that the caller can tell its user: a library may try, as Kerberos' does with kinit. */
static const char *const refused[] = {"execve", "execveat", "fork",       "vfork",
                                      "keyctl", "add_key",  "request_key"};

/* Refused to the worker as well; with what ends it below. */
static const char *const refused_worker[] = {"keyctl",
                                             "add_key",
                                             "request_key",
                                             "io_uring_setup",
                                             "io_uring_enter",
                                             "io_uring_register",
                                             "personality",
                                             "quotactl",
                                             "quotactl_fd",
                                             "acct",
                                             "settimeofday",
                                             "clock_settime",
                                             "clock_settime64",
                                             "clock_adjtime",
                                             "clock_adjtime64",
                                             "adjtimex",
                                             "sethostname",
                                             "setdomainname",
                                             "fanotify_init",
                                             "mknod",
                                             "mknodat",
                                             "syslog",
                                             "vhangup",
                                             "lookup_dcookie",
                                             "name_to_handle_at",
                                             "kcmp",
                                             "pidfd_getfd",
                                             "modify_ldt"};

static const char *const deadly[] = {"ptrace",
                                     "process_vm_readv",
                                     "process_vm_writev",
                                     "bpf",
                                     "perf_event_open",
                                     "userfaultfd",
                                     "init_module",
                                     "finit_module",
                                     "delete_module",
                                     "create_module",
                                     "kexec_load",
                                     "kexec_file_load",
                                     "reboot",
                                     "mount",
                                     "umount",
                                     "umount2",
                                     "pivot_root",
                                     "chroot",
                                     "move_mount",
                                     "open_tree",
                                     "fsopen",
                                     "fsmount",
                                     "fsconfig",
                                     "fspick",
                                     "mount_setattr",
                                     "setns",
                                     "unshare",
                                     "swapon",
                                     "swapoff",
                                     "open_by_handle_at",
                                     "iopl",
                                     "ioperm",
                                     "uselib",
                                     "process_madvise"};

/* Some architectures (i386, s390x, ppc64le) have socketcall() beside the calls it stands for. There
 * libseccomp knows those by negative numbers, and a rule for one of them is for both ways to make it. Any
 * other negative number is that of a call which is not there. */
static bool is_there(int call)
{
    bool is_socket_call = call <= __PNR_socket && call >= __PNR_sendmmsg;
    return call >= 0 || (is_socket_call && seccomp_syscall_resolve_name("socketcall") >= 0);
}

static int add(scmp_filter_ctx f, uint32_t action, const char *const *names, size_t n)
{
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        int call = seccomp_syscall_resolve_name(names[i]);
        if (is_there(call))
            rc = seccomp_rule_add(f, action, call, 0);
    }
    return rc;
}

/* Files, the network, and what getaddrinfo asks of the kernel; no raw packets, no exotic protocol with bugs
 * of its own. */
static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

/* Which argument of clone() has the flags. */
#ifdef __s390__
#define FLAGS_AT 1u
#else
#define FLAGS_AT 0u
#endif

/* Namespaces of its own give a process the kernel's administration to attack, as unshare() does. */
static const unsigned namespaces[] = {CLONE_NEWUSER, CLONE_NEWNS,  CLONE_NEWPID,   CLONE_NEWNET,
                                      CLONE_NEWIPC,  CLONE_NEWUTS, CLONE_NEWCGROUP};

static int clone_rule(scmp_filter_ctx f, uint32_t action, unsigned flag)
{
    return seccomp_rule_add(f, action, SCMP_SYS(clone), 1,
                            SCMP_CMP(FLAGS_AT, SCMP_CMP_MASKED_EQ, (scmp_datum_t)flag, (scmp_datum_t)flag));
}

static int coordinator_rules(scmp_filter_ctx f)
{
    int rc = add(f, SCMP_ACT_ALLOW, coordinator, ARRAY_LEN(coordinator));
    for (size_t i = 0; i < ARRAY_LEN(families) && rc == 0; i++)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                              SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
    /* A thread, and no process. clone3() has its flags in memory, where no filter sees them: it is not there
     * (ENOSYS), and the C library goes on with this one. */
    if (rc == 0)
        rc = clone_rule(f, SCMP_ACT_ALLOW, CLONE_THREAD);
    return rc ? rc : add(f, SCMP_ACT_ERRNO(EPERM), refused, ARRAY_LEN(refused));
}

static int refuse_families(scmp_filter_ctx f, enum scmp_compare compare, int family)
{
    return seccomp_rule_add_exact(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                  SCMP_A0(compare, (scmp_datum_t)family));
}

static int worker_rules(scmp_filter_ctx f)
{
    static const char *const unseen[] = {"clone3"}; /* as above */
    int rc = add(f, SCMP_ACT_ERRNO(EPERM), refused_worker, ARRAY_LEN(refused_worker));
    if (rc == 0)
        rc = add(f, SCMP_ACT_ERRNO(ENOSYS), unseen, ARRAY_LEN(unseen));
    for (size_t i = 0; i < ARRAY_LEN(namespaces) && rc == 0; i++)
        rc = clone_rule(f, SCMP_ACT_ERRNO(EPERM), namespaces[i]);
    for (int family = 0; family < AF_MAX && rc == 0; family++) {
        bool good = false;
        for (size_t i = 0; i < ARRAY_LEN(families); i++)
            good |= families[i] == family;
        if (!good)
            rc = refuse_families(f, SCMP_CMP_EQ, family);
    }
    /* Those that a newer kernel has, and what only the lower half of the register makes one of the above: the
     * kernel looks at no more of it. */
    if (rc == 0)
        rc = refuse_families(f, SCMP_CMP_GE, AF_MAX);
    /* socketcall() has the family in memory, where no filter sees it: a rule that is not exact would refuse
     * every socket there. */
    return rc == -EINVAL ? 0 : rc;
}

int filter_enforce(enum filter_kind kind, struct err *e)
{
    bool strict = kind == FILTER_COORDINATOR;
    scmp_filter_ctx f = seccomp_init(strict ? FILTER_ELSE : SCMP_ACT_ALLOW);
    if (!f)
        return err_set(e, ERR_NOMEM, "There is no memory for the filter of system calls.");
    /* Older kernels slow a filtered process down against code that it runs for others; this runs none. */
    (void)seccomp_attr_set(f, SCMP_FLTATR_CTL_SSB, 1);
    (void)seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    int rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_TSYNC, 1);
    if (rc == 0)
        rc = strict ? coordinator_rules(f) : worker_rules(f);
    if (rc == 0)
        rc = add(f, SCMP_ACT_KILL_PROCESS, deadly, ARRAY_LEN(deadly));
    if (rc == 0)
        rc = seccomp_load(f);
    seccomp_release(f);
    if (rc == -EINVAL || rc == -EOPNOTSUPP || rc == -ENOSYS)
        return 0; /* a kernel without */
    errno = -rc;
    return rc ? err_set_errno(e, "The filter of system calls cannot be put in force") : 1;
}

#else

int filter_enforce(enum filter_kind kind, struct err *e)
{
    (void)kind;
    (void)e;
    return 0;
}

#endif
