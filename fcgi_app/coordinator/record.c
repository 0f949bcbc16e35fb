/* Jobs as others see them; see record.h. */
#include "coordinator/record.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "coordinator/call.h"

/* A coordinator that starts while the clock is ahead by so much, or that wrote while it was behind, still
 * gives no id free too early. What happens to the clock while it runs is bounded in any case (base/steady.h).
 */
#define CLOCK_WRONG_S 600

const char *priority_key(enum priority p)
{
    static const char *const keys[PRIORITIES] = {
        [PRIORITY_LOW] = "low", [PRIORITY_MEDIUM] = "medium", [PRIORITY_HIGH] = "high"};
    return keys[p];
}

uint64_t record_kept_s(const struct core *c)
{
    return (uint64_t)c->conf->idempotency.ttl_hours * 3600 + CLOCK_WRONG_S;
}

struct request_record record_of(const struct core *c, const struct job *j, enum request_state state)
{
    struct request_record r = {
        .state = state,
        .is_async = job_keeps_record(j),
        .repairs = j->repairs,
        .epoch = c->epoch,
        .expires_s = c->ports.real_bounds(c->ports.arg).latest_us / US_PER_S + record_kept_s(c),
    };
    memcpy(r.fingerprint, j->submit.fingerprint, sizeof(r.fingerprint));
    if (j->batch)
        r.batch_id = j->batch->id;
    return r;
}

void job_member(const struct core *c, const struct job *j, struct provider_member *ret_member)
{
    const struct wire_submit *s = &j->submit;
    *ret_member = (struct provider_member){
        .prompt = s->prompt,
        .system_prompt = s->system_prompt,
        .messages = s->messages,
        .model = s->model,
        .extra = s->extra,
        .temperature = isnan(s->temperature) ? c->conf->provider.temperature : s->temperature,
        .max_tokens = s->max_tokens ? s->max_tokens : c->settings.priority[s->priority].tokens,
        .priority = s->priority,
        .completion = s->flags & SUBMIT_COMPLETION,
    };
}

int record_chat(struct core *c, struct job *j, const char *model, const struct provider_part *part,
                uint64_t now_us, struct chat *ret_chat)
{
    const struct wire_submit *s = &j->submit;
    *ret_chat = (struct chat){
        .batch_id = j->batch->id,
        .endpoint = s->endpoint,
        .priority = s->priority,
        .rate_limited = j->rate_limited,
        .retries = j->retries,
        .time_us = c->ports.real_us(c->ports.arg),
        .latency_us = now_us - j->arrived_us,
        .upstream_us = j->timing.upstream_us,
        .prompt_tokens = j->prompt_tokens,
        .completion_tokens = j->completion_tokens,
        .confidence = part->confidence,
        .request_id = s->request_id,
        .username = s->username,
        .prompt = s->prompt,
        .system_prompt = s->system_prompt,
        .created_at = s->created_at,
        .metadata = s->metadata,
        .model = s->model.p ? s->model : slice_of(model),
        .text = part->text,
        .finish_reason = part->finish_reason,
    };
    uuid_v7(ret_chat->time_us, &ret_chat->id);
    /* Ids only grow. After the clock was set back by much, the id's time is the later one and counts, since
     * chats are found by it. */
    uint64_t id_us = uuid_time_us(&ret_chat->id);
    if (id_us > ret_chat->time_us + CHAT_ID_SLACK_US / 2)
        ret_chat->time_us = id_us;
    memcpy(ret_chat->key, s->key, sizeof(ret_chat->key));
    buf_clear(&j->chat);
    chat_encode(&j->chat, ret_chat);
    return buf_failed(&j->chat) ? ERR_NOMEM : 0;
}
