/* Clients that hear an answer while it is written; see speech.h. */
#include "speech.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "process.h"
#include "reach.h"

#define UNREAD_MAX  (160u << 10) /* of a link: the core's bound, and a piece */
#define PATIENCE_US ((script_lenient ? 40 : 3600) * US_PER_S)

void listen_compose(struct world *w, struct wire_submit *m, unsigned flags)
{
    static const char before[] = "[{\"role\":\"user\",\"content\":\"", after[] = "\"}]";
    size_t n = sizeof(before) - 1 + m->prompt.n + sizeof(after) - 1;
    char *text = arena_alloc(&w->arena, n);
    memcpy(text, before, sizeof(before) - 1);
    memcpy(text + sizeof(before) - 1, m->prompt.p, m->prompt.n);
    memcpy(text + n - (sizeof(after) - 1), after, sizeof(after) - 1);
    m->messages = (struct slice){text, n};
    m->system_prompt = (struct slice){0};
    m->flags = (m->flags | flags | SUBMIT_ALONE | SUBMIT_VERBATIM) & ~(unsigned)SUBMIT_COMPLETION;
    m->family = FAMILY_OPENAI;
    m->endpoint = ENDPOINT_CHAT_COMPLETIONS;
    if (m->flags & SUBMIT_STREAM)
        m->flags &= ~(unsigned)SUBMIT_ASYNC;
}

/* What the model says in all. */
static bool is_said(struct slice prompt, size_t at, const char *word)
{
    char *said = upstream_answer_to(""); /* the words before the prompt */
    size_t before = strlen(said), n = strlen(word);
    bool same = at + n <= before + prompt.n;
    for (size_t i = 0; same && i < n; i++)
        same = word[i] == (at + i < before ? said[at + i] : prompt.p[at + i - before]);
    free(said);
    return same;
}

void listen_take(struct world *w, struct client *c, struct slice chunk)
{
    cJSON *root = cJSON_ParseWithLength(chunk.p, chunk.n);
    const cJSON *choice = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(root, "choices"), 0);
    const cJSON *delta = cJSON_GetObjectItemCaseSensitive(choice, "delta");
    const char *word = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(delta, "content"));
    if (!(c->submit.flags & SUBMIT_STREAM))
        world_blame(w, "%s is told a piece, and wants all at once", c->name);
    else if (!choice)
        world_blame(w, "%s is told what is no piece: %.*s", c->name, (int)chunk.n, chunk.p);
    else if (word && !is_said(c->submit.prompt, c->heard, word))
        world_blame(w, "%s is told \"%s\", which was not said there", c->name, word);
    c->heard += word ? strlen(word) : 0;
    c->deltas++;
    c->delta_us = world_time(w);
    REACH("told a piece");
    cJSON_Delete(root);
}

void listen_end(struct world *w, struct client *c, const struct chat *chat)
{
    bool verbatim = c->submit.flags & SUBMIT_VERBATIM;
    bool given_up = strcmp(c->code, "NOT_READ") == 0 && c->late;
    if (!chat->text.p && c->deltas && strcmp(c->code, "OUTCOME_UNKNOWN") != 0 && !given_up)
        world_blame(w, "%s was told a part, and then %u %s", c->name, c->status, c->code);
    if (!chat->text.p)
        return;
    if (c->deltas && c->heard != chat->text.n)
        world_blame(w, "%s was told %zu bytes of %zu", c->name, c->heard, chat->text.n);
    if (verbatim != !!chat->response.p)
        world_blame(w, "%s is told %s response", c->name, verbatim ? "no" : "a");
    if (verbatim && !memmem(chat->response.p, chat->response.n, chat->text.p, chat->text.n))
        world_blame(w, "the response for %s is not what was said", c->name);
}

void listen_miss(struct world *w, const struct wire_frame *frame)
{
    struct wire_answer answer;
    if (frame->type == WIRE_ANSWER && wire_answer_decode(frame->payload, &answer) == 0)
        w->replays += (answer.flags & ANSWER_REPLAYED) != 0;
}

void listen_miss_rest(struct world *w, const struct client *c)
{
    struct slice rest = buf_slice(&c->link->out);
    struct wire_frame frame;
    size_t size;
    while (wire_frame_parse(rest, &frame, &size) == 1) {
        if (frame.id == c->submit_id)
            listen_miss(w, &frame);
        rest.p += size;
        rest.n -= size;
    }
}

void listen_stall(struct client *c)
{
    c->stalled = true;
}

void listen_go_on(struct world *w, struct client *c)
{
    bool elder = c->elder && !w->elder_acts;
    if (!c->stalled)
        return;
    c->stalled = false;
    if (!c->link)
        return;
    if (elder)
        process_swap(w);
    c->late = true;
    core_link_dirty(w->core, c->link);
    client_read_all(w);
    c->late = false;
    if (elder)
        process_swap(w);
}

void listen_all_go_on(struct world *w)
{
    for (size_t i = 0; i < w->clients_n; i++)
        listen_go_on(w, &w->clients[i]);
}

static struct client *named(struct script *s, struct line *l)
{
    struct client *c = l->n > 1 ? client_find(s->at, l->words[1]) : NULL;
    if (!c)
        script_fail(s, "there is no client %s", l->n > 1 ? l->words[1] : "without a name");
    return c;
}

void listen_verb_stall(struct script *s, struct line *l)
{
    struct client *c = named(s, l);
    if (c)
        listen_stall(c);
}

void listen_verb_read(struct script *s, struct line *l)
{
    struct client *c = named(s, l);
    if (!c)
        return;
    listen_go_on(s->at, c);
    world_turn(s->at);
}

void listen_expect(struct script *s, struct line *l)
{
    struct client *c = named(s, l);
    struct world *w = s->at;
    const char *at = line_value(l, "at");
    bool counts = l->n > 2 && !strchr(l->words[2], '=');
    unsigned n = counts ? (unsigned)atoi(l->words[2]) : 1;
    uint64_t limit = world_time(w) + PATIENCE_US;
    if (!c)
        return;
    while (c->deltas < n && c->reply == REPLY_NONE && !w->fault[0] && world_step(w, limit)) {
    }
    if (w->fault[0])
        return;
    if (c->deltas != n)
        script_fail(s, "expected %s to be told %u pieces, got %u", c->name, n, c->deltas);
    else if (at && c->delta_us != script_us(s, at))
        script_fail(s, "expected a piece at %s, got %.3fms", at, (double)c->delta_us / US_PER_MS);
}
