/*
 * carpoolctl: takes the command of commands.c, reads the configuration as the other programs do, and runs it.
 * As root it first turns into the owner of the storage directory. What commands do is in a file for each
 * group.
 */
#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/harden.h"
#include "base/redact.h"
#include "base/version.h"
#include "ctl/commands.h"
#include "ctl/ctl.h"

enum ctl_exit ctl_say(enum ctl_exit code, const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    size_t n = strlen(text);
    bool ended = n && strchr(".)]", text[n - 1]); /* the system's words end without a full stop */
    fprintf(stderr, CTL_PROGRAM ": %s%s\n", text, ended || code == CTL_USAGE ? "" : ".");
    return code;
}

int ctl_write(const void *bytes, size_t n)
{
    const char *at = bytes;
    while (n) {
        ssize_t written = write(STDOUT_FILENO, at, n);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return ERR_IO;
        at += written;
        n -= (size_t)written;
    }
    return 0;
}

static enum ctl_exit run(const struct ctl_command *command, const struct args *args, struct conf *conf)
{
    struct ctl t;
    struct err e = {0};
    enum ctl_exit code;
    if (sodium_init() < 0)
        return ctl_say(CTL_FAILED, "libsodium cannot be started.");
    if (!command->run)
        return doctor_run(args, conf);
    int rc = conf_load(args->config, conf, &e);
    if (!rc)
        rc = conf_hide_environment(CONF_KEEP_ALL, &e); /* a coordinator that is started needs them */
    if (rc)
        return ctl_say(CTL_FAILED, "%s", e.text);
    rc = ctl_init(&t, conf, args, &e);
    code = rc ? ctl_say(CTL_FAILED, "%s", e.text) : command->run(&t);
    ctl_fini(&t);
    if (fflush(stdout) && code == CTL_DONE)
        code = ctl_say(CTL_FAILED, "The output could not be written: %s.", strerror(errno));
    return code;
}

int main(int argc, char **argv)
{
    static struct conf conf;
    const struct ctl_command *command = NULL;
    struct args args = {0};
    struct err e = {0};
    harden_early();
    signal(SIGPIPE, SIG_IGN);
    int rc = args_parse(argc, argv, &args, &e);
    if (!rc && args.version) {
        puts(args.json ? "{\"version\":\"" CARPOOL_VERSION "\"}" : CTL_PROGRAM " " CARPOOL_VERSION);
        return fflush(stdout) ? CTL_FAILED : CTL_DONE;
    }
    if (!rc && commands_help(&args, &e))
        return e.code ? ctl_say(CTL_USAGE, "%s", e.text) : fflush(stdout) ? CTL_FAILED : CTL_DONE;
    if (!rc)
        rc = commands_find(&args, &command, &e);
    enum ctl_exit code = rc ? ctl_say(CTL_USAGE, "%s", e.text) : run(command, &args, &conf);
    conf_wipe(&conf);
    conf_forget_environment();
    redact_forget();
    return code;
}
