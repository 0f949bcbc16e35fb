/* The status for people and as JSON; see status.h. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/version.h"
#include "ctl/running.h"
#include "ctl/status.h"
#include "json/write.h"

#define LABEL         "%-12s"
#define SETTINGS_SIZE (64u << 10)

/* ---- for people ---- */

/* "3 d 4 h", "2 h 5 min", "40 s" */
static void append_duration(struct buf *out, uint64_t s)
{
    if (s >= 86400)
        buf_printf(out, "%llu d %llu h", (unsigned long long)(s / 86400),
                   (unsigned long long)(s / 3600 % 24));
    else if (s >= 3600)
        buf_printf(out, "%llu h %llu min", (unsigned long long)(s / 3600), (unsigned long long)(s / 60 % 60));
    else if (s >= 60)
        buf_printf(out, "%llu min %llu s", (unsigned long long)(s / 60), (unsigned long long)(s % 60));
    else
        buf_printf(out, "%llu s", (unsigned long long)s);
}

static void append_size(struct buf *out, uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double n = (double)bytes;
    size_t unit = 0;
    while (n >= 1024 && unit + 1 < ARRAY_LEN(units)) {
        n /= 1024;
        unit++;
    }
    buf_printf(out, unit && n < 10 ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

/* What a part says of itself is shown without what a terminal would act upon. */
static void append_plain(struct buf *out, const char *text)
{
    for (; *text; text++)
        buf_append_byte(out, (uint8_t)*text < 0x20 || *text == 0x7f ? '?' : (uint8_t)*text);
}

static void show_part(struct buf *out, const cJSON *report, const char *part)
{
    const char *reason = running_text(report, part, "reason");
    append_plain(out, running_text(report, part, "status"));
    if (reason[0]) {
        buf_append_text(out, ": ");
        append_plain(out, reason);
    }
}

static void show_queues(struct buf *out, const cJSON *report)
{
    static const char *const keys[] = {"low", "medium", "high"};
    const cJSON *queue = cJSON_GetObjectItemCaseSensitive(report, "queue");
    buf_printf(out, LABEL, "queue");
    for (int p = PRIORITIES - 1; p >= 0; p--) {
        uint64_t waiting = running_number(queue, keys[p], "waiting");
        buf_printf(out, "%s %llu", conf_priority_name((enum priority)p), (unsigned long long)waiting);
        if (waiting)
            buf_printf(out, " (the oldest %.1f s)",
                       (double)running_number(queue, keys[p], "oldest_ms") / 1e3);
        buf_append_text(out, p ? ", " : "\n");
    }
}

static void show_running(struct buf *out, const struct status *s)
{
    const cJSON *r = s->report, *rate = cJSON_GetObjectItemCaseSensitive(r, "prompts_per_second");
    buf_printf(out, LABEL "pid %llu, epoch %llu, up ", "coordinator",
               (unsigned long long)running_number(r, NULL, "pid"),
               (unsigned long long)running_number(r, NULL, "epoch"));
    append_duration(out, running_number(r, NULL, "uptime_s"));
    buf_append_text(out, "\n");
    show_queues(out, r);
    buf_printf(out,
               LABEL
               "%llu calls, %llu of them streams; %llu prompts without an outcome; %.1f prompts a second\n",
               "running", (unsigned long long)running_number(r, NULL, "running"),
               (unsigned long long)running_number(r, NULL, "streams"),
               (unsigned long long)running_number(r, NULL, "prompts"),
               cJSON_IsNumber(rate) ? rate->valuedouble : 0.0);
    buf_printf(out, LABEL "%llu requests wait", "workers",
               (unsigned long long)running_number(r, NULL, "waiting"));
    if (running_number(r, NULL, "capacity"))
        buf_printf(out, ", and there is room for %llu",
                   (unsigned long long)running_number(r, NULL, "capacity"));
    buf_printf(out, "\n" LABEL, "provider");
    show_part(out, r, "provider");
    buf_printf(out, "\n" LABEL "%s, %llu failures in a row\n", "breaker", running_text(r, "breaker", "state"),
               (unsigned long long)running_number(r, "breaker", "failures"));
    buf_printf(out, LABEL, "redis");
    show_part(out, r, "redis");
    buf_printf(out, "\n" LABEL, "kafka");
    show_part(out, r, "kafka");
    if (strcmp(running_text(r, "kafka", "status"), "disabled") != 0)
        buf_printf(out, ", %llu records delivered, %llu in files",
                   (unsigned long long)running_number(r, "kafka", "delivered"),
                   (unsigned long long)running_number(r, "kafka", "filed"));
    buf_append_text(out, "\n");
}

static void show_settings(struct buf *out, const struct status *s)
{
    const struct settings *now = &s->settings;
    buf_printf(out, LABEL "%s", "model", conf_provider_name(now->provider));
    if (now->model[0]) {
        buf_append_text(out, ", ");
        append_plain(out, now->model);
    }
    if (now->base_url[0]) {
        buf_append_text(out, ", at ");
        append_plain(out, now->base_url);
    }
    if (now->provider != PROVIDER_MOCK)
        buf_append_text(out, now->has_key ? ", with a key" : ", without a key");
    buf_append_text(out, "\n");
}

static void show_store(struct buf *out, const struct status *s)
{
    buf_printf(out, LABEL, "store");
    if (s->store_fault.code)
        append_plain(out, s->store_fault.text);
    else if (!s->has_store)
        buf_append_text(out, "none yet; the coordinator makes it");
    else {
        buf_printf(out, "%llu chats, ", (unsigned long long)s->chats);
        append_size(out, s->usage.used_bytes);
        buf_append_text(out, " used of a map of ");
        append_size(out, s->usage.map_bytes);
        buf_append_text(out, ", at most ");
        append_size(out, s->usage.map_max_bytes);
        buf_printf(out, "; up to %u of %u readers", s->usage.readers, s->usage.readers_max);
    }
    buf_append_text(out, "\n");
    buf_printf(out, LABEL, "directory");
    append_plain(out, s->dir);
    buf_append_text(out, ", ");
    append_size(out, s->disk_free);
    buf_append_text(out, " free\n");
}

void status_show_table(struct buf *out, const struct status *s)
{
    buf_printf(out, LABEL "%s%s%s\n", "state", status_state_name(s->state), s->why.text[0] ? ": " : "",
               s->why.text);
    if (s->report)
        show_running(out, s);
    else
        buf_printf(out, LABEL "%s\n", "coordinator",
                   s->state == STATUS_IDLE ? "none runs; it starts with the next prompt" : "none answers");
    show_settings(out, s);
    show_store(out, s);
    for (size_t i = 0; i < s->warnings_n; i++)
        buf_printf(out, LABEL "%s\n", i ? "" : "warning", s->warnings[i]);
}

/* ---- JSON ---- */

static void write_number(struct json_writer *w, const char *key, bool known, uint64_t n)
{
    json_key(w, key);
    if (known)
        json_u64(w, n);
    else
        json_null(w);
}

static void write_store(struct json_writer *w, const struct status *s)
{
    bool known = s->has_store;
    json_key(w, "store");
    json_object_begin(w);
    json_field_cstr(w, "dir", s->dir);
    json_field_cstr(w, "status", s->store_fault.code ? "down" : known ? "ok" : "idle");
    json_field_cstr(w, "reason", s->store_fault.code ? s->store_fault.text : NULL);
    json_field_u64(w, "file_bytes", s->file_bytes);
    json_field_u64(w, "disk_free_bytes", s->disk_free);
    write_number(w, "map_bytes", known, s->usage.map_bytes);
    write_number(w, "map_max_bytes", known, s->usage.map_max_bytes);
    write_number(w, "used_bytes", known, s->usage.used_bytes);
    write_number(w, "readers", known, s->usage.readers);
    write_number(w, "readers_max", known, s->usage.readers_max);
    write_number(w, "chats", known, s->chats);
    write_number(w, "epoch", known, s->epoch);
    json_object_end(w);
}

void status_show_json(struct buf *out, const struct status *s)
{
    struct json_writer w;
    struct buf settings;
    char *report = s->report ? cJSON_PrintUnformatted(s->report) : NULL;
    if (s->report && !report)
        out->failed = true;
    buf_init(&settings, SETTINGS_SIZE);
    json_writer_init(&w, out);
    json_object_begin(&w);
    json_field_cstr(&w, "state", status_state_name(s->state));
    json_field_cstr(&w, "reason", s->why.text[0] ? s->why.text : NULL);
    json_field_cstr(&w, "version", CARPOOL_VERSION);
    write_number(&w, "lock_pid", s->holder, (uint64_t)s->holder);
    json_key(&w, "coordinator");
    if (report)
        json_raw(&w, slice_of(report));
    else
        json_null(&w);
    json_key(&w, "settings");
    settings_encode(&settings, &s->settings);
    if (buf_failed(&settings))
        out->failed = true;
    else
        json_raw(&w, buf_slice(&settings));
    write_store(&w, s);
    json_key(&w, "warnings");
    json_array_begin(&w);
    for (size_t i = 0; i < s->warnings_n; i++)
        json_text(&w, slice_of(s->warnings[i]));
    json_array_end(&w);
    json_object_end(&w);
    buf_append_text(out, "\n");
    buf_fini(&settings);
    cJSON_free(report);
}
