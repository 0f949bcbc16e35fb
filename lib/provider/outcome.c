/*
 * Failing responses as outcomes; see outcome.h. Which of them certainly bought nothing (FAILED) and which may
 * have (UNKNOWN) is api.md's table of request ids.
 */
#include "provider/outcome.h"

#include <stdio.h>

#define WORDS_MAX     400  /* bytes of a provider's own words in a message */
#define OWN_WORDS_MAX 2000 /* of those that are the message */
#define PARAM_MAX     200

struct rule {
    int low, high; /* statuses of the provider */
    enum verdict verdict;
    int status; /* for the client */
    bool retry_helps;
    const char *type, *code, *sentence; /* sentence without its full stop */
};

/* The first that holds the status. */
static const struct rule rules[] = {
    {400, 400, VERDICT_FAILED, 400, false, "validation_error", "PROVIDER_REJECTED",
     "The provider refused the request"},
    {401, 401, VERDICT_FAILED, 401, false, "provider_error", "PROVIDER_AUTH",
     "The provider does not accept the API key"},
    {402, 402, VERDICT_FAILED, 429, false, "rate_limit_error", "PROVIDER_RATE_LIMITED",
     "The account at the provider has no credit left"},
    {403, 403, VERDICT_FAILED, 401, false, "provider_error", "PROVIDER_AUTH",
     "The provider does not allow this call with this API key"},
    {404, 404, VERDICT_FAILED, 400, false, "validation_error", "PROVIDER_REJECTED",
     "The provider knows no such model or address; check provider.model and provider.base_url"},
    {408, 408, VERDICT_FAILED, 504, true, "timeout_error", "PROVIDER_TIMEOUT",
     "The provider gave up waiting for the request"},
    {413, 413, VERDICT_FAILED, 400, false, "validation_error", "PROVIDER_REJECTED",
     "The request is too large for the provider"},
    {429, 429, VERDICT_FAILED, 429, true, "rate_limit_error", "PROVIDER_RATE_LIMITED",
     "The provider's rate limit is reached"},
    {400, 499, VERDICT_FAILED, 400, false, "validation_error", "PROVIDER_REJECTED",
     "The provider refused the request"},
    {500, 500, VERDICT_FAILED, 503, true, "provider_error", "PROVIDER_UNAVAILABLE",
     "The provider had an internal error"},
    {503, 503, VERDICT_FAILED, 503, true, "provider_error", "PROVIDER_UNAVAILABLE",
     "The provider is not available at the moment"},
    {504, 504, VERDICT_UNKNOWN, 504, false, "timeout_error", "PROVIDER_TIMEOUT",
     "The provider's gateway timed out after the request was sent, so it may have been charged"},
    {301, 302, VERDICT_FAILED, 502, false, "provider_error", "BAD_UPSTREAM_ANSWER",
     "The provider's address answers with a redirect; set provider.base_url to where it leads"},
    {307, 308, VERDICT_FAILED, 502, false, "provider_error", "BAD_UPSTREAM_ANSWER",
     "The provider's address answers with a redirect; set provider.base_url to where it leads"},
};
static const struct rule rule_lost = {
    0,
    0,
    VERDICT_UNKNOWN,
    502,
    false,
    "provider_error",
    "UPSTREAM_LOST",
    "The provider failed after the request was sent, so it may have been charged"};
static const struct rule rule_timeout = {
    0,
    0,
    VERDICT_UNKNOWN,
    504,
    false,
    "timeout_error",
    "PROVIDER_TIMEOUT",
    "The provider did not answer within provider.timeout_ms, so it may have been charged"};
static const struct rule rule_unreachable = {0,
                                             0,
                                             VERDICT_FAILED,
                                             503,
                                             true,
                                             "provider_error",
                                             "PROVIDER_UNAVAILABLE",
                                             "The provider could not be reached, and nothing was sent"};
static const struct rule rule_quota = {
    0,
    0,
    VERDICT_FAILED,
    429,
    false,
    "rate_limit_error",
    "PROVIDER_RATE_LIMITED",
    "The quota of the account at the provider is used up; waiting a moment does not help"};
static const struct rule rule_context = {0,
                                         0,
                                         VERDICT_FAILED,
                                         400,
                                         false,
                                         "validation_error",
                                         "PROVIDER_REJECTED",
                                         "The prompt and the answer's max_tokens do not fit into the model's "
                                         "context; shorten the prompt or ask for "
                                         "fewer tokens"};
static const struct rule rule_filtered = {0,
                                          0,
                                          VERDICT_FILTERED,
                                          400,
                                          false,
                                          "content_filter",
                                          "CONTENT_FILTERED",
                                          "The provider's content filter stopped this prompt or its answer"};
static const struct rule rule_bad_answer = {0,
                                            0,
                                            VERDICT_MISSING,
                                            502,
                                            false,
                                            "provider_error",
                                            "BAD_UPSTREAM_ANSWER",
                                            "The provider's answer cannot be used"};

static const struct rule *rule_for(int status)
{
    for (size_t i = 0; i < ARRAY_LEN(rules); i++)
        if (status >= rules[i].low && status <= rules[i].high)
            return &rules[i];
    return &rule_lost;
}

void outcome_verdicts(const struct outcome_job *j, enum verdict v)
{
    for (size_t i = 0; i < j->n; i++)
        j->out->parts[i].verdict = v;
}

/* The why of the outcome: sentence, the HTTP status when there was one, the provider's words. */
static int explain(const struct outcome_job *j, const struct rule *r, const char *sentence, int http_status,
                   struct slice words)
{
    struct slice said;
    int rc = outcome_clean(j->arena, words, j->provider->api_key, WORDS_MAX, &said);
    if (rc)
        return rc;
    char http[32] = "";
    if (http_status)
        snprintf(http, sizeof(http), " (HTTP %d)", http_status);
    char *text = said.n ? arena_printf(j->arena, "%s%s. The provider says: %s", sentence, http, said.p)
                        : arena_printf(j->arena, "%s%s.", sentence, http);
    if (!text)
        return ERR_NOMEM;
    struct provider_outcome *out = j->out;
    out->status = r->status;
    out->retry_helps = r->retry_helps;
    out->error_type = r->type;
    out->error_code = r->code;
    out->message = slice_of(text);
    return 0;
}

int outcome_transport(const struct outcome_job *j, const struct provider_response *r)
{
    const struct rule *rule = r->transport == TRANSPORT_NOT_SENT    ? &rule_unreachable
                              : r->transport == TRANSPORT_TIMED_OUT ? &rule_timeout
                                                                    : &rule_lost;
    const char *sentence = rule == &rule_lost
                               ? "The connection to the provider was lost after the request was "
                                 "sent, so it may have been charged"
                               : rule->sentence;
    struct slice why;
    int rc = outcome_clean(j->arena, slice_of(r->transport_error), j->provider->api_key, WORDS_MAX, &why);
    if (rc)
        return rc;
    if (why.n) {
        while (why.n && why.p[why.n - 1] == '.')
            why.n--;
        sentence = arena_printf(j->arena, "%s: %.*s", sentence, (int)why.n, why.p);
        if (!sentence)
            return ERR_NOMEM;
    }
    j->out->away = rule != &rule_timeout;
    outcome_verdicts(j, rule->verdict);
    return explain(j, rule, sentence, 0, (struct slice){0});
}

/* A call of several that was refused for what it is as a whole ran nothing, and its members may pass alone.
 */
static bool refused_as_a_whole(const struct outcome_job *j, const struct rule *rule, int status)
{
    return j->n > 1 && (rule == &rule_context || status == 400 || status == 413 || status == 422) &&
           rule->verdict == VERDICT_FAILED && rule->status == 400;
}

static const struct rule rule_array = {
    0,
    0,
    VERDICT_MISSING,
    400,
    false,
    "validation_error",
    "PROVIDER_REJECTED",
    "The provider has no call for several prompts or for text completion; check provider.base_url and "
    "provider.mode"};
static const struct rule rule_loading = {0,
                                         0,
                                         VERDICT_FAILED,
                                         503,
                                         true,
                                         "provider_error",
                                         "PROVIDER_LOADING",
                                         "The model server is still loading its model; ask again in a "
                                         "moment"};

static const struct rule *rule_of_error(int status, const struct codec_error *error)
{
    const struct rule *rule = rule_for(status);
    if (!error || rule->verdict != VERDICT_FAILED)
        return rule;
    bool refused = status >= 400 && status <= 499;
    if (error->filtered && refused)
        return &rule_filtered;
    if (error->auth && refused)
        return rule_for(401);
    if (error->quota && refused)
        return &rule_quota;
    if (error->loading && status == 503)
        return &rule_loading;
    /* Some servers call it a 500. */
    if (error->context && (refused || status == 500) && status != 429)
        return &rule_context;
    return rule;
}

/* Who sent the request as it is understands what the provider says of it. */
static int own_words(const struct outcome_job *j, const struct codec_error *error)
{
    struct provider_outcome *out = j->out;
    int rc = outcome_clean(j->arena, error->message, j->provider->api_key, OWN_WORDS_MAX, &out->message);
    return rc ? rc : outcome_clean(j->arena, error->param, j->provider->api_key, PARAM_MAX, &out->param);
}

int outcome_status(const struct outcome_job *j, const struct provider_response *r,
                   const struct codec_error *error)
{
    const struct rule *rule = rule_of_error(r->status, error);
    uint32_t header_ms = codec_duration_ms(r->retry_after), body_ms = error ? error->retry_after_ms : 0;
    j->out->rate_limited = r->status == 429;
    j->out->loading = rule == &rule_loading;
    j->out->retry_after_ms = header_ms > body_ms ? header_ms : body_ms;
    j->out->nothing_ran = refused_as_a_whole(j, rule, r->status);
    outcome_verdicts(j, j->out->nothing_ran ? VERDICT_MISSING : rule->verdict);
    int rc = explain(j, rule, rule->sentence, r->status, error ? error->message : (struct slice){0});
    bool own = j->verbatim && rule->status == 400 && error && error->message.n;
    return rc || !own ? rc : own_words(j, error);
}

int outcome_array_missing(const struct outcome_job *j, int status)
{
    j->out->nothing_ran = j->out->array_missing = true;
    outcome_verdicts(j, VERDICT_MISSING);
    return explain(j, &rule_array, rule_array.sentence, status, (struct slice){0});
}

static const struct rule rule_logprobs = {0,
                                          0,
                                          VERDICT_MISSING,
                                          400,
                                          false,
                                          "validation_error",
                                          "PROVIDER_REJECTED",
                                          "The provider gives no log-probabilities"};

int outcome_logprobs_missing(const struct outcome_job *j, int status, const struct codec_error *error)
{
    j->out->nothing_ran = j->out->logprobs_missing = true;
    return explain(j, &rule_logprobs, rule_logprobs.sentence, status,
                   error ? error->message : (struct slice){0});
}

int outcome_broken(const struct outcome_job *j, const char *sentence, struct slice words)
{
    outcome_verdicts(j, VERDICT_UNKNOWN);
    return explain(j, &rule_lost, sentence, 0, words);
}

int outcome_filtered(const struct outcome_job *j, struct slice words)
{
    return explain(j, &rule_filtered, rule_filtered.sentence, 0, words);
}

int outcome_bad_answer(const struct outcome_job *j, const char *sentence, struct slice words)
{
    return explain(j, &rule_bad_answer, sentence, 0, words);
}
