/* The effective settings: resolving, showing, storing; see settings.h. Patches are in settings_patch.c. */
#include "store/settings.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "store/table.h"
#include "json/read.h"
#include "json/write.h"

#define RECORD_VERSION 1
#define OVERRIDES_MAX  (64u << 10)
#define KEY_SHOWN_FROM 8 /* characters of a key whose last four may be shown */

static const struct slice EFFECTIVE = SLICE_LITERAL("effective");
static const struct slice OVERRIDES = SLICE_LITERAL("overrides");

static const struct {
    const char *model, *base_url;
    enum provider_mode mode;
} defaults[] = {
    [PROVIDER_MOCK] = {"mock", "", MODE_COMBINED},
    [PROVIDER_GEMINI] = {"gemini-2.0-flash", "https://generativelanguage.googleapis.com", MODE_COMBINED},
    [PROVIDER_OPENAI] = {"gpt-4o-mini", "https://api.openai.com/v1", MODE_COMBINED},
    [PROVIDER_MODEL_SERVICE] = {"", "http://127.0.0.1:8001", MODE_ARRAY},
};

/* ---- resolving ---- */

enum provider_kind settings_provider(const struct conf *c, const struct settings_patch *overrides,
                                     bool has_key)
{
    if (overrides->has_provider)
        return overrides->provider;
    if (!c->provider.kind_chosen && has_key)
        return PROVIDER_GEMINI;
    return c->provider.kind;
}

static bool conf_is_about(const struct conf *c, const struct settings_patch *overrides,
                          enum provider_kind provider)
{
    if (c->provider.kind_chosen || overrides->has_provider)
        return c->provider.kind == provider;
    return true;
}

static void set_text(char to[CONF_TEXT], const char *text)
{
    snprintf(to, CONF_TEXT, "%s", text);
}

static void resolve_provider(const struct conf *c, const struct settings_patch *o, struct settings *s)
{
    bool conf_counts = conf_is_about(c, o, s->provider);
    const char *model = defaults[s->provider].model, *base_url = defaults[s->provider].base_url;
    if (conf_counts && c->provider.model[0])
        model = c->provider.model;
    if (conf_counts && c->provider.base_url[0])
        base_url = c->provider.base_url;
    if (o->has_model && o->model[0] && (!o->has_model_for || o->model_for == s->provider))
        model = o->model;
    if (o->has_base_url && o->base_url[0] && (!o->has_base_url_for || o->base_url_for == s->provider))
        base_url = o->base_url;
    set_text(s->model, model);
    set_text(s->base_url, base_url);
    s->mode = conf_counts ? c->provider.mode : MODE_DEFAULT;
    if (s->mode == MODE_DEFAULT)
        s->mode = defaults[s->provider].mode;
}

static void resolve_priority(const struct settings_priority_patch *o, struct conf_batch *b)
{
    if (o->has_tokens)
        b->tokens = o->value.tokens;
    if (o->has_latency_ms)
        b->latency_ms = o->value.latency_ms;
    if (o->has_window_ms)
        b->window_ms = o->value.window_ms;
    if (o->has_max_batch)
        b->max_batch = o->value.max_batch;
    if (o->has_policy)
        b->policy = o->value.policy;
}

void settings_set_key(struct settings *s, const char *key)
{
    size_t n = strlen(key);
    s->has_key = n > 0;
    memset(s->key_last4, 0, sizeof(s->key_last4));
    if (n >= KEY_SHOWN_FROM)
        memcpy(s->key_last4, key + n - 4, 4);
}

void settings_resolve(const struct conf *c, const struct settings_patch *overrides, const char *key,
                      struct settings *ret_settings)
{
    struct settings s = {0};
    settings_set_key(&s, key);
    s.provider = settings_provider(c, overrides, s.has_key);
    resolve_provider(c, overrides, &s);
    for (int i = 0; i < PRIORITIES; i++) {
        s.priority[i] = c->priority[i];
        resolve_priority(&overrides->priority[i], &s.priority[i]);
    }
    *ret_settings = s;
}

/* ---- showing ---- */

static void show_key(const struct settings *s, char ret_text[SETTINGS_KEY_SHOWN])
{
    ret_text[0] = 0;
    if (s->has_key)
        snprintf(ret_text, SETTINGS_KEY_SHOWN, "***%.4s", s->key_last4);
}

void settings_show_key(const char *key, char ret_text[SETTINGS_KEY_SHOWN])
{
    struct settings s;
    settings_set_key(&s, key);
    show_key(&s, ret_text);
}

static void encode_priority(struct json_writer *w, const char *key, const struct conf_batch *b)
{
    json_key(w, key);
    json_object_begin(w);
    json_field_u64(w, "tokens", b->tokens);
    json_field_u64(w, "latency_ms", b->latency_ms);
    json_field_u64(w, "window_ms", b->window_ms);
    json_field_u64(w, "max_batch", b->max_batch);
    json_field_cstr(w, "policy", conf_policy_name(b->policy));
    json_object_end(w);
}

void settings_encode(struct buf *out, const struct settings *s)
{
    struct json_writer w;
    char masked[SETTINGS_KEY_SHOWN];
    show_key(s, masked);
    json_writer_init(&w, out);
    json_object_begin(&w);
    json_field_cstr(&w, "api_key", masked);
    encode_priority(&w, "high_priority", &s->priority[PRIORITY_HIGH]);
    encode_priority(&w, "medium_priority", &s->priority[PRIORITY_MEDIUM]);
    encode_priority(&w, "low_priority", &s->priority[PRIORITY_LOW]);
    json_field_cstr(&w, "provider", conf_provider_name(s->provider));
    json_field_cstr(&w, "model", s->model);
    json_field_cstr(&w, "base_url", s->base_url);
    json_object_end(&w);
}

/* ---- storing ---- */

static int damaged(struct err *e)
{
    return err_set(e, ERR_CORRUPT, "The stored settings are damaged.");
}

/* The version stands in front, so that settings_version() need not read the rest. */
static void encode_record(struct buf *b, const struct settings *s)
{
    bytes_put_u8(b, RECORD_VERSION);
    bytes_put_u64(b, s->version);
    bytes_put_u8(b, (uint8_t)s->provider);
    bytes_put_u8(b, (uint8_t)s->mode);
    bytes_put_u8(b, s->has_key);
    bytes_put_text(b, slice_of(s->model));
    bytes_put_text(b, slice_of(s->base_url));
    bytes_put_text(b, slice_of(s->key_last4));
    for (int i = 0; i < PRIORITIES; i++) {
        bytes_put_u32(b, s->priority[i].window_ms);
        bytes_put_u32(b, s->priority[i].max_batch);
        bytes_put_u32(b, s->priority[i].tokens);
        bytes_put_u32(b, s->priority[i].latency_ms);
        bytes_put_u8(b, (uint8_t)s->priority[i].policy);
    }
}

static void get_text(struct bytes_reader *r, char *to, size_t size)
{
    struct slice text = bytes_get_text(r);
    if (text.n >= size)
        r->failed = true;
    else if (text.n)
        memcpy(to, text.p, text.n);
}

static int decode_record(struct slice record, struct settings *ret_settings, struct err *e)
{
    struct settings s = {0};
    struct bytes_reader r;
    bytes_reader_init(&r, record);
    uint8_t version = bytes_get_u8(&r);
    s.version = bytes_get_u64(&r);
    s.provider = bytes_get_u8(&r);
    s.mode = bytes_get_u8(&r);
    s.has_key = bytes_get_u8(&r);
    get_text(&r, s.model, sizeof(s.model));
    get_text(&r, s.base_url, sizeof(s.base_url));
    get_text(&r, s.key_last4, sizeof(s.key_last4));
    for (int i = 0; i < PRIORITIES; i++) {
        s.priority[i].window_ms = bytes_get_u32(&r);
        s.priority[i].max_batch = bytes_get_u32(&r);
        s.priority[i].tokens = bytes_get_u32(&r);
        s.priority[i].latency_ms = bytes_get_u32(&r);
        s.priority[i].policy = bytes_get_u8(&r);
    }
    if (!bytes_done(&r) || version != RECORD_VERSION || s.provider > PROVIDER_MODEL_SERVICE ||
        s.mode > MODE_ARRAY)
        return damaged(e);
    *ret_settings = s;
    return 0;
}

int settings_version(struct store_read *r, uint64_t *ret_version, struct err *e)
{
    struct slice record;
    struct bytes_reader b;
    int rc = table_get(r, TABLE_SETTINGS, EFFECTIVE, &record, e);
    if (rc == ERR_NOT_FOUND) {
        *ret_version = 0;
        return 0;
    }
    if (rc)
        return rc;
    bytes_reader_init(&b, record);
    bytes_get_u8(&b);
    uint64_t version = bytes_get_u64(&b);
    if (b.failed)
        return damaged(e);
    *ret_version = version;
    return 0;
}

int settings_load(struct store_read *r, struct settings *ret_settings, struct err *e)
{
    struct slice record;
    int rc = table_get(r, TABLE_SETTINGS, EFFECTIVE, &record, e);
    if (rc == ERR_NOT_FOUND)
        return err_set(e, rc, "No settings are stored yet.");
    return rc ? rc : decode_record(record, ret_settings, e);
}

/* {"made_for":"gemini","overrides":{…}}, the latter as a PUT body. */
static int decode_overrides(const cJSON *root, struct settings_patch *ret_patch, struct err *e)
{
    const cJSON *body = NULL;
    struct slice name = {0};
    struct settings_patch p = {0};
    enum provider_kind made_for;
    char field[128];
    int rc = json_get_text(root, "made_for", CONF_TEXT, &name, NULL, e);
    if (!rc)
        rc = json_get_object(root, "overrides", &body, NULL, e);
    if (rc || !name.p || !body || conf_provider_parse(name.p, &made_for) ||
        settings_patch_parse(body, &p, field, e))
        return damaged(e);
    p.has_model_for = p.has_model;
    p.has_base_url_for = p.has_base_url;
    p.model_for = p.base_url_for = made_for;
    *ret_patch = p;
    return 0;
}

int settings_load_overrides(struct store_read *r, struct settings_patch *ret_patch, struct err *e)
{
    struct slice text;
    cJSON *root;
    int rc = table_get(r, TABLE_SETTINGS, OVERRIDES, &text, e);
    if (rc == ERR_NOT_FOUND) {
        *ret_patch = (struct settings_patch){0};
        return 0;
    }
    if (!rc)
        rc = json_parse(text, &root, e);
    if (rc)
        return rc == ERR_INVAL ? damaged(e) : rc;
    rc = decode_overrides(root, ret_patch, e);
    cJSON_Delete(root);
    return rc;
}

static void encode_overrides(struct buf *b, const struct settings_patch *overrides,
                             enum provider_kind provider)
{
    struct settings_patch p = *overrides;
    struct json_writer w;
    struct buf body;
    if (!p.model[0] || (p.has_model_for && p.model_for != provider))
        p.has_model = false;
    if (!p.base_url[0] || (p.has_base_url_for && p.base_url_for != provider))
        p.has_base_url = false;
    buf_init(&body, OVERRIDES_MAX);
    settings_patch_encode(&body, &p, false);
    json_writer_init(&w, b);
    json_object_begin(&w);
    json_field_cstr(&w, "made_for", conf_provider_name(provider));
    json_key(&w, "overrides");
    json_raw(&w, buf_slice(&body));
    json_object_end(&w);
    if (buf_failed(&body))
        b->failed = true;
    buf_fini(&body);
    settings_patch_wipe(&p);
}

static int put(struct store_write *w, struct slice key, struct buf *b, struct err *e)
{
    if (buf_failed(b))
        return err_set(e, ERR_NOMEM, "Out of memory.");
    return table_put(w, TABLE_SETTINGS, key, buf_slice(b), e);
}

int settings_save(struct store_write *w, const struct settings_patch *overrides, struct settings *effective,
                  struct err *e)
{
    struct settings s = *effective;
    struct buf *b;
    int rc = settings_version(store_write_as_read(w), &s.version, e);
    if (rc)
        return rc;
    s.version++;
    b = table_scratch(w);
    encode_record(b, &s);
    rc = put(w, EFFECTIVE, b, e);
    if (rc)
        return rc;
    b = table_scratch(w);
    encode_overrides(b, overrides, s.provider);
    rc = put(w, OVERRIDES, b, e);
    if (!rc)
        effective->version = s.version;
    return rc;
}
