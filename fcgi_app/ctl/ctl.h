/*
 * carpoolctl, the administrator's program: what its commands have in common. Each command group is a file of
 * its own; it reads the store as workers do, and changes it through the coordinator only.
 */
#ifndef CARPOOL_CTL_CTL_H
#define CARPOOL_CTL_CTL_H

#include "base/buf.h"
#include "client/link.h"
#include "ctl/args.h"
#include "store/audit.h"
#include "store/store.h"

#define CTL_PROGRAM "carpoolctl"

/* What the program exits with. Scripts rely on the numbers. */
enum ctl_exit {
    CTL_DONE = 0,
    CTL_FAILED = 1,     /* refused, or it could not be done; nothing was changed */
    CTL_USAGE = 2,      /* the command line is wrong */
    CTL_NOT_FOUND = 3,  /* there is no such key */
    CTL_UNCERTAIN = 4,  /* the coordinator went away: the change was made or not */
    CTL_DEGRADED = 5,   /* of status: it serves, and something that it needs is away, or it is leaving */
    CTL_DOWN = 6,       /* of status: prompts cannot be served */
    CTL_INTERRUPTED = 7 /* of submit, by a signal: the same command goes on */
};

struct ctl {
    const struct args *args;
    const struct conf *conf;
    struct link_host host;
    struct link link;
    struct store *store;             /* NULL: not opened, or there is none yet */
    bool keep_coordinator;           /* one that is started here stays */
    char actor[AUDIT_ACTOR_MAX + 1]; /* for the audit trail */
};

/* Says on standard error what is wrong, as one sentence, and gives the code back. */
enum ctl_exit ctl_say(enum ctl_exit code, const char *format, ...) PRINTF_LIKE(2, 3);
/* The bytes to standard output, unbuffered, so that no copy of a secret stays in memory. */
MUST_CHECK
int ctl_write(const void *bytes, size_t n);

/* ---- ask.c ---- */

MUST_CHECK
int ctl_init(struct ctl *t, const struct conf *conf, const struct args *args, struct err *e);
/* Closes what is open; a coordinator that was started for this alone leaves again (but keep_coordinator). */
void ctl_fini(struct ctl *t);
/* Whether this program has started the coordinator it is connected to. */
bool ctl_started_it(const struct ctl *t);
/* As root: turns into the owner of the storage directory, so that no file there becomes root's.
 * ERR_NOT_FOUND: there is none, or other things are in it; ERR_PERM: it is shut to this user. */
MUST_CHECK
int ctl_become_owner(const struct conf *conf, struct err *e);
/* As workers open it, should this program be the one that makes the lock file. */
struct store_options ctl_reader_options(const struct conf *conf);
/* A transaction on the newest state; *ret_read is NULL while no coordinator has made a store yet. */
MUST_CHECK
int ctl_read(struct ctl *t, struct store_read **ret_read, struct err *e);
/* Closes what ctl_read() has opened; its transactions must have ended. */
void ctl_close_store(struct ctl *t);
/* Asks for a change (etc/protocol.md: of keys, of settings) and waits until it is in force; says itself what
 * is wrong, and to look at what the command `look` shows when that is not known. A connection that breaks is
 * tried again: the document must bear that, and a create or rotate of a key that turns out to have been made
 * is done.
 */
enum ctl_exit ctl_change(struct ctl *t, enum wire_type type, struct slice document, const char *look);
/* All of a file, or of standard input (-). ERR_LIMIT: it is larger than out's ceiling. Blocks. */
MUST_CHECK
int ctl_read_file(const char *path, struct buf *out, struct err *e);
/* Overwrites the bytes and frees them. */
void ctl_wipe(struct buf *b);

/* ---- command groups, as commands.c lists them ---- */

/* key.c */
enum ctl_exit key_create(struct ctl *t);
enum ctl_exit key_list(struct ctl *t);
enum ctl_exit key_set(struct ctl *t);
enum ctl_exit key_rotate(struct ctl *t);
enum ctl_exit key_revoke(struct ctl *t);
/* key_copy.c */
enum ctl_exit key_export(struct ctl *t);
enum ctl_exit key_import(struct ctl *t);
/* status.c */
enum ctl_exit status_show(struct ctl *t);
/* coordinator.c */
enum ctl_exit coordinator_ensure(struct ctl *t);
enum ctl_exit coordinator_drain(struct ctl *t);
/* backup.c */
enum ctl_exit backup_make(struct ctl *t);
/* restore.c */
enum ctl_exit restore_run(struct ctl *t);
/* export.c */
enum ctl_exit export_run(struct ctl *t);
/* settings.c */
enum ctl_exit settings_get(struct ctl *t);
enum ctl_exit settings_set(struct ctl *t);
/* audit.c */
enum ctl_exit audit_show(struct ctl *t);
/* submit.c */
enum ctl_exit submit_file(struct ctl *t);
/* doctor.c. Reads the configuration into *conf itself, since what is wrong with it is a finding, too. */
enum ctl_exit doctor_run(const struct args *args, struct conf *conf);

#endif
