/*
 * A change of settings on its way, for control.c (what it leads to, and how it becomes durable) and agree.c
 * (how several machines agree on it) only.
 */
#ifndef CARPOOL_COORDINATOR_CHANGE_H
#define CARPOOL_COORDINATOR_CHANGE_H

#include "coordinator/core.h"
#include "coordinator/refusal.h"

enum change_state {
    CHANGE_NEW,
    CHANGE_ASKING,    /* at the server that the machines share */
    CHANGE_WAITING,   /* another machine was faster: for what that has put */
    CHANGE_COMMITTING /* on its way to the disk */
};

/* Changes are made one after the other, each from what the one before left in force. */
struct settings_change {
    struct list node;       /* in core.changes */
    struct core_link *link; /* who asked; NULL once it is gone, or nobody did */
    uint64_t id;
    enum change_state state;
    bool keyless; /* without the key that it came with, if it did: here before, and lost since */
    char actor[AUDIT_ACTOR_MAX + 1];
    bool whole;              /* another machine's: the patch is all that is put */
    uint64_t shared_version; /* what the machines call it; 0: it is this machine's alone */
    unsigned tries;
    uint64_t waiting_us;         /* since when */
    struct settings_patch patch; /* as it was asked for */
    struct settings_patch overrides;
    struct settings settings;
    struct saved_key saved_key;
    struct provider_ref *provider;
};

/* control.c */
/* Begins the first of the changes, if nothing of it has begun. */
void change_start(struct core *c);
/* On its way to the disk; without memory it is refused, and ends. */
void change_commit(struct core *c, struct settings_change *change);
void change_refuse(struct core *c, struct settings_change *change, enum refusal why);
/* The key that it came with is not kept. */
void change_drop_key(struct core *c, const struct settings_change *change);
/* Done with it, refused before; the next one begins. */
void change_end(struct core *c, struct settings_change *change);
void change_free(struct settings_change *change);

/* agree.c */
/* What a change means for the machines: GO: it may be made durable here; LATER: it has been asked about, or
 * refused and ended. */
enum agreement { AGREEMENT_GO, AGREEMENT_LATER };
enum agreement agree_begin(struct core *c, struct settings_change *change);
/* What the machines have put is in force here, in that version; or it never can be. */
void agree_reached(struct core *c, uint64_t version);
/* A change that the machines have agreed on could not be made durable here: tried again with the next
 * housekeeping, for nobody. Takes it. */
void agree_again(struct core *c, struct settings_change *change);

#endif
