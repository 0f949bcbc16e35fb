/* Fields of prompt endpoints; see fields.h. */
#include "worker/fields.h"

#include "base/clock.h"
#include "worker/exchange.h"
#include "json/read.h"

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
