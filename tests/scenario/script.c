/* Reads a script line by line and runs it; see script.h. */
#include "script.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "settle.h"

bool script_lenient;

void script_fail(struct script *s, const char *format, ...)
{
    va_list args;
    if (s->failed || (script_lenient && !s->at->fault[0]))
        return;
    s->failed = true;
    printf("FAIL %s:%u: ", s->file, s->line);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

uint64_t script_us(struct script *s, const char *text)
{
    static const struct {
        const char *name;
        double us;
    } units[] = {{"us", 1}, {"ms", 1e3}, {"s", 1e6}, {"m", 60e6}, {"h", 3600e6}};
    char *end;
    double number = strtod(text, &end);
    for (size_t i = 0; end != text && number >= 0 && i < ARRAY_LEN(units); i++)
        if (strcmp(end, units[i].name) == 0)
            return (uint64_t)(number * units[i].us + 0.5);
    script_fail(s, "\"%s\" is no time (20ms, 1.5s, …)", text);
    return 0;
}

const char *line_value(const struct line *l, const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i < l->n; i++)
        if (strncmp(l->words[i], key, n) == 0 && l->words[i][n] == '=')
            return l->words[i] + n + 1;
    return NULL;
}

bool line_has(const struct line *l, const char *word)
{
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->words[i], word) == 0)
            return true;
    return false;
}

/* Splits in place. Quotes of either kind keep what is between them together and go away: prompt="a b". */
static void split(struct script *s, char *at, struct line *ret_line)
{
    struct line l = {.rest = ""};
    for (;;) {
        while (isspace((unsigned char)*at))
            at++;
        if (!*at || *at == '#' || l.n == WORDS_MAX)
            break;
        char *to = at;
        char quote = 0;
        l.words[l.n++] = at;
        for (; *at && (quote || !isspace((unsigned char)*at)); at++) {
            if (quote ? *at == quote : *at == '"' || *at == '\'')
                quote = quote ? 0 : *at;
            else
                *to++ = *at;
        }
        if (quote)
            script_fail(s, "a quote is not closed");
        if (*at)
            at++;
        *to = 0;
    }
    *ret_line = l;
}

/* AT time [B] verb …: goes there first; B: the second machine. */
static void run_line(struct script *s, char *text)
{
    struct line l;
    char *copy = strdup(text);
    split(s, text, &l);
    if (l.n >= 2 && strcmp(l.words[0], "AT") == 0) {
        uint64_t at_us = script_us(s, l.words[1]);
        if (s->opened && at_us < world_time(s->at))
            script_fail(s, "the script is past %s already", l.words[1]);
        else if (s->opened)
            world_run(s->at, at_us);
        else if (at_us)
            script_fail(s, "the first event must be AT 0ms");
        memmove(l.words, l.words + 2, (l.n - 2) * sizeof(l.words[0]));
        l.n -= 2;
    }
    if (l.n && strcmp(l.words[0], "B") == 0) {
        memmove(l.words, l.words + 1, (l.n - 1) * sizeof(l.words[0]));
        l.n--;
        if (s->machines < 2 || !s->opened)
            script_fail(s, "there is no second machine; MACHINES 2 makes one");
        else
            s->at = s->world.twin;
    }
    const char *verb = l.n ? strstr(copy, l.words[0]) : NULL;
    if (verb)
        l.rest = verb + strlen(l.words[0]);
    if (l.n && !s->failed)
        verb_run(s, &l);
    if (s->opened && s->at->fault[0])
        script_fail(s, "a promise is broken %s", s->at->fault);
    s->at = &s->world;
    free(copy);
}

static void settle(struct script *s)
{
    settle_world(s->at);
    if (s->at->fault[0])
        script_fail(s, "in the end, a promise is broken %s", s->at->fault);
}

bool script_run(const char *file, uint64_t seed, bool verbose)
{
    struct script *s = calloc(1, sizeof(*s)); /* a world is large */
    char *text = NULL;
    size_t cap = 0;
    *s = (struct script){.file = file, .seed = seed, .verbose = verbose, .machines = 1};
    s->at = &s->world;
    buf_init(&s->config, 65536);
    FILE *f = fopen(file, "re");
    if (!f)
        script_fail(s, "the file cannot be opened");
    while (f && !s->failed && getline(&text, &cap, f) >= 0) {
        s->line++;
        run_line(s, text);
    }
    if (!s->failed && s->opened)
        settle(s);
    else if (!s->failed && !s->lived)
        script_fail(s, "the script does nothing");
    if (s->opened)
        world_close(s->at, !s->failed);
    bool ok = !s->failed;
    if (ok)
        printf("ok %s\n", file);
    if (f)
        fclose(f);
    free(text);
    buf_fini(&s->config);
    free(s);
    return ok;
}
