/*
 * After each connection to the server that several machines share: what it holds of this machine as not
 * ended, and what does not run here, is settled by what the store says of it. So whatever was lost with the
 * connection before, or with the coordinator before, comes to its end there, too.
 */
#include <stdlib.h>

#include "coordinator/machines.h"
#include "coordinator/refusal.h"

static void settle(struct core *c, struct shared_ending *ending, const struct request_record *record,
                   struct slice chat)
{
    ending->fingerprint = record->fingerprint;
    switch (record->state) {
    case REQUEST_DONE:
        ending->state = chat.p ? SHARED_DONE : SHARED_DELETED;
        ending->value = chat;
        break;
    case REQUEST_DISPATCHED: /* an earlier coordinator's */
    case REQUEST_UNKNOWN:
        ending->state = SHARED_UNKNOWN;
        ending->value = record->refusal;
        break;
    case REQUEST_DELETED:
        ending->state = SHARED_DELETED;
        break;
    case REQUEST_FAILED:
        ending->state = record->final ? SHARED_FAILED : SHARED_REFUSED; /* kept, so it was promised */
        ending->value = record->refusal;
        break;
    case REQUEST_QUEUED: /* it is on its way out of the store */
        break;
    }
    c->ports.settle(c->ports.arg, ending, 1);
}

static void reconcile(struct core *c, const uint8_t *key)
{
    static const uint8_t no_fingerprint[SHARED_KEY_SIZE];
    struct shared_ending ending = {.key = key, .fingerprint = no_fingerprint, .state = SHARED_FREE};
    struct request_record record;
    struct slice chat = {0};
    int rc = c->ports.lookup(c->ports.arg, key, &record, &chat, NULL);
    if (rc == ERR_NOT_FOUND)
        c->ports.settle(c->ports.arg, &ending, 1); /* nothing was sent */
    if (rc < 0)
        return; /* a store that cannot be read: the next connection finds it again */
    settle(c, &ending, &record, chat);
    c->ports.lookup_end(c->ports.arg);
}

void core_shared_open(struct core *c, const uint8_t (*keys)[SHARED_KEY_SIZE], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct job *j = job_find(c, keys[i]);
        if (j)
            j->noted = true; /* by an earlier one of its id, if not by itself: it settles that when it ends */
        else
            reconcile(c, keys[i]);
    }
}

void reconcile_lost(struct core *c)
{
    core_shared_open(c, (const uint8_t(*)[SHARED_KEY_SIZE])c->shared.lost, c->shared.lost_n);
    free(c->shared.lost);
    c->shared.lost = NULL;
    c->shared.lost_n = 0;
}
