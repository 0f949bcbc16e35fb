/* Which provider key goes where; see provider_key.h. */
#include "coordinator/provider_key.h"

#include <string.h>

#include "base/base_url.h"
#include "base/log.h"

/* The one host that the configuration's key is for. */
static void configured_host(const struct conf *conf, char ret_host[CONF_TEXT])
{
    static const struct settings_patch none;
    struct settings own;
    settings_resolve(conf, &none, conf->provider.api_key, &own);
    base_url_host(own.base_url, ret_host);
}

static bool is_put_for(const struct saved_key *saved, enum provider_kind kind)
{
    return saved->text[0] && saved->kind == kind;
}

static bool is_configured_for(const struct conf *conf, enum provider_kind kind)
{
    return conf->provider.api_key[0] && conf->provider.kind == kind;
}

static const char *key_for(const struct conf *conf, const struct saved_key *saved, const struct settings *s)
{
    char host[CONF_TEXT], own[CONF_TEXT];
    base_url_host(s->base_url, host);
    if (is_put_for(saved, s->provider) && (host[0] || s->provider == PROVIDER_MOCK) &&
        strcmp(saved->host, host) == 0)
        return saved->text;
    if (!is_configured_for(conf, s->provider) || !host[0])
        return "";
    configured_host(conf, own);
    return strcmp(own, host) == 0 ? conf->provider.api_key : "";
}

const char *provider_key_resolve(const struct conf *conf, const struct settings_patch *overrides,
                                 const struct saved_key *saved, struct settings *ret_settings)
{
    enum provider_kind kind = settings_provider(conf, overrides, saved->text[0] != 0);
    /* That there is a key may choose the provider, wherever the key may go. */
    settings_resolve(conf, overrides,
                     is_put_for(saved, kind)         ? saved->text
                     : is_configured_for(conf, kind) ? conf->provider.api_key
                                                     : "",
                     ret_settings);
    const char *key = key_for(conf, saved, ret_settings);
    settings_set_key(ret_settings, key);
    return key;
}

/* Whether there is a key of that provider, but for another host, and none for this one; why: the first half
 * of a sentence. */
static bool is_elsewhere(const struct conf *conf, const struct saved_key *saved, const struct settings *s,
                         struct err *ret_why)
{
    char host[CONF_TEXT];
    if (s->provider == PROVIDER_MOCK || key_for(conf, saved, s)[0])
        return false;
    if (is_put_for(saved, s->provider) && saved->host[0])
        err_set(ret_why, ERR_PERM, "The provider key was put for %s", saved->host);
    else if (is_put_for(saved, s->provider))
        err_set(ret_why, ERR_PERM,
                "The provider key was put by an earlier version, which did not note for which host");
    else if (is_configured_for(conf, s->provider)) {
        configured_host(conf, host);
        err_set(ret_why, ERR_PERM, "The provider key of the configuration is for %s", host);
    } else
        return false;
    return true;
}

/* A key from a file of before keys had a host gets that of the settings before, if they were in force with
 * it: it has been sent there. */
static bool bind(struct saved_key *saved, const struct settings *before)
{
    struct settings with = *before;
    settings_set_key(&with, saved->text);
    if (!before->has_key || before->provider != saved->kind || !before->key_last4[0] ||
        strcmp(before->key_last4, with.key_last4) != 0)
        return false;
    base_url_host(before->base_url, saved->host);
    saved->hostless = !saved->host[0];
    return !saved->hostless;
}

void provider_key_look(struct core *c)
{
    struct err why;
    if (!is_elsewhere(c->conf, &c->saved_key, &c->settings, &why))
        return;
    err_set(&c->key_fault, ERR_PERM,
            "%s, and is not sent to %s, which needs one of its own: PUT /v1/settings with api_key.", why.text,
            c->settings.base_url);
    log_warning("%s", c->key_fault.text);
}

int provider_key_load(struct core *c, struct store_read *r, struct err *e)
{
    struct settings before = {0};
    struct err why = {0};
    if (!c->saved_key.hostless)
        return 0;
    int rc = settings_load(r, &before, e);
    if (rc < 0 && rc != ERR_NOT_FOUND)
        return rc;
    if (rc < 0 || !bind(&c->saved_key, &before))
        return 0;
    if (c->ports.key_prepare(c->ports.arg, &c->saved_key, &why) < 0)
        log_warning("The host of the provider key cannot be noted: %s", why.text);
    else
        c->ports.key_settle(c->ports.arg, &c->saved_key, true);
    return 0;
}

void provider_key_put(const struct core *c, struct settings_change *change)
{
    struct saved_key *key = &change->saved_key;
    *key = (struct saved_key){0};
    strcpy(key->text, change->patch.api_key);
    key->kind = settings_provider(c->conf, &change->overrides, key->text[0] != 0);
    settings_resolve(c->conf, &change->overrides, key->text, &change->settings);
    base_url_host(change->settings.base_url, key->host);
}

bool provider_key_left_behind(const struct core *c, const struct settings_change *change, struct err *ret_why)
{
    const struct settings *s = &change->settings;
    char before[CONF_TEXT], now[CONF_TEXT];
    struct err why;
    base_url_host(c->settings.base_url, before);
    base_url_host(s->base_url, now);
    if (change->whole || change->keyless || change->patch.has_api_key ||
        (s->provider == c->settings.provider && strcmp(before, now) == 0) ||
        !is_elsewhere(c->conf, &change->saved_key, s, &why))
        return false;
    err_set(ret_why, ERR_INVAL,
            "%s; send api_key together with base_url (an empty one for a server that needs none).", why.text);
    return true;
}
