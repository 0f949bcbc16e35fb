/*
 * Takes a combined answer apart. The rule is all or nothing for anything suspicious: an answer handed to the
 * wrong person is worse than a call made again.
 */
#include "provider/combined.h"
#include "provider/echo.h"
#include "json/read.h"
#include "json/scan.h"

static bool is_info(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* ```json … ``` -> … ; any other text as it is. */
static struct slice unfence(struct slice text)
{
    struct slice s = slice_trim(text);
    if (s.n < 6 || memcmp(s.p, "```", 3) != 0 || memcmp(s.p + s.n - 3, "```", 3) != 0)
        return s;
    s = (struct slice){s.p + 3, s.n - 6};
    while (s.n && is_info(s.p[0]))
        s = (struct slice){s.p + 1, s.n - 1};
    return slice_trim(s);
}

struct split {
    const struct provider_member *members;
    size_t n;
    char (*ids)[PROVIDER_ID_SIZE];
    struct echo_plan plan;
    struct slice *texts; /* lent from the tree; absent: not seen yet */
};

static size_t find_id(const struct split *s, const char *key)
{
    size_t i = 0;
    while (i < s->n && strcmp(s->ids[i], key) != 0)
        i++;
    return i;
}

/* Takes one member of the object. NULL, or why the whole answer is discarded. */
static const char *take_entry(struct split *s, const cJSON *entry)
{
    size_t i = find_id(s, entry->string);
    if (i == s->n)
        return "an id that was not sent";
    if (s->texts[i].p)
        return "an id twice";
    const cJSON *echo = cJSON_GetObjectItemCaseSensitive(entry, "echo");
    const cJSON *answer = cJSON_GetObjectItemCaseSensitive(entry, "answer");
    if (!cJSON_IsObject(entry) || cJSON_GetArraySize(entry) != 2 || !cJSON_IsString(echo) ||
        !cJSON_IsString(answer))
        return "an entry of another shape than an echo and an answer";
    if (!echo_matches(slice_of(echo->valuestring), s->members[i].prompt, s->plan))
        return "an echo that does not match its question";
    s->texts[i] = slice_of(answer->valuestring);
    return NULL;
}

static const char *take_object(struct split *s, const cJSON *root)
{
    if (!cJSON_IsObject(root))
        return "not a JSON object";
    const cJSON *entry;
    cJSON_ArrayForEach (entry, root) {
        const char *reason = take_entry(s, entry);
        if (reason)
            return reason;
    }
    return NULL;
}

/* Answers move from the tree into the arena; blank ones count as missing. */
static int keep_texts(struct split *s, struct arena *arena)
{
    for (size_t i = 0; i < s->n; i++) {
        struct slice *text = &s->texts[i];
        if (!slice_trim(*text).n) {
            *text = (struct slice){0};
            continue;
        }
        text->p = arena_copy(arena, *text);
        if (!text->p)
            return ERR_NOMEM;
    }
    return 0;
}

/* Why json_parse refused a text. A doubled id is worth its own word in the log. */
static const char *refusal_of(struct slice text)
{
    struct json_fault fault;
    if (json_scan(text, &fault) == ERR_INVAL && strcmp(fault.reason, "duplicate key") == 0)
        return "a key twice";
    return "not JSON";
}

int combined_split(struct slice model_text, const struct provider_member *members, size_t n,
                   char (*ids)[PROVIDER_ID_SIZE], struct arena *arena, struct slice *ret_texts,
                   enum split_result *ret_result, const char **ret_reason)
{
    struct split s = {.members = members, .n = n, .ids = ids, .plan = echo_plan_for(members, n)};
    struct slice text = unfence(model_text);
    const char *reason = NULL;
    cJSON *root = NULL;
    struct err ignored;
    int rc = ERR_NOMEM;
    s.texts = arena_alloc(arena, n * sizeof(*s.texts));
    if (!s.texts)
        goto out;
    rc = json_parse(text, &root, &ignored);
    if (rc == ERR_NOMEM)
        goto out;
    reason = rc ? refusal_of(text) : take_object(&s, root);
    rc = reason ? 0 : keep_texts(&s, arena);
    if (rc)
        goto out;
    if (!reason)
        memcpy(ret_texts, s.texts, n * sizeof(*s.texts));
    else
        *ret_reason = reason;
    *ret_result = reason ? SPLIT_DISCARD : SPLIT_OK;
out:
    cJSON_Delete(root);
    return rc;
}
