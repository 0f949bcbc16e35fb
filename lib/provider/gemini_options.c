/* OpenAI's parameters as Gemini's; see gemini.h. What has no counterpart is refused, not left out: whoever
 * asked for it would take the answer for one that has it. */
#include <stdlib.h>

#include "provider/gemini.h"
#include "provider/option.h"

static bool is(const struct extra_item *item, const char *key)
{
    return slice_is(item->key, key);
}

static void field_raw(struct json_writer *w, const char *key, struct slice value)
{
    json_key(w, key);
    json_raw(w, value);
}

/* The same number under another name. */
static const char *renamed(const struct extra_item *item, bool verbatim)
{
    static const struct {
        const char *openai, *gemini;
        bool verbatim; /* only of such a member: others say it elsewhere */
    } names[] = {
        {"top_p", "topP", false},
        {"top_k", "topK", false},
        {"seed", "seed", false},
        {"presence_penalty", "presencePenalty", false},
        {"frequency_penalty", "frequencyPenalty", false},
        {"temperature", "temperature", true},
        {"max_tokens", "maxOutputTokens", true},
        {"max_completion_tokens", "maxOutputTokens", true},
        {"n", "candidateCount", true},
        {"top_logprobs", "logprobs", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (is(item, names[i].openai) && (verbatim || !names[i].verbatim))
            return names[i].gemini;
    return NULL;
}

/* Gemini 3 has levels of thinking; before, there was a budget in tokens, for which Google's own translation
 * of OpenAI's words takes these. */
static bool write_effort(struct json_writer *w, struct slice effort, const char *model)
{
    static const struct {
        const char *effort, *level, *budget;
    } efforts[] = {{"none", NULL, "0"},
                   {"minimal", "minimal", "1024"},
                   {"low", "low", "1024"},
                   {"medium", "medium", "8192"},
                   {"high", "high", "24576"}};
    const char *name = strncmp(model, "models/", 7) == 0 ? model + 7 : model;
    bool levels = strncmp(name, "gemini-", 7) == 0 && name[7] >= '3' && name[7] <= '9';
    for (size_t i = 0; i < ARRAY_LEN(efforts); i++) {
        if (!slice_is(effort, efforts[i].effort) || (levels && !efforts[i].level))
            continue;
        json_key(w, "thinkingConfig");
        json_object_begin(w);
        if (levels)
            json_field_cstr(w, "thinkingLevel", efforts[i].level);
        else
            field_raw(w, "thinkingBudget", slice_of(efforts[i].budget));
        json_object_end(w);
        return true;
    }
    return false;
}

static bool write_format(struct json_writer *w, struct slice format)
{
    struct slice type = option_text(extra_get(format, "type"));
    struct slice schema = extra_get(extra_get(format, "json_schema"), "schema");
    bool has_schema = slice_is(type, "json_schema") && schema.n && schema.p[0] == '{';
    if (!has_schema && !slice_is(type, "json_object"))
        return false;
    json_field_cstr(w, "responseMimeType", "application/json");
    if (has_schema)
        field_raw(w, "responseJsonSchema", schema);
    return true;
}

static bool write_stop(struct json_writer *w, struct slice stop)
{
    if (stop.p[0] != '"' && stop.p[0] != '[')
        return false;
    json_key(w, "stopSequences");
    if (stop.p[0] == '"')
        json_array_begin(w);
    json_raw(w, stop);
    if (stop.p[0] == '"')
        json_array_end(w);
    return true;
}

/* False: there is nothing like it. */
static bool write_option(struct json_writer *w, const struct extra_item *item,
                         const struct provider_member *m, const char *model)
{
    const char *name = renamed(item, m->verbatim);
    if (name && option_is_number(item->value)) {
        field_raw(w, name, item->value);
        return true;
    }
    if (is(item, "stop"))
        return write_stop(w, item->value);
    if (is(item, "reasoning_effort"))
        return write_effort(w, option_text(item->value), model);
    if (!m->verbatim)
        return false;
    if (is(item, "logprobs") && !m->completion && slice_is(item->value, "true")) {
        json_field_bool(w, "responseLogprobs", true);
        return true;
    }
    if (is(item, "response_format"))
        return write_format(w, item->value);
    return false;
}

static bool is_elsewhere(const struct extra_item *item, const struct provider_member *m)
{
    return m->verbatim && (m->completion ? is(item, "prompt") : is(item, "tools") || is(item, "tool_choice"));
}

int gemini_write_options(struct json_writer *w, const struct provider_member *m, const char *model,
                         struct err *e)
{
    struct extra_item item;
    int rc = m->extra.n ? extra_check(m->extra, '{', "extra", e) : 0;
    bool newer = !rc && m->extra.n && extra_get(slice_trim(m->extra), "max_completion_tokens").p;
    for (size_t at = 0; !rc && m->extra.n && extra_next(m->extra, &at, &item);) {
        if (is_elsewhere(&item, m) || option_idle(&item) || (newer && is(&item, "max_tokens")))
            continue;
        if (!write_option(w, &item, m, model))
            rc = option_refuse(&item, GEMINI_WHO, e);
    }
    return rc;
}

/* {"type": "function", "function": {…}} as one of the declarations. */
static bool write_tool(struct json_writer *w, struct slice tool)
{
    struct slice function = extra_get(tool, "function");
    struct slice name = extra_get(function, "name"), text = extra_get(function, "description");
    struct slice parameters = extra_get(function, "parameters");
    if (!option_is(extra_get(tool, "type"), "\"function\"") || !option_text(name).n ||
        (text.p && !option_text(text).p) || (parameters.p && parameters.p[0] != '{'))
        return false;
    json_object_begin(w);
    field_raw(w, "name", name);
    if (text.p)
        field_raw(w, "description", text);
    if (parameters.p)
        field_raw(w, "parametersJsonSchema", parameters);
    json_object_end(w);
    return true;
}

static bool write_tools(struct json_writer *w, struct slice tools)
{
    struct slice tool;
    bool good = tools.p[0] == '[';
    json_key(w, "tools");
    json_array_begin(w);
    json_object_begin(w);
    json_key(w, "functionDeclarations");
    json_array_begin(w);
    for (size_t at = 0; good && extra_element(tools, &at, &tool);)
        good = write_tool(w, tool);
    json_array_end(w);
    json_object_end(w);
    json_array_end(w);
    return good;
}

static void config_begin(struct json_writer *w, const char *mode)
{
    json_key(w, "toolConfig");
    json_object_begin(w);
    json_key(w, "functionCallingConfig");
    json_object_begin(w);
    json_field_cstr(w, "mode", mode);
}

static void config_end(struct json_writer *w)
{
    json_object_end(w);
    json_object_end(w);
}

/* Some of the functions only. Gemini's AUTO takes no list of names; VALIDATED, which may answer in words as
 * well, does. */
static bool write_allowed(struct json_writer *w, const char *mode, struct slice tools)
{
    struct slice tool;
    bool good = tools.n && tools.p[0] == '[';
    config_begin(w, mode);
    json_key(w, "allowedFunctionNames");
    json_array_begin(w);
    for (size_t at = 0; good && extra_element(tools, &at, &tool);) {
        struct slice name = extra_get(extra_get(tool, "function"), "name");
        good = option_text(name).n;
        if (good)
            json_raw(w, name);
    }
    json_array_end(w);
    config_end(w);
    return good;
}

static bool write_choice(struct json_writer *w, struct slice choice)
{
    static const char *const words[][2] = {
        {"\"none\"", "NONE"}, {"\"auto\"", "AUTO"}, {"\"required\"", "ANY"}};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (option_is(choice, words[i][0])) {
            config_begin(w, words[i][1]);
            config_end(w);
            return true;
        }
    struct slice type = option_text(extra_get(choice, "type")), allowed = extra_get(choice, "allowed_tools");
    if (slice_is(type, "function")) {
        struct slice name = extra_get(extra_get(choice, "function"), "name");
        if (!option_text(name).n)
            return false;
        config_begin(w, "ANY");
        json_key(w, "allowedFunctionNames");
        json_array_begin(w);
        json_raw(w, name);
        json_array_end(w);
        config_end(w);
        return true;
    }
    struct slice mode = option_text(extra_get(allowed, "mode"));
    if (!slice_is(type, "allowed_tools") || (!slice_is(mode, "auto") && !slice_is(mode, "required")))
        return false;
    return write_allowed(w, slice_is(mode, "required") ? "ANY" : "VALIDATED", extra_get(allowed, "tools"));
}

int gemini_write_tools(struct json_writer *w, struct slice extra, struct err *e)
{
    struct extra_item item;
    for (size_t at = 0; extra.n && extra_next(extra, &at, &item);) {
        bool tools = is(&item, "tools"), choice = is(&item, "tool_choice");
        if ((!tools && !choice) || option_idle(&item))
            continue;
        if (!(tools ? write_tools(w, item.value) : write_choice(w, item.value)))
            return option_refuse(&item, GEMINI_WHO, e);
    }
    return 0;
}

int gemini_prompt(struct slice extra, struct slice *ret_prompt, struct err *e)
{
    struct slice prompt = option_prompt(extra_get(slice_trim(extra), "prompt"));
    if (!prompt.p)
        return err_set(e, ERR_NOT_FOUND, "prompt: the gemini provider takes one text.");
    *ret_prompt = prompt;
    return 0;
}
