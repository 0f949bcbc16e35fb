/* Parameters of OpenAI's API, told apart; see option.h. */
#include "provider/option.h"

#define NAME_BYTES 64 /* of a parameter's name in a sentence */

bool option_is(struct slice value, const char *json)
{
    size_t i = 0;
    bool quoted = false;
    for (; i < value.n; i++) {
        char c = value.p[i];
        if (!quoted && (c == ' ' || c == '\t' || c == '\n' || c == '\r'))
            continue;
        if (c != *json++)
            return false;
        quoted ^= c == '"'; /* none of the texts compared has an escape */
    }
    return !*json;
}

bool option_is_number(struct slice value)
{
    return value.n && (value.p[0] == '-' || (value.p[0] >= '0' && value.p[0] <= '9'));
}

struct slice option_text(struct slice value)
{
    if (!value.n || value.p[0] != '"')
        return (struct slice){0};
    return (struct slice){value.p + 1, value.n - 2};
}

struct slice option_prompt(struct slice value)
{
    struct slice first, second;
    size_t at = 0;
    if (value.n && value.p[0] == '[') {
        if (!extra_element(value, &at, &first) || extra_element(value, &at, &second))
            return (struct slice){0};
        value = first;
    }
    return option_text(value).p ? value : (struct slice){0};
}

int64_t option_number(struct slice value, int64_t max)
{
    int64_t number = 0;
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] < '0' || value.p[i] > '9')
            return -1;
        number = number * 10 + (value.p[i] - '0');
        if (number > max)
            return -1;
    }
    return value.n ? number : -1;
}

static bool one_of(struct slice key, const char *const *names)
{
    while (*names && !slice_is(key, *names))
        names++;
    return *names;
}

bool option_sampling(struct slice key)
{
    static const char *const names[] = {"top_p",
                                        "top_k",
                                        "min_p",
                                        "seed",
                                        "presence_penalty",
                                        "frequency_penalty",
                                        "user",
                                        "store",
                                        "service_tier",
                                        "reasoning_effort",
                                        "verbosity",
                                        "metadata",
                                        NULL};
    return one_of(key, names);
}

bool option_idle(const struct extra_item *item)
{
    static const char *const silent[] = {"user",
                                         "metadata",
                                         "store",
                                         "prompt_cache_key",
                                         "prompt_cache_retention",
                                         "safety_identifier",
                                         "service_tier",
                                         NULL};
    static const struct {
        const char *key, *value;
    } defaults[] = {
        {"n", "1"},
        {"logprobs", "false"},
        {"parallel_tool_calls", "true"},
        {"echo", "false"},
        {"best_of", "1"},
        {"modalities", "[\"text\"]"},
        {"logit_bias", "{}"},
        {"verbosity", "\"medium\""},
        {"response_format", "{\"type\":\"text\"}"},
        {"suffix", "\"\""},
        {"presence_penalty", "0"},
        {"frequency_penalty", "0"},
        {"stop", "[]"},
        {"tools", "[]"},
        {"top_logprobs", "0"},
    };
    if (slice_is(item->value, "null") || one_of(item->key, silent))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
        if (slice_is(item->key, defaults[i].key) && option_is(item->value, defaults[i].value))
            return true;
    return false;
}

int option_refuse(const struct extra_item *item, const char *who, struct err *e)
{
    return err_set(e, ERR_NOT_FOUND, "%.*s: %s does not take it, or not with this value.",
                   (int)(item->key.n > NAME_BYTES ? NAME_BYTES : item->key.n), item->key.p, who);
}
