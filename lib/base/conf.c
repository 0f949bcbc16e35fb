/*
 * Loading the configuration; see conf.h. The options are in conf_table.c, their checks in conf_value.c, the
 * file in conf_file.c, the environment in conf_env.c.
 */
#include "base/conf.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf_table.h"
#include "base/redact.h"

static int set_defaults(struct conf *c, struct err *e)
{
    int rc = 0;
    for (size_t i = 0; i < conf_options_n && !rc; i++)
        rc = conf_option_set(c, &conf_options[i], conf_options[i].fallback, "default", e);
    return rc;
}

static int too_long(const char *what, struct err *e)
{
    return err_set(e, ERR_LIMIT, "%s, made absolute, is longer than %d bytes.", what, CONF_TEXT - 1);
}

/* path as seen from base. */
static int anchor(char path[CONF_TEXT], const char *base, const char *what, struct err *e)
{
    char whole[CONF_TEXT];
    const char *rest = path;
    if (path[0] == '/' || path[0] == 0)
        return 0;
    while (strncmp(rest, "./", 2) == 0)
        rest += 2;
    int n = snprintf(whole, sizeof(whole), "%s/%s", strcmp(base, "/") == 0 ? "" : base, rest);
    if (n < 0 || (size_t)n >= sizeof(whole))
        return too_long(what, e);
    strcpy(path, whole);
    return 0;
}

/* path as seen from the directory the program was started in, since programs change theirs. */
static int make_absolute(char path[CONF_TEXT], const char *what, struct err *e)
{
    char cwd[PATH_MAX];
    if (path[0] == '/' || path[0] == 0)
        return 0;
    if (!getcwd(cwd, sizeof(cwd)))
        return err_set_errno(e, "Cannot find out the current directory, which %s is relative to", what);
    return anchor(path, cwd, what, e);
}

/* Paths that the file names are relative to the file: whoever starts the program may stand anywhere. */
static int anchor_file_paths(struct conf *c, struct err *e)
{
    const struct {
        char *path;
        const char *name;
    } paths[] = {{c->storage.dir, "storage.dir"},
                 {c->coordinator.socket, "coordinator.socket"},
                 {c->provider.api_key_file, "provider.api_key_file"},
                 {c->kafka.options_file, "kafka.options_file"},
                 {c->log.dir, "log.dir"},
                 {c->log.file, "log.file"}};
    char file[PATH_MAX];
    int rc = 0;
    if (!c->file[0] || !realpath(c->file, file))
        return 0;
    *strrchr(file, '/') = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(paths); i++)
        rc = anchor(paths[i].path, file[0] ? file : "/", paths[i].name, e);
    return rc;
}

/* A path that was not set lies in the storage directory. */
static int place(char path[CONF_TEXT], const struct conf *c, const char *name, const char *what,
                 struct err *e)
{
    if (path[0])
        return make_absolute(path, what, e);
    int n = snprintf(path, CONF_TEXT, "%s/%s", c->storage.dir, name);
    return n < 0 || n >= CONF_TEXT ? too_long(what, e) : 0;
}

static int settle_paths(struct conf *c, struct err *e)
{
    const struct conf_option *dir = conf_option_find("storage", "dir");
    int rc = 0;
    if (!c->storage.dir[0])
        rc = conf_option_set(c, dir, dir->fallback, "default", e);
    if (!rc)
        rc = make_absolute(c->storage.dir, "storage.dir", e);
    if (!rc)
        rc = place(c->coordinator.socket, c, "coordinator.sock", "coordinator.socket", e);
    if (!rc)
        rc = place(c->log.dir, c, "logs", "log.dir", e);
    if (!rc)
        rc = make_absolute(c->kafka.options_file, "kafka.options_file", e);
    if (!rc)
        rc = make_absolute(c->log.file, "log.file", e);
    return rc;
}

/* What worker/auth.c takes for one. */
static bool is_key(const char *text)
{
    while (*text > ' ' && *text <= '~')
        text++;
    return !*text;
}

/* What no option can know alone. */
static int settle(struct conf *c, struct err *e)
{
    char *base = c->server.base_path;
    for (size_t n = strlen(base); n > 0 && base[n - 1] == '/'; n--)
        base[n - 1] = 0;
    if (!is_key(c->auth.api_key) || !is_key(c->auth.admin_key))
        return err_set(e, ERR_INVAL,
                       "%s must be visible ASCII characters without blanks, or nobody could send it.",
                       is_key(c->auth.api_key) ? "ADMIN_KEY" : "API_KEY");
    if (c->retry.cap_ms < c->retry.base_ms)
        return err_set(e, ERR_INVAL, "retry.cap_ms (%u) must not be less than retry.base_ms (%u).",
                       c->retry.cap_ms, c->retry.base_ms);
    return settle_paths(c, e);
}

static void remember_secrets(const struct conf *c)
{
    for (size_t i = 0; i < conf_options_n; i++)
        if (conf_options[i].flags & CONF_SECRET)
            redact_remember(slice_of((const char *)c + conf_options[i].offset));
}

int conf_load(const char *file, struct conf *ret_conf, struct err *e)
{
    struct conf *c = calloc(1, sizeof(*c));
    if (!c)
        return err_set(e, ERR_NOMEM, "Out of memory while reading the configuration.");
    int rc = set_defaults(c, e);
    if (!rc)
        rc = conf_read_file(file, c, e);
    if (!rc)
        rc = anchor_file_paths(c, e);
    if (!rc)
        rc = conf_read_environment(c, e);
    if (!rc)
        rc = settle(c, e);
    remember_secrets(c);
    if (!rc)
        *ret_conf = *c;
    else if (e)
        redact(e->text, strlen(e->text));
    conf_wipe(c);
    free(c);
    return rc;
}

void conf_wipe(struct conf *c)
{
    for (size_t i = 0; i < conf_options_n; i++)
        if (conf_options[i].flags & CONF_SECRET)
            sodium_memzero((char *)c + conf_options[i].offset, conf_options[i].size);
}

const char *conf_priority_name(enum priority p)
{
    return conf_choice_name(conf_priorities, (int)p);
}

const char *conf_provider_name(enum provider_kind k)
{
    return conf_choice_name(conf_providers, (int)k);
}

const char *conf_mode_name(enum provider_mode m)
{
    return conf_choice_name(conf_modes, (int)m);
}

const char *conf_policy_name(enum batch_policy p)
{
    return conf_choice_name(conf_policies, (int)p);
}

int conf_priority_parse(const char *text, enum priority *ret_priority)
{
    int value, rc = conf_choice_parse(conf_priorities, text, &value);
    if (!rc)
        *ret_priority = (enum priority)value;
    return rc;
}

int conf_provider_parse(const char *text, enum provider_kind *ret_kind)
{
    int value, rc = conf_choice_parse(conf_providers, text, &value);
    if (!rc)
        *ret_kind = (enum provider_kind)value;
    return rc;
}

int conf_mode_parse(const char *text, enum provider_mode *ret_mode)
{
    int value, rc = conf_choice_parse(conf_modes, text, &value);
    if (!rc)
        *ret_mode = (enum provider_mode)value;
    return rc;
}

int conf_policy_parse(const char *text, enum batch_policy *ret_policy)
{
    int value, rc = conf_choice_parse(conf_policies, text, &value);
    if (!rc)
        *ret_policy = (enum batch_policy)value;
    return rc;
}
