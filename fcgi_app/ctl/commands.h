/*
 * All commands of carpoolctl: the table that main.c runs from, and what --help says of each group. A new
 * command is a line in the table, its group's help, and a function declared in ctl.h.
 */
#ifndef CARPOOL_CTL_COMMANDS_H
#define CARPOOL_CTL_COMMANDS_H

#include "ctl/ctl.h"

struct ctl_command {
    const char *group, *name; /* name "": the group is the command */
    unsigned takes;           /* enum arg */
    size_t words, more;       /* behind group and command: so many, and up to so many others */
    const char *usage;
    enum ctl_exit (*run)(struct ctl *t); /* NULL: doctor_run(), which needs nothing to be right before */
};

/* The command that the words name, with options that it takes. ERR_INVAL with a sentence. */
MUST_CHECK
int commands_find(const struct args *a, const struct ctl_command **ret_command, struct err *e);
/* Whether help was asked for (`help`, `help GROUP`, --help; --json for the table), which is then on standard
 * output; e->code is not 0 when it could not be given. */
bool commands_help(const struct args *a, struct err *e);

#endif
