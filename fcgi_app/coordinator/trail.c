/* The audit trail; see trail.h. */
#include "coordinator/trail.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "json/write.h"

static void changed_text(struct json_writer *w, const char *key, const char *before, const char *now)
{
    if (strcmp(before, now) == 0)
        return;
    json_key(w, key);
    json_array_begin(w);
    json_text(w, slice_of(before));
    json_text(w, slice_of(now));
    json_array_end(w);
}

static void changed_number(struct json_writer *w, const char *key, uint64_t before, uint64_t now)
{
    if (before == now)
        return;
    json_key(w, key);
    json_array_begin(w);
    json_u64(w, before);
    json_u64(w, now);
    json_array_end(w);
}

static void changed_priority(struct json_writer *w, const char *priority, const struct conf_batch *before,
                             const struct conf_batch *now)
{
    const struct {
        const char *key;
        uint64_t before, now;
    } numbers[] = {{"tokens", before->tokens, now->tokens},
                   {"latency_ms", before->latency_ms, now->latency_ms},
                   {"window_ms", before->window_ms, now->window_ms},
                   {"max_batch", before->max_batch, now->max_batch}};
    char key[40];
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        snprintf(key, sizeof(key), "%s.%s", priority, numbers[i].key);
        changed_number(w, key, numbers[i].before, numbers[i].now);
    }
    snprintf(key, sizeof(key), "%s.policy", priority);
    changed_text(w, key, conf_policy_name(before->policy), conf_policy_name(now->policy));
}

/* What was put, not what is in force: the key of another provider that is put is a change, too. */
static void changed_key(struct json_writer *w, const struct saved_key *before, const struct saved_key *now)
{
    char shown[SETTINGS_KEY_SHOWN];
    if (strcmp(before->text, now->text) == 0 &&
        (!now->text[0] || (before->kind == now->kind && strcmp(before->host, now->host) == 0)))
        return;
    settings_show_key(now->text, shown);
    json_field_cstr(w, "api_key", now->text[0] ? shown : "removed");
}

static void changed_settings(struct json_writer *w, const struct settings *before, const struct settings *now)
{
    changed_text(w, "provider", conf_provider_name(before->provider), conf_provider_name(now->provider));
    changed_text(w, "model", before->model, now->model);
    changed_text(w, "base_url", before->base_url, now->base_url);
    changed_priority(w, "high_priority", &before->priority[PRIORITY_HIGH], &now->priority[PRIORITY_HIGH]);
    changed_priority(w, "medium_priority", &before->priority[PRIORITY_MEDIUM],
                     &now->priority[PRIORITY_MEDIUM]);
    changed_priority(w, "low_priority", &before->priority[PRIORITY_LOW], &now->priority[PRIORITY_LOW]);
}

int trail_settings(const struct core *c, const struct settings_change *change,
                   struct commit_audit **ret_audit)
{
    static const char nothing[] = "{\"changed\":{}}";
    struct json_writer w;
    struct buf details;
    struct commit_audit *audit = NULL;
    buf_init(&details, AUDIT_DETAILS_MAX);
    json_writer_init(&w, &details);
    json_object_begin(&w);
    json_key(&w, "changed");
    json_object_begin(&w);
    changed_key(&w, &c->saved_key, &change->saved_key);
    changed_settings(&w, &c->settings, &change->settings);
    json_object_end(&w);
    json_object_end(&w);
    bool any = !slice_is(buf_slice(&details), nothing);
    if (any && !buf_failed(&details))
        audit = commit_audit_new(c->ports.real_us(c->ports.arg), slice_of(change->actor), "settings.put",
                                 buf_slice(&details));
    int rc = buf_failed(&details) || (any && !audit) ? ERR_NOMEM : 0;
    buf_fini(&details);
    if (rc == 0)
        *ret_audit = audit;
    return rc;
}

void trail_committed(struct core *c, const struct commit_op *op)
{
    const struct commit_audit *a = op->audit;
    char time[CLOCK_RFC3339_SIZE];
    struct json_writer w;
    if (!a)
        return;
    buf_clear(&c->scratch);
    json_writer_init(&w, &c->scratch);
    clock_format_rfc3339(a->entry.at_us, time);
    json_object_begin(&w);
    json_field_cstr(&w, "time", time);
    json_field_text(&w, "actor", a->entry.actor);
    json_field_text(&w, "action", a->entry.action);
    json_key(&w, "details");
    json_raw(&w, a->entry.details);
    json_object_end(&w);
    buf_append_byte(&c->scratch, '\n');
    if (!buf_failed(&c->scratch))
        c->ports.log(c->ports.arg, SINK_AUDIT, buf_slice(&c->scratch));
}
