/*
 * The embedded mock: what runs when no provider is configured, and in tests. Answers at once with
 * `Processed: <prompt>` and estimates its tokens at four bytes each; the coordinator adds the delay.
 */
#include <math.h>
#include <string.h>

#include "provider/made.h"
#include "provider/option.h"

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

/* Whether it asks for more answers than one. */
static bool asks_for_several(const struct provider_member *m, const struct extra_item *item)
{
    struct slice prompt;
    size_t at = 0;
    if (slice_is(item->key, "n") || slice_is(item->key, "best_of"))
        return !option_idle(item);
    /* An array of several, whether of texts or of tokens. */
    return m->completion && slice_is(item->key, "prompt") && item->value.p[0] == '[' &&
           extra_element(item->value, &at, &prompt) && extra_element(item->value, &at, &prompt);
}

static int refuse(const struct extra_item *item, struct arena *arena, struct provider_outcome *out)
{
    char *message = arena_printf(arena, "%.*s: the mock provider gives one answer at a time.",
                                 (int)item->key.n, item->key.p);
    char *param = arena_copy(arena, item->key);
    if (!message || !param)
        return ERR_NOMEM;
    out->parts[0].verdict = VERDICT_FAILED;
    out->parts[0].confidence = NAN;
    out->status = 400;
    out->error_type = "validation_error";
    out->error_code = "PROVIDER_REJECTED";
    out->message = slice_of(message);
    out->param = (struct slice){param, item->key.n};
    return 0;
}

static int answer_verbatim(const struct provider_member *m, struct arena *arena, struct provider_outcome *out)
{
    struct made made = {.id = m->id,
                        .model = m->model.n ? m->model : SLICE_LITERAL("mock"),
                        .created_s = m->created_s,
                        .completion = m->completion};
    struct provider_part *part = &out->parts[0];
    struct extra_item item;
    int rc = m->extra.n ? extra_check(m->extra, '{', "extra", NULL) : 0;
    for (size_t at = 0; !rc && m->extra.n && extra_next(m->extra, &at, &item);)
        if (asks_for_several(m, &item))
            return refuse(&item, arena, out);
    if (!rc)
        rc = answer_one(m, arena, part);
    return rc ? rc
              : made_text(&made, part->text, part->prompt_tokens, part->completion_tokens, arena,
                          &part->response);
}

int mock_answer(const struct provider_member *members, size_t n, struct arena *arena,
                struct provider_outcome *ret_outcome)
{
    struct provider_outcome out = {.parts = arena_alloc(arena, n * sizeof(*out.parts))};
    if (!out.parts)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        int rc = members[i].verbatim ? answer_verbatim(&members[i], arena, &out)
                                     : answer_one(&members[i], arena, &out.parts[i]);
        if (rc)
            return rc;
        out.prompt_tokens += out.parts[i].prompt_tokens;
        out.completion_tokens += out.parts[i].completion_tokens;
    }
    *ret_outcome = out;
    return 0;
}
