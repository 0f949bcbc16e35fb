/* Many prompts at once; see prompt_many.h. */
#include "worker/prompt_many.h"

#include <sodium.h>
#include <unistd.h>

#include "base/clock.h"
#include "worker/exchange.h"
#include "worker/state.h"

/* Those that wait for their outcome. */
struct crowd {
    struct exchange *x;
    struct prompt_outcome *outcomes;
    size_t n, waiting;
    uint64_t first, last; /* ids of the questions asked last */
    uint64_t deadline_us; /* monotonic */
    bool handed;          /* in, at least once */
};

static void settle(struct crowd *c, struct prompt_outcome *o)
{
    o->question = 0;
    c->waiting--;
}

/* The same refusal for all that still wait. Its texts live as long as the exchange. */
static void refuse_rest(struct crowd *c, const struct wire_refusal *r)
{
    for (size_t i = 0; i < c->n; i++) {
        struct prompt_outcome *o = &c->outcomes[i];
        if (!o->m || o->answered || o->refusal.status)
            continue;
        o->refusal = *r;
        o->lost = c->handed;
        settle(c, o);
    }
}

/* All that wait, in one go. ret_why->code is 0 but where there is no coordinator, nor will be one by trying
 * again. */
static enum link_result hand_in(struct crowd *c, bool again, struct err *ret_why)
{
    struct link *l = &c->x->link;
    struct err e = {0};
    size_t mark;
    int rc = link_connect(l, LINK_AUTOSTART, c->deadline_us, &e);
    if (rc == ERR_TIMEOUT && clock_mono_us() + PROMPT_HAND_IN_WAIT_US >= c->deadline_us)
        return LINK_LATE;
    if (rc) {
        *ret_why = e;
        ret_why->code = rc;
        return rc == ERR_NOMEM ? LINK_NO_MEMORY : LINK_LOST;
    }
    uint64_t now_us = clock_mono_us();
    c->first = 0;
    for (size_t i = 0; i < c->n; i++) {
        struct prompt_outcome *o = &c->outcomes[i];
        if (!o->m || o->answered || o->refusal.status)
            continue;
        if (again) /* the one that died may have known this id */
            o->m->flags &= ~(unsigned)SUBMIT_FRESH_ID;
        o->m->wait_ms = c->deadline_us > now_us ? (uint32_t)((c->deadline_us - now_us) / US_PER_MS) : 0;
        o->question =
            c->first ? link_question_more(l, WIRE_SUBMIT, &mark) : link_question(l, WIRE_SUBMIT, &mark);
        wire_submit_encode(&l->out, o->m);
        wire_frame_end(&l->out, mark);
        c->last = o->question;
        if (!c->first)
            c->first = o->question;
    }
    enum link_result r = link_send(l, c->deadline_us);
    c->handed = c->handed || r == LINK_OK;
    return r;
}

#define TEXT(s)                                                                                              \
    {                                                                                                        \
        s, sizeof(s) - 1                                                                                     \
    }
#define WHY(status_, type, code, sentence)                                                                   \
    {                                                                                                        \
        .status = (status_), .error_type = TEXT(type), .error_code = TEXT(code), .message = TEXT(sentence)   \
    }

static const struct wire_refusal unreadable =
    WHY(500, "internal_error", "INTERNAL", "The coordinator's answer cannot be read.");
static const struct wire_refusal no_memory =
    WHY(503, "unavailable_error", "OUT_OF_MEMORY", "There is no memory for this answer now.");
static const struct wire_refusal late =
    WHY(504, "timeout_error", "DEADLINE_PASSED", "The answer did not come in time.");
static const struct wire_refusal leaving =
    WHY(503, "unavailable_error", "SHUTTING_DOWN",
        "The web server stopped this program before the answer came; ask again.");
static const struct wire_refusal no_coordinator =
    WHY(503, "unavailable_error", "COORDINATOR_DOWN",
        "The coordinator cannot be reached, or went away each time; see its log.");

/* What a frame says, in a copy: the next one overwrites it. */
static void take(struct crowd *c, const struct wire_frame *frame)
{
    struct prompt_outcome *o = NULL;
    struct wire_answer answer;
    for (size_t i = 0; i < c->n && !o; i++)
        if (c->outcomes[i].question == frame->id)
            o = &c->outcomes[i];
    if (!o)
        return;
    char *copy = arena_copy(&c->x->arena, frame->payload);
    struct slice payload = {copy, frame->payload.n};
    if (!copy) {
        o->refusal = no_memory;
        o->lost = true;
    } else if (frame->type == WIRE_ANSWER && !wire_answer_decode(payload, &answer) &&
               !chat_decode(answer.chat, &o->chat)) {
        o->answered = true;
        o->timing = answer.timing;
        o->replayed = (answer.flags & ANSWER_REPLAYED) != 0;
    } else if (frame->type != WIRE_REFUSAL || wire_refusal_decode(payload, &o->refusal))
        o->refusal = unreadable;
    settle(c, o);
}

/* Until all have their outcome, or it cannot go on. */
static enum link_result receive(struct crowd *c)
{
    struct wire_frame frame;
    enum link_result r = LINK_OK;
    while (c->waiting && r == LINK_OK) {
        r = link_receive_any(&c->x->link, c->first, c->last, c->x->request.fd,
                             c->deadline_us + PROMPT_GRACE_US, &frame);
        if (r == LINK_OK)
            take(c, &frame);
    }
    return r;
}

static void cancel_rest(struct crowd *c)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->outcomes[i].m && c->outcomes[i].question)
            link_cancel(&c->x->link, c->outcomes[i].question);
}

static bool run(struct crowd *c)
{
    struct exchange *x = c->x;
    struct err nobody = {0};
    enum link_result r = LINK_LOST;
    for (int attempt = 0; r == LINK_LOST && !nobody.code && attempt < PROMPT_HAND_INS_MAX; attempt++) {
        if (attempt > 1)
            usleep(PROMPT_HAND_IN_WAIT_US);
        if (clock_mono_us() >= c->deadline_us)
            r = LINK_LATE;
        else
            r = hand_in(c, attempt > 0, &nobody);
        if (r == LINK_OK)
            r = receive(c);
    }
    if (r == LINK_CLIENT_GONE || r == LINK_LATE || r == LINK_LEAVING)
        cancel_rest(c);
    if (r == LINK_CLIENT_GONE) {
        x->response.gone = true;
        return false;
    }
    struct wire_refusal why = r == LINK_NO_MEMORY                              ? no_memory
                              : r == LINK_LATE                                 ? late
                              : r == LINK_LEAVING || worker_leaving(x->worker) ? leaving
                                                                               : no_coordinator;
    if (nobody.text[0] && slice_equal(why.error_code, no_coordinator.error_code)) {
        struct slice words = slice_of(nobody.text);
        why.message = (struct slice){arena_copy(&x->arena, words), words.n};
        if (!why.message.p)
            why = no_memory;
    }
    if (r != LINK_OK)
        refuse_rest(c, &why);
    return true;
}

void prompt_timing_stretch(struct wire_timing *all, const struct wire_timing *one)
{
    uint64_t *to[] = {&all->queue_us, &all->upstream_us, &all->split_us, &all->commit_us};
    uint64_t from[] = {one->queue_us, one->upstream_us, one->split_us, one->commit_us};
    for (size_t i = 0; i < ARRAY_LEN(to); i++)
        *to[i] = from[i] > *to[i] ? from[i] : *to[i];
}

static void cover(struct wire_submit *m, struct slice whole)
{
    crypto_generichash_state h;
    crypto_generichash_init(&h, NULL, 0, REQUEST_KEY_SIZE);
    crypto_generichash_update(&h, m->fingerprint, REQUEST_KEY_SIZE);
    crypto_generichash_update(&h, (const unsigned char *)whole.p, whole.n);
    crypto_generichash_final(&h, m->fingerprint, REQUEST_KEY_SIZE);
}

bool prompt_run_many(struct exchange *x, struct prompt_outcome *outcomes, size_t n, uint64_t *ret_accept_us)
{
    struct crowd c = {.x = x, .outcomes = outcomes, .n = n};
    uint32_t latency_ms = 0;
    for (size_t i = 0; i < n; i++) {
        struct wire_submit *m = outcomes[i].m;
        if (!m)
            continue;
        if (!prompt_identify(x, m))
            return false;
        if (outcomes[i].whole.p)
            cover(m, outcomes[i].whole);
        uint32_t own_ms = worker_latency_ms(x->worker, m->priority);
        latency_ms = own_ms > latency_ms ? own_ms : latency_ms;
        c.waiting++;
    }
    if (!c.waiting)
        return true;
    if (!waiting_enter(&x->worker->waiting)) {
        prompt_refuse_waiting(x);
        return false;
    }
    c.deadline_us = x->request.accepted_us + (latency_ms + (uint64_t)WAIT_BASE_MS) * US_PER_MS;
    *ret_accept_us = clock_mono_us() - x->request.accepted_us;
    bool done = run(&c);
    waiting_leave(&x->worker->waiting);
    return done;
}
