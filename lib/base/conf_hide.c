/*
 * Secrets out of the environment; see conf.h. The kernel shows a process's first environment in
 * /proc/PID/environ for as long as it lives, so the bytes themselves are overwritten; unsetenv() would leave
 * them there. What a child of ours will need is kept in memory that is not swapped out, where possible.
 */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/conf.h"
#include "base/conf_table.h"

#define KEPT_MAX 16

/* "NAME=value" as it stood in the environment; each from sodium_malloc. */
static struct {
    char *line[KEPT_MAX];
    size_t n;
} kept;

/* The option that a variable sets and that is secret; else NULL. */
static const struct conf_option *secret_of(const char *line, size_t name_n)
{
    for (size_t i = 0; i < conf_options_n; i++) {
        const struct conf_option *o = &conf_options[i];
        char own[CONF_ENV_NAME_SIZE];
        if (!(o->flags & CONF_SECRET))
            continue;
        conf_env_name(o, own);
        if (strlen(own) == name_n && memcmp(own, line, name_n) == 0)
            return o;
        for (size_t k = 0; k < CONF_VARIABLES && o->variables[k].name; k++)
            if (strlen(o->variables[k].name) == name_n && memcmp(o->variables[k].name, line, name_n) == 0)
                return o;
    }
    return NULL;
}

static int keep_line(const char *line, struct err *e)
{
    size_t size = strlen(line) + 1;
    char *copy = kept.n < KEPT_MAX ? sodium_malloc(size) : NULL;
    if (!copy)
        return err_set(e, ERR_NOMEM, "There is no memory to take the secrets out of the environment.");
    memcpy(copy, line, size);
    kept.line[kept.n++] = copy;
    return 0;
}

int conf_hide_environment(enum conf_keep keep, struct err *e)
{
    for (char **at = environ; at && *at; at++) {
        size_t name_n = strcspn(*at, "=");
        if (!(*at)[name_n] || !(*at)[name_n + 1])
            continue;
        const struct conf_option *o = secret_of(*at, name_n);
        if (!o)
            continue;
        bool wanted = keep == CONF_KEEP_ALL || (keep == CONF_KEEP_CALLERS && strcmp(o->section, "auth") == 0);
        int rc = wanted ? keep_line(*at, e) : 0;
        if (rc)
            return rc;
        char *value = *at + name_n + 1;
        sodium_memzero(value, strlen(value)); /* an empty variable counts as none */
    }
    return 0;
}

static char *as_it_was(char *line)
{
    size_t name_n = strcspn(line, "=");
    for (size_t i = 0; i < kept.n; i++)
        if (strncmp(kept.line[i], line, name_n + 1) == 0)
            return kept.line[i];
    return line;
}

char **conf_environment(void)
{
    size_t n = 0;
    while (environ && environ[n])
        n++;
    char **lines = calloc(n + 1, sizeof(*lines));
    for (size_t i = 0; lines && i < n; i++)
        lines[i] = as_it_was(environ[i]);
    return lines;
}

void conf_forget_environment(void)
{
    while (kept.n)
        sodium_free(kept.line[--kept.n]);
}
