/*
 * GET /v1/models and GET /v1/models/{name}: what may be asked for by name, as OpenAI's API lists it. That is
 * the model in force, and those of provider.models where that list is about the provider.
 */
#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/models.h"
#include "worker/state.h"
#include "json/write.h"

static void write_model(struct json_writer *w, struct slice id, const struct settings *s)
{
    json_object_begin(w);
    json_field_text(w, "id", id);
    json_field_cstr(w, "object", "model");
    json_field_u64(w, "created", 0); /* nobody knows */
    json_field_cstr(w, "owned_by", conf_provider_name(s->provider));
    json_object_end(w);
}

/* The next one that is listed: begin with *at NULL. */
static bool next(struct exchange *x, const struct settings *s, const char **at, struct slice *ret_model)
{
    if (!*at) {
        bool listed = s->provider == PROVIDER_OPENAI || s->provider == PROVIDER_MOCK;
        *at = listed ? x->worker->conf->provider.models : "";
        *ret_model = slice_of(s->model);
        if (ret_model->n)
            return true;
    }
    while (models_next(at, ret_model))
        if (!slice_is(*ret_model, s->model))
            return true;
    return false;
}

void api_models_get(struct exchange *x)
{
    struct settings s;
    struct json_writer w;
    struct slice model;
    worker_settings(x->worker, &s);
    json_writer_init(&w, &x->response.body);
    json_object_begin(&w);
    json_field_cstr(&w, "object", "list");
    json_key(&w, "data");
    json_array_begin(&w);
    for (const char *at = NULL; next(x, &s, &at, &model);)
        write_model(&w, model, &s);
    json_array_end(&w);
    json_object_end(&w);
}

void api_models_one_get(struct exchange *x)
{
    struct settings s;
    struct json_writer w;
    struct slice model;
    worker_settings(x->worker, &s);
    for (const char *at = NULL; next(x, &s, &at, &model);)
        if (slice_equal(model, x->path_id)) {
            json_writer_init(&w, &x->response.body);
            write_model(&w, model, &s);
            return;
        }
    problem_respond(x, PROBLEM_MODEL_NOT_FOUND, "model",
                    "The model '%.128s' is not among those of GET /v1/models.", x->path_id.p);
}
