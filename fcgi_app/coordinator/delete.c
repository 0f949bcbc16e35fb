/* Deleting a chat; see delete.h. */
#include "coordinator/delete.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/machines.h"
#include "coordinator/refusal.h"

#define DELETE_STEP 256 /* chats a transaction; more are deleted in further ones */
#define OWN_MAX     500 /* requests of one id in the chats here that other machines are asked about */
#define ROUNDS_MAX  4   /* looks until the tombstones must stand */
#define FAMILIES    3

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

/* ---- among several machines ---- */

/* A deletion that has the other machines' word first. Invariant: in core.shared.deletions, with a look on its
 * way. */
struct deletion {
    struct list node;
    struct look_op op;
    struct core_link *link; /* NULL: gone */
    uint64_t id;
    char request_id[WIRE_REQUEST_ID_MAX + 1];
    unsigned rounds;
    bool found; /* another machine had an answer, or this one */
    size_t own; /* keys of this machine's chats come first */
    size_t n, max;
    uint8_t (*keys)[REQUEST_KEY_SIZE]; /* max of them, behind members */
    struct shared_look_member members[];
};

void delete_forget_link(struct core *c, const struct core_link *l)
{
    list_for_each (it, &c->shared.deletions) {
        struct deletion *d = LIST_ENTRY(it, struct deletion, node);
        if (d->link == l)
            d->link = NULL;
    }
}

static void end(struct core *c, struct deletion *d, const struct wire_refusal *refusal)
{
    if (d->link && refusal)
        core_refuse(c, d->link, d->id, refusal);
    list_remove(&d->node);
    free(d);
}

static void look(struct core *c, struct deletion *d)
{
    d->rounds++;
    d->op.look.members_n = d->n;
    c->ports.look(c->ports.arg, &d->op.look);
}

static bool runs(const struct shared_record *r)
{
    return r->state == SHARED_QUEUED || (r->state == SHARED_DISPATCHED && r->owner_alive);
}

/* Puts tombstones where there is an answer. True: all stand already. */
static bool bury(struct core *c, struct deletion *d)
{
    static const uint8_t no_fingerprint[SHARED_KEY_SIZE];
    bool stand = true;
    for (size_t i = 0; i < d->n; i++) {
        const struct shared_record *r = &d->members[i].ret_record;
        struct shared_ending ending = {
            .key = d->keys[i], .fingerprint = no_fingerprint, .state = SHARED_DELETED};
        if (r->state == SHARED_DELETED || (i >= d->own && r->state != SHARED_DONE))
            continue;
        d->found = true;
        stand = false;
        c->ports.settle(c->ports.arg, &ending, 1);
    }
    return stand;
}

static void looked(struct core *c, struct look_op *op, uint64_t now_us)
{
    struct deletion *d = CONTAINER_OF(op, struct deletion, op);
    struct slice request_id = slice_of(d->request_id);
    bool running = is_running(c, request_id);
    (void)now_us;
    if (c->fenced || op->look.rc < 0) {
        end(c, d, c->fenced ? NULL : refusal_get(REFUSAL_SHARED_DOWN));
        return;
    }
    for (size_t i = 0; i < d->n; i++)
        running |= runs(&d->members[i].ret_record) && !d->members[i].ret_record.mine;
    if (running)
        end(c, d, refusal_get(REFUSAL_STILL_RUNNING));
    else if (!bury(c, d) && d->rounds < ROUNDS_MAX)
        look(c, d);
    else {
        c->ports.tell_deletion(c->ports.arg, request_id);
        int rc = start_delete(c, d->link, d->id, request_id, d->found);
        end(c, d, rc < 0 ? refusal_get(REFUSAL_NO_MEMORY) : NULL);
    }
}

static void add_group(struct deletion *d, const uint8_t group[TRUST_GROUP_SIZE])
{
    for (int family = 1; family <= FAMILIES && d->n < d->max; family++)
        wire_request_key(group, (enum family)family, slice_of(d->request_id), d->keys[d->n++]);
}

/* The trust group of a key of the environment is the beginning of its hash (worker/auth.h); without one it is
 * zeros. */
static void add_key(struct deletion *d, const char *api_key)
{
    uint8_t hash[crypto_generichash_BYTES] = {0};
    if (api_key[0])
        crypto_generichash(hash, sizeof(hash), (const unsigned char *)api_key, strlen(api_key), NULL, 0);
    add_group(d, hash);
}

/* Room for the requests of one id that anybody can have made. */
static struct deletion *deletion_new(const struct core *c)
{
    size_t max = OWN_MAX + FAMILIES * (3 + key_index_ids(&c->keys.index));
    struct deletion *d = calloc(1, sizeof(*d) + max * (sizeof(d->members[0]) + sizeof(d->keys[0])));
    if (!d)
        return NULL;
    d->max = max;
    d->keys = (void *)&d->members[max];
    return d;
}

/* The keys under which any machine may have an answer of that id: those of the chats here, and those of all
 * who can have asked. */
static int gather(struct core *c, struct deletion *d)
{
    const struct conf *conf = c->conf;
    int rc = c->ports.chat_keys(c->ports.arg, slice_of(d->request_id), d->keys, OWN_MAX, &d->own);
    if (rc < 0)
        return rc;
    d->n = d->own;
    add_key(d, "");
    if (conf->auth.api_key[0])
        add_key(d, conf->auth.api_key);
    if (conf->auth.admin_key[0])
        add_key(d, conf->auth.admin_key);
    const struct key_index *x = &c->keys.index;
    for (size_t i = 0; i < x->slots; i++)
        if (x->by_id[i])
            add_group(d, x->records[x->by_id[i] - 1].id);
    for (size_t i = 0; i < d->n; i++)
        d->members[i].key = d->keys[i];
    return 0;
}

static void ask_others(struct core *c, struct core_link *l, uint64_t id, struct slice request_id)
{
    struct deletion *d = c->shared.reach == SHARED_THERE ? deletion_new(c) : NULL;
    if (!d) {
        core_refuse(c, l, id,
                    refusal_get(c->shared.reach == SHARED_THERE ? REFUSAL_NO_MEMORY : REFUSAL_SHARED_DOWN));
        return;
    }
    d->link = l;
    d->id = id;
    memcpy(d->request_id, request_id.p, request_id.n);
    d->op.back = looked;
    d->op.look.members = d->members;
    list_append(&c->shared.deletions, &d->node);
    if (gather(c, d) < 0)
        end(c, d, refusal_get(REFUSAL_STORE_DOWN));
    else
        look(c, d);
}

int delete_chat(struct core *c, struct core_link *l, const struct wire_frame *frame)
{
    if (!frame->payload.n || frame->payload.n > 128)
        return ERR_INVAL;
    if (is_running(c, frame->payload))
        core_refuse(c, l, frame->id, refusal_get(REFUSAL_STILL_RUNNING));
    else if (c->shared.reach != SHARED_OFF)
        ask_others(c, l, frame->id, frame->payload);
    else if (start_delete(c, l, frame->id, frame->payload, 0) < 0)
        core_refuse(c, l, frame->id, refusal_get(REFUSAL_NO_MEMORY));
    return 0;
}
