/* Settings and the provider they put in force; see control.h. */
#include "coordinator/control.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/base_url.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/redact.h"
#include "coordinator/change.h"
#include "coordinator/guard.h"
#include "coordinator/probe.h"
#include "coordinator/provider_key.h"
#include "coordinator/record.h"
#include "coordinator/refusal.h"
#include "coordinator/trail.h"
#include "store/meta.h"
#include "json/read.h"

struct provider_ref *provider_ref_take(struct provider_ref *p)
{
    p->refs++;
    return p;
}

void provider_ref_drop(struct provider_ref *p)
{
    if (!p || --p->refs)
        return;
    sodium_memzero(p->key, sizeof(p->key));
    free(p);
}

static struct provider_ref *provider_ref_new(const struct core *c, const struct settings *s, const char *key)
{
    struct provider_ref *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->refs = 1;
    p->mode = s->mode;
    const struct provider_ref *old = c->provider;
    bool same = old && old->provider.kind == s->provider && strcmp(old->base_url, s->base_url) == 0 &&
                strcmp(old->key, key) == 0;
    p->endpoint = old ? old->endpoint + !same : 1;
    p->array_missing_until_us = same ? old->array_missing_until_us : 0;
    p->logprobs_missing_until_us = same ? old->logprobs_missing_until_us : 0;
    strcpy(p->base_url, s->base_url);
    strcpy(p->model, s->model);
    strcpy(p->key, key);
    redact_remember(slice_of(key));
    redact_remember(slice_of(s->base_url));
    p->provider = (struct provider){.kind = s->provider,
                                    .base_url = p->base_url,
                                    .model = p->model,
                                    .api_key = p->key,
                                    .context_tokens = c->conf->provider.context_tokens};
    return p;
}

static struct batcher_config batcher_config(const struct core *c, const struct settings *s)
{
    struct batcher_config b = {
        .slots = c->conf->provider.max_concurrency,
        .queue_max = c->conf->limits.queue_max,
        .tenant_share = c->conf->limits.tenant_share,
        .tokens_max = c->conf->provider.context_tokens,
        .flush_when_all_wait = c->conf->batch.flush_when_all_wait,
    };
    for (int p = 0; p < PRIORITIES; p++)
        b.priority[p] = (struct batch_policy_config){.window_us = s->priority[p].window_ms * US_PER_MS,
                                                     .max_batch = s->priority[p].max_batch,
                                                     .adaptive = s->priority[p].policy == POLICY_ADAPTIVE};
    return b;
}

/* Plain http carries prompts and keys in the open: to this machine only, or where the configuration file
 * allows it. */
static bool url_allowed(const struct core *c, const char *url)
{
    return strncmp(url, "http://", 7) != 0 || c->conf->provider.allow_http || base_url_is_local(url);
}

int control_init(struct core *c, struct store_read *r, const struct saved_key *saved_key, struct err *e)
{
    char position[META_POSITION_SIZE];
    int rc = settings_load_overrides(r, &c->overrides, e);
    if (rc < 0 && rc != ERR_NOT_FOUND)
        return rc;
    rc = meta_shared(r, position, &c->shared.settings_version, e);
    if (rc < 0)
        return rc;
    c->saved_key = *saved_key;
    rc = provider_key_load(c, r, e);
    if (rc < 0)
        return rc;
    const char *key = provider_key_resolve(c->conf, &c->overrides, &c->saved_key, &c->settings);
    const char *url = c->settings.base_url;
    if (url[0] && (!base_url_valid(url) || !url_allowed(c, url)))
        return err_set(e, ERR_INVAL,
                       "provider.base_url \"%s\" cannot be used: it must be https://host/…, or http:// to "
                       "this machine; plain http to "
                       "another needs allow_http in section [provider] of carpool.conf.",
                       url);
    c->provider = provider_ref_new(c, &c->settings, key);
    struct batcher_config config = batcher_config(c, &c->settings);
    if (!c->provider || batcher_new(&config, &c->batcher) < 0)
        return err_set(e, ERR_NOMEM, "Not enough memory to start.");
    provider_key_look(c);
    return 0;
}

static void settings_published(struct core *c, struct commit_op *op, uint64_t now_us)
{
    (void)now_us;
    if (op->rc == 0)
        c->settings.version = op->settings->version;
}

struct commit_op *control_publish(struct core *c)
{
    struct commit_op *op = commit_op_new(0, 0, settings_published);
    if (!op)
        return NULL;
    op->overrides = malloc(sizeof(*op->overrides));
    op->settings = malloc(sizeof(*op->settings));
    if (!op->overrides || !op->settings) {
        commit_op_free(op);
        return NULL;
    }
    *op->overrides = c->overrides;
    *op->settings = c->settings;
    return op;
}

void change_free(struct settings_change *change)
{
    if (!change)
        return;
    list_remove(&change->node);
    settings_patch_wipe(&change->patch);
    settings_patch_wipe(&change->overrides);
    sodium_memzero(&change->saved_key, sizeof(change->saved_key));
    provider_ref_drop(change->provider);
    free(change);
}

void control_forget_link(struct core *c, struct core_link *l)
{
    list_for_each (it, &c->changes) {
        struct settings_change *change = LIST_ENTRY(it, struct settings_change, node);
        if (change->link == l)
            change->link = NULL;
    }
}

void control_fini(struct core *c)
{
    list_for_each_safe (it, next, &c->stuck_ops) {
        struct commit_op *op = LIST_ENTRY(it, struct commit_op, node);
        list_remove(it);
        commit_op_free(op);
    }
    list_for_each_safe (it, next, &c->changes)
        change_free(LIST_ENTRY(it, struct settings_change, node));
    agree_fini(c);
    batcher_free(c->batcher);
    provider_ref_drop(c->provider);
    sodium_memzero(&c->saved_key, sizeof(c->saved_key));
}

void change_refuse(struct core *c, struct settings_change *change, enum refusal why)
{
    if (change->link)
        core_refuse(c, change->link, change->id, refusal_get(why));
}

void change_drop_key(struct core *c, const struct settings_change *change)
{
    if (change->patch.has_api_key)
        c->ports.key_settle(c->ports.arg, &change->saved_key, false);
}

void change_end(struct core *c, struct settings_change *change)
{
    change_free(change);
    change_start(c);
}

static void settings_changed(struct core *c, struct commit_op *op, uint64_t now_us)
{
    struct settings_change *change = op->owner;
    /* Once fenced, what is prepared is the successor's: it dropped ours when it started. */
    if (change->patch.has_api_key && op->rc != ERR_FENCED)
        c->ports.key_settle(c->ports.arg, &change->saved_key, op->rc == 0);
    if (op->rc < 0)
        change_refuse(c, change, REFUSAL_STORE_DOWN);
    if (op->rc < 0 && change->shared_version && op->rc != ERR_FENCED) {
        agree_again(c, change);
        change_start(c);
        return;
    }
    if (op->rc == 0) {
        if (change->shared_version)
            agree_reached(c, change->shared_version);
        c->overrides = change->overrides;
        c->settings = *op->settings;
        bool other = change->provider->endpoint != c->provider->endpoint;
        provider_ref_drop(c->provider);
        c->provider = provider_ref_take(change->provider);
        c->saved_key = change->saved_key;
        if (other)
            guard_reset(c, now_us);
        probe_soon(c);
        bool said = change->patch.has_api_key; /* then it is what the administrator wants */
        c->provider_fault.code = 0;
        if (other || said)
            c->key_fault.code = 0;
        if (other && !said)
            provider_key_look(c);
        struct batcher_config config = batcher_config(c, &c->settings);
        batcher_configure(c->batcher, &config);
        if (change->link)
            core_answer_done(c, change->link, change->id);
    }
    change_end(c, change);
}

static void refuse_setting(struct core *c, const struct settings_change *change, uint16_t status,
                           const char *field, const char *message)
{
    struct wire_refusal r = {.status = status,
                             .error_type = slice_of(status == 400 ? "validation_error" : "unavailable_error"),
                             .error_code = slice_of(status == 400 ? "INVALID_SETTING" : "SETTINGS_NOT_SAVED"),
                             .message = slice_of(message),
                             .field = slice_of(field)};
    if (change->link)
        core_refuse(c, change->link, change->id, &r);
}

/* Works out what the patch leads to; false after refusing. */
static bool prepare_change(struct core *c, struct settings_change *change)
{
    struct err e = {0};
    const struct settings_patch *patch = &change->patch;
    change->overrides = c->overrides;
    if (change->whole)
        change->overrides = *patch;
    else
        settings_patch_merge(&change->overrides, patch);
    provider_ref_drop(change->provider);
    change->provider = NULL;
    settings_patch_wipe(&change->overrides); /* the key goes into its file */
    change->saved_key = c->saved_key;
    if (patch->has_api_key)
        provider_key_put(c, change);
    const char *key =
        provider_key_resolve(c->conf, &change->overrides, &change->saved_key, &change->settings);
    change->provider = provider_ref_new(c, &change->settings, key);
    if (!change->provider)
        change_refuse(c, change, REFUSAL_NO_MEMORY);
    else if (!provider_model_ok(change->settings.provider, slice_of(change->settings.model)))
        refuse_setting(c, change, 400, "model",
                       "gemini takes model names of A-Z a-z 0-9 . _ - / only, such as gemini-2.0-flash.");
    else if (!url_allowed(c, change->settings.base_url))
        refuse_setting(c, change, 400, "base_url",
                       "Plain http is allowed to this machine only; use https, or set provider.allow_http in "
                       "carpool.conf.");
    else if (provider_key_left_behind(c, change, &e))
        refuse_setting(c, change, 400, "base_url", e.text);
    else if (patch->has_api_key && c->ports.key_prepare(c->ports.arg, &change->saved_key, &e) < 0)
        refuse_setting(c, change, 503, "api_key", e.text);
    else
        return true;
    return false;
}

static struct commit_op *change_op(const struct core *c, const struct settings_change *change)
{
    struct commit_op *op = commit_op_new(0, 0, settings_changed);
    if (op) {
        op->overrides = malloc(sizeof(*op->overrides));
        op->settings = malloc(sizeof(*op->settings));
    }
    if (!op || !op->overrides || !op->settings) {
        commit_op_free(op);
        return NULL;
    }
    *op->overrides = change->overrides;
    *op->settings = change->settings;
    /* Also of those that say nothing of the machines: a failed commit may have left a later one on the disk.
     */
    op->shared_version = change->shared_version ? change->shared_version : c->shared.settings_version;
    if (trail_settings(c, change, &op->audit) == 0)
        return op;
    commit_op_free(op);
    return NULL;
}

void change_commit(struct core *c, struct settings_change *change)
{
    struct commit_op *op = change_op(c, change);
    if (op) {
        change->state = CHANGE_COMMITTING;
        op->owner = change;
        core_commit(c, op);
        return;
    }
    change_drop_key(c, change);
    change_refuse(c, change, REFUSAL_NO_MEMORY);
    if (change->shared_version) {
        agree_again(c, change);
        change_start(c);
    } else
        change_end(c, change);
}

/* Those that cannot be made are refused on the way. */
void change_start(struct core *c)
{
    while (!list_empty(&c->changes) && !c->fenced) {
        struct settings_change *change = LIST_ENTRY(list_first(&c->changes), struct settings_change, node);
        if (change->state != CHANGE_NEW)
            return;
        if (change->whole && change->shared_version <= c->shared.settings_version) {
            change_free(change); /* a later one is in force already */
            continue;
        }
        if (prepare_change(c, change)) {
            if (c->shared.reach == SHARED_OFF || agree_begin(c, change) == AGREEMENT_GO)
                change_commit(c, change);
            return;
        }
        if (change->whole && !change->provider) { /* there was no memory */
            agree_again(c, change);
            continue;
        }
        if (change->whole) {
            log_error("The settings that another machine has put cannot be in force on this one.");
            agree_reached(c, change->shared_version);
        }
        change_free(change);
    }
}

int control_settings_put(struct core *c, struct core_link *l, const struct wire_frame *frame)
{
    cJSON *body;
    char field[128] = "";
    struct err e = {0};
    struct wire_change m;
    if (wire_change_decode(frame->payload, &m) < 0 || m.actor.n > AUDIT_ACTOR_MAX)
        return ERR_INVAL;
    struct settings_change *change = calloc(1, sizeof(*change));
    int rc = change ? json_parse(m.document, &body, &e) : ERR_NOMEM;
    if (rc < 0) {
        free(change);
        if (rc == ERR_NOMEM)
            core_refuse(c, l, frame->id, refusal_get(REFUSAL_NO_MEMORY));
        return rc == ERR_NOMEM ? 0 : rc;
    }
    list_init(&change->node);
    change->link = l;
    change->id = frame->id;
    memcpy(change->actor, m.actor.p, m.actor.n);
    rc = settings_patch_parse(body, &change->patch, field, &e);
    cJSON_Delete(body);
    if (rc < 0) {
        refuse_setting(c, change, 400, field, e.text);
        change_free(change);
        return 0;
    }
    list_append(&c->changes, &change->node);
    change_start(c);
    return 0;
}
