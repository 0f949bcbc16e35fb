/*
 * Answers that are told while they are written: the provider's side (speech.c: events that come one after the
 * other, wait for who does not keep up, break off) and the client's (listen.c: DELTA frames that must be what
 * was said, once, in order, before the end).
 */
#ifndef SCENARIO_SPEECH_H
#define SCENARIO_SPEECH_H

#include "script.h"
#include "upstream.h"

#define SPEECH_ALL 100 /* as order.after: a short answer to its end */

/* Invariants: 0 .. said was taken by the core, said .. n waits; held: until the core says that it goes on. */
struct speech {
    char *text;
    size_t n, said;
    bool held;
    uint64_t silent_us; /* behind it, before the connection ends */
};

/* What is said to the call; NULL: it is not a stream that is asked for, or not one that is answered. */
struct speech *speech_new(struct world *w, const struct call *call, const struct order *o,
                          const char *answer);
void speech_free(struct speech *s);
/* Says what is due. False: all is said. */
bool speech_go_on(struct world *w, struct flight *f);
/* Nobody is told anything who could not be, and who left is not spoken to. */
void speech_check(struct world *w);

/* Ports. */
void speech_port_resume(void *arg, struct call *call);
void speech_port_abort(void *arg, struct call *call);

/* Makes of a prompt that is composed OpenAI's request with these flags, before it has its key. */
void listen_compose(struct world *w, struct wire_submit *m, unsigned flags);
void listen_take(struct world *w, struct client *c, struct slice chunk);
/* The client hears its outcome: it is what was told, or says that the rest is not known. chat is empty in a
 * refusal. */
void listen_end(struct world *w, struct client *c, const struct chat *chat);
/* It does not read any more; it does again. */
void listen_stall(struct client *c);
void listen_go_on(struct world *w, struct client *c);
void listen_all_go_on(struct world *w);
/* It has left and drops a frame that was on its way; its link closes, with what it has not read: answered it
 * was all the same, as the figures say. */
void listen_miss(struct world *w, const struct wire_frame *frame);
void listen_miss_rest(struct world *w, const struct client *c);

/* STALL name, READ name, EXPECT DELTA name [n] [at=] */
void listen_verb_stall(struct script *s, struct line *l);
void listen_verb_read(struct script *s, struct line *l);
void listen_expect(struct script *s, struct line *l);

#endif
