/* Answers told while they are being written; see stream.h. */
#include "coordinator/stream.h"

#include "base/clock.h"
#include "provider/stream.h"

#define RESPONSE_MAX (8u << 20)  /* put together: its text is kept a second time beside it */
#define END_MS       1000        /* from the last event to the end of the response */
#define UNREAD_MAX   (64u << 10) /* bytes that a client has not read: the provider waits beyond */
#define LATE_MS      1000        /* what the provider's own time says comes first */

/* The client that hears j as it comes; NULL: it left. Who joined later has missed pieces, and gets the whole
 * in the end. */
static struct waiter *hearer_of(const struct job *j)
{
    list_for_each (it, &j->waiters) {
        struct waiter *w = LIST_ENTRY(it, struct waiter, job_node);
        if (!w->watches && !w->keeps && !w->joined)
            return w;
    }
    return NULL;
}

static void tell(void *arg, struct slice chunk)
{
    struct core *c = arg;
    struct waiter *w = c->hearing;
    if (!w)
        return;
    size_t mark = wire_frame_begin(&w->link->out, WIRE_DELTA, w->id);
    buf_append_slice(&w->link->out, chunk);
    wire_frame_end(&w->link->out, mark);
    core_link_dirty(c, w->link);
}

void stream_sent(struct core *c, struct call *call, uint64_t now_us)
{
    struct waiter *w = call->members[0]->submit.flags & SUBMIT_STREAM ? hearer_of(call->members[0]) : NULL;
    uint64_t until_us = now_us + (c->conf->provider.timeout_ms + (uint64_t)LATE_MS) * US_PER_MS;
    if (w && w->deadline.at_us < until_us)
        heap_move(&c->deadlines, &w->deadline, until_us);
}

int stream_begin(struct core *c, struct call *call)
{
    struct provider speaker = call->provider->provider;
    provider_stream_free(call->stream);
    call->stream = NULL;
    if (call->caller_key)
        speaker.api_key = call->caller_key;
    return provider_stream_open(&speaker, &call->request, RESPONSE_MAX, tell, c, &call->stream);
}

/* It has not read what it was told before: the call waits, and so does it not for ever. */
static void hold(struct core *c, struct call *call, struct waiter *w, uint64_t now_us)
{
    list_append(&w->link->held, &call->held_node);
    if (w->told)
        heap_move(&c->deadlines, &w->deadline, now_us + c->conf->provider.timeout_ms * US_PER_MS);
    core_count(c, "streams.held", NULL, 1);
}

static void feed(struct core *c, struct call *call, struct waiter *w, struct slice bytes)
{
    bool heard = provider_stream_heard(call->stream);
    c->hearing = w;
    provider_stream_feed(call->stream, bytes);
    c->hearing = NULL;
    if (heard || !provider_stream_heard(call->stream))
        return;
    core_count(c, "streams", NULL, 1);
    if (!w)
        return;
    w->told = true;
    heap_move(&c->deadlines, &w->deadline, UINT64_MAX); /* what it waited for is there */
}

/* Nothing of use comes any more, so the response is to end as well. */
static void expect_end(struct core *c, struct call *call, uint64_t now_us)
{
    call->timer.at_us = now_us + END_MS * US_PER_MS;
    if (heap_push(&c->timers, &call->timer) < 0)
        return; /* then it ends by itself, or with the time that it may take */
}

bool core_streamed(struct core *c, struct call *call, struct slice bytes, uint64_t now_us)
{
    struct waiter *w = hearer_of(call->members[0]);
    if (w && w->link->out.len > UNREAD_MAX) {
        hold(c, call, w, now_us);
        return false;
    }
    feed(c, call, w, bytes);
    if (provider_stream_over(call->stream) && !call->timer.index)
        expect_end(c, call, now_us);
    return true;
}

void stream_close(struct core *c, struct call *call, uint64_t now_us)
{
    struct provider_response response = {.transport = TRANSPORT_LOST,
                                         .transport_error = "it went on after its end"};
    c->ports.abort(c->ports.arg, call);
    core_called(c, call, &response, now_us);
}

void core_link_flows(struct core *c, struct core_link *l)
{
    struct list *first;
    while (l->out.len <= UNREAD_MAX && (first = list_first(&l->held))) {
        struct call *call = LIST_ENTRY(first, struct call, held_node);
        struct waiter *w = hearer_of(call->members[0]);
        list_remove(first);
        if (w && w->told)
            heap_move(&c->deadlines, &w->deadline, UINT64_MAX);
        c->ports.resume(c->ports.arg, call);
    }
}

static bool is_stream(const struct call *call)
{
    return call->state == CALL_RUNNING && call->stream;
}

static struct call *call_of(const struct core *c, const struct job *j)
{
    list_for_each (it, &c->calls) {
        struct call *call = LIST_ENTRY(it, struct call, all_node);
        if (is_stream(call) && call->members[0] == j)
            return call;
    }
    return NULL;
}

bool stream_is_given_up(const struct call *call)
{
    const struct job *j = call->members[0];
    const unsigned once = SUBMIT_STREAM | SUBMIT_OWN_ID;
    return (j->submit.flags & once) == once && !job_is_async(j) && !job_is_awaited(j);
}

void stream_left(struct core *c, struct job *j, uint64_t now_us)
{
    struct call *call = j->submit.flags & SUBMIT_STREAM ? call_of(c, j) : NULL;
    if (!call || hearer_of(j))
        return;
    bool held = !list_empty(&call->held_node);
    list_remove(&call->held_node);
    if (stream_is_given_up(call)) {
        c->ports.abort(c->ports.arg, call);
        core_count(c, "streams.aborted", NULL, 1);
        outcome_give_up(c, call, now_us);
    } else if (held)
        c->ports.resume(c->ports.arg, call);
}

int stream_end(struct call *call, const struct provider_response *response, struct arena *arena,
               struct provider_outcome *ret_outcome)
{
    int rc = provider_stream_end(call->stream, response, arena, ret_outcome);
    /* It cannot be taken back, so it is not asked for again. */
    if (rc == 0 && provider_stream_heard(call->stream) && ret_outcome->parts[0].verdict != VERDICT_ANSWERED)
        ret_outcome->parts[0].verdict = VERDICT_UNKNOWN;
    return rc;
}

uint32_t stream_count(const struct core *c)
{
    uint32_t n = 0;
    list_for_each (it, &c->calls)
        n += is_stream(LIST_ENTRY(it, struct call, all_node));
    return n;
}
