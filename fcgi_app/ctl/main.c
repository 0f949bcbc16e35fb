/*
 * carpoolctl: finds the command, reads the configuration as the other programs do, and runs it. As root it
 * first turns into the owner of the storage directory. What commands do is in a file for each group.
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
#include "ctl/ctl.h"

#define KEY_OPTIONS (ARG_LABEL | ARG_REQUESTS | ARG_TOKENS | ARG_BUDGET)

static const struct ctl_command commands[] = {
    {"key", "create", KEY_OPTIONS | ARG_ROLE, 0,
     "key create [--role client|admin] [--label TEXT] [--requests-per-minute N] [--tokens-per-minute N] "
     "[--budget USD]",
     key_create},
    {"key", "list", 0, 0, "key list", key_list},
    {"key", "set", KEY_OPTIONS, 1,
     "key set KEY [--label TEXT] [--requests-per-minute N] [--tokens-per-minute N] [--budget USD]", key_set},
    {"key", "rotate", ARG_GRACE, 1, "key rotate KEY [--grace TIME]", key_rotate},
    {"key", "revoke", 0, 1, "key revoke KEY", key_revoke},
    {"key", "export", 0, 0, "key export", key_export},
    {"key", "import", 0, 1, "key import FILE", key_import},
    {"audit", "", ARG_LIMIT, 0, "audit [--limit N]", audit_show},
};

static const char help[] =
    "Usage: carpoolctl [--config=FILE] [--json] COMMAND …\n"
    "The administrator's program of carpool. Run it as carpool's user, or as root: it\n"
    "then turns into the owner of the storage directory.\n"
    "\n"
    "API keys. KEY is a label, an id, or the first digits of an id (4 at least).\n"
    "  key create        makes a key and prints its text, this once; only a hash is kept\n"
    "    --role          client (prompts; the default) or admin (everything)\n"
    "    --label TEXT    a name for people, of at most 64 bytes\n"
    "    --requests-per-minute N, --tokens-per-minute N\n"
    "                    limits of this key; 0: those of the configuration\n"
    "    --budget USD    what its prompts may cost in a calendar month (UTC); 0: any\n"
    "  key list          all keys, with what they have spent this month\n"
    "  key set KEY       changes label, limits or budget, with the options of create\n"
    "  key rotate KEY    gives the key a new text and prints it, this once\n"
    "    --grace TIME    the old text works so long (90s, 15m, 24h, 7d); else it ends now\n"
    "  key revoke KEY    ends the key for ever; prompts that wait are refused\n"
    "  key export        prints all keys with their hashes, for other machines\n"
    "  key import FILE   takes them over (-: standard input); what is revoked stays so\n"
    "\n"
    "  audit             who changed which setting or key, the newest first\n"
    "    --limit N       so many entries\n"
    "\n"
    "  --config=FILE     the configuration; else $CARPOOL_CONF, else carpool.conf beside\n"
    "                    the program, in its parent directory, in ~/.config/carpool/, or\n"
    "                    in /etc/carpool/\n"
    "  --json            prints JSON\n"
    "  --help, --version\n"
    "\n"
    "Changes are made by the coordinator. When none runs, one is started for it (unless\n"
    "coordinator.autostart is off), which leaves again.\n"
    "\n"
    "Exit status: 0 done; 1 refused, or it could not be done; 2 a wrong command line;\n"
    "3 no such key; 4 the coordinator went away, so the change was made or not.\n";

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

static int find_command(struct args *a, const struct ctl_command **ret_command, struct err *e)
{
    const char *group = a->words_n ? a->words[0] : "", *name = a->words_n > 1 ? a->words[1] : "";
    bool group_known = false;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const struct ctl_command *c = &commands[i];
        bool whole = !c->name[0];
        if (strcmp(c->group, group) != 0)
            continue;
        group_known = true;
        if (!whole && strcmp(c->name, name) != 0)
            continue;
        *ret_command = c;
        /* args_check counts what stands behind two words. */
        struct args counted = *a;
        counted.words_n += whole;
        return args_check(&counted, c->takes, c->words, c->usage, e);
    }
    if (group_known && name[0])
        return err_set(e, ERR_INVAL, "There is no command \"%s %.40s\"; see --help.", group, name);
    if (group_known)
        return err_set(e, ERR_INVAL, "What to do with %ss is missing, such as \"%s list\"; see --help.",
                       group, group);
    return err_set(e, ERR_INVAL,
                   group[0] ? "There is no command \"%.40s\"; see --help."
                            : "Which command is missing%s; see --help.",
                   group);
}

static enum ctl_exit run(const struct ctl_command *command, const struct args *args, struct conf *conf)
{
    struct ctl t;
    struct err e = {0};
    enum ctl_exit code;
    if (sodium_init() < 0)
        return ctl_say(CTL_FAILED, "libsodium cannot be started.");
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
    if (!rc && (args.help || args.version))
        return fputs(args.help ? help : CTL_PROGRAM " " CARPOOL_VERSION "\n", stdout) < 0 || fflush(stdout)
                   ? CTL_FAILED
                   : CTL_DONE;
    if (!rc)
        rc = find_command(&args, &command, &e);
    enum ctl_exit code = rc ? ctl_say(CTL_USAGE, "%s", e.text) : run(command, &args, &conf);
    conf_wipe(&conf);
    conf_forget_environment();
    redact_forget();
    return code;
}
