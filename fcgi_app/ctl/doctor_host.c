/* The doctor on programs, limits of the system, and the kernel; see doctor.h. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ctl/doctor.h"

#define LANDLOCK_VERSION 1u
#define OWN_DESCRIPTORS  64 /* beside connections: the store, logs, the provider */
#define OWN_PROCESSES    32

/* ---- programs ---- */

/* suexec refuses to run what others could have written, and so should everybody. False: it is missing. */
static bool check_program(struct doctor *d, const char *name, const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return false;
    if (!S_ISREG(st.st_mode) || access(path, X_OK))
        doctor_tell(d, DOCTOR_FAIL, name, "%.300s cannot be run by this user: chmod 755 it.", path);
    else if (st.st_mode & 022)
        doctor_tell(d, DOCTOR_FAIL, name,
                    "%.300s can be written by %s (mode %03o), so suexec does not run it and others could put "
                    "their own program there: chmod go-w it.",
                    path, st.st_mode & 02 ? "everybody" : "its group", st.st_mode & 0777);
    else
        doctor_tell(d, DOCTOR_OK, name, "%.300s can be run.", path);
    return true;
}

static void check_directory(struct doctor *d, const char *dir)
{
    struct stat st;
    if (stat(dir, &st) == 0 && (st.st_mode & 022) && !(st.st_mode & S_ISVTX))
        doctor_tell(
            d, DOCTOR_WARN, "programs",
            "The directory %.300s can be written by %s (mode %03o), so suexec does not run what is in "
            "it: chmod go-w it.",
            dir, st.st_mode & 02 ? "everybody" : "its group", st.st_mode & 0777);
}

/* Beside this one, or where an installed carpoolctl has them (client/autostart.h). */
static void find_program(struct doctor *d, const char *home, const char *name, enum doctor_state missing)
{
    static const char *const places[] = {"", "/../libexec/carpool"};
    char path[PATH_MAX + 64];
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        snprintf(path, sizeof(path), "%s%s/%s", home, places[i], name);
        if (check_program(d, name, path)) {
            *strrchr(path, '/') = 0;
            check_directory(d, path);
            return;
        }
    }
    doctor_tell(d, missing, name, "%s is missing: put it beside carpoolctl, into %.300s.", name, home);
}

static void check_programs(struct doctor *d)
{
    char home[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", home, sizeof(home) - 1);
    if (n <= 0) {
        doctor_tell(d, DOCTOR_WARN, "programs", "Where this program lies cannot be found out: %s.",
                    strerror(errno));
        return;
    }
    home[n] = 0;
    *strrchr(home, '/') = 0;
    find_program(d, home, "carpoold", DOCTOR_FAIL);
    find_program(d, home, "carpool.fcgi", DOCTOR_WARN);
}

/* ---- limits ---- */

static void check_limit(struct doctor *d, const char *check, int resource, uint64_t wanted, const char *unit,
                        const char *advice)
{
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)resource, &limit))
        doctor_tell(d, DOCTOR_WARN, check, "The limit cannot be found out: %s.", strerror(errno));
    else if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max >= wanted) {
        if (limit.rlim_max == RLIM_INFINITY)
            doctor_tell(d, DOCTOR_OK, check, "%s are not limited.", unit);
        else
            doctor_tell(d, DOCTOR_OK, check, "%llu %s are allowed, and %llu may be needed.",
                        (unsigned long long)limit.rlim_max, unit, (unsigned long long)wanted);
    } else
        doctor_tell(d, DOCTOR_WARN, check, "%llu %s are allowed, and %llu may be needed: %s",
                    (unsigned long long)limit.rlim_max, unit, (unsigned long long)wanted, advice);
}

static void check_limits(struct doctor *d)
{
    const struct conf *c = d->conf;
    uint64_t threads = (uint64_t)c->worker.processes * c->worker.threads + c->worker.manage_threads;
    uint64_t of_one = c->worker.threads > threads / 2 ? 2ull * c->worker.threads : threads;
    check_limit(d, "limit.files", RLIMIT_NOFILE,
                of_one + 2ull * c->provider.max_concurrency + OWN_DESCRIPTORS, "descriptors (ulimit -n)",
                "raise it (limits.conf, LimitNOFILE of systemd), or set worker.threads lower.");
    check_limit(d, "limit.processes", RLIMIT_NPROC, threads + OWN_PROCESSES,
                "processes and threads of this user (ulimit -u)", "raise it, or set worker.threads lower.");
}

/* ---- the kernel ---- */

static void check_kernel(struct doctor *d)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_VERSION);
    if (abi >= 1)
        doctor_tell(d, DOCTOR_OK, "kernel.landlock", "Programs can shut themselves off from files (ABI %ld).",
                    abi);
    else
        doctor_tell(
            d, DOCTOR_WARN, "kernel.landlock",
            "This kernel has no Landlock, or it is switched off: carpool works, but a hole in it would "
            "open all that its user may read. Linux 5.13 and later have it (lsm=landlock).");
    if (access("/proc/sys/kernel/seccomp/actions_avail", R_OK))
        doctor_tell(
            d, DOCTOR_WARN, "kernel.seccomp",
            "This kernel has no filter of system calls (seccomp), or hides it: carpool works with one "
            "wall less.");
    else
#ifdef HAVE_SECCOMP
        doctor_tell(d, DOCTOR_OK, "kernel.seccomp", "Programs can shut themselves off from system calls.");
#else
        doctor_tell(d, DOCTOR_WARN, "kernel.seccomp",
                    "These programs were built without libseccomp: build them with it for one wall more.");
#endif
}

/* The provider is called directly, whatever the environment says: a web server may have HTTP_PROXY from a
 * client's header. */
static void check_proxy(struct doctor *d)
{
    static const char *const names[] = {"https_proxy", "HTTPS_PROXY", "http_proxy",
                                        "HTTP_PROXY",  "all_proxy",   "ALL_PROXY"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *value = getenv(names[i]);
        if (value && value[0]) {
            doctor_tell(
                d, DOCTOR_WARN, "proxy",
                "%s is set, and carpool does not go by it: the provider must be reachable directly, or "
                "under a provider.base_url on this machine.",
                names[i]);
            return;
        }
    }
    doctor_tell(d, DOCTOR_OK, "proxy", "The environment names no proxy; the provider is called directly.");
}

void doctor_host(struct doctor *d)
{
    check_programs(d);
    if (d->conf_read)
        check_limits(d);
    check_kernel(d);
    check_proxy(d);
}
