/*
 * Echoes: the first words of each prompt, which a combined answer must repeat beside its answer, so that
 * answers whose contents moved to other ids are noticed even when every id is there.
 *
 * An echo matches a prompt when, both normalised, it is a prefix of the whole prompt and no shorter than the
 * prompt's required words. Normalised (loose): ASCII letters in lower case, digits and all bytes >= 0x80
 * kept; everything else dropped, as are U+00A0 and U+2000-U+206F, since models change quotes, dashes and
 * spaces as they copy. Strict: only white space is dropped.
 *
 * Members of one call often begin alike (a template before the text it is about). The plan requires as many
 * words as it takes to tell them apart, up to a limit; past it only the ids do.
 */
#ifndef CARPOOL_PROVIDER_ECHO_H
#define CARPOOL_PROVIDER_ECHO_H

#include "provider/provider.h"

/* What a call requires of its echoes; follows from the members alone. */
struct echo_plan {
    unsigned words; /* 8, or more where prompts begin alike */
    bool strict;    /* prompts differ in nothing that the loose form keeps ("2+2", "2-2") */
};

/* Costs a comparison of every pair over their first words. Prompts that are equal need no telling apart. */
struct echo_plan echo_plan_for(const struct provider_member *members, size_t n);

/* The words that an echo of prompt must repeat at least: the first plan.words, at most 8 bytes a word, cut at
 * a character; leading white space excluded. Lends from prompt, which is valid UTF-8. */
struct slice echo_required(struct slice prompt, struct echo_plan plan);

bool echo_matches(struct slice echo, struct slice prompt, struct echo_plan plan);

#endif
