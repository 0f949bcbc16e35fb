/* Deleting a chat; see delete.h. */
#include "coordinator/delete.h"

#include <string.h>

#include "coordinator/refusal.h"

#define DELETE_STEP 256 /* chats a transaction; more are deleted in further ones */

static bool is_running(struct core *c, struct slice request_id)
{
    struct job *j, *tmp;
    HASH_ITER (hh, c->by_key, j, tmp) {
        if (slice_equal(j->submit.request_id, request_id))
            return true;
    }
    return false;
}

static int start_delete(struct core *c, struct core_link *l, uint64_t id, struct slice request_id,
                        uint32_t deleted);

static void refuse_asker(struct core *c, const struct commit_op *op, enum refusal why)
{
    if (op->link)
        core_refuse(c, op->link, op->id, refusal_get(why));
}

static void chats_deleted(struct core *c, struct commit_op *op, uint64_t now_us)
{
    (void)now_us;
    if (op->rc == 0 && op->more) {
        if (start_delete(c, op->link, op->id, slice_of(op->delete_id), op->deleted) < 0)
            refuse_asker(c, op, REFUSAL_NO_MEMORY);
    } else if (op->rc < 0)
        refuse_asker(c, op, REFUSAL_STORE_DOWN);
    else if (!op->deleted)
        refuse_asker(c, op, REFUSAL_NO_CHAT);
    else if (op->link)
        core_answer_done(c, op->link, op->id);
}

static int start_delete(struct core *c, struct core_link *l, uint64_t id, struct slice request_id,
                        uint32_t deleted)
{
    struct commit_op *op = commit_op_new(0, 0, chats_deleted);
    if (op)
        op->delete_id = strndup(request_id.p, request_id.n);
    if (!op || !op->delete_id) {
        commit_op_free(op);
        return ERR_NOMEM;
    }
    op->deleted = deleted;
    op->delete_max = DELETE_STEP;
    if (l)
        core_op_ask(c, op, l, id);
    core_commit(c, op);
    return 0;
}

int delete_chat(struct core *c, struct core_link *l, const struct wire_frame *frame)
{
    if (!frame->payload.n || frame->payload.n > 128)
        return ERR_INVAL;
    if (is_running(c, frame->payload))
        core_refuse(c, l, frame->id, refusal_get(REFUSAL_STILL_RUNNING));
    else if (start_delete(c, l, frame->id, frame->payload, 0) < 0)
        core_refuse(c, l, frame->id, refusal_get(REFUSAL_NO_MEMORY));
    return 0;
}
