/* The doctor on the storage directory, what is in it, and the coordinator; see doctor.h. */
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/socket_path.h"
#include "ctl/doctor.h"
#include "ctl/trial.h"
#include "store/place.h"

#define LEAST_FREE  (16ull << 20) /* below that nothing can be counted on */
#define LITTLE_FREE (256ull << 20)
#define MEET_US     (5 * US_PER_S)

static const char *user_name(uid_t uid, char buffer[32])
{
    const struct passwd *user = getpwuid(uid);
    if (user)
        snprintf(buffer, 32, "%.31s", user->pw_name);
    else
        snprintf(buffer, 32, "%u", (unsigned)uid);
    return buffer;
}

/* Whether the directory can be made when carpool starts. */
static void check_parent(struct doctor *d, const char *dir)
{
    char parent[CONF_TEXT];
    struct stat st;
    snprintf(parent, sizeof(parent), "%s", dir);
    do {
        char *slash = strrchr(parent, '/');
        if (!slash)
            break;
        slash[slash == parent] = 0;
    } while (stat(parent, &st) && errno == ENOENT && parent[1]);
    if (access(parent, W_OK | X_OK))
        doctor_tell(d, DOCTOR_FAIL, "storage.dir",
                    "There is no %.250s, and it cannot be made in %.250s: make it yourself and give it to "
                    "the user that carpool runs as, or set storage.dir.",
                    dir, parent);
    else
        doctor_tell(d, DOCTOR_OK, "storage.dir", "There is no %.400s yet: it is made at the first start.",
                    dir);
}

/* False: there is no directory to look into. */
static bool check_dir(struct doctor *d, const char *dir)
{
    struct stat st;
    char owner[32], self[32];
    if (stat(dir, &st)) {
        if (errno == ENOENT)
            check_parent(d, dir);
        else
            doctor_tell(d, DOCTOR_FAIL, "storage.dir", "%.400s cannot be looked at: %s.", dir,
                        strerror(errno));
        return false;
    }
    if (!S_ISDIR(st.st_mode)) {
        doctor_tell(d, DOCTOR_FAIL, "storage.dir", "%.400s is no directory: set storage.dir to one.", dir);
        return false;
    }
    if (geteuid() == 0 && st.st_uid != 0) {
        struct err e = {0};
        if (ctl_become_owner(d->conf, &e)) {
            doctor_tell(d, DOCTOR_FAIL, "storage.dir", "%s", e.text);
            return false;
        }
    }
    if (st.st_uid != geteuid()) {
        doctor_tell(
            d, DOCTOR_FAIL, "storage.dir",
            "%.300s belongs to %s and this is %s: run the doctor as the user that carpool runs as; if "
            "that is %s, `chown -R %s` the directory.",
            dir, user_name(st.st_uid, owner), user_name(geteuid(), self), self, self);
        return false;
    }
    if (access(dir, R_OK | W_OK | X_OK))
        doctor_tell(d, DOCTOR_FAIL, "storage.dir", "%.300s is not writable for its own user: chmod 700 it.",
                    dir);
    else if (st.st_mode & 077)
        doctor_tell(d, DOCTOR_WARN, "storage.dir",
                    "%.300s is open to other users (mode %03o), and prompts and answers are in it: chmod 700 "
                    "it.",
                    dir, st.st_mode & 0777);
    else
        doctor_tell(d, DOCTOR_OK, "storage.dir", "%.300s belongs to %s and is shut to others.", dir,
                    user_name(st.st_uid, owner));
    return true;
}

static void check_disk(struct doctor *d, const char *dir)
{
    struct statvfs fs;
    struct err e = {0};
    if (place_check_local(dir, &e))
        doctor_tell(d, DOCTOR_FAIL, "storage.disk", "%s", e.text);
    else if (statvfs(dir, &fs))
        doctor_tell(d, DOCTOR_WARN, "storage.disk", "How much room is left cannot be found out: %s.",
                    strerror(errno));
    else {
        unsigned long long free_bytes = (unsigned long long)fs.f_bavail * fs.f_frsize;
        enum doctor_state s = free_bytes < LEAST_FREE || (fs.f_files && !fs.f_favail) ? DOCTOR_FAIL
                              : free_bytes < LITTLE_FREE                              ? DOCTOR_WARN
                                                                                      : DOCTOR_OK;
        doctor_tell(d, s, "storage.disk", "On a local disk with %llu MiB free for this user%s",
                    free_bytes >> 20,
                    s == DOCTOR_OK ? "."
                    : fs.f_files && !fs.f_favail
                        ? " and no inode left: remove files."
                        : ": make room, or keep chats for fewer days (storage.chat_retention_days).");
    }
}

static void check_map(struct doctor *d)
{
    struct rlimit limit;
    uint64_t most = d->conf->storage.map_max_mib << 20;
    if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY)
        doctor_tell(d, DOCTOR_OK, "storage.map",
                    "The store may grow to %llu MiB; address space is not limited.",
                    (unsigned long long)(most >> 20));
    else
        doctor_tell(d, most > limit.rlim_cur / 2 ? DOCTOR_WARN : DOCTOR_OK, "storage.map",
                    "The store may grow to %llu MiB, and a process may have %llu MiB of address space "
                    "(ulimit -v)%s",
                    (unsigned long long)(most >> 20), (unsigned long long)(limit.rlim_cur >> 20),
                    most > limit.rlim_cur / 2
                        ? ": set storage.map_max_mib to half of that, so that a full store is refused in "
                          "words and not by a lack of memory."
                        : ".");
}

static void check_store(struct doctor *d, const char *dir)
{
    struct store_options reader = ctl_reader_options(d->conf);
    struct err e = {0};
    int rc = trial_read(dir, &reader, &e);
    if (rc == ERR_NOT_FOUND)
        doctor_tell(d, DOCTOR_OK, "storage.store", "Nothing is stored yet.");
    else if (rc == ERR_CORRUPT)
        doctor_tell(d, DOCTOR_FAIL, "storage.store",
                    "%s Put a backup in its place: `" CTL_PROGRAM " restore`.", e.text);
    else if (rc)
        doctor_tell(d, DOCTOR_FAIL, "storage.store", "%s", e.text);
    else
        doctor_tell(d, DOCTOR_OK, "storage.store", "Every record of the store can be read.");
}

static void check_secret(struct doctor *d, const char *check, const char *path)
{
    struct stat st;
    if (stat(path, &st)) {
        if (errno != ENOENT)
            doctor_tell(d, DOCTOR_FAIL, check, "%.300s cannot be looked at: %s.", path, strerror(errno));
        return;
    }
    if (st.st_mode & 077)
        doctor_tell(
            d, DOCTOR_FAIL, check,
            "%.300s can be read by other users (mode %03o), and a provider key is in it: chmod 600 it, "
            "and better replace the key.",
            path, st.st_mode & 0777);
    else if (access(path, R_OK))
        doctor_tell(d, DOCTOR_FAIL, check, "%.300s cannot be read by this user: %s.", path, strerror(errno));
    else
        doctor_tell(d, DOCTOR_OK, check, "%.300s is readable for its user only.", path);
}

static void check_provider(struct doctor *d)
{
    const struct conf *c = d->conf;
    char path[CONF_TEXT + 16];
    snprintf(path, sizeof(path), "%s/provider.key", c->storage.dir);
    check_secret(d, "provider.key", path);
    if (c->provider.api_key_file[0])
        check_secret(d, "provider.api_key_file", c->provider.api_key_file);
    if (c->provider.kind == PROVIDER_MOCK && access(path, F_OK))
        doctor_tell(d, DOCTOR_WARN, "provider",
                    "The built-in mock answers, not a model: set provider.kind and provider.api_key, or "
                    "GEMINI_API_KEY or OPENAI_API_KEY.");
    else if (c->provider.kind != PROVIDER_MOCK)
        doctor_tell(d, DOCTOR_OK, "provider", "Prompts go to %s.", conf_provider_name(c->provider.kind));
}

/* ---- the coordinator ---- */

static void check_coordinator(struct doctor *d)
{
    struct link_host host;
    struct link link;
    struct err e = {0};
    long pid = lock_held_by(d->conf->storage.dir);
    if (link_host_init(&host, d->conf, NULL, &e)) {
        doctor_tell(d, DOCTOR_FAIL, "coordinator", "%s", e.text);
        return;
    }
    link_init(&link, &host);
    int rc = link_connect(&link, LINK_IF_RUNNING, clock_mono_us() + MEET_US, &e);
    if (!rc && pid)
        doctor_tell(d, DOCTOR_OK, "coordinator", "It runs (process %ld) and answers.", pid);
    else if (!rc)
        doctor_tell(d, DOCTOR_OK, "coordinator", "It runs and answers.");
    else if (pid)
        doctor_tell(d, DOCTOR_FAIL, "coordinator",
                    "Process %ld holds the lock, but cannot be talked to: %s Look at its log, or end it.",
                    pid, e.text);
    else if (rc == ERR_NOT_FOUND && host.may_start)
        doctor_tell(d, DOCTOR_OK, "coordinator", "None runs; the first prompt starts one.");
    else if (rc == ERR_NOT_FOUND)
        doctor_tell(d, DOCTOR_FAIL, "coordinator",
                    "None runs, and coordinator.autostart is off: start carpoold, or set it to on.");
    else
        doctor_tell(d, DOCTOR_FAIL, "coordinator", "%s", e.text);
    link_fini(&link);
    link_host_fini(&host);
}

void doctor_store(struct doctor *d)
{
    check_map(d);
    if (!check_dir(d, d->conf->storage.dir))
        return;
    check_disk(d, d->conf->storage.dir);
    check_store(d, d->conf->storage.dir);
    check_provider(d);
    check_coordinator(d);
}
