/* What a PUT of settings asks for: reading it strictly, laying one over another, writing it; see settings.h.
 */
#include "store/settings.h"

#include <sodium.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/base_url.h"
#include "base/utf8.h"
#include "json/read.h"
#include "json/write.h"

static const char *const priority_keys[PRIORITIES] = {
    [PRIORITY_LOW] = "low_priority",
    [PRIORITY_MEDIUM] = "medium_priority",
    [PRIORITY_HIGH] = "high_priority",
};

static const struct {
    const char *key;
    size_t has, value;
    uint64_t min, max;
} numbers[] = {
#define NUMBER(name, min, max)                                                                               \
    {                                                                                                        \
#name, offsetof(struct settings_priority_patch, has_##name),                                         \
            offsetof(struct settings_priority_patch, value.name), min, max                                   \
    }
    NUMBER(tokens, 1, SETTINGS_TOKENS_MAX),
    NUMBER(latency_ms, 1, SETTINGS_LATENCY_MS_MAX),
    NUMBER(window_ms, 0, SETTINGS_WINDOW_MS_MAX),
    NUMBER(max_batch, 1, SETTINGS_BATCH_MAX),
#undef NUMBER
};

static bool *has_of(struct settings_priority_patch *p, size_t i)
{
    return (bool *)((char *)p + numbers[i].has);
}

static uint32_t *value_of(struct settings_priority_patch *p, size_t i)
{
    return (uint32_t *)((char *)p + numbers[i].value);
}

/* ---- rules for the texts ---- */

static bool is_graphic(const char *text)
{
    for (; *text; text++)
        if (*text <= 0x20 || *text >= 0x7f)
            return false;
    return true;
}

static int check_key(const char *key, struct err *e)
{
    if (strlen(key) > SETTINGS_KEY_MAX || !is_graphic(key))
        return err_set(e, ERR_INVAL, "api_key must be 1 to %d printable ASCII characters without spaces.",
                       SETTINGS_KEY_MAX);
    return 0;
}

static int check_model(const char *model, struct err *e)
{
    for (const char *p = model; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return err_set(e, ERR_INVAL, "model must not contain control characters.");
    return 0;
}

static int check_base_url(const char *url, struct err *e)
{
    if (*url && !base_url_valid(url))
        return err_set(e, ERR_INVAL,
                       "base_url must be http:// or https:// with a host, and without user name, query or "
                       "fragment, or unix:/path of a socket.");
    return 0;
}

/* ---- parsing ---- */

/* "outer.inner", or "inner" alone, cut at a character. */
static void set_field(char ret_field[128], const char *outer, const char *inner)
{
    struct slice cut = utf8_truncate(slice_of(inner), 100);
    snprintf(ret_field, 128, "%s%s%.*s", outer ? outer : "", outer ? "." : "", (int)cut.n, cut.p);
}

static int get_text(const cJSON *body, const char *key, char ret_text[CONF_TEXT], bool *ret_has,
                    struct err *e)
{
    struct slice text = {0};
    int rc = json_get_text(body, key, CONF_TEXT - 1, &text, ret_has, e);
    if (!rc && *ret_has) {
        memcpy(ret_text, text.p, text.n);
        ret_text[text.n] = 0;
    }
    return rc;
}

static int parse_api_key(const cJSON *body, struct settings_patch *p, struct err *e)
{
    int rc = get_text(body, "api_key", p->api_key, &p->has_api_key, e);
    if (rc || !p->has_api_key)
        return rc;
    if (strncmp(p->api_key, "***", 3) == 0) { /* what GET shows, come back */
        p->has_api_key = false;
        p->api_key[0] = 0;
        return 0;
    }
    return check_key(p->api_key, e);
}

static int parse_provider(const cJSON *body, struct settings_patch *p, struct err *e)
{
    struct slice name;
    int rc = json_get_text(body, "provider", CONF_TEXT, &name, &p->has_provider, e);
    if (rc || !p->has_provider)
        return rc;
    if (conf_provider_parse(name.p, &p->provider))
        return err_set(e, ERR_INVAL, "provider must be one of mock, gemini, openai, model_service.");
    return 0;
}

static int parse_top(const cJSON *body, const char *key, struct settings_patch *p, struct err *e)
{
    int rc;
    if (!strcmp(key, "api_key"))
        return parse_api_key(body, p, e);
    if (!strcmp(key, "provider"))
        return parse_provider(body, p, e);
    if (!strcmp(key, "model")) {
        rc = get_text(body, key, p->model, &p->has_model, e);
        return rc || !p->has_model ? rc : check_model(p->model, e);
    }
    if (!strcmp(key, "base_url")) {
        rc = get_text(body, key, p->base_url, &p->has_base_url, e);
        return rc || !p->has_base_url ? rc : check_base_url(p->base_url, e);
    }
    return err_set(e, ERR_INVAL, "%.100s is no setting; GET /v1/settings shows those there are.", key);
}

static int parse_policy(const cJSON *object, struct settings_priority_patch *p, struct err *e)
{
    struct slice name;
    int rc = json_get_text(object, "policy", CONF_TEXT, &name, &p->has_policy, e);
    if (rc || !p->has_policy)
        return rc;
    if (conf_policy_parse(name.p, &p->value.policy))
        return err_set(e, ERR_INVAL, "policy must be window or adaptive.");
    return 0;
}

static int parse_in_priority(const cJSON *object, const char *key, struct settings_priority_patch *p,
                             struct err *e)
{
    if (!strcmp(key, "policy"))
        return parse_policy(object, p, e);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        uint64_t n = 0;
        if (strcmp(key, numbers[i].key))
            continue;
        int rc = json_get_u64(object, key, numbers[i].min, numbers[i].max, &n, has_of(p, i), e);
        if (!rc)
            *value_of(p, i) = (uint32_t)n;
        return rc;
    }
    return err_set(e, ERR_INVAL, "%.100s is no setting; GET /v1/settings shows those there are.", key);
}

/* ret_field: the object's name, or the dotted name of what is wrong in it. */
/* It would look saved. */
static int refuse_null(const cJSON *item, struct err *e)
{
    if (!cJSON_IsNull(item))
        return 0;
    return err_set(e, ERR_INVAL, "%s must not be null; leave out what is to stay as it is.", item->string);
}

static int parse_priority(const cJSON *object, struct settings_priority_patch *p, char ret_field[128],
                          struct err *e)
{
    const cJSON *item;
    if (cJSON_IsNull(object))
        return 0;
    if (!cJSON_IsObject(object))
        return err_set(e, ERR_INVAL, "%s must be an object.", object->string);
    cJSON_ArrayForEach (item, object) {
        int rc = refuse_null(item, e);
        if (!rc)
            rc = parse_in_priority(object, item->string, p, e);
        if (rc) {
            set_field(ret_field, object->string, item->string);
            return rc;
        }
    }
    return 0;
}

static int parse_member(const cJSON *body, const cJSON *item, struct settings_patch *p, char ret_field[128],
                        struct err *e)
{
    for (int i = 0; i < PRIORITIES; i++)
        if (!strcmp(item->string, priority_keys[i]))
            return parse_priority(item, &p->priority[i], ret_field, e);
    return parse_top(body, item->string, p, e);
}

int settings_patch_parse(const cJSON *body, struct settings_patch *ret_patch, char ret_field[128],
                         struct err *e)
{
    struct settings_patch p = {0};
    const cJSON *item;
    char field[128] = "";
    int rc = 0;
    if (!cJSON_IsObject(body)) {
        ret_field[0] = 0;
        return err_set(e, ERR_INVAL, "The settings must be a JSON object.");
    }
    cJSON_ArrayForEach (item, body) {
        set_field(field, NULL, item->string);
        rc = refuse_null(item, e);
        if (!rc)
            rc = parse_member(body, item, &p, field, e);
        if (rc)
            break;
    }
    if (rc)
        memcpy(ret_field, field, sizeof(field));
    else
        *ret_patch = p;
    settings_patch_wipe(&p);
    return rc;
}

void settings_patch_wipe(struct settings_patch *p)
{
    sodium_memzero(p->api_key, sizeof(p->api_key));
}

/* ---- merging ---- */

/* Whether something put into a is for the provider that b names. */
static bool is_for(const struct settings_patch *a, bool has_for, enum provider_kind made_for,
                   enum provider_kind provider)
{
    return has_for ? made_for == provider : a->has_provider && a->provider == provider;
}

static void merge_provider(struct settings_patch *a, const struct settings_patch *b)
{
    if (b->has_provider && !is_for(a, a->has_model_for, a->model_for, b->provider))
        a->has_model = a->has_model_for = false;
    if (b->has_provider && !is_for(a, a->has_base_url_for, a->base_url_for, b->provider))
        a->has_base_url = a->has_base_url_for = false;
    if (b->has_provider) {
        a->has_provider = true;
        a->provider = b->provider;
    }
    if (b->has_model) {
        a->has_model = true;
        a->has_model_for = b->has_model_for;
        a->model_for = b->model_for;
        memcpy(a->model, b->model, sizeof(a->model));
    }
    if (b->has_base_url) {
        a->has_base_url = true;
        a->has_base_url_for = b->has_base_url_for;
        a->base_url_for = b->base_url_for;
        memcpy(a->base_url, b->base_url, sizeof(a->base_url));
    }
}

static void merge_priority(struct settings_priority_patch *a, const struct settings_priority_patch *b)
{
    struct settings_priority_patch from = *b;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (*has_of(&from, i)) {
            *has_of(a, i) = true;
            *value_of(a, i) = *value_of(&from, i);
        }
    if (b->has_policy) {
        a->has_policy = true;
        a->value.policy = b->value.policy;
    }
}

void settings_patch_merge(struct settings_patch *a, const struct settings_patch *b)
{
    merge_provider(a, b);
    if (b->has_api_key) {
        a->has_api_key = true;
        memcpy(a->api_key, b->api_key, sizeof(a->api_key));
    }
    for (int i = 0; i < PRIORITIES; i++)
        merge_priority(&a->priority[i], &b->priority[i]);
}

/* ---- writing ---- */

static void encode_priority(struct json_writer *w, const char *key, struct settings_priority_patch p)
{
    bool any = p.has_policy;
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        any = any || *has_of(&p, i);
    if (!any)
        return;
    json_key(w, key);
    json_object_begin(w);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        if (*has_of(&p, i))
            json_field_u64(w, numbers[i].key, *value_of(&p, i));
    if (p.has_policy)
        json_field_cstr(w, "policy", conf_policy_name(p.value.policy));
    json_object_end(w);
}

void settings_patch_encode(struct buf *out, const struct settings_patch *p, bool with_key)
{
    struct json_writer w;
    json_writer_init(&w, out);
    json_object_begin(&w);
    if (with_key && p->has_api_key)
        json_field_cstr(&w, "api_key", p->api_key);
    if (p->has_provider)
        json_field_cstr(&w, "provider", conf_provider_name(p->provider));
    if (p->has_model)
        json_field_cstr(&w, "model", p->model);
    if (p->has_base_url)
        json_field_cstr(&w, "base_url", p->base_url);
    for (int i = PRIORITIES - 1; i >= 0; i--)
        encode_priority(&w, priority_keys[i], p->priority[i]);
    json_object_end(&w);
}
