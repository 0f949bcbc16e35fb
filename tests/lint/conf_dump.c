/*
 * For conf.sh beside it. Without arguments, prints "[section] key = default" for every option of the table,
 * in its order. With arguments, loads each as a configuration file and fails when one is refused.
 */
#include <stdio.h>

#include "base/conf.h"

static struct conf conf;

static void print(void *arg, const char *section, const char *key, const char *env, const char *fallback)
{
    (void)arg;
    (void)env;
    printf("[%s] %s =%s%s\n", section, key, *fallback ? " " : "", fallback);
}

int main(int argc, char **argv)
{
    struct err e;
    for (int i = 1; i < argc; i++)
        if (conf_load(argv[i], &conf, &e)) {
            fprintf(stderr, "%s\n", e.text);
            return 1;
        }
    if (argc == 1)
        conf_describe(print, NULL);
    return 0;
}
