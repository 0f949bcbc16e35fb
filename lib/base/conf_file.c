/*
 * carpool.conf: where it is looked for, and how it is read; see conf_table.h. The parsing is inih's. Debian's
 * build takes its options at run time and does not tell a handler the line, so the reader below counts lines;
 * it also refuses a line that inih would cut silently.
 */
#include <errno.h>
#include <ini.h>
#include <pwd.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/conf_table.h"

#define LINE_MAX_BYTES 2048
#define OPTIONS_MAX    128
#define PATH_SHOWN     200 /* bytes of the path that a message shows, so that the rule has room too */
#define WHERE_SIZE     (PATH_SHOWN + 32)

struct file {
    const char *path;
    FILE *stream;
    unsigned line;
    unsigned seen[OPTIONS_MAX]; /* the line of each option; 0: not seen */
    struct conf *conf;
    int rc; /* of the first line that was refused */
    struct err *e;
};

/* Names file and line; of a long path, its end. */
static const char *where(const struct file *f, char ret_text[WHERE_SIZE])
{
    size_t n = strlen(f->path);
    const char *shown = n > PATH_SHOWN ? f->path + n - PATH_SHOWN : f->path;
    snprintf(ret_text, WHERE_SIZE, "%s line %u", shown, f->line);
    return ret_text;
}

/* The line cannot be given to inih, which would cut it. */
static char *refuse_line(struct file *f, const char *what)
{
    char at[WHERE_SIZE];
    f->rc = err_set(f->e, ERR_INVAL, "%s %s.", where(f, at), what);
    return NULL;
}

/* fgets for inih: a line of at most size - 1 bytes, or NULL at the end and after a refusal. */
static char *read_line(char *ret_line, int size, void *stream)
{
    struct file *f = stream;
    int n = 0, c = 0;
    /* Always the same memory, which inih frees as it is: the line before may have been a key. */
    sodium_memzero(ret_line, (size_t)size);
    if (f->rc)
        return NULL;
    f->line++;
    while (c != '\n' && (c = getc_unlocked(f->stream)) != EOF) {
        if (c == 0)
            return refuse_line(f, "holds a zero byte");
        if (n == size - 1)
            return refuse_line(f, "is longer than 2048 bytes");
        ret_line[n++] = (char)c;
    }
    ret_line[n] = 0;
    if (ferror(f->stream))
        f->rc = err_set_errno(f->e, "Cannot read %s", f->path);
    return n == 0 || f->rc ? NULL : ret_line;
}

/* inih ends the name at the first colon or equals sign, but models are called "llama3:8b" too. */
static int add_price(struct file *f, const char *name, const char *value, const char *at)
{
    char model[LINE_MAX_BYTES];
    const char *equals = strrchr(value, '=');
    if (!equals)
        return conf_price_add(f->conf, name, value, at, f->e);
    int n = snprintf(model, sizeof(model), "%s:%.*s", name, (int)(equals - value), value);
    if (n < 0 || (size_t)n >= sizeof(model))
        return err_set(f->e, ERR_INVAL, "%s: the name of the model is too long.", at);
    while (n > 0 && (model[n - 1] == ' ' || model[n - 1] == '\t'))
        model[--n] = 0;
    value = equals + 1;
    return conf_price_add(f->conf, model, value + strspn(value, " \t"), at, f->e);
}

static int set_option(struct file *f, const char *section, const char *key, const char *value, const char *at)
{
    const struct conf_option *o = conf_option_find(section, key);
    if (!o && !conf_section_exists(section))
        return err_set(f->e, ERR_NOT_FOUND, "%s: there is no section [%.60s].", at, section);
    if (!o)
        return err_set(f->e, ERR_NOT_FOUND, "%s: there is no option \"%.60s\" in [%s].", at, key, section);
    if (o->flags & CONF_ENV_ONLY)
        return err_set(f->e, ERR_INVAL, "%s: %s.%s is taken from the environment only (%s).", at, section,
                       key, o->variables[0].name);
    unsigned *seen = &f->seen[o - conf_options];
    if (*seen)
        return err_set(f->e, ERR_INVAL, "%s: %s.%s was set on line %u already.", at, section, key, *seen);
    *seen = f->line;
    if (strcmp(section, "provider") == 0 && strcmp(key, "kind") == 0)
        f->conf->provider.kind_chosen = true;
    int rc = conf_option_set(f->conf, o, value, at, f->e);
    if (!rc)
        conf_note_redis(f->conf, o);
    return rc;
}

static int on_line(void *user, const char *section, const char *name, const char *value)
{
    struct file *f = user;
    char at[WHERE_SIZE];
    where(f, at);
    if (f->rc)
        return 0;
    if (!*section)
        f->rc = err_set(f->e, ERR_INVAL, "%s: \"%.60s\" stands before the first [section].", at, name);
    else if (strcmp(section, "prices") == 0)
        f->rc = add_price(f, name, value, at);
    else
        f->rc = set_option(f, section, name, value, at);
    return f->rc == 0;
}

/* These belong to the process; nothing else in it uses inih. */
static void set_up_inih(void)
{
    ini_allow_multiline = false;
    ini_stop_on_first_error = true;
    ini_max_line = LINE_MAX_BYTES + 2; /* with the line's end and the terminator */
}

static int parse(struct file *f)
{
    /* inih gives the reader's stream and the handler's user apart; here they are one. */
    int line = ini_parse_stream(read_line, f, on_line, f);
    if (f->rc)
        return f->rc;
    if (line == -2)
        return err_set(f->e, ERR_NOMEM, "Out of memory while reading %s.", f->path);
    if (line != 0)
        return err_set(f->e, ERR_INVAL,
                       "%.200s line %d is no \"[section]\", no \"key = value\" and no comment.", f->path,
                       line);
    return 0;
}

static int read_path(const char *path, struct conf *c, struct err *e)
{
    struct file f = {.path = path, .conf = c, .e = e};
    static char buffer[4096]; /* ours, to be wiped: keys pass through it */
    _Static_assert(sizeof(f.seen) / sizeof(f.seen[0]) == OPTIONS_MAX, "one a possible option");
    if (conf_options_n > OPTIONS_MAX || strlen(path) >= sizeof(c->file))
        return err_set(e, ERR_LIMIT, "The path of the configuration file is too long.");
    f.stream = fopen(path, "re");
    if (!f.stream)
        return err_set_errno(e, "Cannot open the configuration file %s", path);
    set_up_inih();
    setvbuf(f.stream, buffer, _IOFBF, sizeof(buffer));
    int rc = parse(&f);
    fclose(f.stream);
    sodium_memzero(buffer, sizeof(buffer));
    /* Absolute, since programs change their directory and start others with this file. */
    if (!rc && !realpath(path, c->file))
        rc = err_set_errno(e, "Cannot find out where %s is", path);
    return rc;
}

/* The directory of the running program, or "" when it cannot be found out. */
static void program_dir(char ret_dir[PATH_MAX])
{
    ssize_t n = readlink("/proc/self/exe", ret_dir, PATH_MAX - 1);
    ret_dir[n < 0 ? 0 : n] = 0;
    char *slash = strrchr(ret_dir, '/');
    if (slash)
        *slash = 0;
}

static const char *home_dir(void)
{
    const char *home = getenv("HOME");
    if (home && *home)
        return home;
    const struct passwd *user = getpwuid(geteuid());
    return user ? user->pw_dir : NULL;
}

/* Whether directory/name is a file. One that nobody may look for counts as none: a home directory may be
 * somebody else's. */
static bool is_there(const char *directory, const char *name, char ret_path[PATH_MAX])
{
    struct stat st;
    if (!directory || !*directory)
        return false;
    int n = snprintf(ret_path, PATH_MAX, "%s/%s", directory, name);
    return n > 0 && n < PATH_MAX && stat(ret_path, &st) == 0 && S_ISREG(st.st_mode);
}

/* An installation under a prefix of its own has bin/, libexec/carpool/ and etc/carpool/ below it. */
static bool find_file(char ret_path[PATH_MAX])
{
    char beside[PATH_MAX];
    program_dir(beside);
    return is_there(beside, "carpool.conf", ret_path) || is_there(beside, "../carpool.conf", ret_path) ||
           is_there(home_dir(), ".config/carpool.conf", ret_path) ||
           is_there(beside, "../etc/carpool/carpool.conf", ret_path) ||
           is_there(beside, "../../etc/carpool/carpool.conf", ret_path) ||
           is_there("/etc/carpool", "carpool.conf", ret_path);
}

int conf_read_file(const char *file, struct conf *c, struct err *e)
{
    char found[PATH_MAX];
    if (!file || !*file)
        file = getenv("CARPOOL_CONF");
    if ((!file || !*file) && find_file(found))
        file = found;
    return file && *file ? read_path(file, c, e) : 0;
}
