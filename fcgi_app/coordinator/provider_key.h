/*
 * Which provider key goes where. A key belongs to the provider and to the host (base/base_url.h) that it was
 * given for: one that was put through settings to those in force with that very change, the configuration's
 * to the configuration's own base_url, or the default of its provider. Whatever else moves base_url - another
 * change, another machine, a crash between two files, an edited carpool.conf - leaves the key behind.
 */
#ifndef CARPOOL_COORDINATOR_PROVIDER_KEY_H
#define CARPOOL_COORDINATOR_PROVIDER_KEY_H

#include "coordinator/change.h"

/* The settings in force, as settings_resolve(), and the key that goes with them; "": none does. Lends from
 * conf or saved. */
const char *provider_key_resolve(const struct conf *conf, const struct settings_patch *overrides,
                                 const struct saved_key *saved, struct settings *ret_settings);

/* At the start: c->saved_key, from a file of before keys had a host, gets that of the stored settings if they
 * were in force with it, in its file, too. Otherwise it stays without one, and is sent nowhere. */
MUST_CHECK
int provider_key_load(struct core *c, struct store_read *r, struct err *e);

/* The key that is put with a change, for the provider and the host in force with it. Fills change->saved_key.
 */
void provider_key_put(const struct core *c, struct settings_change *change);

/* Whether a change, worked out, moves the calls to another host without saying which key is for it; *ret_why
 * is the sentence. What other machines have put is not asked: this one goes without a key then. */
bool provider_key_left_behind(const struct core *c, const struct settings_change *change,
                              struct err *ret_why);

/* Settings have come into force for which the key that is here is not meant: /health says so until a call
 * works. */
void provider_key_look(struct core *c);

#endif
