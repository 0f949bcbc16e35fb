/* carpoolctl doctor: the checks in their order, and how they are told; see doctor.h. */
#include "ctl/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/conf.h"
#include "ctl/http_ask.h"

#define OUTPUT_MAX (256u << 10)
#define NAME_WIDTH 18

void doctor_tell(struct doctor *d, enum doctor_state s, const char *check, const char *format, ...)
{
    static const char *const names[] = {[DOCTOR_OK] = "ok", [DOCTOR_WARN] = "warn", [DOCTOR_FAIL] = "fail"};
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    d->warnings += s == DOCTOR_WARN;
    d->failures += s == DOCTOR_FAIL;
    if (!d->args->json) {
        printf("%-4s  %-*s  %s\n", names[s], NAME_WIDTH, check, text);
        return;
    }
    json_object_begin(&d->json);
    json_field_cstr(&d->json, "check", check);
    json_field_cstr(&d->json, "state", names[s]);
    json_field_cstr(&d->json, "message", text);
    json_object_end(&d->json);
}

static void read_conf(struct doctor *d)
{
    struct err e = {0};
    if (conf_load(d->args->config, d->conf, &e)) {
        doctor_tell(d, DOCTOR_FAIL, "configuration", "%s", e.text);
        return;
    }
    d->conf_read = true;
    if (d->conf->file[0])
        doctor_tell(d, DOCTOR_OK, "configuration", "%.400s is read.", d->conf->file);
    else
        doctor_tell(d, DOCTOR_OK, "configuration",
                    "There is no carpool.conf: the environment and the defaults count.");
}

static enum ctl_exit sum_up(struct doctor *d)
{
    if (!d->args->json) {
        printf("%u failed, %u to look at\n", d->failures, d->warnings);
        return d->failures ? CTL_FAILED : CTL_DONE;
    }
    json_array_end(&d->json);
    json_field_u64(&d->json, "failed", d->failures);
    json_field_u64(&d->json, "warnings", d->warnings);
    json_object_end(&d->json);
    if (buf_failed(&d->out))
        return ctl_say(CTL_FAILED, "There is not enough memory for this.");
    printf("%s\n", d->out.data);
    return d->failures ? CTL_FAILED : CTL_DONE;
}

enum ctl_exit doctor_run(const struct args *args, struct conf *conf)
{
    struct doctor d = {.args = args, .conf = conf};
    struct http_url url;
    struct err e = {0};
    const char *text = args->words_n > 1 ? args->words[1] : NULL;
    if (text && http_url_parse(text, &url, &e))
        return ctl_say(CTL_USAGE, "%s", e.text);
    buf_init(&d.out, OUTPUT_MAX);
    json_writer_init(&d.json, &d.out);
    json_object_begin(&d.json);
    json_key(&d.json, "checks");
    json_array_begin(&d.json);
    read_conf(&d);
    doctor_host(&d);
    if (d.conf_read)
        doctor_store(&d);
    if (text)
        doctor_web(&d, text);
    enum ctl_exit code = sum_up(&d);
    buf_fini(&d.out);
    if (fflush(stdout))
        code = ctl_say(CTL_FAILED, "The output could not be written.");
    return code;
}
