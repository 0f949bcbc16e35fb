/* The live figures; see live.h. */
#include "worker/live.h"

#include "base/clock.h"
#include "worker/exchange.h"
#include "worker/report.h"
#include "worker/state.h"
#include "json/read.h"

#define ASK_LIMIT_US (500 * US_PER_MS)
#define NUMBER_MAX   ((1ull << 53) - 1)

const char *const live_breaker_states[LIVE_BREAKER_STATES] = {"closed", "open", "half_open"};

static const cJSON *member(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

/* 0 for what is missing or no number. */
static uint64_t number(const cJSON *object, const char *key)
{
    uint64_t n = 0;
    bool present;
    return json_get_u64(object, key, 0, NUMBER_MAX, &n, &present, NULL) ? 0 : n;
}

static void read_status(struct live *l, const cJSON *status)
{
    const cJSON *queue = member(status, "queue"), *breaker = member(status, "breaker");
    const char *state = cJSON_GetStringValue(member(breaker, "state"));
    l->started_ms = number(status, "started_ms");
    l->uptime_s = number(status, "uptime_s");
    if (json_get_double(status, "prompts_per_second", 0, 1e12, &l->prompts_per_second, NULL, NULL))
        l->prompts_per_second = 0;
    l->prompts = number(status, "prompts");
    l->calls = number(status, "running");
    l->streams = number(status, "streams");
    for (int p = 0; p < PRIORITIES; p++) {
        const cJSON *of = member(queue, report_priority((enum priority)p));
        l->waiting[p] = number(of, "waiting");
        l->oldest_ms[p] = number(of, "oldest_ms");
    }
    l->breaker_failures = number(breaker, "failures");
    for (unsigned i = 0; i < LIVE_BREAKER_STATES; i++)
        if (state && slice_is(slice_of(state), live_breaker_states[i]))
            l->breaker = i;
}

void live_ask(struct exchange *x, struct live *ret_live)
{
    struct wire_frame frame;
    cJSON *status = NULL;
    struct live l = {0};
    int rc = link_ask(&x->link, LINK_IF_RUNNING, WIRE_STATUS_ASK, (struct slice){"", 0},
                      clock_mono_us() + ASK_LIMIT_US, &frame, &l.why);
    if (!rc && frame.type != WIRE_STATUS)
        rc = err_set(&l.why, ERR_INVAL, "The coordinator did not answer with its status.");
    if (!rc)
        rc = json_parse(frame.payload, &status, &l.why);
    if (!rc) {
        l.there = true;
        read_status(&l, status);
    } else if (rc == ERR_NOT_FOUND && x->worker->conf->coordinator.autostart) {
        l.idle = true;
        err_set(&l.why, ERR_NOT_FOUND, "No coordinator runs; it starts with the next prompt.");
    }
    cJSON_Delete(status);
    *ret_live = l;
}
