/* Answers told while they are being written; see stream.h. */
#include "coordinator/stream.h"

#include "provider/stream.h"

#define RESPONSE_MAX (8u << 20)  /* put together: its text is kept a second time beside it */
#define UNREAD_MAX   (64u << 10) /* bytes that a client has not read: the provider waits beyond */

/* The client that hears j as it comes; NULL: it left. */
static struct waiter *hearer_of(const struct job *j)
{
    list_for_each (it, &j->waiters) {
        struct waiter *w = LIST_ENTRY(it, struct waiter, job_node);
        if (!w->watches && !w->keeps)
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

int stream_begin(struct core *c, struct call *call)
{
    struct provider speaker = call->provider->provider;
    provider_stream_free(call->stream);
    call->stream = NULL;
    if (call->caller_key)
        speaker.api_key = call->caller_key;
    return provider_stream_open(&speaker, &call->request, RESPONSE_MAX, tell, c, &call->stream);
}

bool core_streamed(struct core *c, struct call *call, struct slice bytes, uint64_t now_us)
{
    struct waiter *w = hearer_of(call->members[0]);
    (void)now_us;
    if (w && w->link->out.len > UNREAD_MAX) {
        list_append(&w->link->held, &call->held_node);
        core_count(c, "streams.held", NULL, 1);
        return false;
    }
    bool heard = provider_stream_heard(call->stream);
    c->hearing = w;
    provider_stream_feed(call->stream, bytes);
    c->hearing = NULL;
    if (heard || !provider_stream_heard(call->stream))
        return true;
    core_count(c, "streams", NULL, 1);
    if (w)
        heap_remove(&c->deadlines, &w->deadline); /* what it waited for is there */
    return true;
}

void core_link_flows(struct core *c, struct core_link *l)
{
    struct list *first;
    while (l->out.len <= UNREAD_MAX && (first = list_first(&l->held))) {
        list_remove(first);
        c->ports.resume(c->ports.arg, LIST_ENTRY(first, struct call, held_node));
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
    const unsigned once = SUBMIT_STREAM | SUBMIT_FRESH_ID;
    return (j->submit.flags & once) == once && !job_is_async(j) && !hearer_of(j);
}

void stream_left(struct core *c, struct job *j, uint64_t now_us)
{
    struct call *call = j->submit.flags & SUBMIT_STREAM ? call_of(c, j) : NULL;
    if (!call)
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
