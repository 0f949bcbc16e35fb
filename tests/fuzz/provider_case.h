/*
 * A call and its response as fuzz_provider.c has them in an input: sections with lines of "----" between
 * them.
 *
 *   1        a line of choices, a character each: kind, mode, members, wrapping, status, transport, finish,
 *            temperature, max_tokens, retry-after, confidence
 *   2        what all prompts begin with   3  what they end with   4  the system prompt
 *   5        extra, JSON                   6  messages, JSON       7  the model
 *   the last the response; in it these stand for what the provider was sent or would say:
 *            $I0 id of member 0              $C0 "echo":…,"answer":… of it        $M0 both: "id":{…}
 *            $T0 "index":0,"text":…          $K  the key                          $A  the answer of a plain
 * call
 *            $*  all members, as they should be     $!  all choices of an array, as they should be
 */
#ifndef FUZZ_PROVIDER_CASE_H
#define FUZZ_PROVIDER_CASE_H

#include "base/arena.h"
#include "fuzz.h"
#include "provider/combined.h"
#include "provider/provider.h"

#define CASE_MEMBERS 6

/* Invariant: members[i].prompt holds canary[i] within its first 31 words. The canaries and the key follow
 * from the whole input, so that no input holds them. */
struct provider_case {
    struct provider provider;
    enum provider_mode mode;
    size_t n;
    struct provider_member members[CASE_MEMBERS];
    char canary[CASE_MEMBERS][20], key[20];
    uint64_t seed;
    bool wrapped, cut; /* the response is a model's text; at the end of max_tokens */
    bool filtered;
    int status;
    enum transport transport;
    struct slice retry_after, template; /* the last section */
    bool right;                         /* the response is as it should be: everybody must be served */
};

void case_read(struct slice input, struct arena *arena, struct provider_case *ret_case);
struct provider_response case_response(struct provider_case *c, const struct provider_call *call,
                                       struct arena *arena);
/* "answer-" and the canary: what only member i may be told. */
const char *case_answer(const struct provider_case *c, size_t i, char ret_text[40]);

#endif
