/*
 * The promises of what is told: an answer only after it is stored, only to its own prompt, and from then on
 * the same bytes to whoever asks, as long as its record is kept; everybody hears once and in time; what was
 * deleted stays deleted.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "reach.h"
#include "rules.h"
#include "server.h"
#include "speech.h"

/* An answer that still stands, whoever asks. */
static bool stands(const struct world *w, const struct ledger *known)
{
    return known && known->told && !known->going && !rules_is_past(w, known->told_until_s);
}

static void digest_of(struct slice text, uint8_t ret_digest[DIGEST_SIZE])
{
    crypto_generichash(ret_digest, DIGEST_SIZE, (const unsigned char *)text.p, text.n, NULL, 0);
}

static void note_told(struct world *w, struct client *c, struct slice told, uint64_t expires_s,
                      struct world *keeper)
{
    struct ledger *known = rules_ledger(w, c->submit.key, true);
    uint8_t digest[DIGEST_SIZE];
    digest_of(told, digest);
    if (stands(w, known) && memcmp(digest, known->digest, DIGEST_SIZE) != 0 &&
        !rules_without_promise(w, known))
        world_blame(w, "%s is told another answer than was told before", c->name);
    if (known->gone && known->deleter == w && !rules_is_past(w, known->told_until_s) &&
        !rules_without_promise(w, known))
        world_blame(w, "%s is told an answer that was deleted", c->name);
    bool past = rules_is_past(w, known->told_until_s);
    if (!known->told || past || memcmp(digest, known->digest, DIGEST_SIZE) != 0)
        known->told_us = w->now_us;
    if (known->told && past)
        known->going = known->gone = false;
    /* Without the server that has the deletion, the id ran anew: what was deleted is another answer. */
    if (known->gone && rules_without_promise(w, known))
        known->gone = false;
    memcpy(known->digest, digest, DIGEST_SIZE);
    known->told = true;
    known->fresh |= c->fresh;
    for (const struct world *at = w; at; at = at == w ? w->twin : NULL)
        for (size_t i = 0; i < at->clients_n; i++) /* deletions that are on their way */
            known->going |= at->clients[i].admin && at->clients[i].waiting &&
                            slice_is(c->submit.request_id, at->clients[i].deletes);
    /* Deleted elsewhere, or the deletion failed on the way, or the machine that has the answer has not heard.
     */
    known->going |= server_deletes_later(w, c->submit.request_id) ||
                    (keeper && server_deletes_later(keeper, c->submit.request_id)) ||
                    strcmp(server_state(w, c), "deleted") == 0;
    known->told_until_s = expires_s;
    known->client = (size_t)(c - w->clients);
    known->home = w;
    known->keeper = keeper;
}

static bool keeps_itself(struct world *w, const struct client *c)
{
    return strcmp(disk_state(w, c), "done") == 0;
}

/* Whether another machine has that answer stored, or one that no script can see. */
static bool stored_elsewhere(struct world *w, const struct client *c, struct slice told,
                             struct world **ret_keeper, uint64_t *ret_expires_s)
{
    struct request_record record;
    struct slice stored;
    bool found = false;
    *ret_keeper = NULL;
    *ret_expires_s = UINT64_MAX;
    if (!w->server)
        return false;
    if (w->twin && disk_lookup(w->twin, c->submit.key, &record, &stored, NULL) == 0) {
        found = record.state == REQUEST_DONE && slice_equal(stored, told);
        if (found) {
            *ret_keeper = w->twin;
            *ret_expires_s = record.expires_s;
        }
        disk_lookup_end(w->twin);
    }
    return found || slice_equal(server_chat(w, c->submit.key), told);
}

static void check_answer(struct world *w, struct client *c, struct slice told)
{
    struct chat chat;
    struct request_record record;
    struct slice stored;
    struct err e = {0};
    if (chat_decode(told, &chat) < 0)
        world_blame(w, "the answer for %s holds no chat", c->name);
    else if (!slice_equal(chat.prompt, c->submit.prompt) ||
             !slice_equal(chat.request_id, c->submit.request_id))
        world_blame(w, "%s gets the chat of another", c->name);
    else if (!upstream_is_answer(chat.prompt, chat.text))
        world_blame(w, "%s gets the answer of another: %.*s", c->name, (int)chat.text.n, chat.text.p);
    else if (c->late)
        return; /* what stands by now is another question */
    else if (chat.cached)
        rules_cache_told(w, c, &chat);
    struct world *keeper;
    uint64_t expires_s;
    if (stored_elsewhere(w, c, told, &keeper, &expires_s) && (keeper || !keeps_itself(w, c))) {
        REACH("told what another machine has");
        note_told(w, c, told, expires_s, keeper);
        return;
    }
    /* It was on its way here when another machine's administrator had it deleted. */
    bool deleted = w->twin && !keeps_itself(w, c) && strcmp(disk_state(w->twin, c), "deleted") == 0;
    if (deleted || (w->server && strcmp(server_state(w, c), "deleted") == 0))
        return;
    if (disk_lookup(w, c->submit.key, &record, &stored, &e) < 0) {
        /* What was answered before those hours, and could not be stored until after them, has had its time.
         */
        if (!rules_slept_since(w, c->flags & ANSWER_REPLAYED ? c->asked_us : 0))
            world_blame(w, "%s is told an answer that is not stored: %s", c->name, e.text);
        return;
    }
    bool deleted_since = (w->elder_acts || w->twin) && record.state == REQUEST_DELETED;
    bool over = w->elder_acts && rules_slept_since(w, c->asked_us);
    if (deleted_since || over) {
        disk_lookup_end(
            w); /* it was stored, and deleted, or its time over, while the elder was stopped before it told */
        return;
    }
    if (record.state != REQUEST_DONE || !slice_equal(stored, told))
        world_blame(w, "%s is told an answer that differs from the stored one", c->name);
    note_told(w, c, told, record.expires_s, w);
    disk_lookup_end(w);
}

/* A machine that did not ask the server, or asked while the other one was away, cannot know what that told.
 */
static bool may_not_know(const struct world *w, const struct client *c, const struct ledger *known)
{
    /* 409: somebody else asks for the id with another body, and the server is not back yet with what it is.
     */
    static const unsigned before[] = {409, 424, 429, 503, 504};
    for (size_t i = 0; i < ARRAY_LEN(before); i++)
        if (c->status == before[i])
            return true;
    /* Nobody had it when the server was asked; what the prompt then is refused for is this machine's own
     * affair. */
    if (c->status == 403 && c->asked_us <= known->told_us)
        return true;
    return rules_without_promise(w, known) || strcmp(c->code, "ASYNC_WITH_KEY") == 0;
}

void rules_watched(struct world *w, const struct client *c, struct slice chat)
{
    struct ledger *known = rules_ledger(w, c->submit.key, false);
    uint8_t digest[DIGEST_SIZE];
    digest_of(chat, digest);
    if (stands(w, known) && memcmp(digest, known->digest, DIGEST_SIZE) != 0 && !c->late &&
        !rules_without_promise(w, known))
        world_blame(w, "%s sees another answer than was told", c->name);
}

/* Only for a limit that is there, and it says when to come back. */
static void check_limited(struct world *w, const struct client *c)
{
    if (!wire_limits_any(&c->limits) || !c->retry_after_ms || c->status != 429)
        world_blame(w, "%s is refused for a limit, and not told which", c->name);
    if (c->retry_after_ms > 300000)
        world_blame(w, "%s is to wait %u ms for its limit", c->name, c->retry_after_ms);
}

static void check_refusal(struct world *w, struct client *c)
{
    if (c->late)
        return;
    if (strcmp(c->code, "RATE_LIMITED") == 0)
        check_limited(w, c);
    static const char *const of_calls[] = {"PROVIDER_", "UPSTREAM_", "BAD_UPSTREAM_", "CONTENT_"};
    for (size_t i = 0; i < ARRAY_LEN(of_calls); i++)
        if (strncmp(c->code, of_calls[i], strlen(of_calls[i])) == 0 &&
            strcmp(disk_state(w, c), "dispatched") == 0)
            world_blame(w, "%s is told %s while its record says dispatched", c->name, c->code);
    struct ledger *known = rules_ledger(w, c->submit.key, false);
    if (!known || !known->told)
        return;
    const struct client *told = &known->home->clients[known->client];
    if (known->keeper != w && may_not_know(w, c, known))
        return;
    bool same = memcmp(told->submit.fingerprint, c->submit.fingerprint, REQUEST_KEY_SIZE) == 0;
    /* Somebody who waits at the elder waits for a job of the elder's, which comes to nothing. */
    if (stands(w, known) && same && !c->elder)
        world_blame(w, "%s is told %s, but %s was told an answer", c->name, c->code, told->name);
    if (known->gone && known->deleter == w && !rules_is_past(w, known->told_until_s) &&
        strcmp(c->code, "REQUEST_DELETED") != 0 && !c->elder)
        world_blame(w, "%s is told %s, but the answer was deleted", c->name, c->code);
}

/* What it is told to be kept is its own request. */
static void check_kept(struct world *w, const struct client *c)
{
    struct request_record record;
    struct slice chat;
    if (c->late)
        return;
    if (disk_lookup(w, c->submit.key, &record, &chat, NULL) == 0) {
        disk_lookup_end(w);
        bool elsewhere = w->server && strcmp(server_state(w, c), "none") != 0;
        if (memcmp(record.fingerprint, c->submit.fingerprint, REQUEST_KEY_SIZE) != 0 && !elsewhere)
            world_blame(w, "%s is told that its request is kept, but it is another's", c->name);
    } else if (w->server && strcmp(server_state(w, c), "none") != 0)
        REACH("told that another machine keeps it");
    else if (!rules_slept_since(w, job_find(w->core, c->submit.key) ? 0 : c->since_us))
        /* What runs may have been taken up with a record whose time was over; what it joined may have been on
         * its way to a slow disk until that was over. */
        world_blame(w, "%s is told that its request is kept, but it is not", c->name);
    if (!(c->submit.flags & SUBMIT_ASYNC))
        world_blame(w, "%s waits, and is told that its request is kept", c->name);
}

void rules_replied(struct world *w, struct client *c, struct slice chat)
{
    bool async = c->submit.flags & SUBMIT_ASYNC;
    if (!c->submit.request_id.p)
        return;
    if (!async && w->now_us > client_deadline_us(w, c) && !c->deltas && !c->late)
        world_blame(w, "%s hears after its deadline", c->name);
    struct chat told = {0};
    if (chat.n && chat_decode(chat, &told) < 0)
        world_blame(w, "the answer for %s holds no chat", c->name);
    listen_end(w, c, &told);
    if (c->reply == REPLY_ANSWER)
        check_answer(w, c, chat);
    if (c->reply == REPLY_QUEUED)
        check_kept(w, c);
    if (c->reply == REPLY_REFUSAL)
        check_refusal(w, c);
}

/* Whether the key is one of that request id. */
static bool is_of(const struct ledger *known, const char *request_id)
{
    return known->told && slice_is(known->home->clients[known->client].submit.request_id, request_id);
}

void rules_deleting(struct world *w, const char *request_id)
{
    struct ledger *known, *tmp;
    HASH_ITER (hh, *rules_ledgers(w), known, tmp)
        if (is_of(known, request_id))
            known->going = true;
}

void rules_deleted(struct world *w, const char *request_id, uint64_t asked_us)
{
    struct ledger *known, *tmp;
    HASH_ITER (hh, *rules_ledgers(w), known, tmp) {
        if (!is_of(known, request_id) || !known->going || rules_is_past(w, known->told_until_s))
            continue;
        /* What another machine answered meanwhile came before the deletion or after it. */
        if (known->keeper != w && known->told_us >= asked_us)
            continue;
        known->gone = true;
        known->deleter = w;
        if (known->keeper != w)
            continue;
        const char *state = disk_state(known->keeper, &known->home->clients[known->client]);
        if (strcmp(state, "deleted") != 0)
            world_blame(w, "%s was deleted, but its record says %s", request_id, state);
    }
}

void rules_chats_gone(struct world *w)
{
    struct ledger *known, *tmp;
    HASH_ITER (hh, *rules_ledgers(w), known, tmp)
        known->going = true;
}

static void check_stored(struct world *w, const struct ledger *known)
{
    struct request_record record;
    struct slice stored = {0};
    uint8_t digest[DIGEST_SIZE];
    const struct client *c = &known->home->clients[known->client];
    struct world *keeper = known->keeper;
    if (!keeper)
        return;
    if (disk_lookup(keeper, known->key, &record, &stored, NULL) < 0) {
        world_blame(w, "the answer that %s was told is not stored any more", c->name);
        return;
    }
    digest_of(stored, digest);
    if (record.state != REQUEST_DONE || !stored.p)
        world_blame(w, "the answer that %s was told is lost: its record has state %d%s", c->name,
                    (int)record.state, stored.p ? "" : " and no chat");
    else if (memcmp(digest, known->digest, DIGEST_SIZE) != 0)
        world_blame(w, "the answer that %s was told has changed", c->name);
    disk_lookup_end(keeper);
}

void rules_check_told(struct world *w)
{
    struct ledger *known, *tmp;
    HASH_ITER (hh, *rules_ledgers(w), known, tmp) {
        if (stands(w, known))
            check_stored(w, known);
        else if (known->told && !known->going)
            REACH("an answer expires");
        else if (known->gone && known->keeper && !rules_without_promise(w, known) &&
                 (known->keeper == known->deleter || w->ended) && !rules_is_past(w, known->told_until_s) &&
                 strcmp(disk_state(known->keeper, &known->home->clients[known->client]), "deleted") != 0)
            world_blame(w, "what was deleted of %s is %s", known->home->clients[known->client].name,
                        disk_state(known->keeper, &known->home->clients[known->client]));
    }
}

const struct client *rules_next_told(struct world *w, size_t *at)
{
    size_t i = 0;
    struct ledger *known, *tmp;
    HASH_ITER (hh, *rules_ledgers(w), known, tmp)
        if (i++ >= *at && stands(w, known)) {
            *at = i;
            return &known->home->clients[known->client];
        }
    return NULL;
}
