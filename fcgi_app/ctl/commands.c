/* The table of commands, and their help; see commands.h. */
#include "ctl/commands.h"

#include <stdio.h>
#include <string.h>

#include "json/write.h"

#define HELP_MAX    (64u << 10)
#define KEY_OPTIONS (ARG_LABEL | ARG_REQUESTS | ARG_TOKENS | ARG_BUDGET)

static const struct ctl_command commands[] = {
    {"key", "create", KEY_OPTIONS | ARG_ROLE, 0, 0,
     "key create [--role client|admin] [--label TEXT] [--requests-per-minute N] [--tokens-per-minute N] "
     "[--budget USD]",
     key_create},
    {"key", "list", 0, 0, 0, "key list", key_list},
    {"key", "set", KEY_OPTIONS, 1, 0,
     "key set KEY [--label TEXT] [--requests-per-minute N] [--tokens-per-minute N] [--budget USD]", key_set},
    {"key", "rotate", ARG_GRACE, 1, 0, "key rotate KEY [--grace TIME]", key_rotate},
    {"key", "revoke", 0, 1, 0, "key revoke KEY", key_revoke},
    {"key", "export", 0, 0, 0, "key export", key_export},
    {"key", "import", 0, 1, 0, "key import FILE", key_import},
    {"status", "", 0, 0, 0, "status", status_show},
    {"ensure", "", ARG_TIMEOUT, 0, 0, "ensure [--timeout TIME]", coordinator_ensure},
    {"drain", "", ARG_TIMEOUT, 0, 0, "drain [--timeout TIME]", coordinator_drain},
    {"settings", "get", 0, 0, ARGS_WORDS_MAX, "settings get [NAME …]", settings_get},
    {"settings", "set", ARG_API_KEY_FILE, 0, ARGS_WORDS_MAX,
     "settings set [NAME=VALUE …] [--api-key-file FILE]", settings_set},
    {"backup", "", ARG_PROVIDER_KEY, 1, 0, "backup FILE [--with-provider-key]", backup_make},
    {"restore", "", 0, 1, 0, "restore FILE", restore_run},
    {"export", "", ARG_FORMAT | ARG_FROM | ARG_TO | ARG_USERNAME | ARG_PRIORITY, 0, 1,
     "export [chats|audit] [--format jsonl|csv] [--from TIME] [--to TIME] [--username NAME] [--priority P]",
     export_run},
    {"audit", "", ARG_LIMIT, 0, 0, "audit [--limit N]", audit_show},
    {"submit", "",
     ARG_OUTPUT | ARG_FORMAT | ARG_PRIORITY | ARG_USERNAME | ARG_CONCURRENCY | ARG_ID_PREFIX | ARG_KEY, 1, 0,
     "submit FILE [--output OUT] [--format jsonl|csv|text] [--priority low|medium|high] [--username NAME] "
     "[--concurrency N] [--id-prefix TEXT] [--key KEY]",
     submit_file},
    {"doctor", "", 0, 0, 1, "doctor [URL]", NULL},
};

static const char usage[] = "Usage: carpoolctl [--config=FILE] [--json] COMMAND …\n";

static const char head[] =
    "The administrator's program of carpool. Run it as carpool's user, or as root: it\n"
    "then turns into the owner of the storage directory.\n";

static const struct {
    const char *group, *text;
} help[] = {
    {"status", "  status            the coordinator, queues, provider, store, and what warns; exit status\n"
               "                    0 fine, also when none runs and the next prompt starts one; 5 something\n"
               "                    it needs is away, or it is leaving; 6 prompts cannot be served\n"},
    {"ensure", "  ensure            a coordinator runs afterwards, and stays; says nothing. For cron\n"
               "    --timeout TIME  how long to try (30s)\n"},
    {"drain", "  drain             the coordinator finishes what runs, and leaves; waits until it has\n"
              "    --timeout TIME  how long to wait (60s); it goes on leaving afterwards\n"},
    {"key", "API keys. KEY is a label, an id, or the first digits of an id (4 at least).\n"
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
            "  key import FILE   takes them over (-: standard input); what is revoked stays so\n"},
    {"settings", "Settings, which change while everything runs. NAME is provider, model, base_url, or one\n"
                 "of tokens, latency_ms, window_ms, max_batch, policy of a priority: low_priority.tokens.\n"
                 "  settings get [NAME …]\n"
                 "                    those in force; the value alone for one NAME\n"
                 "  settings set NAME=VALUE …\n"
                 "                    changes them, all or none; api_key= takes the provider's key back\n"
                 "    --api-key-file FILE\n"
                 "                    the provider's key (-: standard input)\n"},
    {"backup", "  backup FILE       the whole store in one file (-: standard output), while everything runs\n"
               "    --with-provider-key\n"
               "                    the provider's key, too, which is not in it otherwise\n"},
    {"restore", "  restore FILE      puts a backup (-: standard input) in the place of the store, which is\n"
                "                    kept beside it. The coordinator must be stopped: see drain. Ids of\n"
                "                    requests that were under way are answered by 424 afterwards\n"},
    {"export", "  export [chats|audit]\n"
               "                    all chats, or the trail of changes, the oldest first\n"
               "    --format jsonl|csv\n"
               "                    a line of JSON each (the default), or a table. In csv, what a\n"
               "                    spreadsheet would take for a formula has an apostrophe in front\n"
               "    --from TIME, --to TIME\n"
               "                    not before the one, before the other: 2026-02-01, or RFC 3339\n"
               "    --username NAME, --priority HIGH|MEDIUM|LOW\n"
               "                    chats of that user, of that priority\n"},
    {"audit", "  audit             who changed which setting or key, the newest first\n"
              "    --limit N       so many entries\n"},
    {"submit",
     "  submit FILE       asks the prompts of a file (-: standard input) and writes a line of JSON for\n"
     "                    each as its answer comes; run again, it goes on where it ended\n"
     "    --output OUT    the answers, instead of standard output\n"
     "    --format F      jsonl, csv (with a header) or text (a prompt a line); else by FILE's name\n"
     "    --priority P    of lines that say none: low (the default), medium or high\n"
     "    --username NAME the same\n"
     "    --concurrency N prompts under way at once (128)\n"
     "    --id-prefix TEXT  of the request ids that are made (submit); a new one asks all anew\n"
     "    --key KEY       asks as this key, within its limits and budget\n"},
    {"doctor",
     "  doctor [URL]      what is wrong on this host and what to do: storage, programs, limits, kernel;\n"
     "                    with URL (http://…) also what stands between, such as Apache\n"},
    {"help", "  help [GROUP]      this text, or that of one group of commands; all with --json\n"},
};

static const char foot[] =
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
    "3 no such key; 4 the coordinator went away, so the change was made or not; 5, 6: see\n"
    "status; 7 interrupted.\n";

static int check(const struct args *a, const struct ctl_command *c, struct err *e)
{
    /* args_check counts what stands behind two words. */
    struct args counted = *a;
    counted.words_n += !c->name[0];
    return args_check(&counted, c->takes, c->words, c->more, c->usage, e);
}

int commands_find(const struct args *a, const struct ctl_command **ret_command, struct err *e)
{
    const char *group = a->words_n ? a->words[0] : "", *name = a->words_n > 1 ? a->words[1] : "";
    bool group_known = false;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        const struct ctl_command *c = &commands[i];
        if (strcmp(c->group, group) != 0)
            continue;
        group_known = true;
        if (c->name[0] && strcmp(c->name, name) != 0)
            continue;
        *ret_command = c;
        return check(a, c, e);
    }
    if (group_known && name[0])
        return err_set(e, ERR_INVAL, "There is no command \"%s %.40s\"; see --help.", group, name);
    if (group_known)
        return err_set(e, ERR_INVAL, "What to do with %s is missing; see `" CTL_PROGRAM " help %s`.", group,
                       group);
    return err_set(e, ERR_INVAL,
                   group[0] ? "There is no command \"%.40s\"; see --help."
                            : "Which command is missing%s; see --help.",
                   group);
}

static void print_all(void)
{
    fputs(usage, stdout);
    fputs(head, stdout);
    for (size_t i = 0; i < ARRAY_LEN(help); i++) {
        fputs("\n", stdout);
        fputs(help[i].text, stdout);
    }
    fputs("\n", stdout);
    fputs(foot, stdout);
}

/* For programs, such as the one that checks that each command is in the manual. group NULL: all. */
static void print_json(const char *group)
{
    struct json_writer w;
    struct buf out;
    buf_init(&out, HELP_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_key(&w, "commands");
    json_array_begin(&w);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        char name[64];
        if (group && strcmp(commands[i].group, group) != 0)
            continue;
        snprintf(name, sizeof(name), "%s%s%s", commands[i].group, commands[i].name[0] ? " " : "",
                 commands[i].name);
        json_object_begin(&w);
        json_field_cstr(&w, "command", name);
        json_field_cstr(&w, "usage", commands[i].usage);
        json_object_end(&w);
    }
    json_array_end(&w);
    json_object_end(&w);
    fputs(buf_failed(&out) ? "" : out.data, stdout);
    fputs("\n", stdout);
    buf_fini(&out);
}

bool commands_help(const struct args *a, struct err *e)
{
    bool word = a->words_n && !strcmp(a->words[0], "help");
    const char *group = a->words_n > word ? a->words[word] : NULL;
    if (!word && !a->help)
        return false;
    size_t i = 0;
    while (group && i < ARRAY_LEN(help) && strcmp(help[i].group, group) != 0)
        i++;
    if (i == ARRAY_LEN(help))
        err_set(e, ERR_INVAL, "There is no command \"%.40s\"; see --help.", group);
    else if (a->json)
        print_json(group);
    else if (!group)
        print_all();
    else
        printf("%s%s", usage, help[i].text);
    return true;
}
