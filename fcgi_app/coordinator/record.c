/* Jobs as others see them; see record.h. */
#include "coordinator/record.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/utf8.h"
#include "coordinator/budget.h"
#include "coordinator/call.h"

/* A coordinator that starts while the clock is ahead by so much, or that wrote while it was behind, still
 * gives no id free too early. What happens to the clock while it runs is bounded in any case (base/steady.h).
 */
#define CLOCK_WRONG_S 600

/* Of the text of an answer whose whole response is kept, too: both go into one frame (WIRE_MAX_PAYLOAD). */
#define TEXT_MAX (4u << 20)

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
    if (state == REQUEST_DISPATCHED)
        r.held = budget_held(j);
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
        .verbatim = s->flags & SUBMIT_VERBATIM,
        .stream = s->flags & SUBMIT_STREAM,
        .confidence = s->endpoint == ENDPOINT_INVOKE,
    };
    if (!ret_member->verbatim)
        return;
    ret_member->id = slice_of(j->batch ? j->batch->id_text : NULL); /* which is its alone */
    ret_member->created_s = c->ports.real_us(c->ports.arg) / US_PER_S;
}

/* What is j's own in its chat, whoever answered. */
static struct chat chat_of(struct core *c, const struct job *j, uint64_t now_us)
{
    const struct wire_submit *s = &j->submit;
    struct chat chat = {
        .endpoint = s->endpoint,
        .priority = s->priority,
        .time_us = c->ports.real_us(c->ports.arg),
        .latency_us = now_us - j->arrived_us,
        .request_id = s->request_id,
        .username = s->username,
        .prompt = s->prompt,
        .system_prompt = s->system_prompt,
        .created_at = s->created_at,
        .metadata = s->metadata,
    };
    memcpy(chat.key, s->key, sizeof(chat.key));
    uuid_v7(chat.time_us, &chat.id);
    /* Ids only grow. After the clock was set back by much, the id's time is the later one and counts, since
     * chats are found by it. */
    uint64_t id_us = uuid_time_us(&chat.id);
    if (id_us > chat.time_us + CHAT_ID_SLACK_US / 2)
        chat.time_us = id_us;
    return chat;
}

/* What chat lends from elsewhere is lent from j's record of it then. */
static int encode(struct job *j, const struct chat *chat, struct chat *ret_chat)
{
    buf_clear(&j->chat);
    chat_encode(&j->chat, chat);
    if (buf_failed(&j->chat) || chat_decode(buf_slice(&j->chat), ret_chat) < 0) {
        buf_clear(&j->chat);
        return ERR_NOMEM;
    }
    return 0;
}

int record_chat(struct core *c, struct job *j, const char *model, const struct provider_part *part,
                uint64_t now_us, struct chat *ret_chat)
{
    struct chat chat = chat_of(c, j, now_us);
    chat.batch_id = j->batch->id;
    chat.rate_limited = j->rate_limited;
    chat.retries = j->retries;
    chat.upstream_us = j->timing.upstream_us;
    chat.prompt_tokens = j->prompt_tokens;
    chat.completion_tokens = j->completion_tokens;
    chat.confidence = part->confidence;
    chat.model = j->submit.model.p ? j->submit.model : slice_of(model);
    chat.text = part->response.p ? utf8_truncate(part->text, TEXT_MAX) : part->text;
    chat.finish_reason = part->finish_reason;
    chat.response = part->response;
    return encode(j, &chat, ret_chat);
}

int record_given(struct core *c, struct job *j, const struct chat *found, uint64_t now_us,
                 struct chat *ret_chat)
{
    struct chat chat = chat_of(c, j, now_us);
    chat.cached = true;
    chat.batch_id = found->batch_id;
    chat.prompt_tokens = found->prompt_tokens;
    chat.completion_tokens = found->completion_tokens;
    chat.confidence = found->confidence;
    chat.model = found->model;
    chat.text = found->text;
    chat.finish_reason = found->finish_reason;
    chat.response = found->response;
    return encode(j, &chat, ret_chat);
}
