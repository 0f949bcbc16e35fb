/* carpoolctl ensure and drain: the coordinator comes up, the coordinator goes. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "ctl/running.h"
#include "json/write.h"

#define ENSURE_S   30 /* unless --timeout says so */
#define DRAIN_S    60 /* likewise; calls are given 30 s to end */
#define ASK_US     (3 * US_PER_S)
#define PAUSE_US   (100 * US_PER_MS)
#define TELL_US    (2 * US_PER_S)
#define OUTPUT_MAX 4096

static enum ctl_exit write_out(struct buf *out)
{
    buf_append_text(out, "\n");
    enum ctl_exit code = CTL_DONE;
    if (buf_failed(out) || ctl_write(out->data, out->len))
        code = ctl_say(CTL_FAILED, "What was done could not be written to standard output.");
    buf_fini(out);
    return code;
}

static uint64_t until_us(const struct ctl *t, uint32_t seconds)
{
    return clock_mono_us() + (t->args->given & ARG_TIMEOUT ? t->args->timeout_s : seconds) * US_PER_S;
}

/* ---- ensure ---- */

static enum ctl_exit tell_ensured(struct ctl *t, const cJSON *report)
{
    struct json_writer w;
    struct buf out;
    if (!t->args->json)
        return CTL_DONE;
    buf_init(&out, OUTPUT_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_field_bool(&w, "running", true);
    json_field_bool(&w, "started", ctl_started_it(t));
    json_field_u64(&w, "pid", running_number(report, NULL, "pid"));
    json_field_u64(&w, "epoch", running_number(report, NULL, "epoch"));
    json_object_end(&w);
    return write_out(&out);
}

enum ctl_exit coordinator_ensure(struct ctl *t)
{
    uint64_t end_us = until_us(t, ENSURE_S);
    struct err e = {0};
    t->keep_coordinator = true;
    for (;;) {
        cJSON *report = NULL;
        int rc = running_ask(t, LINK_AUTOSTART, ASK_US, &report, &e);
        bool leaving = !rc && !strcmp(running_text(report, NULL, "state"), "draining");
        enum ctl_exit code = CTL_DONE;
        if (!rc && !leaving)
            code = tell_ensured(t, report);
        cJSON_Delete(report);
        if (!rc && !leaving)
            return code;
        link_close(&t->link); /* one that leaves: the next connection is to another */
        if (rc == ERR_NOT_FOUND && !t->conf->coordinator.autostart)
            return ctl_say(CTL_FAILED, "%s It is not started here, since coordinator.autostart is off.",
                           e.text);
        if (leaving)
            err_set(&e, ERR_TIMEOUT, "A coordinator is leaving and has not gone yet.");
        if (clock_mono_us() >= end_us)
            return ctl_say(CTL_FAILED, "%s", e.text);
        usleep(PAUSE_US);
    }
}

/* ---- drain ---- */

struct drain {
    struct ctl *t;
    long pid;
    bool asked; /* it knows that it shall leave */
    uint64_t begun_us, told_us;
    uint64_t prompts, calls; /* at the last look */
    bool known;
};

/* Takes note of how far it is. Its connection stays open until it goes; no new one is made, since none is
 * welcome. */
static void look(struct drain *d)
{
    cJSON *report = NULL;
    if (d->t->link.fd < 0 || running_ask(d->t, LINK_IF_RUNNING, ASK_US, &report, NULL)) {
        d->known = false;
        return;
    }
    d->known = true;
    d->prompts = running_number(report, NULL, "prompts");
    d->calls = running_number(report, NULL, "running");
    d->asked |= !strcmp(running_text(report, NULL, "state"), "draining");
    cJSON_Delete(report);
}

static void tell_progress(struct drain *d)
{
    uint64_t now_us = clock_mono_us();
    if (now_us - d->told_us < TELL_US)
        return;
    d->told_us = now_us;
    look(d);
    unsigned long long s = (now_us - d->begun_us) / US_PER_S;
    if (d->known)
        ctl_say(CTL_DONE, "Waiting for process %ld since %llu s: %llu prompts, %llu calls are left.", d->pid,
                s, (unsigned long long)d->prompts, (unsigned long long)d->calls);
    else
        ctl_say(CTL_DONE, "Waiting for process %ld since %llu s.", d->pid, s);
}

/* A second SIGTERM would cut short what runs. */
static int ask_to_leave(struct drain *d, struct err *e)
{
    if (d->asked || kill((pid_t)d->pid, SIGTERM) == 0 || errno == ESRCH)
        return 0;
    return err_set_errno(e, "The coordinator, process %ld, cannot be told to leave", d->pid);
}

static enum ctl_exit tell_drained(const struct drain *d)
{
    struct json_writer w;
    struct buf out;
    bool again = d->t->conf->coordinator.autostart;
    if (!d->t->args->json)
        return !d->pid ? ctl_say(CTL_DONE, "No coordinator runs.")
               : again ? ctl_say(CTL_DONE,
                                 "The coordinator, process %ld, has left. The next prompt starts "
                                 "another one, or systemd does: stop the web server, or carpoold.service, "
                                 "to keep it away.",
                                 d->pid)
                       : ctl_say(CTL_DONE, "The coordinator, process %ld, has left.", d->pid);
    buf_init(&out, OUTPUT_MAX);
    json_writer_init(&w, &out);
    json_object_begin(&w);
    json_field_bool(&w, "drained", true);
    json_key(&w, "pid");
    if (d->pid)
        json_u64(&w, (uint64_t)d->pid);
    else
        json_null(&w);
    json_field_u64(&w, "waited_ms", (clock_mono_us() - d->begun_us) / US_PER_MS);
    json_object_end(&w);
    return write_out(&out);
}

enum ctl_exit coordinator_drain(struct ctl *t)
{
    struct drain d = {.t = t, .begun_us = clock_mono_us(), .told_us = clock_mono_us()};
    uint64_t end_us = until_us(t, DRAIN_S);
    const char *dir = t->conf->storage.dir;
    cJSON *report = NULL;
    struct err e = {0};
    d.pid = lock_held_by(dir);
    /* Its word on whether it leaves already; one that hangs gives none and gets the signal all the same. */
    bool answers = !running_ask(t, LINK_IF_RUNNING, ASK_US, &report, NULL);
    if (answers)
        d.asked = !strcmp(running_text(report, NULL, "state"), "draining");
    cJSON_Delete(report);
    if (!d.pid && answers && !lock_held_by(dir))
        return ctl_say(CTL_FAILED,
                       "A coordinator answers whose process cannot be seen from here, as in another "
                       "container: drain it there.");
    if (!d.pid)
        return tell_drained(&d);
    if (running_is_restore(d.pid))
        return ctl_say(CTL_FAILED, "A restore runs (process %ld), and no coordinator.", d.pid);
    if (ask_to_leave(&d, &e))
        return ctl_say(CTL_FAILED, "%s", e.text);
    while (lock_held_by(dir) == d.pid) {
        if (clock_mono_us() >= end_us)
            return ctl_say(
                CTL_FAILED,
                "The coordinator, process %ld, has not left in time. It goes on leaving; to end it "
                "at once, send it SIGTERM again: what it then has sent is recorded as unknown.",
                d.pid);
        tell_progress(&d);
        usleep(PAUSE_US);
    }
    return tell_drained(&d);
}
