/*
 * Answers that another machine was given and that this one may give again: only as long as the chat they are
 * of stands, which the record of its request says; see machines.h.
 */
#include <stdlib.h>
#include <string.h>

#include "coordinator/machines.h"

/* A look at the request that an answer is of. */
struct origin {
    struct look_op op;
    struct shared_look_member member;
    uint8_t key[SHARED_KEY_SIZE];
    struct job *job; /* ASKING until this comes back */
    size_t n;
    char chat[];
};

static void looked(struct core *c, struct look_op *op, uint64_t now_us)
{
    struct origin *o = CONTAINER_OF(op, struct origin, op);
    bool stands = op->look.rc == 0 && o->member.ret_record.state == SHARED_DONE;
    if (!c->fenced)
        machines_go_on(c, o->job, stands ? (struct slice){o->chat, o->n} : (struct slice){0}, now_us);
    free(o);
}

bool machines_look_given(struct core *c, struct job *j, struct slice cached)
{
    struct chat chat;
    struct origin *o = chat_decode(cached, &chat) == 0 ? calloc(1, sizeof(*o) + cached.n) : NULL;
    if (!o)
        return false;
    memcpy(o->key, chat.key, sizeof(o->key));
    memcpy(o->chat, cached.p, cached.n);
    o->n = cached.n;
    o->job = j;
    o->member.key = o->key;
    o->op.back = looked;
    o->op.look.members = &o->member;
    o->op.look.members_n = 1;
    c->ports.look(c->ports.arg, &o->op.look);
    return true;
}
