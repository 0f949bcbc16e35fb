/* Prompts of a file on one link; see submit_run.h. */
#include "ctl/submit_run.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "ctl/submit_fill.h"
#include "ctl/submit_word.h"

#define SEND_US      (60 * US_PER_S)
#define TICK_US      (200 * US_PER_MS)
#define CONNECT_US   (20 * US_PER_S)
#define LOST_US      (60 * US_PER_S) /* without a coordinator */
#define LOST_WAIT_US (200 * US_PER_MS)
#define STUCK_US     (900 * US_PER_S) /* without an answer while lines are refused */
#define ALLOWED_US   (2 * US_PER_S)
#define OUT_KEPT     (256 * 1024) /* bytes of questions that go out at once */
#define WINDOW_GROWS 16           /* by one after so many answers */

static int no_memory(struct err *e)
{
    return err_set(e, ERR_NOMEM, "There is not enough memory for this.");
}

static void slot_free(struct submit_run *r, struct submit_slot *s)
{
    submit_line_fini(&s->line);
    s->state = SLOT_FREE;
    r->open--;
}

/* ---- out ---- */

/* All that were sent are to be sent again: under their ids nothing is paid twice. */
static void lose(struct submit_run *r, uint64_t now_us)
{
    for (uint32_t i = 0; i < r->options->concurrency; i++)
        if (r->slots[i].state == SLOT_SENT) {
            r->slots[i].state = SLOT_WAITS;
            r->slots[i].due_us = 0;
        }
    if (!r->lost_us)
        r->lost_us = now_us;
    r->pause_until_us = now_us + LOST_WAIT_US;
}

/* ERR_CLOSED: no coordinator now. */
static int send_some(struct submit_run *r, uint64_t now_us, struct err *e)
{
    bool first = true;
    for (uint32_t i = 0; i < r->options->concurrency; i++) {
        struct submit_slot *s = &r->slots[i];
        size_t mark;
        if (s->state != SLOT_WAITS || s->due_us > now_us)
            continue;
        s->id = first ? link_question(r->link, WIRE_SUBMIT, &mark)
                      : link_question_more(r->link, WIRE_SUBMIT, &mark);
        first = false;
        wire_submit_encode(&r->link->out, &s->submit);
        wire_frame_end(&r->link->out, mark);
        s->state = SLOT_SENT;
        if (r->link->out.len > OUT_KEPT)
            break;
    }
    if (first)
        return 0;
    enum link_result sent = link_send(r->link, now_us + SEND_US);
    if (sent == LINK_NO_MEMORY)
        return no_memory(e);
    return sent == LINK_OK ? 0 : err_set(e, ERR_CLOSED, "The coordinator went away.");
}

/* 0 also when a new coordinator has to be waited for. */
static int send_due(struct submit_run *r, uint64_t now_us, struct err *e)
{
    bool due = false;
    for (uint32_t i = 0; !due && i < r->options->concurrency; i++)
        due = r->slots[i].state == SLOT_WAITS && r->slots[i].due_us <= now_us;
    if (!due || now_us < r->pause_until_us)
        return 0;
    if (r->link->fd < 0) {
        int rc = link_connect(r->link, LINK_AUTOSTART, now_us + CONNECT_US, e);
        /* Who never met one is told at once. */
        if (rc &&
            (rc == ERR_NOMEM || !r->link->last_id || (r->lost_us && clock_mono_us() - r->lost_us > LOST_US)))
            return rc;
        if (rc) {
            lose(r, clock_mono_us());
            snprintf(r->show->waiting, sizeof(r->show->waiting), "%.200s", e->text);
            return 0;
        }
    }
    int rc = send_some(r, now_us, e);
    if (rc != ERR_CLOSED)
        return rc;
    lose(r, clock_mono_us());
    return 0;
}

/* ---- back ---- */

static struct submit_slot *find(struct submit_run *r, uint64_t id)
{
    for (uint32_t i = 0; i < r->options->concurrency; i++)
        if (r->slots[i].state == SLOT_SENT && r->slots[i].id == id)
            return &r->slots[i];
    return NULL;
}

static int count_answer(struct submit_run *r, const struct chat *c, bool replayed, struct err *e)
{
    r->counts->answered++;
    if (replayed)
        r->counts->replayed++;
    else if (c->cached)
        r->counts->cached++;
    else if (!idset_get(&r->batches, c->batch_id.bytes)) {
        uint8_t key[IDSET_KEY];
        memcpy(key, c->batch_id.bytes, sizeof(key));
        r->counts->calls++;
        if (idset_put(&r->batches, key, 1))
            return no_memory(e);
    }
    if (r->window < r->options->concurrency && ++r->streak >= WINDOW_GROWS) {
        r->window++;
        r->streak = 0;
    }
    return 0;
}

/* The same line later: the coordinator said when. Fewer at once then. */
static int put_off(struct submit_run *r, struct submit_slot *s, const struct wire_refusal *refusal,
                   uint64_t delay_us, struct err *e)
{
    uint64_t now_us = clock_mono_us();
    if (now_us - r->moved_us > STUCK_US || delay_us > STUCK_US)
        return err_set(e, ERR_AGAIN,
                       "%.*s Nothing can be done before that; run the same command again later.",
                       (int)(refusal->message.n < 300 ? refusal->message.n : 300), refusal->message.p);
    s->state = SLOT_WAITS;
    s->tries++;
    s->due_us = now_us + delay_us;
    bool full = refusal->status != 504 && !slice_is(refusal->error_code, "SHUTTING_DOWN");
    if (full && now_us >= r->pause_until_us) {
        r->window = r->window > 1 ? r->window / 2 : 1;
        r->streak = 0;
        r->pause_until_us = s->due_us;
    }
    snprintf(r->show->waiting, sizeof(r->show->waiting), "%.*s",
             (int)(refusal->message.n < 150 ? refusal->message.n : 150), refusal->message.p);
    return 0;
}

/* The last word on a line, or not. */
static int take_frame(struct submit_run *r, struct submit_slot *s, const struct wire_frame *frame,
                      struct err *e)
{
    struct wire_answer answer;
    struct wire_refusal refusal;
    struct chat chat;
    int rc;
    if (frame->type == WIRE_ANSWER && !wire_answer_decode(frame->payload, &answer) &&
        !chat_decode(answer.chat, &chat)) {
        bool replayed = (answer.flags & ANSWER_REPLAYED) != 0;
        rc = submit_out_answer(r->out, &s->line, &chat, replayed, e);
        if (!rc)
            rc = count_answer(r, &chat, replayed, e);
    } else if (frame->type == WIRE_REFUSAL && !wire_refusal_decode(frame->payload, &refusal)) {
        uint64_t delay_us;
        if (submit_word_again(&refusal, s->tries, &delay_us))
            return put_off(r, s, &refusal, delay_us, e);
        rc = submit_out_refusal(r->out, &s->line, &refusal, submit_word_hint(&refusal), e);
        r->counts->failed++;
    } else
        rc = err_set(e, ERR_INVAL,
                     "The coordinator gave an answer that this version does not understand; "
                     "install programs of one version.");
    r->moved_us = clock_mono_us();
    r->show->waiting[0] = 0;
    if (!rc)
        slot_free(r, s);
    return rc;
}

/* When there is something to do even if nothing comes. */
static uint64_t next_us(const struct submit_run *r, uint64_t now_us)
{
    uint64_t until_us = now_us + TICK_US;
    for (uint32_t i = 0; i < r->options->concurrency; i++) {
        const struct submit_slot *s = &r->slots[i];
        if (s->state == SLOT_WAITS && s->due_us < until_us)
            until_us = s->due_us;
    }
    if (until_us < r->pause_until_us)
        until_us = r->pause_until_us < now_us + TICK_US ? r->pause_until_us : now_us + TICK_US;
    return until_us > now_us ? until_us : now_us;
}

static void sleep_until(const struct submit_run *r, uint64_t until_us, uint64_t now_us)
{
    struct pollfd leave = {.fd = r->link->host->leave_fd, .events = POLLIN};
    poll(&leave, 1, until_us > now_us ? (int)((until_us - now_us + US_PER_MS - 1) / US_PER_MS) : 0);
}

/* Waits for the first answer, and takes with it all that are there. */
static int receive(struct submit_run *r, struct err *e)
{
    uint64_t now_us = clock_mono_us(), until_us = next_us(r, now_us);
    struct wire_frame frame;
    int rc = 0;
    if (r->link->fd < 0) {
        sleep_until(r, until_us, now_us);
        return 0;
    }
    for (enum link_result got = LINK_OK; !rc && got == LINK_OK; until_us = 0) {
        got = link_receive_any(r->link, 1, UINT64_MAX, -1, until_us, &frame);
        struct submit_slot *s = got == LINK_OK ? find(r, frame.id) : NULL;
        if (got == LINK_NO_MEMORY)
            rc = no_memory(e);
        else if (got == LINK_LOST)
            lose(r, clock_mono_us());
        if (s) {
            r->lost_us = 0;
            rc = take_frame(r, s, &frame, e);
        }
    }
    return rc;
}

/* The coordinator takes a prompt's trust group for granted, so whether its key is still good is looked at
 * here, as a worker does with each request. */
static int check_allowed(struct submit_run *r, uint64_t now_us, struct err *e)
{
    if (!r->options->allowed || now_us - r->asked_us < ALLOWED_US)
        return 0;
    r->asked_us = now_us;
    return r->options->allowed(r->options->arg, e);
}

enum submit_end submit_run(struct submit_run *r, struct err *e)
{
    enum submit_end end = SUBMIT_FINISHED;
    int rc = 0;
    r->slots = calloc(r->options->concurrency, sizeof(*r->slots));
    r->window = r->options->concurrency;
    r->moved_us = clock_mono_us();
    if (!r->slots)
        rc = no_memory(e);
    while (!rc) {
        if (link_host_leaving(r->link->host)) {
            end = SUBMIT_INTERRUPTED;
            break;
        }
        rc = submit_fill(r, e);
        if (rc || (!r->open && r->at_end))
            break;
        rc = check_allowed(r, clock_mono_us(), e);
        if (!rc)
            rc = send_due(r, clock_mono_us(), e);
        if (!rc)
            rc = receive(r, e);
        show_tick(r->show, r->counts, clock_mono_us());
    }
    if (rc)
        end = link_host_leaving(r->link->host) ? SUBMIT_INTERRUPTED : SUBMIT_STUCK;
    for (uint32_t i = 0; r->slots && i < r->options->concurrency; i++)
        if (r->slots[i].state != SLOT_FREE)
            slot_free(r, &r->slots[i]);
    free(r->slots);
    r->slots = NULL;
    idset_fini(&r->contents);
    idset_fini(&r->batches);
    return end;
}
