/*
 * GET /v1/requests/{id}: what became of a prompt. The store knows what is durable; whether a request waits or
 * runs, and when it is finished, only the coordinator knows.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "store/chats.h"
#include "store/requests.h"
#include "worker/answer.h"
#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/path.h"
#include "worker/prompt.h"
#include "worker/state.h"
#include "json/write.h"

#define WAIT_MAX_S   60
#define ASK_LIMIT_US (2 * US_PER_S) /* on top of what the coordinator was asked to wait */

enum outcome { OUTCOME_NONE, OUTCOME_OPEN, OUTCOME_ANSWERED };

static void begin(struct exchange *x, struct json_writer *w, const char *status)
{
    json_writer_init(w, &x->response.body);
    json_object_begin(w);
    json_field_text(w, "request_id", x->prompt_id);
    json_field_cstr(w, "status", status);
}

static void respond_open(struct exchange *x, const char *status)
{
    struct json_writer w;
    begin(x, &w, status);
    json_key(&w, "response");
    json_null(&w);
    json_key(&w, "error");
    json_null(&w);
    json_object_end(&w);
}

static void respond_chat(struct exchange *x, const struct chat *chat)
{
    struct json_writer w;
    begin(x, &w, "done");
    json_key(&w, "response");
    answer_write(&w, chat);
    json_key(&w, "error");
    json_null(&w);
    json_object_end(&w);
}

static void respond_done(struct exchange *x, struct store_read *r, const struct request_record *record)
{
    struct err e = {0};
    struct slice bytes;
    struct chat chat;
    int rc = chats_get(r, &record->chat_id, &bytes, &e);
    if (!rc && chat_decode(bytes, &chat))
        rc = err_set(&e, ERR_CORRUPT, "The chat of a finished request cannot be read.");
    else if (rc == ERR_NOT_FOUND)
        rc = err_set(&e, ERR_CORRUPT, "The chat of a finished request is missing.");
    if (rc)
        problem_respond_err(x, &e);
    else
        respond_chat(x, &chat);
}

static void respond_refused(struct exchange *x, const struct wire_refusal *refusal, const char *status)
{
    struct json_writer w;
    begin(x, &w, status);
    json_key(&w, "response");
    json_null(&w);
    json_key(&w, "error");
    problem_write_refusal(&w, refusal);
    json_object_end(&w);
}

static void respond_failed(struct exchange *x, const struct request_record *record, const char *status)
{
    struct wire_refusal refusal;
    if (prompt_recorded_refusal(record, &refusal))
        respond_refused(x, &refusal, status);
    else
        problem_respond(x, PROBLEM_INTERNAL, NULL, "The record of this request cannot be read.");
}

static void respond_deleted(struct exchange *x)
{
    problem_respond(x, PROBLEM_REQUEST_DELETED, "request_id", "The chat of this request_id was deleted.");
}

/* What came of it on another machine. */
static void respond_elsewhere(struct exchange *x, const struct wire_frame *frame)
{
    struct wire_answer answer;
    struct wire_refusal refusal;
    struct chat chat;
    if (frame->type == WIRE_ANSWER && wire_answer_decode(frame->payload, &answer) == 0 &&
        chat_decode(answer.chat, &chat) == 0)
        respond_chat(x, &chat);
    else if (frame->type != WIRE_REFUSAL || wire_refusal_decode(frame->payload, &refusal) < 0)
        problem_respond(x, PROBLEM_INTERNAL, NULL, "What came of this request cannot be read.");
    else if (slice_is(refusal.error_code, "REQUEST_DELETED"))
        respond_deleted(x);
    else if (slice_is(refusal.error_code, "SHARED_DOWN") || slice_is(refusal.error_code, "OUT_OF_MEMORY"))
        problem_respond_refusal(x, &refusal); /* of the question, not of the request */
    else
        respond_refused(x, &refusal, refusal.status == 424 ? "unknown" : "failed");
}

/* Answers when the store has the last word, or asked_all: nobody else says more. OPEN: the record says that
 * it waits (*ret_queued) or runs. */
static enum outcome look_up(struct exchange *x, const uint8_t key[REQUEST_KEY_SIZE], bool asked_all,
                            bool *ret_queued)
{
    struct store_read *r = NULL;
    struct request_record record;
    struct err e = {0};
    enum outcome outcome = OUTCOME_ANSWERED;
    int rc = worker_read(x->worker, &r, &e);
    if (!rc && !r)
        return OUTCOME_NONE;
    if (!rc)
        rc = requests_get(r, key, clock_real_us() / US_PER_S, &record, &e);
    if (rc == ERR_NOT_FOUND)
        outcome = OUTCOME_NONE;
    else if (rc)
        problem_respond_err(x, &e);
    else if (!asked_all && x->worker->conf->redis.enabled && prompt_runs_again(x, &record))
        outcome = OUTCOME_NONE; /* another machine may have run it since */
    else if (record.state == REQUEST_DONE)
        respond_done(x, r, &record);
    else if (record.state == REQUEST_FAILED)
        respond_failed(x, &record, "failed");
    else if (record.state == REQUEST_UNKNOWN)
        respond_failed(x, &record, "unknown");
    else if (record.state == REQUEST_DELETED)
        respond_deleted(x);
    else {
        outcome = OUTCOME_OPEN;
        *ret_queued = record.state == REQUEST_QUEUED;
    }
    store_read_end(r);
    return outcome;
}

/* What the coordinator says, after a wait if one was asked for; lends from the link. ERR_NOT_FOUND: none
 * runs. ERR_CLOSED: it left, or this process has to, or the client did, and then the response is marked as
 * gone. */
static int watch(struct exchange *x, const struct wire_watch *m, enum link_start start,
                 struct wire_frame *ret_frame, struct err *e)
{
    struct wire_frame frame = {0};
    size_t mark;
    uint64_t deadline_us = clock_mono_us() + m->wait_ms * US_PER_MS + ASK_LIMIT_US;
    enum link_result result = LINK_LOST;
    for (int attempt = 0; attempt < 3 && result == LINK_LOST; attempt++) {
        int rc = link_connect(&x->link, start, deadline_us, e);
        if (rc)
            return rc;
        uint64_t id = link_question(&x->link, WIRE_WATCH, &mark);
        wire_watch_encode(&x->link.out, m);
        wire_frame_end(&x->link.out, mark);
        result = link_send(&x->link, deadline_us);
        if (result == LINK_OK)
            result = link_receive(&x->link, id, x->request.fd, deadline_us, &frame);
        if (result == LINK_CLIENT_GONE || result == LINK_LEAVING)
            link_cancel(&x->link, id);
    }
    if (result == LINK_CLIENT_GONE) {
        x->response.gone = true;
        return err_set(e, ERR_CLOSED, "The client went away.");
    }
    if (result == LINK_NO_MEMORY)
        return err_set(e, ERR_NOMEM, "There is no memory for this request now.");
    if (result == LINK_LEAVING)
        return err_set(e, ERR_CLOSED, "The web server stops this program; ask again.");
    bool elsewhere = frame.type == WIRE_ANSWER || frame.type == WIRE_REFUSAL;
    if (result != LINK_OK || (!elsewhere && (frame.type != WIRE_PROGRESS || frame.payload.n != 1)))
        return err_set(e, ERR_CLOSED, "The coordinator did not say what became of this request.");
    *ret_frame = frame;
    return 0;
}

static bool get_wait(struct exchange *x, uint32_t *ret_wait_ms)
{
    struct slice text;
    struct err e = {0};
    char *end;
    if (query_get(x->query, "wait", &x->arena, &text, &e)) {
        problem_respond(x, PROBLEM_INVALID_PARAMETER, "wait", "%s", e.text);
        return false;
    }
    if (!text.p) {
        *ret_wait_ms = 0;
        return true;
    }
    double s = text.n && text.n < 16 && strspn(text.p, "0123456789.") == text.n ? strtod(text.p, &end) : -1;
    if (!(s >= 0 && s <= WAIT_MAX_S) || *end) {
        problem_respond(x, PROBLEM_INVALID_PARAMETER, "wait",
                        "wait must be a number of seconds from 0 to %d.", WAIT_MAX_S);
        return false;
    }
    uint32_t most = x->worker->wait_max_ms;
    *ret_wait_ms = (uint32_t)(s * 1000);
    if (most && *ret_wait_ms > most)
        *ret_wait_ms = most; /* the answer says that it still runs */
    return true;
}

static void respond_missing(struct exchange *x)
{
    problem_respond(
        x, PROBLEM_REQUEST_NOT_FOUND, NULL,
        "No request of this id is known: it never came, was refused before it was sent, or its record "
        "has expired.");
}

static void respond_progress(struct exchange *x, const struct wire_watch *m, enum wire_progress progress,
                             bool queued)
{
    if (progress == PROGRESS_QUEUED)
        respond_open(x, "queued");
    else if (progress == PROGRESS_RUNNING)
        respond_open(x, "running");
    else {
        /* Finished, or not known to it: what it was is in the store by now, or nowhere. */
        enum outcome outcome = look_up(x, m->key, true, &queued);
        if (outcome == OUTCOME_NONE)
            respond_missing(x);
        else if (outcome == OUTCOME_OPEN)
            respond_open(x, queued ? "queued" : "running");
    }
}

/* The store had no last word yet; open says whether it had any. */
static void ask_coordinator(struct exchange *x, const struct wire_watch *m, bool open, bool queued)
{
    struct wire_frame frame = {0};
    struct err e = {0};
    /* Another machine may have it, which only a coordinator can ask. */
    bool start = open || x->worker->conf->redis.enabled;
    /* Long waits are places in the same queue as prompts: when it is full, the answer comes at once. */
    bool waits = m->wait_ms && waiting_enter(&x->worker->waiting);
    struct wire_watch asked = *m;
    if (!waits)
        asked.wait_ms = 0;
    int rc = watch(x, &asked, start ? LINK_AUTOSTART : LINK_IF_RUNNING, &frame, &e);
    if (waits)
        waiting_leave(&x->worker->waiting);
    if (x->response.gone)
        return;
    if (rc == ERR_NOMEM)
        problem_respond_err(x, &e);
    else if (rc && (rc != ERR_NOT_FOUND || start))
        problem_respond(x, worker_leaving(x->worker) ? PROBLEM_SHUTTING_DOWN : PROBLEM_COORDINATOR_DOWN, NULL,
                        "%s", e.text);
    else if (!rc && frame.type != WIRE_PROGRESS)
        respond_elsewhere(x, &frame);
    else {
        enum wire_progress progress = rc ? PROGRESS_UNKNOWN_ID : (enum wire_progress)frame.payload.p[0];
        respond_progress(x, m, progress, queued);
    }
}

void api_requests_get(struct exchange *x)
{
    struct wire_watch m = {0};
    bool queued = false;
    if (!request_id_valid(x->path_id)) {
        problem_respond(x, PROBLEM_INVALID_REQUEST_ID, "request_id",
                        "A request_id is 1 to 128 characters of A-Z, a-z, 0-9 and . _ : -");
        return;
    }
    exchange_set_prompt_id(x, x->path_id);
    if (!get_wait(x, &m.wait_ms))
        return;
    wire_request_key(x->caller.trust_group, FAMILY_QUERY, x->path_id, m.key);
    enum outcome outcome = look_up(x, m.key, false, &queued);
    if (outcome != OUTCOME_ANSWERED)
        ask_coordinator(x, &m, outcome == OUTCOME_OPEN, queued);
}
