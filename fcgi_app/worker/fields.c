/* Fields of prompt endpoints; see fields.h. */
#include "worker/fields.h"

#include "base/clock.h"
#include "worker/exchange.h"
#include "worker/json_span.h"
#include "worker/path.h"
#include "json/read.h"

#define USERNAME_MAX   128
#define MODEL_MAX      128
#define METADATA_MAX   (8 * 1024)
#define CREATED_AT_MAX 64

bool field_is_blank(struct slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        const unsigned char *c = (const unsigned char *)s.p + i;
        size_t left = s.n - i;
        if (*c == ' ' || (*c >= '\t' && *c <= '\r'))
            continue;
        if (left >= 2 && c[0] == 0xc2 && (c[1] == 0xa0 || c[1] == 0x85))
            i += 1;
        else if (left >= 3 &&
                 ((c[0] == 0xe3 && c[1] == 0x80 && c[2] == 0x80) ||
                  (c[0] == 0xe1 && c[1] == 0x9a && c[2] == 0x80) ||
                  (c[0] == 0xe2 && c[1] == 0x80 &&
                   ((c[2] >= 0x80 && c[2] <= 0x8b) || c[2] == 0xa8 || c[2] == 0xa9 || c[2] == 0xaf)) ||
                  (c[0] == 0xe2 && c[1] == 0x81 && c[2] == 0x9f) ||
                  (c[0] == 0xef && c[1] == 0xbb && c[2] == 0xbf)))
            i += 2;
        else
            return false;
    }
    return true;
}

bool field_prompt(struct exchange *x, const cJSON *root, const char *key, struct slice *ret_prompt)
{
    struct err e = {0};
    bool present = false;
    int rc = json_get_text(root, key, x->request.body.max, ret_prompt, &present, &e);
    if (rc)
        problem_respond(x, PROBLEM_INVALID_PROMPT, key, "%s", e.text);
    else if (!present)
        problem_respond(x, PROBLEM_INVALID_PROMPT, key, "%s is missing: it must be a text.", key);
    else if (field_is_blank(*ret_prompt)) {
        problem_respond(x, PROBLEM_INVALID_PROMPT, key, "%s is empty: it must hold more than white space.",
                        key);
        rc = ERR_INVAL;
    }
    return !rc && present;
}

bool field_priority(struct exchange *x, const cJSON *root, enum priority *ret_priority)
{
    static const char rule[] = "must be HIGH, MEDIUM or LOW, or 2, 1 or 0.";
    const cJSON *item = root ? cJSON_GetObjectItemCaseSensitive(root, "priority") : NULL;
    const char *field = "priority";
    bool good = true;
    *ret_priority = PRIORITY_MEDIUM;
    if (cJSON_IsString(item))
        good = !conf_priority_parse(item->valuestring, ret_priority);
    else if (cJSON_IsNumber(item)) {
        good = item->valuedouble == 0 || item->valuedouble == 1 || item->valuedouble == 2;
        if (good)
            *ret_priority = (enum priority)(int)item->valuedouble;
    } else if (item && !cJSON_IsNull(item))
        good = false;
    else if (x->request.x_priority.n) {
        field = "X-Priority";
        good = !conf_priority_parse(x->request.x_priority.p, ret_priority);
    }
    if (!good)
        problem_respond(x, PROBLEM_INVALID_PRIORITY, field, "%s %s", field, rule);
    return good;
}

bool field_created_now(struct exchange *x, struct slice *ret_text)
{
    char *now = arena_alloc(&x->arena, CLOCK_RFC3339_SIZE);
    if (!now) {
        problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for this request now.");
        return false;
    }
    clock_format_rfc3339(clock_real_us(), now);
    *ret_text = slice_of(now);
    return true;
}

bool field_request_id(struct exchange *x, const cJSON *root, struct slice *ret_id)
{
    struct err e = {0};
    bool present = false;
    if (json_get_text(root, "request_id", EXCHANGE_ID_SIZE - 1, ret_id, &present, &e)) {
        problem_respond(x, PROBLEM_INVALID_REQUEST_ID, "request_id", "%s", e.text);
        return false;
    }
    if (present && !request_id_valid(*ret_id)) {
        problem_respond(x, PROBLEM_INVALID_REQUEST_ID, "request_id",
                        "request_id must be 1 to 128 characters of A-Z, a-z, 0-9 and . _ : -");
        return false;
    }
    if (present)
        exchange_set_prompt_id(x, *ret_id); /* so that what is wrong with the rest is told under it */
    return true;
}

bool field_created_at(struct exchange *x, const cJSON *root, struct slice *ret_text)
{
    struct err e = {0};
    bool present = false;
    uint64_t us;
    if (json_get_text(root, "created_at", CREATED_AT_MAX, ret_text, &present, &e)) {
        problem_respond(x, PROBLEM_INVALID_CREATED_AT, "created_at", "%s", e.text);
        return false;
    }
    /* A bare date is fit for a filter but is no date-time of RFC 3339. */
    if (present && (ret_text->n <= 10 || !clock_parse_rfc3339(*ret_text, &us))) {
        problem_respond(x, PROBLEM_INVALID_CREATED_AT, "created_at",
                        "created_at must be a date-time of RFC 3339, such as 2026-02-01T12:00:00Z.");
        return false;
    }
    return present || field_created_now(x, ret_text);
}

/* As it stood in the body; written anew only when its key was spelt with escapes. */
bool field_metadata(struct exchange *x, const cJSON *root, struct slice *ret_json)
{
    struct err e = {0};
    const cJSON *object = NULL;
    bool present = false;
    struct slice json = {0};
    if (json_get_object(root, "metadata", &object, &present, &e)) {
        problem_respond(x, PROBLEM_INVALID_METADATA, "metadata", "%s", e.text);
        return false;
    }
    if (present) {
        json = json_member_span(buf_slice(&x->request.body), "metadata");
        char *printed = json.p ? NULL : cJSON_PrintUnformatted(object);
        char *copy = printed ? arena_copy(&x->arena, slice_of(printed)) : NULL;
        cJSON_free(printed);
        if (!json.p && !copy) {
            problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for this request now.");
            return false;
        }
        if (!json.p)
            json = slice_of(copy);
    }
    if (json.n > METADATA_MAX) {
        problem_respond(x, PROBLEM_INVALID_METADATA, "metadata", "metadata is larger than %d bytes.",
                        METADATA_MAX);
        return false;
    }
    *ret_json = json;
    return true;
}

bool field_model(struct exchange *x, const cJSON *root, struct slice *ret_model)
{
    struct err e = {0};
    bool present = false, good = true;
    if (json_get_text(root, "model", MODEL_MAX, ret_model, &present, &e)) {
        problem_respond(x, PROBLEM_INVALID_MODEL, "model", "%s", e.text);
        return false;
    }
    for (size_t i = 0; present && i < ret_model->n; i++)
        good = good && (unsigned char)ret_model->p[i] >= ' ' && ret_model->p[i] != 0x7f;
    if (present && (!good || field_is_blank(*ret_model))) {
        problem_respond(x, PROBLEM_INVALID_MODEL, "model", "model must be the name of a model.");
        return false;
    }
    return true;
}

bool field_username(struct exchange *x, const cJSON *root, struct slice *ret_name)
{
    struct err e = {0};
    if (!json_get_text(root, "username", USERNAME_MAX, ret_name, NULL, &e))
        return true;
    problem_respond(x, PROBLEM_INVALID_USERNAME, "username", "%s", e.text);
    return false;
}
