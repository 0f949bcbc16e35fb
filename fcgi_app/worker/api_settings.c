/*
 * GET and PUT /v1/settings. The worker checks the whole of what is put; the coordinator stores it, and from
 * then on every process sees a new version (store/settings.h).
 */
#include <sodium.h>

#include "base/clock.h"
#include "store/settings.h"
#include "worker/api.h"
#include "worker/exchange.h"
#include "worker/state.h"

#define PUT_LIMIT_US (30 * US_PER_S)

static void respond_settings(struct exchange *x)
{
    struct settings s;
    worker_settings(x->worker, &s);
    settings_encode(&x->response.body, &s);
}

void api_settings_get(struct exchange *x)
{
    respond_settings(x);
}

/* What the coordinator made of it. */
static void hand_over(struct exchange *x, struct slice change)
{
    struct wire_frame frame;
    struct wire_refusal refusal;
    struct err e = {0};
    int rc = link_ask(&x->link, LINK_AUTOSTART, WIRE_SETTINGS_PUT, change, clock_mono_us() + PUT_LIMIT_US,
                      &frame, &e);
    if (rc)
        problem_respond(x, rc == ERR_NOMEM ? PROBLEM_OUT_OF_MEMORY : PROBLEM_COORDINATOR_DOWN, NULL, "%s",
                        e.text);
    else if (frame.type == WIRE_DONE)
        respond_settings(x);
    else if (frame.type == WIRE_REFUSAL && !wire_refusal_decode(frame.payload, &refusal))
        problem_respond_refusal(x, &refusal);
    else {
        link_close(&x->link);
        problem_respond(x, PROBLEM_INTERNAL, NULL, "The coordinator's answer cannot be read.");
    }
}

/* The key passes through this process once and stays in none of its buffers. */
static void wipe(struct buf *b)
{
    if (b->data)
        sodium_memzero(b->data, b->cap);
    buf_fini(b);
}

static void wipe_tree(cJSON *root)
{
    cJSON *key = cJSON_GetObjectItemCaseSensitive(root, "api_key");
    if (cJSON_IsString(key))
        sodium_memzero(key->valuestring, strlen(key->valuestring));
    cJSON_Delete(root);
}

void api_settings_put(struct exchange *x)
{
    struct settings_patch patch = {0};
    struct err e = {0};
    struct buf document, change;
    cJSON *root;
    char field[128] = "", actor[AUTH_ACTOR_MAX];

    if (!exchange_json(x, &root))
        return;
    buf_init(&document, WIRE_MAX_PAYLOAD);
    buf_init(&change, WIRE_MAX_PAYLOAD);
    int rc = settings_patch_parse(root, &patch, field, &e);
    if (rc == ERR_INVAL)
        problem_respond(x, PROBLEM_INVALID_SETTING, field[0] ? field : NULL, "%s", e.text);
    else if (rc)
        problem_respond_err(x, &e);
    else {
        settings_patch_encode(&document, &patch, true);
        auth_actor(x, actor, sizeof(actor));
        struct wire_change m = {slice_of(actor), buf_slice(&document)};
        wire_change_encode(&change, &m);
        if (buf_failed(&document) || buf_failed(&change))
            problem_respond(x, PROBLEM_OUT_OF_MEMORY, NULL, "There is no memory for this request now.");
        else
            hand_over(x, buf_slice(&change));
    }
    settings_patch_wipe(&patch);
    wipe_tree(root);
    wipe(&document);
    wipe(&change);
    wipe(&x->request.body);
    wipe(&x->link.out);
}
