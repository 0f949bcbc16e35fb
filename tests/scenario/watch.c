/*
 * What can be seen of batches and calls: batches through the event log, as people see them; calls at the
 * provider's door.
 */
#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

#include "process.h"
#include "reach.h"
#include "json/scan.h"

static struct sight *sight_add(struct world *w, struct sights *s)
{
    if (s->n == WORLD_SEEN_MAX) {
        world_blame(w, "more batches or calls than a world can note");
        s->n--;
    }
    struct sight *seen = &s->items[s->n++];
    *seen = (struct sight){.at_us = world_time(w)};
    return seen;
}

static void add_member(struct sight *seen, const struct job *j)
{
    struct slice id = j->submit.request_id;
    size_t used = strlen(seen->members), room = sizeof(seen->members) - used;
    if (id.n + 2 > room)
        return;
    if (used)
        seen->members[used++] = ',';
    memcpy(seen->members + used, id.p, id.n);
    seen->members[used + id.n] = 0;
}

static void see_batch(struct world *w, const cJSON *event)
{
    struct sight *seen = sight_add(w, &w->batches);
    const char *id = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(event, "batch_id"));
    const char *reason = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(event, "reason"));
    const char *priority = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(event, "priority"));
    seen->n = (uint32_t)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(event, "n"));
    if (!id || !reason || !priority || conf_priority_parse(priority, &seen->priority) < 0) {
        world_blame(w, "a DISPATCH event without batch_id, reason or priority");
        return;
    }
    snprintf(seen->reason, sizeof(seen->reason), "%s", reason);
    const struct batch *b = NULL;
    list_for_each (it, &w->core->jobs[JOB_CALLING]) {
        const struct job *j = LIST_ENTRY(it, struct job, node);
        if (j->batch && strcmp(j->batch->id_text, id) == 0) {
            b = j->batch;
            add_member(seen, j);
        }
    }
    world_say(w, "batch of %u %s (%s): %s", seen->n, priority, seen->reason, seen->members);
    reach_word("a batch leaves as", seen->reason);
    if (b)
        rules_sealed(w, seen, b);
}

static bool contains(struct slice text, const char *word)
{
    return memmem(text.p, text.n, word, strlen(word));
}

void watch_log(void *arg, enum sink_stream stream, struct slice record)
{
    struct world *w = arg;
    if (process_is_dead(w) || stream != SINK_EVENTS)
        return;
    if (!record.n || record.p[record.n - 1] != '\n')
        world_blame(w, "an event without its line end");
    if (contains(record, "\"event\":\"DISPATCH\"")) {
        cJSON *event = cJSON_ParseWithLength(record.p, record.n);
        see_batch(w, event);
        cJSON_Delete(event);
    } else if (contains(record, "\"event\":\"BATCH_START\"") && contains(record, "\"provider\":\"mock\"")) {
        sight_add(w, &w->calls);
        REACH("a call of the mock");
    } else if (contains(record, "\"event\":\"RETRY\""))
        REACH("a call is sent again");
}

void watch_publish(void *arg, enum sink_topic topic, struct slice key, struct slice record)
{
    struct world *w = arg;
    struct json_fault fault;
    if (process_is_dead(w))
        return;
    if (!key.n || json_scan(record, &fault) < 0 || contains(record, "\n"))
        world_blame(w, "a record for Kafka without a key, or one that is no JSON in one line");
    if (topic == SINK_REQUESTS && contains(record, "\"outcome\":\"cancelled\""))
        REACH("a prompt ends because nobody waits for it");
    else if (topic == SINK_METRICS)
        REACH("the state is published");
}

void watch_call(struct world *w, const struct call *call)
{
    struct sight *seen = sight_add(w, &w->calls);
    seen->n = (uint32_t)call->n;
    seen->priority = call->batch->priority;
    for (size_t i = 0; i < call->n; i++)
        add_member(seen, call->members[i]);
    char host[CONF_TEXT];
    upstream_key(call, seen->key);
    rules_key_host(call, host);
    snprintf(seen->host, sizeof(seen->host), "%.63s", host);
    snprintf(seen->mode, sizeof(seen->mode), "%s", conf_mode_name(call->request.mode));
    world_say(w, "call of %u: %s", seen->n, seen->members);
}
