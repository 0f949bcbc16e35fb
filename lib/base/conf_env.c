/*
 * The environment as a source of options; see conf_table.h. An empty variable counts as one that is not set,
 * since that is what compose files and shell scripts make of a missing value.
 */
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf_table.h"

/* Read by the scripts that start everything, not options. */
static const char *const script_names[] = {"CARPOOL_CONF", "CARPOOL_BUILD"};

#define PREFIX       "CARPOOL_"
#define PREFIX_BYTES (sizeof(PREFIX) - 1)

static const char *value_of(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static const char *file_value_of(const char *name, char ret_name[CONF_ENV_NAME_SIZE + 5])
{
    snprintf(ret_name, CONF_ENV_NAME_SIZE + 5, "%.63s_FILE", name);
    return value_of(ret_name);
}

/* As many bytes of the file as fit. */
static ssize_t read_start(int fd, char *ret_bytes, size_t size)
{
    size_t n = 0;
    while (n < size) {
        ssize_t got = read(fd, ret_bytes + n, size - n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        n += (size_t)got;
    }
    return (ssize_t)n;
}

/* The first line of the file at path is the value of o. */
static int set_from_file(struct conf *c, const struct conf_option *o, const char *path, const char *where,
                         struct err *e)
{
    char line[CONF_TEXT + 1];
    int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return err_set_errno(e, "%s: cannot open %s", where, path);
    ssize_t n = read_start(fd, line, sizeof(line) - 1);
    if (n < 0) {
        rc = err_set_errno(e, "%s: cannot read %s", where, path);
        goto out;
    }
    line[n] = 0;
    char *end = memchr(line, '\n', (size_t)n);
    end = end ? end : line + n;
    while (end > line && end[-1] && strchr(" \t\r", end[-1]))
        end--;
    *end = 0;
    if (strlen(line) != (size_t)(end - line))
        rc = err_set(e, ERR_INVAL, "%s: the first line of %s has a NUL byte in it.", where, path);
    else if (!*line)
        rc =
            err_set(e, ERR_INVAL, "%s: the first line of %s is empty; it should be the secret.", where, path);
    else
        rc = conf_option_set(c, o, line, where, e);
out:
    close(fd);
    sodium_memzero(line, sizeof(line));
    return rc;
}

/* Sets o when the variable name, or NAME_FILE of a secret, is set; says whether it was. */
static int try_name(struct conf *c, const struct conf_option *o, const char *name, bool *ret_set,
                    struct err *e)
{
    char file_name[CONF_ENV_NAME_SIZE + 5];
    const char *value = value_of(name);
    const char *path = o->flags & CONF_SECRET ? file_value_of(name, file_name) : NULL;
    if (value && path)
        return err_set(e, ERR_INVAL, "%s and %s are both set; leave one of them out.", name, file_name);
    if (value && (o->flags & CONF_FILE_ONLY))
        return err_set(e, ERR_INVAL, "%s: %s.%s can be set in carpool.conf only.", name, o->section, o->key);
    int rc = 0;
    if (value)
        rc = conf_option_set(c, o, value, name, e);
    else if (path)
        rc = set_from_file(c, o, path, file_name, e);
    if (!rc)
        *ret_set = value || path;
    return rc;
}

/* CARPOOL_… first, then the further names in the order of the table. */
static int set_option(struct conf *c, const struct conf_option *o, bool *ret_set, struct err *e)
{
    char name[CONF_ENV_NAME_SIZE];
    bool set = false;
    conf_env_name(o, name);
    int rc = try_name(c, o, name, &set, e);
    for (size_t i = 0; i < CONF_VARIABLES && !rc && !set && o->variables[i].name; i++) {
        const struct conf_variable *v = &o->variables[i];
        if (!v->by_kind || v->kind == c->provider.kind)
            rc = try_name(c, o, v->name, &set, e);
    }
    *ret_set = set;
    return rc;
}

static bool is_script_name(const char *name, size_t n)
{
    for (size_t i = 0; i < ARRAY_LEN(script_names); i++)
        if (strlen(script_names[i]) == n && memcmp(script_names[i], name, n) == 0)
            return true;
    return false;
}

static bool is_option_name(const char *name, size_t n)
{
    for (size_t i = 0; i < conf_options_n; i++) {
        char own[CONF_ENV_NAME_SIZE];
        conf_env_name(&conf_options[i], own);
        size_t own_n = strlen(own);
        if (n < own_n || memcmp(own, name, own_n) != 0)
            continue;
        if (n == own_n)
            return true;
        if ((conf_options[i].flags & CONF_SECRET) && n == own_n + 5 && memcmp(name + own_n, "_FILE", 5) == 0)
            return true;
    }
    return false;
}

/* A misspelt setting must not look set. */
static int check_names(struct err *e)
{
    for (char **at = environ; at && *at; at++) {
        size_t n = strcspn(*at, "=");
        if (strncmp(*at, PREFIX, PREFIX_BYTES) != 0 || is_script_name(*at, n) || is_option_name(*at, n))
            continue;
        return err_set(
            e, ERR_NOT_FOUND,
            "There is no option for the environment variable %.*s; etc/carpool.conf lists them all.",
            n > 80 ? 80 : (int)n, *at);
    }
    return 0;
}

/* Who is asked when nobody said: the provider whose key stands in the environment. */
static int choose_kind(struct conf *c, struct err *e)
{
    const struct conf_option *key = conf_option_find("provider", "api_key");
    const char *chosen = NULL;
    char file_name[CONF_ENV_NAME_SIZE + 5];
    for (size_t i = 0; i < CONF_VARIABLES && key->variables[i].name; i++) {
        const struct conf_variable *v = &key->variables[i];
        if (!v->by_kind || (!value_of(v->name) && !file_value_of(v->name, file_name)))
            continue;
        if (chosen)
            return err_set(
                e, ERR_INVAL,
                "%s and %s are both set: say which provider to use, with CARPOOL_PROVIDER_KIND=%s or "
                "CARPOOL_PROVIDER_KIND=%s (or kind in [provider]), or unset one of them.",
                chosen, v->name, conf_provider_name(c->provider.kind), conf_provider_name(v->kind));
        chosen = v->name;
        c->provider.kind = v->kind;
        c->provider.kind_chosen = true;
    }
    return 0;
}

int conf_read_environment(struct conf *c, struct err *e)
{
    const struct conf_option *kind = conf_option_find("provider", "kind");
    const struct conf_option *key = conf_option_find("provider", "api_key");
    bool set = false;
    int rc = check_names(e);
    /* The kind comes first: it decides which of the other variables speak of this provider. */
    if (!rc)
        rc = set_option(c, kind, &set, e);
    if (!rc && set)
        c->provider.kind_chosen = true;
    if (!rc && !c->provider.kind_chosen)
        rc = choose_kind(c, e);
    for (size_t i = 0; i < conf_options_n && !rc; i++)
        if (&conf_options[i] != kind) {
            rc = set_option(c, &conf_options[i], &set, e);
            if (!rc && set)
                conf_note_redis(c, &conf_options[i]);
        }
    if (!rc && !c->provider.api_key[0] && c->provider.api_key_file[0])
        rc = set_from_file(c, key, c->provider.api_key_file, "provider.api_key_file", e);
    if (!rc && !c->provider.kind_chosen && c->provider.api_key[0])
        rc = err_set(
            e, ERR_INVAL,
            "There is a provider key (provider.api_key or provider.api_key_file) but no provider: set kind "
            "in [provider], or CARPOOL_PROVIDER_KIND, to gemini, openai or model_service.");
    return rc;
}
