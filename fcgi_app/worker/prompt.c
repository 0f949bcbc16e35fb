/* The path of a prompt; see prompt.h. */
#include "worker/prompt.h"

#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/requests.h"
#include "worker/exchange.h"
#include "worker/path.h"
#include "worker/state.h"

/* Of a prompt that waits for its answer. */
struct handing {
    struct exchange *x;
    struct wire_submit *m;
    uint64_t deadline_us;         /* monotonic: until its answer, of one that is heard: until its call */
    uint64_t until_us;            /* what the coordinator is waited for at most; deadline_us or later */
    uint64_t id;                  /* of the question in the link */
    const struct prompt_ear *ear; /* NULL: only the end is waited for */
    bool handed;                  /* in, at least once: it may be on its way to the provider */
    bool heard;                   /* pieces of the answer */
};

bool prompt_recorded_refusal(const struct request_record *r, struct wire_refusal *ret_refusal)
{
    struct wire_refusal refusal;
    if (!r->refusal.p || wire_refusal_decode(r->refusal, &refusal)) {
        if (r->state != REQUEST_UNKNOWN)
            return false;
        refusal = (struct wire_refusal){
            .message = SLICE_LITERAL("What became of this request is not known; it may have been charged. "
                                     "Ask again under a new request_id."),
        };
    }
    if (r->state == REQUEST_UNKNOWN) {
        /* Whatever went wrong on the way, this is what it means to the client (api.md "Request ids"). */
        refusal.status = 424;
        refusal.error_type = SLICE_LITERAL("outcome_unknown");
        refusal.error_code = SLICE_LITERAL("OUTCOME_UNKNOWN");
    }
    *ret_refusal = refusal;
    return true;
}

/* Answers from a FAILED, UNKNOWN or DELETED record. */
static void refuse_recorded(struct exchange *x, const struct request_record *r)
{
    struct wire_refusal refusal;
    if (r->state == REQUEST_DELETED)
        problem_respond(x, PROBLEM_REQUEST_DELETED, "request_id",
                        "The chat of this request_id was deleted; use a new request_id.");
    else if (prompt_recorded_refusal(r, &refusal))
        problem_respond_refusal(x, &refusal);
    else
        problem_respond(x, PROBLEM_INTERNAL, NULL, "The record of this request cannot be read.");
}

/* Copies the chat out of the transaction, since it is rendered after its end. */
static int take_chat(struct exchange *x, struct store_read *r, const struct uuid *id, struct chat *ret_chat,
                     struct err *e)
{
    struct slice record;
    int rc = chats_get(r, id, &record, e);
    if (rc)
        return rc == ERR_NOT_FOUND ? err_set(e, ERR_CORRUPT, "The chat of a finished request is missing.")
                                   : rc;
    char *copy = arena_copy(&x->arena, record);
    if (!copy)
        return err_set(e, ERR_NOMEM, "There is no memory for this answer now.");
    rc = chat_decode((struct slice){copy, record.n}, ret_chat);
    return rc ? err_set(e, rc, "The chat of a finished request cannot be read.") : 0;
}

bool prompt_runs_again(const struct exchange *x, const struct request_record *record)
{
    return (record->state == REQUEST_FAILED && !record->final) ||
           (record->state == REQUEST_UNKNOWN && x->worker->conf->idempotency.on_unknown == ON_UNKNOWN_RETRY);
}

enum lookup { LOOKUP_HAND_IN, LOOKUP_REPLAY, LOOKUP_REFUSED };

/* Answers from the record, or says what to do. */
static enum lookup follow_record(struct exchange *x, const struct wire_submit *m, struct store_read *r,
                                 const struct request_record *record, struct chat *ret_chat)
{
    struct err e = {0};
    bool gone = record->state == REQUEST_DELETED;
    bool runs_again = prompt_runs_again(x, record);
    if (!gone && !runs_again && memcmp(record->fingerprint, m->fingerprint, REQUEST_KEY_SIZE) != 0) {
        problem_respond(x, PROBLEM_REQUEST_ID_REUSED, "request_id",
                        "This request_id belongs to another request; use a new one.");
        return LOOKUP_REFUSED;
    }
    if (runs_again || record->state == REQUEST_QUEUED || record->state == REQUEST_DISPATCHED)
        return LOOKUP_HAND_IN;
    if (record->state != REQUEST_DONE) {
        refuse_recorded(x, record);
        return LOOKUP_REFUSED;
    }
    if (!take_chat(x, r, &record->chat_id, ret_chat, &e))
        return LOOKUP_REPLAY;
    problem_respond_err(x, &e);
    return LOOKUP_REFUSED;
}

/* A finished request never reaches the coordinator. When the store cannot be read here, the coordinator, who
 * looks again in any case, is the one to say what is wrong with it. */
static enum lookup look_up(struct exchange *x, const struct wire_submit *m, struct chat *ret_chat)
{
    struct store_read *r = NULL;
    struct request_record record;
    enum lookup found = LOOKUP_HAND_IN;
    if (worker_read(x->worker, &r, NULL) || !r)
        return LOOKUP_HAND_IN;
    if (!requests_get(r, m->key, clock_real_us() / US_PER_S, &record, NULL))
        found = follow_record(x, m, r, &record, ret_chat);
    store_read_end(r);
    return found;
}

static void refuse_late(struct exchange *x)
{
    problem_respond(x, PROBLEM_DEADLINE_PASSED, NULL,
                    "The answer did not come in time. If it was on its way to the provider, "
                    "GET %s/v1/requests/%s may have it later.",
                    x->worker->conf->server.base_path, exchange_id(x));
}

/* OpenAI's clients ask again by themselves. Without an id of its own it would be bought anew. */
static void forbid_retry(struct exchange *x)
{
    if (x->shape == ERROR_OPENAI && !x->request.idempotency_key.p)
        response_header(&x->response, "x-should-retry", "false");
}

/* The coordinator drops it if it was not sent yet, else finishes it and keeps the answer. */
static void refuse_leaving(struct exchange *x)
{
    forbid_retry(x);
    if (x->shape == ERROR_OPENAI) {
        problem_respond(x, PROBLEM_SHUTTING_DOWN, NULL,
                        "The web server stops this program before the answer came, which may have been "
                        "charged. With an Idempotency-Key, asking again gives it.");
        return;
    }
    problem_respond(x, PROBLEM_SHUTTING_DOWN, NULL,
                    "The web server stops this program before the answer came. Ask again under the same "
                    "request_id: nothing is paid for twice. If it was on its way to the provider, "
                    "GET %s/v1/requests/%s has the answer, too.",
                    x->worker->conf->server.base_path, exchange_id(x));
}

static void refuse_unheard(struct handing *h, enum problem p, const char *why)
{
    if (h->handed)
        forbid_retry(h->x);
    problem_respond(h->x, p, NULL, "%s", why);
}

/* One hand-over. LINK_OK: the question is out. Refusals of its own are answered and *ret_refused set. */
static enum link_result hand_in(struct handing *h, bool *ret_refused)
{
    struct exchange *x = h->x;
    struct err e = {0};
    size_t mark;
    uint64_t now_us = clock_mono_us();
    int rc = link_connect(&x->link, LINK_AUTOSTART, h->until_us, &e);
    if (rc == ERR_TIMEOUT && clock_mono_us() + PROMPT_HAND_IN_WAIT_US >= h->until_us)
        return LINK_LATE;
    if (rc) {
        *ret_refused = true;
        if (worker_leaving(x->worker))
            refuse_leaving(x);
        else
            refuse_unheard(h, rc == ERR_NOMEM ? PROBLEM_OUT_OF_MEMORY : PROBLEM_COORDINATOR_DOWN, e.text);
        return LINK_LOST;
    }
    h->m->wait_ms = h->deadline_us > now_us ? (uint32_t)((h->deadline_us - now_us) / US_PER_MS) : 0;
    h->id = link_question(&x->link, WIRE_SUBMIT, &mark);
    wire_submit_encode(&x->link.out, h->m);
    wire_frame_end(&x->link.out, mark);
    enum link_result r = link_send(&x->link, h->until_us);
    h->handed = h->handed || r == LINK_OK;
    return r;
}

/* The coordinator knows how long the provider may be silent. This is for one that hangs. */
static uint64_t patience_us(const struct exchange *x)
{
    return x->worker->conf->provider.timeout_ms * US_PER_MS + WAIT_BASE_MS * US_PER_MS;
}

/* The last word, with what comes before it going to the ear. */
static enum link_result receive(struct handing *h, struct wire_frame *ret_frame)
{
    struct exchange *x = h->x;
    uint64_t silence_us = clock_mono_us() + PROMPT_SILENCE_US;
    for (;;) {
        uint64_t until_us = h->until_us + PROMPT_GRACE_US;
        bool pings = h->ear && silence_us < until_us;
        enum link_result r =
            link_receive(&x->link, h->id, x->request.fd, pings ? silence_us : until_us, ret_frame);
        bool here = true;
        if (r == LINK_LATE && pings)
            here = h->ear->silence(h->ear->arg);
        else if (r == LINK_OK && ret_frame->type == WIRE_DELTA && h->ear) {
            h->heard = true;
            unsigned next = link_next(&x->link);
            here = h->ear->delta(h->ear->arg, ret_frame->payload, next == WIRE_DELTA || next == WIRE_ANSWER);
            h->until_us = clock_mono_us() + patience_us(x);
        } else
            return r;
        if (!here)
            return LINK_CLIENT_GONE;
        silence_us = clock_mono_us() + PROMPT_SILENCE_US;
    }
}

/* Sends it and waits, again for as long as coordinators die. True: *ret_frame is the last word. */
static bool hand_in_until_answered(struct handing *h, struct prompt_result *ret, struct wire_frame *ret_frame)
{
    struct exchange *x = h->x;
    enum link_result r = LINK_LOST;
    bool refused = false;
    for (int attempt = 0; r == LINK_LOST && !h->heard && attempt < PROMPT_HAND_INS_MAX; attempt++) {
        if (attempt) {
            /* The one that died may have known this id. */
            h->m->flags &= ~(unsigned)SUBMIT_FRESH_ID;
            usleep(attempt > 1 ? PROMPT_HAND_IN_WAIT_US : 0);
        }
        if (clock_mono_us() >= h->until_us)
            r = LINK_LATE;
        else {
            r = hand_in(h, &refused);
            if (!attempt)
                ret->accept_us = clock_mono_us() - x->request.accepted_us;
            if (refused)
                return false;
        }
        if (r == LINK_OK)
            r = receive(h, ret_frame);
    }
    if (r == LINK_CLIENT_GONE || r == LINK_LATE || r == LINK_LEAVING)
        link_cancel(&x->link, h->id);
    if (r == LINK_CLIENT_GONE)
        x->response.gone = true;
    else if (r == LINK_LATE)
        refuse_late(x);
    else if (r == LINK_LEAVING)
        refuse_leaving(x);
    else if (r == LINK_NO_MEMORY)
        refuse_unheard(h, PROBLEM_OUT_OF_MEMORY, "There is no memory for this request now.");
    else if (r == LINK_LOST && h->heard)
        problem_respond(
            x, PROBLEM_OUTCOME_UNKNOWN, NULL,
            "The coordinator went away in the middle of this answer, which may have been charged.");
    else if (r == LINK_LOST)
        refuse_unheard(h, PROBLEM_COORDINATOR_DOWN,
                       "The coordinator went away each time this request was handed to it; see its log.");
    return r == LINK_OK;
}

/* The last word on the prompt. False: it was a refusal, which is answered here. */
static bool take_answer(struct exchange *x, const struct wire_frame *frame, struct prompt_result *ret)
{
    struct wire_answer answer;
    struct wire_refusal refusal;
    if (frame->type == WIRE_QUEUED) {
        ret->queued = true;
        return true;
    }
    if (frame->type == WIRE_ANSWER && !wire_answer_decode(frame->payload, &answer) &&
        !chat_decode(answer.chat, &ret->chat)) {
        ret->replayed = (answer.flags & ANSWER_REPLAYED) != 0;
        ret->timing = answer.timing;
        ret->limits = answer.limits;
        return true;
    }
    if (frame->type == WIRE_REFUSAL && !wire_refusal_decode(frame->payload, &refusal)) {
        problem_respond_refusal(x, &refusal);
        return false;
    }
    link_close(&x->link);
    problem_respond(x, PROBLEM_INTERNAL, NULL, "The coordinator's answer cannot be read.");
    return false;
}

void prompt_refuse_waiting(struct exchange *x)
{
    problem_respond(x, PROBLEM_TOO_MANY_WAITING, NULL,
                    "%u prompts wait already, which is as many as are let in at once.",
                    x->worker->waiting.max);
}

static bool wait_for_answer(struct exchange *x, struct wire_submit *m, const struct prompt_ear *ear,
                            struct prompt_result *ret)
{
    struct wire_frame frame;
    uint64_t wait_us = (worker_latency_ms(x->worker, m->priority) + (uint64_t)WAIT_BASE_MS) * US_PER_MS;
    struct handing h = {.x = x, .m = m, .deadline_us = x->request.accepted_us + wait_us, .ear = ear};
    h.until_us = h.deadline_us + (ear ? patience_us(x) : 0);
    if (!waiting_enter(&x->worker->waiting)) {
        prompt_refuse_waiting(x);
        return false;
    }
    bool answered = hand_in_until_answered(&h, ret, &frame);
    waiting_leave(&x->worker->waiting);
    return answered && take_answer(x, &frame, ret);
}

bool prompt_identify(struct exchange *x, struct wire_submit *m)
{
    if (!m->request_id.p) {
        struct uuid id;
        char *text = arena_alloc(&x->arena, UUID_TEXT_SIZE);
        if (!text) {
            problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for this request now.");
            return false;
        }
        uuid_v7(clock_real_us(), &id);
        uuid_format(&id, text);
        m->request_id = slice_of(text);
        m->flags |= SUBMIT_FRESH_ID | (m->flags & SUBMIT_ASYNC ? 0u : SUBMIT_OWN_ID);
    }
    if (request_lists(x->request.cache_control, "no-cache") ||
        request_lists(x->request.cache_control, "no-store"))
        m->flags |= SUBMIT_NO_CACHE;
    memcpy(m->trust_group, x->caller.trust_group, TRUST_GROUP_SIZE);
    wire_request_key(m->trust_group, m->family, m->request_id, m->key);
    wire_submit_fingerprint(m, m->fingerprint);
    return true;
}

bool prompt_run(struct exchange *x, struct wire_submit *m, struct prompt_result *ret_result)
{
    return prompt_run_heard(x, m, NULL, ret_result);
}

bool prompt_run_heard(struct exchange *x, struct wire_submit *m, const struct prompt_ear *ear,
                      struct prompt_result *ret_result)
{
    struct prompt_result result = {0};
    if (!prompt_identify(x, m))
        return false;
    exchange_set_prompt_id(x, m->request_id);
    enum lookup found = m->flags & SUBMIT_FRESH_ID ? LOOKUP_HAND_IN : look_up(x, m, &result.chat);
    if (found == LOOKUP_REFUSED)
        return false;
    if (found == LOOKUP_REPLAY) {
        result.replayed = true;
        result.accept_us = clock_mono_us() - x->request.accepted_us;
        counts_add_replay(&x->worker->counts, result.chat.prompt_tokens + result.chat.completion_tokens);
    } else if (!wait_for_answer(x, m, ear, &result))
        return false;
    *ret_result = result;
    return true;
}
