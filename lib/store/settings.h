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

/* The effective settings. Fixed size, so that a copy is a struct assignment. */
struct settings {
    uint64_t version; /* of the stored document; 0: none yet */
    enum provider_kind provider;
    enum provider_mode mode; /* never MODE_DEFAULT here */
    char model[CONF_TEXT];
    char base_url[CONF_TEXT];
    char key_last4[5]; /* empty: no key */
    struct conf_batch priority[PRIORITIES];
};

/* What a PUT asks for: every member with whether it was given. */
struct settings_patch {
    bool has_provider, has_model, has_base_url, has_api_key;
    enum provider_kind provider;
    char model[CONF_TEXT], base_url[CONF_TEXT], api_key[CONF_TEXT];
    struct {
        bool has_tokens, has_latency_ms, has_window_ms, has_max_batch, has_policy;
        struct conf_batch value;
    } priority[PRIORITIES];
};

/* From the body of a PUT (already parsed). Unknown keys, wrong types and values out of range: ERR_INVAL, *e
 * says which rule, ret_field (128 bytes) gets the dotted name of the field. base_url is checked for its form
 * (http or https, a host, no user info, no query) but not for permission to use http. */
MUST_CHECK
int settings_patch_parse(const cJSON *body, struct settings_patch *ret_patch, char ret_field[128],
                         struct err *e);
/* Overwrites its secret. */
void settings_patch_wipe(struct settings_patch *p);

/* Lays b over a: members that b has win. */
void settings_patch_merge(struct settings_patch *a, const struct settings_patch *b);

/* The patch as a PUT body, without api_key unless with_key. What is stored as overrides, and what travels on
 * the wire. */
void settings_patch_encode(struct buf *out, const struct settings_patch *p, bool with_key);

/* The effective settings from configuration and overrides; key is the provider key in force (may be empty).
 * Defaults of model and base_url by kind; mode by kind when the configuration does not say. A key put without
 * provider while none was ever chosen selects gemini. */
void settings_resolve(const struct conf *c, const struct settings_patch *overrides, const char *key,
                      struct settings *ret_settings);

/* The document of GET /v1/settings: api_key masked as "***" and its last four characters ("" when there is
 * none), high_priority, medium_priority, low_priority {tokens, latency_ms, window_ms, max_batch, policy},
 * provider, model, base_url. */
void settings_encode(struct buf *out, const struct settings *s);

/* Stored version; 0 while nothing was stored. One lookup: the check at the start of each request. */
MUST_CHECK
int settings_version(struct store_read *r, uint64_t *ret_version, struct err *e);
MUST_CHECK
int settings_load(struct store_read *r, struct settings *ret_settings, struct err *e);
MUST_CHECK
int settings_load_overrides(struct store_read *r, struct settings_patch *ret_patch, struct err *e);
/* Stores both with version = stored version + 1 and sets effective->version to it. */
MUST_CHECK
int settings_save(struct store_write *w, const struct settings_patch *overrides, struct settings *effective,
                  struct err *e);

#endif
