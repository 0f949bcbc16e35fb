/* What the codecs have in common: the list of them, URLs, headers, and readers of provider JSON. */
#include "provider/codec.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define DAY_MS    86400000ull
#define COUNT_MAX 1e9 /* tokens; no call has more, and counters stay far from their end */

const char codec_continue[] = "The user's message is the beginning of a text. Continue it: reply with what "
                              "comes next and nothing else, "
                              "neither repeating the beginning nor commenting on it.";

const struct codec *codec_for(enum provider_kind kind)
{
    switch (kind) {
    case PROVIDER_OPENAI:
        return &codec_openai;
    case PROVIDER_GEMINI:
        return &codec_gemini;
    case PROVIDER_MODEL_SERVICE:
        return &codec_model_service;
    case PROVIDER_MOCK:
        break;
    }
    return NULL;
}

struct slice codec_model(const struct provider *p, const struct provider_member *m)
{
    return m->model.n ? m->model : slice_of(p->model);
}

static bool url_safe(const char *url)
{
    static const char *const schemes[] = {"http://", "https://", "unix:/"};
    bool known = false;
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t n = strlen(schemes[i]);
        known = known || (strncasecmp(url, schemes[i], n) == 0 && url[n]);
    }
    if (!known)
        return false;
    for (const unsigned char *c = (const unsigned char *)url; *c; c++)
        if (*c <= ' ' || *c >= 0x7f || *c == '?' || *c == '#')
            return false;
    return true;
}

/* A server behind a Unix socket has the paths that the default address has. */
static const char *path_of(const char *url)
{
    const char *host = strstr(url, "://") + 3;
    return host + strcspn(host, "/");
}

int codec_url(const struct provider *p, const char *default_base_url, const char *path,
              struct provider_call *call, struct err *e)
{
    const char *base = p->base_url && p->base_url[0] ? p->base_url : default_base_url;
    if (!url_safe(base))
        return err_set(
            e, ERR_INVAL,
            "provider.base_url must be an http or https address, or unix:/path of a socket, without spaces, "
            "query or fragment.");
    bool local = strncasecmp(base, "unix:", 5) == 0;
    if (local && !(call->socket = strdup(base + 5)))
        return ERR_NOMEM;
    const char *host = local ? "http://localhost" : base, *under = local ? path_of(default_base_url) : "";
    size_t n = strlen(host);
    while (host[n - 1] == '/')
        n--;
    size_t size = n + strlen(under) + strlen(path) + 1;
    call->url = malloc(size);
    if (!call->url)
        return ERR_NOMEM;
    snprintf(call->url, size, "%.*s%s%s", (int)n, host, under, path);
    return 0;
}

int codec_headers(const struct provider *p, const char *name, const char *scheme, struct provider_call *call,
                  struct err *e)
{
    const char *key = p->api_key ? p->api_key : "";
    for (const unsigned char *c = (const unsigned char *)key; *c; c++)
        if (*c < ' ' || *c == 0x7f)
            return err_set(e, ERR_INVAL,
                           "The provider's API key holds a line break or another control character, which "
                           "no HTTP header may carry.");
    const char *json =
        call->streams ? "Content-Type: application/json\nAccept: text/event-stream, application/json;q=0.5\n"
                      : "Content-Type: application/json\nAccept: application/json\n";
    /* Sized in one go, so that no copy of the key stays behind in memory that grew. */
    size_t size = strlen(json) + strlen(name) + strlen(scheme) + strlen(key) + 5;
    char *headers = malloc(size);
    if (!headers)
        return ERR_NOMEM;
    if (key[0])
        snprintf(headers, size, "%s%s: %s%s\n", json, name, scheme, key);
    else
        memcpy(headers, json, strlen(json) + 1);
    call->headers = headers;
    return 0;
}

void codec_combined_text(struct json_writer *w,
                         void (*compose)(struct buf *out, const struct provider_member *members, size_t n,
                                         char (*ids)[PROVIDER_ID_SIZE]),
                         const struct provider_member *members, const struct provider_call *call)
{
    struct buf text;
    buf_init(&text, w->out->max);
    compose(&text, members, call->members, call->ids);
    json_text(w, buf_slice(&text));
    w->out->failed = w->out->failed || buf_failed(&text);
    buf_fini(&text);
}

void codec_combined_schema(struct json_writer *w, const struct provider_call *call,
                           enum combined_dialect dialect)
{
    struct buf schema;
    buf_init(&schema, w->out->max);
    combined_schema(&schema, call->members, call->ids, dialect);
    json_raw(w, buf_slice(&schema));
    w->out->failed = w->out->failed || buf_failed(&schema);
    buf_fini(&schema);
}

uint32_t codec_duration_ms(struct slice text)
{
    uint64_t us = 0, unit = 1000000; /* of the digit being read, in microseconds at first */
    size_t i = 0;
    bool digits = false;
    for (; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++, digits = true)
        if (us <= DAY_MS * 1000000) /* a day's worth of milliseconds, read as seconds */
            us = us * 10 + (uint64_t)(text.p[i] - '0') * unit;
    if (i < text.n && text.p[i] == '.')
        for (i++; i < text.n && text.p[i] >= '0' && text.p[i] <= '9'; i++, digits = true) {
            unit /= 10;
            us += (uint64_t)(text.p[i] - '0') * unit;
        }
    if (!digits)
        return 0; /* an absent text too: behind it nothing may be added to its pointer */
    struct slice suffix = {text.p + i, text.n - i};
    uint64_t ms;
    if (suffix.n == 0 || slice_is(suffix, "s"))
        ms = (us + 999) / 1000;
    else if (slice_is(suffix, "ms"))
        ms = (us + 999999) / 1000000;
    else
        return 0;
    return (uint32_t)(ms > DAY_MS ? DAY_MS : ms);
}

uint64_t codec_count(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    if (!cJSON_IsNumber(item) || !(item->valuedouble >= 0 && item->valuedouble <= COUNT_MAX))
        return 0;
    uint64_t count = (uint64_t)item->valuedouble;
    return (double)count == item->valuedouble ? count : 0;
}

struct slice codec_text(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return cJSON_IsString(item) ? slice_of(item->valuestring) : (struct slice){0};
}

int codec_text_append(struct arena *arena, struct slice *text, struct slice more)
{
    if (!text->n) {
        *text = more;
        return 0;
    }
    char *joined = arena_alloc(arena, text->n + more.n);
    if (!joined)
        return ERR_NOMEM;
    memcpy(joined, text->p, text->n);
    if (more.n)
        memcpy(joined + text->n, more.p, more.n);
    *text = (struct slice){joined, text->n + more.n};
    return 0;
}
