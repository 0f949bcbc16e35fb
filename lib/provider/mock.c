/*
 * The embedded mock: what runs when no provider is configured, and in tests. Answers at once with
 * `Processed: <prompt>` and estimates its tokens at four bytes each; the coordinator adds the delay.
 */
#include <math.h>
#include <string.h>

#include "provider/provider.h"

static const struct slice processed = SLICE_LITERAL("Processed: "), continued = SLICE_LITERAL(" Processed: ");

static int answer_one(const struct provider_member *m, struct arena *arena, struct provider_part *part)
{
    struct slice prefix = m->completion ? continued : processed;
    char *text = arena_alloc(arena, prefix.n + m->prompt.n);
    if (!text)
        return ERR_NOMEM;
    memcpy(text, prefix.p, prefix.n);
    if (m->prompt.n)
        memcpy(text + prefix.n, m->prompt.p, m->prompt.n);
    *part = (struct provider_part){
        .verdict = VERDICT_ANSWERED,
        .text = {text, prefix.n + m->prompt.n},
        .finish_reason = SLICE_LITERAL("stop"),
        .prompt_tokens = (m->prompt.n + 3) / 4,
        .completion_tokens = (prefix.n + m->prompt.n + 3) / 4,
        .confidence = NAN,
    };
    return 0;
}

int mock_answer(const struct provider_member *members, size_t n, struct arena *arena,
                struct provider_outcome *ret_outcome)
{
    struct provider_outcome out = {.parts = arena_alloc(arena, n * sizeof(*out.parts))};
    if (!out.parts)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        int rc = answer_one(&members[i], arena, &out.parts[i]);
        if (rc)
            return rc;
        out.prompt_tokens += out.parts[i].prompt_tokens;
        out.completion_tokens += out.parts[i].completion_tokens;
    }
    *ret_outcome = out;
    return 0;
}
