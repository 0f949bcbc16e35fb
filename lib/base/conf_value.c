/* Checking and storing the text of one value; see conf_table.h. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/conf_table.h"
#include "base/utf8.h"

/* How much of a refused value a message shows. */
#define SHOWN_BYTES 80

#define USD_MAX 1e6 /* per million tokens */

/* enum members of struct conf are stored as int. */
_Static_assert(sizeof(enum provider_kind) == sizeof(int) && sizeof(enum auth_required) == sizeof(int) &&
                   sizeof(enum batch_policy) == sizeof(int),
               "enums are as large as int");

static int refuse(const struct conf_option *o, const char *text, const char *where, struct err *e,
                  const char *rule, ...) PRINTF_LIKE(5, 6);

static int refuse(const struct conf_option *o, const char *text, const char *where, struct err *e,
                  const char *rule, ...)
{
    char words[200];
    va_list args;
    va_start(args, rule);
    vsnprintf(words, sizeof(words), rule, args);
    va_end(args);
    if (o->flags & CONF_SECRET)
        return err_set(e, ERR_INVAL, "%s: %s.%s must be %s.", where, o->section, o->key, words);
    struct slice shown = slice_of(text);
    shown.n = utf8_valid_prefix(shown);
    shown = utf8_truncate(shown, SHOWN_BYTES);
    return err_set(e, ERR_INVAL, "%s: %s.%s must be %s, not \"%.*s\".", where, o->section, o->key, words,
                   (int)shown.n, shown.p);
}

static bool printable(const char *text)
{
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return false;
    return utf8_valid_prefix(slice_of(text)) == strlen(text);
}

static bool graphic(const char *text)
{
    for (const char *p = text; *p; p++)
        if (*p <= 0x20 || *p >= 0x7f)
            return false;
    return true;
}

/* prefixes is a list of alternatives, separated by blanks. */
static bool begins_with(const char *text, const char *prefixes)
{
    for (const char *p = prefixes; *p; p += strspn(p, " ")) {
        size_t n = strcspn(p, " ");
        if (strncmp(text, p, n) == 0)
            return true;
        p += n;
    }
    return false;
}

/* "a, b or c": the first word of each value. */
static void list_choices(const struct conf_choice *choices, char *ret_text, size_t size)
{
    size_t n = 0;
    ret_text[0] = 0;
    for (const struct conf_choice *c = choices; c->name; c++) {
        if (conf_choice_name(choices, c->value) != c->name || n >= size)
            continue;
        bool last = true;
        for (const struct conf_choice *d = c + 1; d->name; d++)
            last = last && conf_choice_name(choices, d->value) != d->name;
        n += (size_t)snprintf(ret_text + n, size - n, "%s%s", n == 0 ? "" : last ? " or " : ", ", c->name);
    }
}

static int set_choice(void *member, const struct conf_option *o, const char *text, const char *where,
                      struct err *e)
{
    int value = 0;
    if (conf_choice_parse(o->choices, text, &value)) {
        char words[160];
        list_choices(o->choices, words, sizeof(words));
        return refuse(o, text, where, e, "%s", words);
    }
    if (o->type == CONF_IS_BOOL)
        *(bool *)member = value != 0;
    else if (o->type == CONF_IS_CHOICE)
        *(int *)member = value;
    else
        snprintf(member, o->size, "%s", conf_choice_name(o->choices, value));
    return 0;
}

static int set_text(void *member, const struct conf_option *o, const char *text, const char *where,
                    struct err *e)
{
    if (!printable(text))
        return refuse(o, "…", where, e, "text in UTF-8 without control characters");
    if (o->flags & CONF_GRAPHIC && !graphic(text))
        return refuse(o, text, where, e, "printable ASCII characters without spaces");
    if (strlen(text) >= o->size)
        return refuse(o, text, where, e, "at most %zu bytes long", o->size - 1);
    if (*text && o->prefixes && !begins_with(text, o->prefixes))
        return refuse(o, text, where, e, "a text that begins with %s%s",
                      strchr(o->prefixes, ' ') ? "one of " : "", o->prefixes);
    memset(member, 0, o->size);
    memcpy(member, text, strlen(text));
    return 0;
}

static int set_whole(void *member, const struct conf_option *o, const char *text, const char *where,
                     struct err *e)
{
    char *end = NULL;
    errno = 0;
    unsigned long long value = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    if (!end || *end || errno || (double)value < o->min || (double)value > o->max)
        return refuse(o, text, where, e, "a whole number from %.0f to %.0f", o->min, o->max);
    if (o->type == CONF_IS_U32)
        *(uint32_t *)member = (uint32_t)value;
    else
        *(uint64_t *)member = value;
    return 0;
}

/* A plain decimal number; none of strtod's hexadecimal, "inf" or "nan". */
static bool parse_real(const char *text, const char **ret_end, double *ret_value)
{
    char *end;
    size_t n = strspn(text, "0123456789.eE+-");
    if (n == 0 || n > 40 || !strpbrk(text, "0123456789"))
        return false;
    double value = strtod(text, &end);
    if (end != text + n || !isfinite(value))
        return false;
    *ret_end = end;
    *ret_value = value;
    return true;
}

static int set_real(void *member, const struct conf_option *o, const char *text, const char *where,
                    struct err *e)
{
    const char *end = "";
    double value = NAN;
    bool unset = !*text && !*o->fallback;
    if (!unset && (!parse_real(text, &end, &value) || *end || value < o->min || value > o->max))
        return refuse(o, text, where, e, "a number from %g to %g", o->min, o->max);
    *(double *)member = value;
    return 0;
}

int conf_option_set(struct conf *c, const struct conf_option *o, const char *text, const char *where,
                    struct err *e)
{
    void *member = (char *)c + o->offset;
    if (o->choices)
        return set_choice(member, o, text, where, e);
    switch (o->type) {
    case CONF_IS_U32:
    case CONF_IS_U64:
        return set_whole(member, o, text, where, e);
    case CONF_IS_DOUBLE:
        return set_real(member, o, text, where, e);
    default:
        return set_text(member, o, text, where, e);
    }
}

void conf_note_redis(struct conf *c, const struct conf_option *o)
{
    if (o->offset == offsetof(struct conf, redis.enabled))
        c->redis.enabled_chosen = true;
    else if (o->offset == offsetof(struct conf, redis.url) && c->redis.url[0] && !c->redis.enabled_chosen)
        c->redis.enabled = true;
}

static bool parse_price(const char *text, double *ret_in, double *ret_out)
{
    const char *at;
    double in, out;
    if (!parse_real(text, &at, &in) || (*at != ' ' && *at != '\t'))
        return false;
    at += strspn(at, " \t");
    if (!parse_real(at, &at, &out) || *at || in < 0 || out < 0 || in > USD_MAX || out > USD_MAX)
        return false;
    *ret_in = in;
    *ret_out = out;
    return true;
}

int conf_price_add(struct conf *c, const char *model, const char *text, const char *where, struct err *e)
{
    struct conf_price *p = &c->prices[c->prices_n];
    double in, out;
    if (c->prices_n == CONF_PRICES_MAX)
        return err_set(e, ERR_LIMIT, "%s: [prices] holds at most %d models.", where, CONF_PRICES_MAX);
    if (!*model || strlen(model) >= sizeof(p->model) || !printable(model))
        return err_set(e, ERR_INVAL, "%s: the name of a model in [prices] must be 1 to %zu bytes of UTF-8.",
                       where, sizeof(p->model) - 1);
    for (size_t i = 0; i < c->prices_n; i++)
        if (strcmp(c->prices[i].model, model) == 0)
            return err_set(e, ERR_INVAL, "%s: [prices] names %s twice.", where, model);
    if (!parse_price(text, &in, &out))
        return err_set(
            e, ERR_INVAL,
            "%s: the price of %s must be two numbers from 0 to %.0f, USD per million tokens in and "
            "out, such as \"0.15 0.60\", not \"%.80s\".",
            where, model, USD_MAX, text);
    memset(p, 0, sizeof(*p));
    strcpy(p->model, model);
    p->usd_in = in;
    p->usd_out = out;
    c->prices_n++;
    return 0;
}
