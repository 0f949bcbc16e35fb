/*
 * How several machines agree on settings: a change is put at the server that they share, based on the version
 * in force here, and made durable here once that has taken it. Whoever is later makes the change again on top
 * of what was put before. The provider key never leaves this machine: each has its own.
 */
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "coordinator/change.h"
#include "coordinator/control.h"
#include "coordinator/machines.h"
#include "json/read.h"

#define TRIES_MAX    8
#define DOCUMENT_MAX (64u << 10)
#define WAIT_MAX_US  (3 * US_PER_S) /* for what the faster machine has put */

/* A change at the server. */
struct putting {
    struct shared_settings_put put;
    struct settings_change *change;
    struct buf document;
};

static bool changes_overrides(const struct settings_patch *p)
{
    bool any = p->has_provider || p->has_model || p->has_base_url;
    for (int i = 0; i < PRIORITIES; i++) {
        const struct settings_priority_patch *of = &p->priority[i];
        any |=
            of->has_tokens || of->has_latency_ms || of->has_window_ms || of->has_max_batch || of->has_policy;
    }
    return any;
}

/* All that is put, for the provider that is in force with it: as settings_save() stores it. */
static void write_document(struct buf *out, const struct settings_change *change)
{
    struct settings_patch p = change->overrides;
    enum provider_kind provider = change->settings.provider;
    p.has_model &= p.model[0] && (!p.has_model_for || p.model_for == provider);
    p.has_base_url &= p.base_url[0] && (!p.has_base_url_for || p.base_url_for == provider);
    settings_patch_encode(out, &p, false);
}

static void keep_unpublished(struct core *c, const struct settings_change *change)
{
    settings_patch_merge(&c->shared.unpublished, &change->patch);
    settings_patch_wipe(&c->shared.unpublished);
}

static enum agreement without(struct core *c, struct settings_change *change)
{
    if (machines_may_go_without(c)) {
        keep_unpublished(c, change);
        return AGREEMENT_GO;
    }
    change_drop_key(c, change);
    change_refuse(c, change, REFUSAL_SHARED_DOWN);
    change_end(c, change);
    return AGREEMENT_LATER;
}

static void putting_free(struct putting *p)
{
    if (p)
        buf_fini(&p->document);
    free(p);
}

enum agreement agree_begin(struct core *c, struct settings_change *change)
{
    if (change->whole || !changes_overrides(&change->patch))
        return AGREEMENT_GO;
    if (c->shared.reach != SHARED_THERE)
        return without(c, change);
    struct putting *p = calloc(1, sizeof(*p));
    if (p) {
        buf_init(&p->document, DOCUMENT_MAX);
        write_document(&p->document, change);
    }
    if (!p || buf_failed(&p->document)) {
        putting_free(p);
        change_drop_key(c, change);
        change_refuse(c, change, REFUSAL_NO_MEMORY);
        change_end(c, change);
        return AGREEMENT_LATER;
    }
    p->change = change;
    p->put = (struct shared_settings_put){.based_on = c->shared.settings_version,
                                          .document = buf_slice(&p->document)};
    change->state = CHANGE_ASKING;
    c->ports.settings_put(c->ports.arg, &p->put);
    return AGREEMENT_LATER;
}

/* Another machine was faster. What it has put may be here already; else it comes in a moment. */
static void again(struct core *c, struct settings_change *change, uint64_t based_on, uint64_t now_us)
{
    change_drop_key(c, change);
    if (++change->tries == TRIES_MAX) {
        change_refuse(c, change, REFUSAL_SHARED_DOWN);
        change_end(c, change);
        return;
    }
    change->state = c->shared.settings_version > based_on ? CHANGE_NEW : CHANGE_WAITING;
    change->waiting_us = now_us;
    change_start(c);
}

void core_settings_put(struct core *c, struct shared_settings_put *put, uint64_t now_us)
{
    struct putting *p = CONTAINER_OF(put, struct putting, put);
    struct settings_change *change = p->change;
    if (put->rc == ERR_FENCED)
        c->fenced = true;
    else if (put->rc == 0) {
        change->shared_version = put->ret_version;
        change_commit(c, change);
    } else if (put->rc == ERR_EXISTS)
        again(c, change, put->based_on, now_us);
    else if (without(c, change) == AGREEMENT_GO)
        change_commit(c, change);
    putting_free(p);
}

/* Goes before all that has not begun to be written. */
static void put_first(struct core *c, struct settings_change *change)
{
    struct list *first = list_first(&c->changes);
    if (first && LIST_ENTRY(first, struct settings_change, node)->state == CHANGE_COMMITTING)
        list_prepend(first, &change->node);
    else
        list_prepend(&c->changes, &change->node);
    change_start(c);
}

/* Whoever waits for it goes on after it. */
static void wake(struct core *c)
{
    list_for_each (it, &c->changes) {
        struct settings_change *change = LIST_ENTRY(it, struct settings_change, node);
        if (change->state == CHANGE_WAITING)
            change->state = CHANGE_NEW;
    }
}

void agree_reached(struct core *c, uint64_t version)
{
    c->shared.settings_version = version;
    wake(c);
}

/* They are not told again. */
static void miss(struct core *c, uint64_t version, struct slice document)
{
    if (document.n > sizeof(c->shared.missed) || document.p == c->shared.missed)
        return;
    memcpy(c->shared.missed, document.p, document.n);
    c->shared.missed_n = document.n;
    c->shared.missed_version = version;
}

/* Tried again; there still may be no memory for it. */
static void take_missed(struct core *c)
{
    uint64_t version = c->shared.missed_version;
    c->shared.missed_version = 0;
    if (version <= c->shared.settings_version)
        return;
    uint64_t before = c->shared.heard_version;
    core_shared_settings(c, version, (struct slice){c->shared.missed, c->shared.missed_n});
    if (c->shared.heard_version == before)
        c->shared.missed_version = version;
}

void core_shared_settings(struct core *c, uint64_t version, struct slice document)
{
    cJSON *body;
    char field[128] = "";
    struct err e = {.text = "out of memory"};
    struct settings_change *change = calloc(1, sizeof(*change));
    int rc = change ? json_parse(document, &body, &e) : ERR_NOMEM;
    if (rc == 0) {
        rc = settings_patch_parse(body, &change->patch, field, &e);
        cJSON_Delete(body);
    }
    if (rc == ERR_NOMEM)
        miss(c, version, document);
    if (rc < 0) {
        log_error("The settings that another machine has put cannot be taken over: %s %s", field, e.text);
        free(change);
        return;
    }
    list_init(&change->node);
    change->whole = true;
    strcpy(change->actor, "another machine");
    change->shared_version = c->shared.heard_version = version;
    put_first(c, change);
}

void agree_again(struct core *c, struct settings_change *change)
{
    list_remove(&change->node);
    change->state = CHANGE_NEW;
    change->link = NULL;
    if (!change->whole) { /* without the key, which was dropped */
        change->patch = change->overrides;
        settings_patch_wipe(&change->patch);
        change->patch.has_api_key = false;
        change->whole = true;
    }
    struct settings_change *other = c->shared.unapplied;
    bool newer = !other || other->shared_version < change->shared_version;
    c->shared.unapplied = newer ? change : other;
    change_free(newer ? other : change);
}

void agree_maintain(struct core *c, uint64_t now_us)
{
    if (c->shared.missed_version)
        take_missed(c);
    struct settings_change *change = c->shared.unapplied;
    if (change && !c->store_fault.code) {
        c->shared.unapplied = NULL;
        if (change->shared_version > c->shared.settings_version)
            put_first(c, change);
        else
            change_free(change);
    }
    list_for_each_safe (it, next, &c->changes) {
        change = LIST_ENTRY(it, struct settings_change, node);
        if (change->state != CHANGE_WAITING || now_us - change->waiting_us < WAIT_MAX_US)
            continue;
        change_refuse(c, change, REFUSAL_SHARED_DOWN);
        change_end(c, change);
        return; /* which may have ended others */
    }
}

/* What was put here while the server was away goes on top of what the others have put meanwhile. */
static void publish(struct core *c)
{
    if (!changes_overrides(&c->shared.unpublished))
        return;
    struct settings_change *change = calloc(1, sizeof(*change));
    if (!change)
        return; /* the next time */
    list_init(&change->node);
    change->patch = c->shared.unpublished;
    change->patch.has_api_key = false;
    change->keyless = true;
    strcpy(change->actor, "this machine, while Redis was away");
    c->shared.unpublished = (struct settings_patch){0};
    list_append(&c->changes, &change->node);
    change_start(c);
}

void agree_standing(struct core *c)
{
    if (c->shared.reach == SHARED_THERE)
        publish(c);
    else {
        wake(c);
        change_start(c);
    }
}

void agree_fini(struct core *c)
{
    if (c->shared.unapplied)
        change_free(c->shared.unapplied);
}
