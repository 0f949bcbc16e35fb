/*
 * Inside lib/base: the table of options that conf.c, conf_file.c and conf_env.c are driven by, and the one
 * place where the text of a value is checked and stored.
 */
#ifndef CARPOOL_BASE_CONF_TABLE_H
#define CARPOOL_BASE_CONF_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/conf.h"
#include "base/err.h"

enum conf_type { CONF_IS_TEXT, CONF_IS_U32, CONF_IS_U64, CONF_IS_DOUBLE, CONF_IS_BOOL, CONF_IS_CHOICE };

/* A word and what it stands for. The first word of a value is its name, later ones are accepted too. A list
 * ends with a NULL name. */
struct conf_choice {
    const char *name;
    int value;
};

/* A further environment variable of an option. */
struct conf_variable {
    const char *name;
    bool by_kind; /* speaks of one kind of provider only, and is ignored for others */
    enum provider_kind kind;
};

enum conf_flag {
    CONF_SECRET = 1,    /* never shown in a message; also taken from NAME_FILE */
    CONF_ENV_ONLY = 2,  /* not in the file */
    CONF_FILE_ONLY = 4, /* not in the environment */
    CONF_GRAPHIC = 8    /* printable ASCII without spaces: it goes into a header of HTTP */
};

#define CONF_VARIABLES 3

struct conf_option {
    const char *section, *key;
    enum conf_type type;
    unsigned flags;
    size_t offset, size; /* of the member of struct conf */
    double min, max;     /* of numbers */
    const struct conf_choice *choices;
    const char *fallback; /* the default, as it would stand in the file; an empty number is NaN */
    const char *prefixes; /* texts: what they begin with, separated by blanks; NULL: anything */
    struct conf_variable variables[CONF_VARIABLES];
};

extern const struct conf_option conf_options[];
extern const size_t conf_options_n;

extern const struct conf_choice conf_priorities[], conf_providers[], conf_modes[], conf_policies[];

/* NULL when there is none. */
const struct conf_option *conf_option_find(const char *section, const char *key);
bool conf_section_exists(const char *section);

#define CONF_ENV_NAME_SIZE 64
/* CARPOOL_<SECTION>_<KEY> */
void conf_env_name(const struct conf_option *o, char ret_name[CONF_ENV_NAME_SIZE]);

/* The first name of value, or "" when the list has none. */
const char *conf_choice_name(const struct conf_choice *choices, int value);
/* Ignores case. ERR_INVAL. */
MUST_CHECK
int conf_choice_parse(const struct conf_choice *choices, const char *text, int *ret_value);

/* Checks text and stores it. where ("carpool.conf line 3", or a variable) begins the sentence of a refusal.
 */
MUST_CHECK
int conf_option_set(struct conf *c, const struct conf_option *o, const char *text, const char *where,
                    struct err *e);

/* o was set, by the file or the environment: a URL of Redis means that it is to be used, unless enabled was
 * set too. */
void conf_note_redis(struct conf *c, const struct conf_option *o);

/* Adds a line of [prices]; text is two numbers. */
MUST_CHECK
int conf_price_add(struct conf *c, const char *model, const char *text, const char *where, struct err *e);

/* conf_file.c: finds and reads the file, if there is one. */
MUST_CHECK
int conf_read_file(const char *file, struct conf *c, struct err *e);

/* conf_env.c: lays the environment over what the file said, and settles provider.kind and its key. */
MUST_CHECK
int conf_read_environment(struct conf *c, struct err *e);

#endif
