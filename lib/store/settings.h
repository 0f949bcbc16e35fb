/*
 * Settings: the part of the configuration that PUT /v1/settings can change while everything runs.
 *
 * The coordinator resolves configuration and stored overrides into one effective document and stores it with
 * a version; every process compares the version with its copy at the start of a request and reads the
 * document again when it moved. The provider key itself is never here: only its last four characters are.
 */
#ifndef CARPOOL_STORE_SETTINGS_H
#define CARPOOL_STORE_SETTINGS_H

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "base/conf.h"
#include "store/store.h"

#define SETTINGS_TOKENS_MAX     1000000
#define SETTINGS_LATENCY_MS_MAX 600000
#define SETTINGS_WINDOW_MS_MAX  60000
#define SETTINGS_BATCH_MAX      256
#define SETTINGS_KEY_MAX        500

/* The effective settings. Fixed size, so that a copy is a struct assignment. */
struct settings {
    uint64_t version; /* of the stored document; 0: none yet */
    enum provider_kind provider;
    enum provider_mode mode; /* never MODE_DEFAULT here */
    char model[CONF_TEXT];
    char base_url[CONF_TEXT];
    bool has_key;
    char key_last4[5]; /* empty: no key, or one so short (under 8) that 4 characters would give it away */
    struct conf_batch priority[PRIORITIES];
};

struct settings_priority_patch {
    bool has_tokens, has_latency_ms, has_window_ms, has_max_batch, has_policy;
    struct conf_batch value;
};

/*
 * What a PUT asks for: every member with whether it was given. The stored overrides are one too.
 *
 * A model and a base_url are made for one provider, so an override of them carries the provider that was in
 * force when settings_save() stored it (model_for, base_url_for). While another provider is in force it does
 * not count, and the next save forgets it. One that has just been put has none: it is for the provider that
 * is in force with this very patch. An empty model or base_url takes the override back.
 */
struct settings_patch {
    bool has_provider, has_model, has_base_url, has_api_key;
    enum provider_kind provider;
    char model[CONF_TEXT], base_url[CONF_TEXT], api_key[CONF_TEXT];
    bool has_model_for, has_base_url_for;
    enum provider_kind model_for, base_url_for;
    struct settings_priority_patch priority[PRIORITIES];
};

/*
 * From the body of a PUT (already parsed). Unknown keys, wrong types and values out of range: ERR_INVAL, *e
 * says which rule, ret_field (128 bytes) gets the dotted name of the field. JSON null is refused: it would
 * look saved. base_url is checked for its form (base/base_url.h) but not for permission to use http. An
 * api_key of "" takes the key back; one that begins with "***" is what GET shows, sent back by a page that
 * puts what it got, and counts as not given.
 */
MUST_CHECK
int settings_patch_parse(const cJSON *body, struct settings_patch *ret_patch, char ret_field[128],
                         struct err *e);

/* Overwrites its secret. */
void settings_patch_wipe(struct settings_patch *p);

/* Lays b over a: members that b has win. When b names another provider than a does, a's model and base_url
 * go, unless b brings its own. */
void settings_patch_merge(struct settings_patch *a, const struct settings_patch *b);

/* The patch as a PUT body, without api_key unless with_key. What is stored as overrides, and what travels on
 * the wire. */
void settings_patch_encode(struct buf *out, const struct settings_patch *p, bool with_key);

/* The provider in force: the overrides', else the configuration's, else gemini when there is a key (one put
 * without a provider while none was ever chosen), else mock. For whoever has to find out which key is the
 * right one: a key put for one provider must not be sent to another. */
enum provider_kind settings_provider(const struct conf *c, const struct settings_patch *overrides,
                                     bool has_key);

/*
 * The effective settings from configuration and overrides; key is the provider key in force (may be empty).
 * Model, base_url and mode come from the overrides (when they were made for this provider), else from the
 * configuration (when it is about this provider: it names it, or names none and the overrides do not either),
 * else from the defaults of the provider.
 */
void settings_resolve(const struct conf *c, const struct settings_patch *overrides, const char *key,
                      struct settings *ret_settings);

/* As settings_resolve() notes that this key is in force. */
void settings_set_key(struct settings *s, const char *key);

#define SETTINGS_KEY_SHOWN 8
/* "***" and the last four characters of the key, "***" alone for a short one, "" when there is none. */
void settings_show_key(const char *key, char ret_text[SETTINGS_KEY_SHOWN]);

/* The document of GET /v1/settings: api_key masked as "***" and its last four characters ("***" alone for a
 * short one, "" when there is none), high_priority, medium_priority, low_priority {tokens, latency_ms,
 * window_ms, max_batch, policy}, provider, model, base_url. */
void settings_encode(struct buf *out, const struct settings *s);

/* Stored version; 0 while nothing was stored. One lookup: the check at the start of each request. */
MUST_CHECK
int settings_version(struct store_read *r, uint64_t *ret_version, struct err *e);
/* ERR_NOT_FOUND while nothing was stored. */
MUST_CHECK
int settings_load(struct store_read *r, struct settings *ret_settings, struct err *e);
/* Nothing stored: an empty patch. */
MUST_CHECK
int settings_load_overrides(struct store_read *r, struct settings_patch *ret_patch, struct err *e);
/* Stores both (never the key) with version = stored version + 1 and sets effective->version to it, also when
 * the transaction fails later. effective is what settings_resolve() made of overrides. */
MUST_CHECK
int settings_save(struct store_write *w, const struct settings_patch *overrides, struct settings *effective,
                  struct err *e);

#endif
