/* A provider that answers word by word; see speech.h. */
#include "speech.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "money.h"
#include "process.h"
#include "reach.h"
#include "rules.h"

#define WORDS_N  5
#define WORD_MAX 1000

#define CHUNK                                                                                                \
    "data: {\"id\":\"chatcmpl-sim\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","

static void add_delta(struct buf *b, const char *from, size_t n)
{
    cJSON *delta = cJSON_CreateObject();
    char *word = strndup(from, n);
    cJSON_AddStringToObject(delta, "content", word);
    char *json = cJSON_PrintUnformatted(delta);
    buf_printf(b, CHUNK "\"choices\":[{\"index\":0,\"delta\":%s,\"finish_reason\":null}]}\n\n", json);
    free(json);
    free(word);
    cJSON_Delete(delta);
}

/* Ends after that many events with something in them; UINT_MAX: none is left out. */
static void say(struct buf *b, const char *answer, const struct order *o, unsigned events)
{
    size_t n = strlen(answer), step = n / WORDS_N + 1;
    if (step > WORD_MAX)
        step = WORD_MAX;
    for (size_t at = 0; at < n && events; at += step, events--)
        add_delta(b, answer + at, n - at < step ? n - at : step);
    if (events < SPEECH_ALL - WORDS_N - 1)
        return;
    buf_printf(b, CHUNK "\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"%s\"}]}\n\n",
               o->conduct == CONDUCT_TRUNCATED ? "length" : "stop");
    buf_printf(b, CHUNK "\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":7,"
                        "\"total_tokens\":17}}\n\ndata: [DONE]\n\n");
}

static bool is_spoken(const struct order *o)
{
    return o->conduct == CONDUCT_ANSWER || o->conduct == CONDUCT_RESET || o->conduct == CONDUCT_TIMEOUT ||
           o->conduct == CONDUCT_TRUNCATED || o->conduct == CONDUCT_BROKEN;
}

struct speech *speech_new(struct world *w, const struct call *call, const struct order *o, const char *answer)
{
    struct buf text;
    bool whole = o->conduct == CONDUCT_ANSWER || o->conduct == CONDUCT_TRUNCATED;
    if (!call->request.streams || !is_spoken(o) || !answer)
        return NULL;
    struct speech *s = calloc(1, sizeof(*s));
    buf_init(&text, 64u << 20);
    say(&text, answer, o, whole ? UINT32_MAX : o->after);
    if (o->conduct == CONDUCT_BROKEN)
        buf_printf(&text, "data: {\"error\":{\"message\":\"as ordered\",\"type\":\"server_error\"}}\n\n");
    if (o->conduct == CONDUCT_TIMEOUT)
        s->silent_us = w->conf.provider.timeout_ms * US_PER_MS;
    s->text = text.data ? text.data : strdup("");
    s->n = text.len;
    REACH("the provider speaks");
    if (!whole && o->after)
        REACH("the provider breaks off");
    return s;
}

void speech_free(struct speech *s)
{
    if (s)
        free(s->text);
    free(s);
}

/* An event at a time, or in random lives anything. */
static size_t next_size(struct world *w, const struct speech *s)
{
    size_t left = s->n - s->said;
    const char *end = memmem(s->text + s->said, left, "\n\n", 2);
    size_t n = end ? (size_t)(end + 2 - (s->text + s->said)) : left;
    if (w->at_random && world_random(w, 2))
        n = 1 + (size_t)world_random(w, 300 + left / 20);
    return n < left ? n : left;
}

bool speech_go_on(struct world *w, struct flight *f)
{
    struct speech *s = f->speech;
    if (!s || s->said == s->n)
        return false;
    struct slice piece = {s->text + s->said, next_size(w, s)};
    s->held = !core_streamed(w->core, f->call, piece, w->now_us);
    f->due_us = s->held ? UINT64_MAX : w->now_us + w->gap_us;
    if (s->held) {
        REACH("a stream waits for who hears it");
        return true;
    }
    s->said += piece.n;
    if (s->said == s->n)
        f->due_us += s->silent_us;
    return true;
}

static struct flight *flight_of(const struct world *w, const struct call *call)
{
    list_for_each (it, &w->flights) {
        struct flight *f = LIST_ENTRY(it, struct flight, node);
        if (f->call == call)
            return f;
    }
    return NULL;
}

void speech_port_resume(void *arg, struct call *call)
{
    struct world *w = arg;
    struct flight *f = flight_of(w, call);
    if (process_is_dead(w))
        return;
    if (!f || !f->speech || !f->speech->held)
        world_blame(w, "a call goes on that did not wait");
    else
        speech_go_on(w, f);
}

void speech_port_abort(void *arg, struct call *call)
{
    struct world *w = arg;
    struct flight *f = flight_of(w, call);
    bool dead = process_is_dead(w);
    if (dead && !f)
        return;
    if (!f || !call->request.streams) {
        world_blame(w, "a call is ended that does not run, or does not stream");
        return;
    }
    world_say(w, "call of %.*s is ended", (int)call->members[0]->submit.request_id.n,
              call->members[0]->submit.request_id.p);
    if (dead)
        rules_ended(w, call); /* as all calls of whoever is killed; the core keeps it no longer than this */
    else if (f->speech && f->speech->said == f->speech->n)
        REACH("a stream is ended that goes on after its end");
    else {
        REACH("a stream is ended since its client left");
        rules_ended(w, call);
        money_ended(w, f);
    }
    list_remove(&f->node);
    upstream_free(f);
}

/* Who could not ask for it again, and has left, is not spoken to. */
static void check_heard(struct world *w, const struct flight *f)
{
    const struct job *j = f->call->members[0];
    const unsigned once = SUBMIT_STREAM | SUBMIT_OWN_ID;
    if (f->call->request.streams && (j->submit.flags & once) == once && !job_is_async(j) &&
        !job_is_awaited(j))
        world_blame(w, "%.*s has left, and is still spoken to", (int)j->submit.request_id.n,
                    j->submit.request_id.p);
}

void speech_check(struct world *w)
{
    list_for_each (it, &w->flights)
        check_heard(w, LIST_ENTRY(it, struct flight, node));
}
