/* See sandbox.h. */
#include "coordinator/sandbox.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dir.h"
#include "base/filter.h"
#include "base/harden.h"
#include "base/landlock.h"
#include "base/log.h"
#include "coordinator/loop.h"
#include "sink/properties.h"

/* Sanitizers and coverage need what a sandbox forbids. */
#ifdef CARPOOL_UNCONFINED
#define UNCONFINED true
#else
#define UNCONFINED false
#endif

/* What libraries read whenever they like: name resolution and its modules, certificates, time zones, locales.
 * /etc as a whole, since resolv.conf and hosts are replaced by new files while we run, and a rule for a file
 * ends with it. */
static const char *const read_only[] = {"/etc",
                                        "/usr",
                                        "/lib",
                                        "/lib32",
                                        "/lib64",
                                        "/libx32",
                                        "/nix/store",
                                        "/gnu/store",
                                        "/proc/self",
                                        "/proc/sys",
                                        "/sys/devices/system",
                                        "/run/nscd",
                                        "/run/systemd/resolve",
                                        "/run/systemd/userdb",
                                        "/var/lib/sss",
                                        "/var/lib/ca-certificates"};
static const char *const devices[] = {"/dev/null", "/dev/urandom", "/dev/random", "/dev/zero", "/dev/full"};
/* OpenSSL's and libcurl's own variables. */
static const char *const variables[] = {"SSL_CERT_FILE", "SSL_CERT_DIR", "OPENSSL_CONF", "OPENSSL_MODULES"};

static void allow_directory_of(struct landlock *l, const char *path, enum landlock_use use)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash || (size_t)(slash - path) >= sizeof(dir))
        return;
    memcpy(dir, path, (size_t)(slash - path));
    dir[slash - path] = 0;
    landlock_allow(l, dir[0] ? dir : "/", use);
}

/* Certificates and keys that librdkafka is told of by path. */
static int allow_property(void *arg, const char *name, const char *value, struct err *e)
{
    (void)name;
    (void)e;
    if (value[0] == '/')
        landlock_allow(arg, value, LANDLOCK_READ);
    return 0;
}

/* Where a link leads may be elsewhere than in /etc. */
static void allow_resolver(struct landlock *l)
{
    char path[PATH_MAX];
    if (realpath("/etc/resolv.conf", path))
        allow_directory_of(l, path, LANDLOCK_READ);
}

static void allow_all(struct landlock *l, const struct conf *conf)
{
    char socket[PATH_MAX];
    loop_socket_path(conf, socket);
    landlock_allow(l, conf->storage.dir, LANDLOCK_CHANGE);
    landlock_allow(l, conf->log.dir, LANDLOCK_CHANGE);
    allow_directory_of(l, socket, LANDLOCK_BIND);
    for (size_t i = 0; i < ARRAY_LEN(read_only); i++)
        landlock_allow(l, read_only[i], LANDLOCK_READ);
    for (size_t i = 0; i < ARRAY_LEN(devices); i++)
        landlock_allow(l, devices[i], LANDLOCK_CHANGE);
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        if (getenv(variables[i]))
            landlock_allow(l, getenv(variables[i]), LANDLOCK_READ);
    allow_resolver(l);
    if (conf->kafka.enabled && conf->kafka.options_file[0]) {
        landlock_allow(l, conf->kafka.options_file, LANDLOCK_READ);
        /* What is wrong with the file is told by who uses it. */
        if (properties_read(conf->kafka.options_file, allow_property, l, NULL) < 0)
            return;
    }
}

int sandbox_files(const struct conf *conf)
{
    struct landlock l;
    struct err e = {0};
    if (!conf->coordinator.sandbox || UNCONFINED)
        return 0;
    if (dir_make(conf->log.dir, &e) < 0)
        return 0; /* the sink says it, too */
    landlock_begin(&l);
    allow_all(&l, conf);
    int abi = landlock_enforce(&l, &e);
    if (abi < 0)
        log_warning("%s; all files of this user stay within reach.", e.text);
    return abi < 0 ? 0 : abi;
}

void sandbox_calls(const struct conf *conf, int landlock_abi)
{
    char files[48] = "no Landlock";
    struct err e = {0};
    if (!conf->coordinator.sandbox) {
        log_warning("coordinator.sandbox is off: files, system calls and memory of this process are open.");
        return;
    }
    int filtered = UNCONFINED ? 0 : filter_enforce(FILTER_COORDINATOR, &e);
    if (filtered < 0)
        log_warning("%s; every system call stays within reach.", e.text);
    if (landlock_abi > 0)
        snprintf(files, sizeof(files), "Landlock ABI %d", landlock_abi);
    log_info("Sandbox: %s, %s, %s.", files, filtered > 0 ? "system call filter" : "no system call filter",
             harden_is_closed() ? "not dumpable" : "dumpable");
}
