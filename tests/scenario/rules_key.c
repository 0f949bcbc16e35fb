/*
 * The rules for the provider key: it goes to hosts that it was given for, and no others, whatever the
 * settings did meanwhile; and where the key that was put is for the host, it is the one that goes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base_url.h"
#include "coordinator/keyfile.h"
#include "reach.h"
#include "upstream.h"
#include "world.h"

/* A key and a host that it was put for. */
struct given {
    char key[64], host[96];
};

void rules_key_given(struct world *w, const struct saved_key *key)
{
    if (!key->text[0])
        return;
    struct given *more = realloc(w->given, (w->given_n + 1) * sizeof(*more));
    if (!more)
        abort();
    w->given = more;
    struct given *g = &more[w->given_n++];
    snprintf(g->key, sizeof(g->key), "%.63s", key->text);
    snprintf(g->host, sizeof(g->host), "%.95s", key->host);
}

void rules_key_free(struct world *w)
{
    free(w->given);
    w->given = NULL;
    w->given_n = 0;
}

void rules_key_host(const struct call *call, char ret_host[CONF_TEXT])
{
    if (call->request.socket)
        snprintf(ret_host, CONF_TEXT, "unix:%s", call->request.socket);
    else
        base_url_host(call->request.url, ret_host);
}

/* Where the configuration's key is for. */
static void configured_host(const struct world *w, char ret_host[CONF_TEXT])
{
    static const char *const usual[] = {[PROVIDER_MOCK] = "",
                                        [PROVIDER_GEMINI] = "https://generativelanguage.googleapis.com",
                                        [PROVIDER_OPENAI] = "https://api.openai.com",
                                        [PROVIDER_MODEL_SERVICE] = "http://127.0.0.1:8001"};
    base_url_host(w->conf.provider.base_url[0] ? w->conf.provider.base_url : usual[w->conf.provider.kind],
                  ret_host);
}

static bool may_go(const struct world *w, const char *key, const char *host)
{
    char own[CONF_TEXT];
    configured_host(w, own);
    if (strcmp(key, w->conf.provider.api_key) == 0 && strcmp(host, own) == 0)
        return true;
    for (size_t i = 0; i < w->given_n; i++)
        if (strcmp(key, w->given[i].key) == 0 && strcmp(host, w->given[i].host) == 0)
            return true;
    return false;
}

void rules_key_sent(struct world *w, const struct call *call, const char *key)
{
    char host[CONF_TEXT];
    rules_key_host(call, host);
    if (!key[0])
        REACH("a call without a key");
    else if (!call->members[0]->submit.caller_key.p && !may_go(w, key, host))
        world_blame(w, "the key %s is sent to %s, for which it was not given", key, host);
}

bool rules_key_is_put(const struct world *w, const struct call *call, const struct saved_key *saved,
                      const char *key)
{
    enum provider_kind kind = call->provider->provider.kind;
    char host[CONF_TEXT], own[CONF_TEXT];
    rules_key_host(call, host);
    configured_host(w, own);
    const char *right = "";
    if (saved->text[0] && saved->kind == kind && strcmp(saved->host, host) == 0)
        right = saved->text;
    else if (kind == w->conf.provider.kind && strcmp(own, host) == 0)
        right = w->conf.provider.api_key;
    return strcmp(key, right) == 0;
}
