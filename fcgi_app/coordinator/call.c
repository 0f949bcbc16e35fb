/* Calls: making, freeing, what they hold; see call.h. */
#include "coordinator/call.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/control.h"
#include "coordinator/guard.h"
#include "coordinator/record.h"
#include "provider/stream.h"

enum provider_mode call_mode(const struct provider_ref *p, uint64_t now_us)
{
    return p->mode == MODE_ARRAY && now_us < p->array_missing_until_us ? MODE_CONCURRENT : p->mode;
}

struct call *call_new(struct core *c, struct batch *b, struct provider_ref *provider, size_t n)
{
    struct call *call = calloc(1, sizeof(*call) + n * sizeof(call->members[0]));
    struct settlement *settlement = call ? settlement_new(n) : NULL;
    if (!settlement) {
        free(call);
        return NULL;
    }
    call->settlement = settlement;
    list_init(&call->node);
    list_init(&call->held_node);
    list_append(&c->calls, &call->all_node);
    call->batch = b;
    call->provider = provider_ref_take(provider);
    call->n = n;
    return call;
}

void call_free(struct core *c, struct call *call)
{
    if (!call)
        return;
    call_release_slot(c, call);
    heap_remove(&c->timers, &call->timer);
    list_remove(&call->node);
    list_remove(&call->all_node);
    list_remove(&call->held_node);
    provider_stream_free(call->stream);
    if (call->encoded)
        provider_call_fini(&call->request);
    if (call->caller_key) {
        sodium_memzero(call->caller_key, strlen(call->caller_key));
        free(call->caller_key);
    }
    provider_ref_drop(call->provider);
    settlement_free(call->settlement);
    free(call);
}

void call_members(const struct core *c, const struct call *call, struct provider_member *members)
{
    for (size_t i = 0; i < call->n; i++)
        job_member(c, call->members[i], &members[i]);
}

void call_make_ready(struct core *c, struct call *call)
{
    call->state = CALL_READY;
    list_append(&c->ready_calls, &call->node);
}

void call_take_slot(struct core *c, struct call *call, enum call_state state, uint64_t now_us)
{
    guard_enter(c, call, now_us);
    call->state = state;
    call->holds_slot = true;
    c->calls_running[call->batch->priority]++;
}

void call_release_slot(struct core *c, struct call *call)
{
    if (!call->holds_slot)
        return;
    call->holds_slot = false;
    guard_leave(c, call);
    c->calls_running[call->batch->priority]--;
}

void batch_free_if_done(struct core *c, struct batch *b, uint64_t now_us)
{
    if (b->pending)
        return;
    event_batch_complete(c, b, now_us);
    free(b);
}
