/* The provider of a world when it is a model service: POST /generate_batch and POST /generate. It has no
 * content filter and does not cut short. */
#include <cjson/cJSON.h>
#include <stdlib.h>

#include "upstream.h"

static void add_text(cJSON *texts, const struct call *call, const char *prompt)
{
    char *text = upstream_answer_to(upstream_past_system(call, prompt ? prompt : "?"));
    cJSON_AddItemToArray(texts, cJSON_CreateString(text));
    free(text);
}

static void add_texts(cJSON *root, const struct call *call, const cJSON *prompts, const struct order *o)
{
    cJSON *texts = cJSON_AddArrayToObject(root, "generated_texts");
    for (size_t i = 0; i < call->n; i++) {
        const char *prompt = cJSON_GetStringValue(cJSON_GetArrayItem(prompts, (int)i));
        bool who = upstream_is_who(call, i, o);
        if (o->conduct == CONDUCT_MISSING && who)
            continue;
        add_text(texts, call, prompt);
        if (o->conduct == CONDUCT_DOUBLE && who)
            add_text(texts, call, prompt);
    }
    if (o->conduct == CONDUCT_EXTRA)
        add_text(texts, call, "Who?");
}

char *service_answer(const struct call *call, const struct order *o)
{
    cJSON *body = cJSON_Parse(call->request.body.data), *root = cJSON_CreateObject();
    const cJSON *prompts = cJSON_GetObjectItemCaseSensitive(body, "prompts");
    const char *prompt = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, "prompt"));
    char *text = NULL;
    if (call->request.mode == MODE_ARRAY && (size_t)cJSON_GetArraySize(prompts) == call->n) {
        add_texts(root, call, prompts, o);
        text = cJSON_PrintUnformatted(root);
    } else if (call->request.mode != MODE_ARRAY && prompt) {
        char *said = upstream_answer_to(upstream_past_system(call, prompt));
        cJSON_AddStringToObject(root, "generated_text", o->conduct == CONDUCT_MISSING ? "" : said);
        text = cJSON_PrintUnformatted(root);
        free(said);
    }
    cJSON_Delete(root);
    cJSON_Delete(body);
    return text;
}

enum verdict service_fate(const struct call *call, const struct order *o)
{
    bool array = call->request.mode == MODE_ARRAY;
    bool wrong = o->conduct == CONDUCT_MISSING ||
                 (array && (o->conduct == CONDUCT_DOUBLE || o->conduct == CONDUCT_EXTRA));
    return wrong ? VERDICT_MISSING : VERDICT_ANSWERED;
}
