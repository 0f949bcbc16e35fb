/*
 * carpoolctl status: asks the coordinator, reads the store, and says what both together mean. Nothing is
 * started and nothing changed.
 */
#include "ctl/status.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/failed_start.h"
#include "base/lock.h"
#include "ctl/running.h"
#include "provider/provider.h"
#include "store/chats.h"
#include "store/meta.h"

#define ASK_LIMIT_US (3 * US_PER_S)
#define OUTPUT_MAX   (1u << 20)
#define NEARLY       90 /* percent */
#define DISK_LOW     ((uint64_t)64 << 20)
#define OLD_MS       60000

const char *status_state_name(enum status_state s)
{
    static const char *const names[] = {[STATUS_OK] = "ok",
                                        [STATUS_IDLE] = "idle",
                                        [STATUS_DEGRADED] = "degraded",
                                        [STATUS_DRAINING] = "draining",
                                        [STATUS_DOWN] = "down"};
    return names[s];
}

__attribute__((format(printf, 2, 3))) static void warn(struct status *s, const char *format, ...)
{
    va_list args;
    if (s->warnings_n == STATUS_WARNINGS)
        return;
    va_start(args, format);
    vsnprintf(s->warnings[s->warnings_n++], STATUS_WARNING_SIZE, format, args);
    va_end(args);
}

/* ---- the store ---- */

static int read_tables(struct store_read *r, struct status *s)
{
    int rc = settings_load(r, &s->settings, &s->store_fault);
    if (rc == ERR_NOT_FOUND)
        rc = 0;
    if (!rc)
        rc = chats_count(r, &s->chats, &s->store_fault);
    return rc ? rc : meta_epoch(r, &s->epoch, &s->store_fault);
}

static void read_store(struct ctl *t, struct status *s)
{
    struct settings_patch none = {0};
    struct store_read *r = NULL;
    char path[PATH_MAX];
    struct stat st;
    struct statvfs disk;
    settings_resolve(t->conf, &none, t->conf->provider.api_key, &s->settings);
    s->settings.version = 0;
    int rc = ctl_read(t, &r, &s->store_fault);
    if (!rc && r)
        rc = read_tables(r, s);
    store_read_end(r);
    if (!rc && r)
        rc = store_usage(t->store, &s->usage, &s->store_fault);
    if (rc && !s->store_fault.code)
        err_set(&s->store_fault, (enum err_code)rc, "The store cannot be read.");
    s->has_store = !rc && r;
    if (!rc)
        s->store_fault = (struct err){0}; /* also what is only not there yet */
    snprintf(path, sizeof(path), "%s/data.mdb", s->dir);
    if (!stat(path, &st))
        s->file_bytes = (uint64_t)st.st_size;
    if (!statvfs(s->dir, &disk))
        s->disk_free = (uint64_t)disk.f_bavail * disk.f_frsize;
}

/* ---- what it means ---- */

static void judge_alone(struct ctl *t, struct status *s, int rc, const struct err *why)
{
    char failed[FAILED_START_SIZE];
    if (rc == ERR_NOT_FOUND && !s->holder && t->conf->coordinator.autostart) {
        s->state = STATUS_IDLE;
        if (failed_start_read(s->dir, failed)) {
            s->state = STATUS_DEGRADED;
            warn(s, "The last start of a coordinator failed; the next prompt tries again. %s", failed);
        }
        return;
    }
    s->state = STATUS_DOWN;
    if (rc == ERR_NOT_FOUND && s->holder)
        err_set(&s->why, ERR_TIMEOUT,
                "Process %ld holds the lock of the storage directory and takes no connections: it starts, "
                "leaves or hangs.",
                s->holder);
    else if (rc == ERR_NOT_FOUND)
        err_set(&s->why, rc,
                "No coordinator runs, and coordinator.autostart is off: start it, for example "
                "with systemctl.");
    else
        s->why = *why;
}

static bool is_down(const struct status *s, const char *part)
{
    return !strcmp(running_text(s->report, part, "status"), "down");
}

static void judge(struct ctl *t, struct status *s, int rc, const struct err *why)
{
    static const char *const parts[] = {"store", "provider", "redis", "kafka"};
    if (rc) {
        judge_alone(t, s, rc, why);
    } else if (!strcmp(running_text(s->report, NULL, "state"), "draining")) {
        s->state = STATUS_DRAINING;
    } else {
        bool degraded = strcmp(running_text(s->report, NULL, "state"), "ok") != 0;
        for (size_t i = 0; i < ARRAY_LEN(parts); i++)
            degraded |= is_down(s, parts[i]);
        s->state = degraded ? STATUS_DEGRADED : STATUS_OK;
    }
    if (s->store_fault.code) {
        s->state = STATUS_DOWN;
        s->why = s->store_fault;
    }
}

static void warn_of_service(struct ctl *t, struct status *s)
{
    const struct settings *now = &s->settings;
    const char *breaker = running_text(s->report, "breaker", "state");
    uint64_t waiting = running_number(s->report, NULL, "waiting");
    uint64_t capacity = running_number(s->report, NULL, "capacity");
    if (breaker[0] && strcmp(breaker, "closed") != 0)
        warn(s, "The circuit breaker is %s: the provider failed several times in a row and is left alone.",
             breaker);
    for (int p = PRIORITIES - 1; p >= 0; p--) {
        static const char *const keys[] = {"low", "medium", "high"};
        const cJSON *queue = cJSON_GetObjectItemCaseSensitive(s->report, "queue");
        uint64_t oldest_ms = running_number(queue, keys[p], "oldest_ms");
        if (oldest_ms > OLD_MS && oldest_ms > 2 * (uint64_t)now->priority[p].latency_ms)
            warn(s, "The oldest %s prompt has waited for %llu s.", conf_priority_name((enum priority)p),
                 (unsigned long long)(oldest_ms / 1000));
    }
    if (capacity && waiting * 100 >= capacity * NEARLY)
        warn(s, "%llu requests wait, and the workers have room for %llu: set worker.threads higher.",
             (unsigned long long)waiting, (unsigned long long)capacity);
    if (now->provider == PROVIDER_MOCK)
        warn(s, "The provider is the built-in mock, which answers \"Processed: \" and the prompt.");
    else if (!now->has_key && provider_needs_key(now->provider, now->base_url))
        warn(s, "The provider needs a key and has none: `" CTL_PROGRAM " settings set --api-key-file FILE`.");
    if (t->conf->auth.required == AUTH_OFF)
        warn(s, "auth.required is off: whoever reaches this server can send prompts.");
    if (running_number(s->report, NULL, "sink_dropped"))
        warn(s, "%llu records of the event log were dropped: the disk does not keep up, or is full.",
             (unsigned long long)running_number(s->report, NULL, "sink_dropped"));
}

static void warn_of_store(struct status *s)
{
    const struct store_usage *u = &s->usage;
    if (s->has_store && u->map_max_bytes && u->used_bytes / NEARLY * 100 >= u->map_max_bytes)
        warn(s,
             "The store is at %llu of at most %llu MiB: set storage.map_max_mib higher, or "
             "storage.chat_retention_days lower.",
             (unsigned long long)(u->used_bytes >> 20), (unsigned long long)(u->map_max_bytes >> 20));
    if (s->has_store && u->readers_max && u->readers * 100 >= u->readers_max * NEARLY)
        warn(s, "%u of %u reader slots of the store were in use at once.", u->readers, u->readers_max);
    if (s->disk_free && s->disk_free < DISK_LOW)
        warn(s, "Only %llu MiB are left on the disk of %.250s.", (unsigned long long)(s->disk_free >> 20),
             s->dir);
}

static enum ctl_exit exit_code(enum status_state state)
{
    return state == STATUS_OK || state == STATUS_IDLE ? CTL_DONE
           : state == STATUS_DOWN                     ? CTL_DOWN
                                                      : CTL_DEGRADED;
}

enum ctl_exit status_show(struct ctl *t)
{
    struct status s = {.dir = t->conf->storage.dir};
    struct err why = {0};
    struct buf out;
    int rc = running_ask(t, LINK_IF_RUNNING, ASK_LIMIT_US, &s.report, &why);
    s.holder = lock_held_by(s.dir);
    read_store(t, &s);
    judge(t, &s, rc, &why);
    warn_of_service(t, &s);
    warn_of_store(&s);
    buf_init(&out, OUTPUT_MAX);
    if (t->args->json)
        status_show_json(&out, &s);
    else
        status_show_table(&out, &s);
    cJSON_Delete(s.report);
    enum ctl_exit code = exit_code(s.state);
    if (buf_failed(&out))
        code = ctl_say(CTL_FAILED, "There is not enough memory for the status.");
    else if (ctl_write(out.data, out.len))
        code = ctl_say(CTL_FAILED, "The status could not be written to standard output.");
    buf_fini(&out);
    return code;
}
