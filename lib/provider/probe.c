/*
 * Asking a model server how it is, without paying for an answer: whether it is there, has loaded its model,
 * and serves the model that is configured (llama-server takes any name without a word).
 */
#include <stdio.h>
#include <strings.h>

#include "provider/codec.h"
#include "provider/outcome.h"
#include "json/read.h"

#define WORDS_MAX  200
#define MODELS_MAX 5 /* named in a sentence */

static const char *address(const struct provider *p, const struct codec *codec)
{
    return p->base_url && p->base_url[0] ? p->base_url : codec->default_base_url;
}

int provider_probe_encode(const struct provider *p, struct provider_call *ret_call, struct err *e)
{
    const struct codec *codec = codec_for(p->kind);
    if (!codec || !codec->probe_path ||
        strncasecmp(address(p, codec), codec_vendor, strlen(codec_vendor)) == 0)
        return err_set(e, ERR_NOT_FOUND, "This provider is not asked how it is.");
    struct provider_call call = {.is_get = true};
    buf_init(&call.body, 0);
    int rc = codec_url(p, codec->default_base_url, codec->probe_path, &call, e);
    if (!rc)
        rc = codec_headers(p, codec->key_header, codec->key_scheme, &call, e);
    if (rc)
        provider_call_fini(&call);
    else
        *ret_call = call;
    return rc;
}

/* Some list "llama3.2" as "llama3.2:latest", or with a directory in front, and take it without. */
static bool is_model(struct slice id, const char *model)
{
    static const char latest[] = ":latest";
    size_t n = strlen(model), k = sizeof(latest) - 1;
    if (id.n == n + k && memcmp(id.p, model, n) == 0 && memcmp(id.p + n, latest, k) == 0)
        return true;
    return id.n >= n && memcmp(id.p + id.n - n, model, n) == 0 && (id.n == n || id.p[id.n - n - 1] == '/');
}

/* Whether the list names the model; what it names instead is appended to names. */
static bool find_model(const cJSON *list, const char *model, char *names, size_t size)
{
    const cJSON *item;
    size_t n = 0, at = 0;
    cJSON_ArrayForEach (item, list) {
        struct slice id = codec_text(item, "id");
        if (id.p && is_model(id, model))
            return true;
        if (id.p && n++ < MODELS_MAX && at < size)
            at += (size_t)snprintf(names + at, size - at, "%s%.60s", at ? ", " : "", id.p);
    }
    return false;
}

static int check_models(const struct provider *p, const cJSON *root, struct err *ret_fault)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(root, "data");
    char names[WORDS_MAX] = "";
    if (!cJSON_IsArray(list) || !p->model[0] || find_model(list, p->model, names, sizeof(names)) || !names[0])
        return 0;
    return err_set(ret_fault, ERR_NOT_FOUND,
                   "The model server has no model \"%.60s\" (provider.model); it has: %s.", p->model, names);
}

int provider_probe_decode(const struct provider *p, const struct provider_response *r, struct err *ret_fault)
{
    struct codec_error error = {0};
    cJSON *root = NULL;
    struct err ignored;
    int rc = 0;
    if (r->transport != TRANSPORT_COMPLETE)
        return err_set(ret_fault, ERR_IO, "The model server at %.100s cannot be reached: %.200s.",
                       address(p, codec_for(p->kind)), r->transport_error);
    if (r->body.n && json_parse(r->body, &root, &ignored) == ERR_NOMEM)
        return 0; /* nothing to blame it for */
    if (r->status == 503 && codec_for(p->kind)->error(root, &error) && error.loading)
        rc = err_set(ret_fault, ERR_AGAIN, "The model server is still loading its model.");
    else if (r->status >= 500 && r->status != 501)
        rc = err_set(ret_fault, ERR_IO, "The model server answers with HTTP %d.", r->status);
    else if (r->status == 401 || r->status == 403)
        rc = err_set(ret_fault, ERR_PERM, "The model server does not accept the API key (HTTP %d).",
                     r->status);
    else if (r->status == 200)
        rc = check_models(p, root, ret_fault);
    cJSON_Delete(root);
    return rc;
}
