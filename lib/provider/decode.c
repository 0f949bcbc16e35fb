/*
 * The way back: a response becomes a verdict, a text and a share of the usage for every member. Nothing that
 * a provider sends makes this fail, and nothing doubtful is handed out.
 */
#include <math.h>

#include "provider/codec.h"
#include "provider/outcome.h"
#include "json/read.h"

#define FINISH_BYTES_MAX 64

struct decoding {
    struct outcome_job job;
    const struct provider_call *call;
    const struct provider_member *members;
    struct codec_answers answers;
};

static int keep_part(struct decoding *d, size_t i, struct slice text, const struct codec_answer *a)
{
    struct provider_part *part = &d->job.out->parts[i];
    struct slice finish = a->finish_reason.n ? a->finish_reason : SLICE_LITERAL("stop");
    int rc = outcome_clean(d->job.arena, finish, NULL, FINISH_BYTES_MAX, &part->finish_reason);
    if (rc)
        return rc;
    part->verdict = VERDICT_ANSWERED;
    part->text = text;
    return 0;
}

static int discard(struct decoding *d, const char *reason)
{
    d->job.out->discarded = true;
    d->job.out->discard_reason = slice_of(reason);
    const char *sentence =
        arena_printf(d->job.arena, "The provider's answer to the batch was discarded: %s", reason);
    return sentence ? outcome_bad_answer(&d->job, sentence, (struct slice){0}) : ERR_NOMEM;
}

static const char *why_no_text(const struct codec_answer *a)
{
    return a->truncated ? "The model used up max_tokens before it wrote an answer; ask for more tokens"
                        : "The provider's answer is empty";
}

static bool is_word_byte(char c)
{
    return (c & 0x80) || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

/* What a member that asked for a continuation gets: without the prompt that some servers put in front; and
 * apart from the prompt's last word when a model that was told to continue began with a word. NULL: no
 * memory. */
static char *copy_text(struct decoding *d, size_t i, struct slice text, size_t *ret_n)
{
    const struct provider_member *m = &d->members[i];
    const struct codec *codec = codec_for(d->job.provider->kind);
    bool told = m->completion && d->call->mode != MODE_ARRAY && !codec->continues;
    bool echoed = m->completion && codec->echoes && text.n > m->prompt.n &&
                  memcmp(text.p, m->prompt.p, m->prompt.n) == 0;
    if (echoed)
        text = (struct slice){text.p + m->prompt.n, text.n - m->prompt.n};
    bool blank = told && is_word_byte(text.p[0]) && !strchr(" \t\r\n", m->prompt.p[m->prompt.n - 1]);
    *ret_n = text.n + blank;
    if (!blank)
        return arena_copy(d->job.arena, text);
    char *apart = arena_alloc(d->job.arena, text.n + 2);
    if (apart) {
        apart[0] = ' ';
        memcpy(apart + 1, text.p, text.n);
        apart[text.n + 1] = 0;
    }
    return apart;
}

static int decode_item(struct decoding *d, size_t i)
{
    const struct codec_answer *a = &d->answers.items[i];
    struct provider_part *part = &d->job.out->parts[i];
    if (a->filtered) {
        part->verdict = VERDICT_FILTERED;
        return outcome_filtered(&d->job, a->refusal);
    }
    if (!a->text.n) {
        if (d->job.out->status)
            return 0; /* why another part is filtered is final, and matters more */
        return outcome_bad_answer(
            &d->job, a->present ? why_no_text(a) : "The provider's answer does not hold this prompt's part",
            (struct slice){0});
    }
    size_t n;
    char *text = copy_text(d, i, a->text, &n);
    if (!text)
        return ERR_NOMEM;
    part->confidence = a->confidence;
    return keep_part(d, i, (struct slice){text, n}, a);
}

/* Every item is the whole answer of its member: plain calls, and array mode. */
static int decode_items(struct decoding *d)
{
    if (d->answers.unusable)
        return discard(d, d->answers.unusable);
    int rc = 0;
    for (size_t i = 0; !rc && i < d->answers.n; i++)
        rc = decode_item(d, i);
    return rc;
}

/* One item is the answer to all members. */
static int decode_combined(struct decoding *d)
{
    const struct codec_answer *a = &d->answers.items[0];
    const size_t n = d->job.n;
    if (a->filtered) {
        outcome_verdicts(&d->job, VERDICT_FILTERED);
        return outcome_filtered(&d->job, a->refusal);
    }
    if (a->truncated)
        return discard(d, "cut short at max_tokens");
    if (!a->text.n)
        return outcome_bad_answer(&d->job, why_no_text(a), (struct slice){0});
    struct slice *texts = arena_alloc(d->job.arena, n * sizeof(*texts));
    enum split_result result = SPLIT_DISCARD;
    const char *reason = NULL;
    if (!texts)
        return ERR_NOMEM;
    int rc = combined_split(a->text, d->members, n, d->call->ids, d->job.arena, texts, &result, &reason);
    if (rc)
        return rc;
    if (result == SPLIT_DISCARD)
        return discard(d, reason);
    bool complete = true;
    for (size_t i = 0; !rc && i < n; i++) {
        if (texts[i].p)
            rc = keep_part(d, i, texts[i], a);
        complete = complete && texts[i].p;
    }
    if (rc || complete)
        return rc;
    return outcome_bad_answer(&d->job, "The provider's answer does not hold this prompt's part",
                              (struct slice){0});
}

/* A complete response in which no answer was found. What it says of an error, if it does, is worth telling.
 */
static int decode_no_answer(struct decoding *d, const struct codec *codec, const cJSON *root)
{
    struct codec_error error = {0};
    if (codec->error(root, &error))
        return outcome_bad_answer(&d->job, "The provider answered with an error under a status of success",
                                  error.message);
    return outcome_bad_answer(&d->job,
                              root ? "The provider's answer is JSON of an unknown shape"
                                   : "The provider's answer is not JSON; check provider.base_url",
                              (struct slice){0});
}

/* An answer of a verbatim member is kept whole, whatever is in it: cut short, filtered, without a text. */
static int keep_response(struct decoding *d, struct slice response, const struct codec_answer *a)
{
    struct provider_part *part = &d->job.out->parts[0];
    response = slice_trim(response);
    char *copy = arena_copy(d->job.arena, response), *text = arena_copy(d->job.arena, a->text);
    if (!copy || !text)
        return ERR_NOMEM;
    part->response = (struct slice){copy, response.n};
    part->confidence = a->confidence;
    return keep_part(d, 0, (struct slice){text, a->text.n}, a);
}

/* OpenAI's object, as it came or as the codec made it of something else. */
static int read_response(struct decoding *d, const struct codec *codec, const cJSON *root,
                         struct slice response)
{
    struct codec_answers *as = &d->answers;
    int rc = openai_first_choice(root, d->job.arena, as);
    if (rc)
        return rc;
    d->job.out->prompt_tokens = as->prompt_tokens;
    d->job.out->completion_tokens = as->completion_tokens;
    return as->items[0].present ? keep_response(d, response, &as->items[0])
                                : decode_no_answer(d, codec, root);
}

static int decode_verbatim(struct decoding *d, const struct codec *codec, const cJSON *root,
                           struct slice body)
{
    if (!codec->response)
        return read_response(d, codec, root, body);
    struct slice made = {0};
    cJSON *made_root;
    struct err ignored;
    int rc = root ? codec->response(root, body, d->call, d->job.arena, &made) : 0;
    if (rc)
        return rc;
    if (!made.p)
        return decode_no_answer(d, codec, root);
    rc = json_parse(made, &made_root, &ignored);
    if (rc == ERR_NOMEM)
        return rc;
    if (rc)
        return outcome_bad_answer(&d->job, "The provider's answer cannot be put into OpenAI's words",
                                  (struct slice){0});
    rc = read_response(d, codec, made_root, made);
    cJSON_Delete(made_root);
    return rc;
}

static int share_usage(struct decoding *d)
{
    const size_t n = d->job.n;
    struct provider_outcome *out = d->job.out;
    uint64_t *weights = arena_alloc(d->job.arena, 2 * n * sizeof(*weights));
    if (!weights)
        return ERR_NOMEM;
    uint64_t *shares = weights + n;
    for (size_t i = 0; i < n; i++)
        weights[i] = d->members[i].prompt.n;
    usage_share(out->prompt_tokens, weights, n, shares);
    for (size_t i = 0; i < n; i++) {
        out->parts[i].prompt_tokens = shares[i];
        weights[i] = out->parts[i].text.n; /* 0 where there is no answer */
    }
    usage_share(out->completion_tokens, weights, n, shares);
    for (size_t i = 0; i < n; i++)
        out->parts[i].completion_tokens = shares[i];
    return 0;
}

static int decode_answer(struct decoding *d, const struct codec *codec, const cJSON *root, struct slice body)
{
    bool each = d->call->mode != MODE_COMBINED;
    struct codec_answers *as = &d->answers;
    as->n = each ? d->job.n : 1;
    as->items = arena_alloc(d->job.arena, as->n * sizeof(*as->items));
    if (!as->items)
        return ERR_NOMEM;
    for (size_t i = 0; i < as->n; i++)
        as->items[i].confidence = NAN;
    int rc;
    if (d->call->verbatim) {
        rc = decode_verbatim(d, codec, root, body);
        return rc ? rc : share_usage(d);
    }
    rc = codec->answers(root, d->call->mode, d->job.arena, as);
    if (rc)
        return rc;
    d->job.out->prompt_tokens = as->prompt_tokens;
    d->job.out->completion_tokens = as->completion_tokens;
    bool present = as->unusable;
    for (size_t i = 0; i < as->n; i++)
        present = present || as->items[i].present;
    if (!present)
        rc = decode_no_answer(d, codec, root);
    else
        rc = each ? decode_items(d) : decode_combined(d);
    return rc ? rc : share_usage(d);
}

/* The server knows no such call, so it ran nothing. */
static bool is_missing(int status)
{
    return status == 404 || status == 405 || status == 501;
}

/* The prompt was refused for the log-probabilities that were asked for with it: whatever the form of the
 * error is, it names them. */
static bool refuses_logprobs(const struct provider_call *call, const struct provider_response *r)
{
    bool refused = r->status >= 400 && r->status <= 499 && r->status != 401 && r->status != 429;
    return call->logprobs && refused && r->body.n && memmem(r->body.p, r->body.n, "logprobs", 8);
}

int provider_decode(const struct provider *p, const struct provider_call *call,
                    const struct provider_member *members, const struct provider_response *response,
                    struct arena *arena, struct provider_outcome *ret_outcome)
{
    const size_t n = call->members;
    const struct codec *codec = codec_for(p->kind);
    struct provider_outcome out = {.parts = arena_alloc(arena, n * sizeof(*out.parts))};
    if (!out.parts)
        return ERR_NOMEM;
    struct decoding d = {.job = {p, n, call->verbatim, arena, &out}, .call = call, .members = members};
    for (size_t i = 0; i < n; i++)
        out.parts[i] = (struct provider_part){.verdict = VERDICT_MISSING, .confidence = NAN};

    int rc = 0;
    cJSON *root = NULL;
    struct err ignored;
    if (response->transport == TRANSPORT_COMPLETE && response->body.n)
        rc = json_parse(response->body, &root, &ignored);
    if (rc == ERR_NOMEM)
        goto out;
    if (response->transport != TRANSPORT_COMPLETE) {
        rc = outcome_transport(&d.job, response);
    } else if (response->status >= 200 && response->status <= 299) {
        rc = decode_answer(&d, codec, root, response->body);
    } else {
        struct codec_error error = {0};
        bool said = codec->error(root, &error);
        if (call->mode == MODE_ARRAY && is_missing(response->status))
            rc = outcome_array_missing(&d.job, response->status);
        else if (refuses_logprobs(call, response))
            rc = outcome_logprobs_missing(&d.job, response->status, said ? &error : NULL);
        else
            rc = outcome_status(&d.job, response, said ? &error : NULL);
    }
    if (!rc)
        *ret_outcome = out;
out:
    cJSON_Delete(root);
    return rc;
}
