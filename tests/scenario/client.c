/*
 * Those who ask: each client is one thread of a worker with a link of its own, and reads what the core writes
 * to it.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"
#include "reach.h"
#include "speech.h"

#define FRAME_MAX (WIRE_MAX_PAYLOAD + 64)
#define ADMIN     "(admin)" /* and (admin1), … for those who do not wait for each other */

struct client *client_find(struct world *w, const char *name)
{
    for (size_t i = 0; i < w->clients_n; i++)
        if (strcmp(w->clients[i].name, name) == 0)
            return &w->clients[i];
    return NULL;
}

struct client *client_add(struct world *w, const char *name)
{
    if (w->clients_n == WORLD_CLIENTS_MAX) {
        fputs("scenario: too many clients\n", stderr);
        exit(2);
    }
    struct client *c = &w->clients[w->clients_n++];
    snprintf(c->name, sizeof(c->name), "%s", name);
    c->submit = (struct wire_submit){.family = FAMILY_QUERY,
                                     .endpoint = ENDPOINT_V1_QUERY,
                                     .priority = PRIORITY_MEDIUM,
                                     .temperature = NAN};
    return c;
}

/* Feeds one frame to the core, through the bytes it would have on the wire. */
static void feed(struct world *w, struct client *c, struct buf *bytes)
{
    struct wire_frame frame;
    size_t size;
    bool elder = c->elder && !w->elder_acts;
    if (elder)
        process_swap(w);
    if (buf_failed(bytes) || wire_frame_parse(buf_slice(bytes), &frame, &size) != 1)
        world_blame(w, "%s cannot frame its message", c->name);
    else if (core_receive(w->core, c->link, &frame, w->now_us) < 0)
        world_blame(w, "the core does not take a frame of %s", c->name);
    if (elder)
        process_swap(w);
    buf_fini(bytes);
}

static size_t begin(struct world *w, struct buf *bytes, enum wire_type type, uint64_t *ret_id)
{
    buf_init(bytes, FRAME_MAX);
    *ret_id = ++w->last_frame_id;
    return wire_frame_begin(bytes, type, *ret_id);
}

static void need_link(struct world *w, struct client *c)
{
    struct buf bytes;
    uint64_t id;
    struct wire_hello hello = {.pool = w->pool, .pid = 1};
    if (c->link)
        return;
    hello.pool.bytes[0] ^= (uint8_t)c->pool;
    hello.capacity = c->pool ? w->more_capacity[c->pool] : w->capacity;
    c->stalled = false;
    c->link = calloc(1, sizeof(*c->link));
    core_link_init(c->link);
    size_t mark = begin(w, &bytes, WIRE_HELLO, &id);
    wire_hello_encode(&bytes, &hello);
    wire_frame_end(&bytes, mark);
    feed(w, c, &bytes);
}

uint64_t client_deadline_us(const struct world *w, const struct client *c)
{
    uint64_t call_us = (w->conf.provider.timeout_ms + 1000ull) * US_PER_MS;
    return c->deadline_us + (c->submit.flags & SUBMIT_STREAM ? 2 * call_us : 0);
}

void client_submit(struct world *w, struct client *c)
{
    struct buf bytes;
    need_link(w, c);
    c->submit.wait_ms = c->deadline_us > w->now_us ? (uint32_t)((c->deadline_us - w->now_us) / US_PER_MS) : 0;
    size_t mark = begin(w, &bytes, WIRE_SUBMIT, &c->submit_id);
    wire_submit_encode(&bytes, &c->submit);
    wire_frame_end(&bytes, mark);
    const struct job *running = job_find(w->core, c->submit.key);
    c->asked_us = w->now_us;
    c->since_us = running ? running->arrived_us : w->now_us;
    c->fresh |= (c->submit.flags & SUBMIT_FRESH_ID) != 0;
    c->max_tokens = rules_max_tokens(w, &c->submit);
    c->waiting = true;
    c->reply = REPLY_NONE;
    c->deltas = 0;
    c->heard = 0;
    world_say(w, "%s asks (%.*s)", c->name, (int)c->submit.request_id.n, c->submit.request_id.p);
    feed(w, c, &bytes);
}

void client_watch(struct world *w, struct client *c, uint64_t wait_us)
{
    struct buf bytes;
    struct wire_watch watch = {.wait_ms = (uint32_t)(wait_us / US_PER_MS)};
    if (c->watching)
        return; /* one at a time */
    need_link(w, c);
    memcpy(watch.key, c->submit.key, sizeof(watch.key));
    size_t mark = begin(w, &bytes, WIRE_WATCH, &c->watch_id);
    wire_watch_encode(&bytes, &watch);
    wire_frame_end(&bytes, mark);
    c->watching = true;
    c->progress_seen = false;
    feed(w, c, &bytes);
}

void client_cancel(struct world *w, struct client *c)
{
    struct buf bytes;
    if (!c->waiting)
        return;
    buf_init(&bytes, FRAME_MAX);
    wire_frame_end(&bytes, wire_frame_begin(&bytes, WIRE_CANCEL, c->submit_id));
    c->waiting = false;
    c->cancelled = true;
    world_say(w, "%s leaves", c->name);
    feed(w, c, &bytes);
}

void client_close(struct world *w, struct client *c)
{
    if (!c->link)
        return;
    bool elder = c->elder && !w->elder_acts;
    w->unheard |= c->admin && c->waiting && !c->changes_keys && !c->deletes[0];
    c->waiting = c->watching = false;
    listen_miss_rest(w, c);
    if (elder)
        process_swap(w);
    core_link_fini(w->core, c->link, w->now_us);
    if (elder)
        process_swap(w);
    free(c->link);
    c->link = NULL;
}

static struct client *admin(struct world *w, bool aside)
{
    char name[32] = ADMIN;
    const struct client *usual = client_find(w, ADMIN);
    aside |= usual && usual->elder; /* who comes now comes to the one that took over */
    for (unsigned i = 0; aside; i++) {
        snprintf(name, sizeof(name), "(admin%u)", i);
        struct client *c = client_find(w, name);
        if (!c || (!c->waiting && (!c->elder || w->at_random)))
            break;
    }
    struct client *c = client_find(w, name);
    if (!c)
        c = client_add(w, name);
    c->admin = true;
    c->deletes[0] = c->model[0] = 0;
    c->changes_keys = false;
    return c;
}

static void ask_as_admin(struct world *w, struct client *c, enum wire_type type, const char *payload)
{
    struct buf bytes;
    struct wire_change change = {.actor = slice_of(c->name), .document = slice_of(payload)};
    need_link(w, c);
    size_t mark = begin(w, &bytes, type, &c->submit_id);
    if (type == WIRE_KEYS_CHANGE || type == WIRE_SETTINGS_PUT)
        wire_change_encode(&bytes, &change);
    else
        buf_append_text(&bytes, payload);
    wire_frame_end(&bytes, mark);
    c->waiting = true;
    c->asked_us = w->now_us;
    c->reply = REPLY_NONE;
    world_say(w, "%s: %s", c->name, payload);
    feed(w, c, &bytes);
}

static void ask_settings(struct world *w, struct client *c, const char *json)
{
    if (sscanf(json, "{\"model\":\"%63[^\"]\"}", c->model) != 1)
        c->model[0] = 0;
    ask_as_admin(w, c, WIRE_SETTINGS_PUT, json);
}

void client_settings(struct world *w, const char *json)
{
    ask_settings(w, admin(w, false), json);
}

void client_settings_aside(struct world *w, const char *json)
{
    ask_settings(w, admin(w, true), json);
}

static void ask_keys(struct world *w, struct client *c, const char *json)
{
    c->changes_keys = true;
    ask_as_admin(w, c, WIRE_KEYS_CHANGE, json);
}

void client_keys(struct world *w, const char *json)
{
    ask_keys(w, admin(w, false), json);
}

void client_keys_aside(struct world *w, const char *json)
{
    ask_keys(w, admin(w, true), json);
}

static void ask_deletion(struct world *w, struct client *c, const char *request_id)
{
    struct job *j, *tmp;
    w->deletions++;
    c->deletes_running = false;
    HASH_ITER (hh, w->core->by_key, j, tmp)
        c->deletes_running |= slice_is(j->submit.request_id, request_id) && !c->elder;
    snprintf(c->deletes, sizeof(c->deletes), "%s", request_id);
    rules_deleting(w, request_id);
    ask_as_admin(w, c, WIRE_CHAT_DELETE, request_id);
}

void client_delete(struct world *w, const char *request_id)
{
    ask_deletion(w, admin(w, false), request_id);
}

void client_delete_aside(struct world *w, const char *request_id)
{
    ask_deletion(w, admin(w, true), request_id);
}

static void take_answer(struct world *w, struct client *c, struct slice payload)
{
    struct wire_answer answer;
    if (wire_answer_decode(payload, &answer) < 0) {
        world_blame(w, "the answer for %s cannot be read", c->name);
        return;
    }
    struct chat chat;
    c->reply = REPLY_ANSWER;
    c->flags = answer.flags;
    c->cached = chat_decode(answer.chat, &chat) == 0 && chat.cached;
    c->limits = answer.limits;
    w->replays += (answer.flags & ANSWER_REPLAYED) != 0;
    if (answer.flags & ANSWER_REPLAYED)
        REACH("told a replay");
    else if (answer.flags & ANSWER_JOINED)
        REACH("told what another asked for");
    else
        REACH("told an answer");
    if (c->cached)
        REACH("told an answer from the cache");
    world_say(w, "%s is answered%s%s", c->name, answer.flags & ANSWER_REPLAYED ? " (replayed)" : "",
              c->cached ? " (cached)" : "");
    rules_replied(w, c, answer.chat);
}

static void take_refusal(struct world *w, struct client *c, struct slice payload)
{
    struct wire_refusal refusal;
    if (wire_refusal_decode(payload, &refusal) < 0) {
        world_blame(w, "the refusal for %s cannot be read", c->name);
        return;
    }
    c->reply = REPLY_REFUSAL;
    c->status = refusal.status;
    c->retry_after_ms = refusal.retry_after_ms;
    c->limits = refusal.limits;
    snprintf(c->code, sizeof(c->code), "%.*s", (int)refusal.error_code.n, refusal.error_code.p);
    world_say(w, "%s is refused: %u %s", c->name, c->status, c->code);
    reach_word(c->admin ? "an administrator is refused" : "refused", c->code);
    rules_replied(w, c, (struct slice){0});
}

static void take_progress(struct world *w, struct client *c, const struct wire_frame *frame)
{
    static const char *const seen[] = {"unknown", "queued", "running", "finished", "answer", "refusal"};
    struct wire_answer answer;
    struct wire_refusal refusal;
    bool right = frame->type != WIRE_PROGRESS || frame->payload.n == 1;
    if (!c->watching || frame->id != c->watch_id || !right) {
        world_blame(w, "%s is told a progress that it does not wait for", c->name);
        return;
    }
    c->watching = false;
    c->progress_seen = true;
    c->progress = frame->type == WIRE_ANSWER    ? PROGRESS_ANSWER
                  : frame->type == WIRE_REFUSAL ? PROGRESS_REFUSAL
                                                : (unsigned)frame->payload.p[0];
    c->progress_us = world_time(w);
    if (c->progress == PROGRESS_ANSWER && wire_answer_decode(frame->payload, &answer) < 0)
        world_blame(w, "the answer that %s asked for cannot be read", c->name);
    else if (c->progress == PROGRESS_ANSWER)
        rules_watched(w, c, answer.chat);
    if (c->progress == PROGRESS_REFUSAL && wire_refusal_decode(frame->payload, &refusal) < 0)
        world_blame(w, "the refusal that %s asked for cannot be read", c->name);
    else
        c->progress_status = c->progress == PROGRESS_REFUSAL ? refusal.status : 0;
    world_say(w, "%s sees %s", c->name, c->progress <= PROGRESS_REFUSAL ? seen[c->progress] : "?");
    reach_word("a watch sees", c->progress <= PROGRESS_REFUSAL ? seen[c->progress] : "?");
}

static void settings_done(struct world *w, const struct client *c)
{
    if (w->elder_acts)
        return;
    w->settled_us = w->now_us;
    w->key_told = w->key;
    w->unheard &= !list_empty(&w->core->changes);
    if (!w->twin) /* which may put another one at any time */
        memcpy(w->model, c->model, sizeof(w->model));
}

static void take_frame(struct world *w, struct client *c, const struct wire_frame *frame)
{
    if (frame->type == WIRE_WELCOME)
        return;
    bool ends_watch = frame->type == WIRE_ANSWER || frame->type == WIRE_REFUSAL;
    if (frame->type == WIRE_PROGRESS || (ends_watch && c->watching && frame->id == c->watch_id)) {
        take_progress(w, c, frame);
        return;
    }
    /* "It is kept" may cross a client that leaves: nobody waits in the core for it but the disk. So may
     * anything that one has not read. */
    if (frame->id == c->submit_id && c->cancelled && (c->submit.flags & SUBMIT_ASYNC || c->late)) {
        listen_miss(w, frame);
        return;
    }
    if (!c->admin && (frame->id != c->submit_id || !c->waiting)) {
        world_blame(w, "%s is told an outcome that it does not wait for", c->name);
        return;
    }
    if (frame->type == WIRE_DELTA) {
        listen_take(w, c, frame->payload);
        return;
    }
    c->waiting = false;
    c->replied_us = world_time(w);
    if (frame->type == WIRE_ANSWER)
        take_answer(w, c, frame->payload);
    else if (frame->type == WIRE_REFUSAL)
        take_refusal(w, c, frame->payload);
    else if (frame->type == WIRE_QUEUED || frame->type == WIRE_DONE) {
        c->reply = REPLY_QUEUED;
        if (c->admin && c->deletes[0]) {
            REACH("a deletion is done");
            rules_deleted(w, c->deletes, c->asked_us);
            if (c->deletes_running)
                world_blame(w, "%s is deleted while it runs", c->deletes);
        } else if (c->admin && !c->changes_keys) {
            REACH("settings are changed");
            settings_done(w, c);
        } else if (!c->admin)
            REACH("told that it is kept");
        rules_replied(w, c, (struct slice){0});
    } else
        world_blame(w, "%s gets a frame of type %d", c->name, (int)frame->type);
}

static void read_link(struct world *w, struct client *c)
{
    struct wire_frame frame;
    size_t size;
    struct buf *out = &c->link->out;
    while (out->len && !w->fault[0]) {
        if (wire_frame_parse(buf_slice(out), &frame, &size) != 1) {
            world_blame(w, "what the core wrote to %s is no frame", c->name);
            return;
        }
        take_frame(w, c, &frame);
        buf_consume(out, size);
    }
}

void client_read_all(struct world *w)
{
    struct list *it;
    while ((it = list_first(&w->core->dirty_links))) { /* a stream that goes on says more */
        struct core_link *l = LIST_ENTRY(it, struct core_link, dirty_node);
        list_remove(it);
        for (size_t i = 0; i < w->clients_n; i++) {
            struct client *c = &w->clients[i];
            if (c->link != l || c->stalled)
                continue;
            read_link(w, c);
            core_link_flows(w->core, l);
        }
    }
}
